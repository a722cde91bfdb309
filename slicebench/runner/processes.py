"""What the processes of one program tell each other while they train.

Trials do not talk to each other, so no compiled program of this package waits for
another process. What has to be agreed on travels as small messages through the
key-value store of JAX's coordination service, which process 0 keeps: decisions from
process 0 to all, rows from all to process 0. Every process calls the same methods in
the same order.
"""

import contextlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from slicebench.runner.stopping import Stop, Stopped

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 1.0
"""Time between two looks whether the others are still there."""

_BEAT_SECONDS = 2.0
_LOST_SECONDS = 30.0
"""Silence after which a process is taken for lost."""

Value = TypeVar("Value")


class EndedElsewhereError(Exception):
    """Another process has ended, so this one cannot go on.

    Attributes:
      status: Exit status that fits.
      lost: Whether the other process ended without a word.
    """

    def __init__(self, text: str, *, status: int = 1, lost: bool = False):
        super().__init__(text)
        self.status = status
        self.lost = lost


class Processes:
    """The processes of one program, as one of them sees the others.

    Args:
      client: Of JAX's coordination service.
      index: Number of this process, from 0.
      count: Processes.
    """

    def __init__(self, client: Any, index: int, count: int):
        self.index = index
        self.count = count
        self._client = client
        self._calls = 0
        self._sent: list[str] = []
        self._ended: EndedElsewhereError | None = None
        self._told = False
        self._leaving = threading.Event()
        self._watch = threading.Thread(target=self._watch_others, daemon=True)

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which decides and writes."""
        return self.index == 0

    def decide(self, make: Callable[[], Value]) -> Value:
        """Returns in every process what process 0 makes; JSON values only."""
        key = self._next("decision")
        if not self.leads:
            return self._read(key)
        self.raise_if_ended()
        value = make()
        self._post(key, value)
        return value

    def gather(self, value: Any) -> list[Any] | None:
        """Brings a JSON value of every process to process 0.

        Returns:
          The values in the order of processes; None in all but process 0.
        """
        key = self._next("gathered")
        if not self.leads:
            self.raise_if_ended()
            self._post(f"{key}/{self.index}", value)
            return None
        found = [value]
        earlier, self._sent = self._sent, []
        for index in range(1, self.count):
            found.append(self._read(f"{key}/{index}"))
            self._client.key_value_delete(f"slicebench/{key}/{index}")
        # Whoever has got here has read all decisions before.
        for old in earlier:
            self._client.key_value_delete(old)
        return found

    def meet(self) -> None:
        """Waits until all processes are here."""
        self.gather(None)
        self.decide(lambda: None)

    def all_agree(self, yes: bool) -> bool:
        """Returns whether all processes say yes."""
        answers = self.gather(yes)
        return self.decide(lambda: all(answers or ()))

    def ask_to_stop(self, number: int) -> None:
        """Tells process 0 that this process was asked to end, once."""
        if not self._told:
            self._told = True
            self._post(f"stop/{self.index}", int(number))

    def asked_to_stop(self) -> int | None:
        """Returns the signal that another process was asked to end by, if any."""
        found = self._client.key_value_dir_get_bytes("slicebench/stop/")
        return _unpack(found[0][1]) if found else None

    def raise_if_ended(self) -> None:
        """Ends this process where another one has ended.

        Raises:
          EndedElsewhereError: One has.
        """
        if self._ended is not None:
            raise self._ended

    def watch(self) -> None:
        """Begins to look whether the others are there, and to show that this one is."""
        self._watch.start()

    def leave(self, failure: tuple[str, int] | None) -> None:
        """Ends the watch.

        Args:
          failure: Why this process ends too early, and its exit status; the others
            are told.
        """
        self._leaving.set()
        if self._watch.is_alive():
            self._watch.join()
        if failure is not None and self._ended is None:
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self._post(f"ended/{self.index}", failure)

    def _next(self, kind: str) -> str:
        self._calls += 1
        return f"{kind}/{self._calls}"

    def _post(self, key: str, value: Any) -> None:
        content = zlib.compress(json.dumps(value, default=_plain).encode())
        self._client.key_value_set_bytes(f"slicebench/{key}", content)
        if self.leads:
            self._sent.append(f"slicebench/{key}")

    def _read(self, key: str) -> Any:
        """Waits for a message, as long as all processes are there."""
        wait = int(_WAIT_SECONDS * 1000)
        while True:
            try:
                found = self._client.blocking_key_value_get_bytes(
                    f"slicebench/{key}", wait
                )
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise _unreachable() from None
            else:
                return _unpack(found)
            self.raise_if_ended()

    def _watch_others(self) -> None:
        heard: dict[str, tuple[bytes, float]] = {}
        beats = 0
        while self._ended is None and not self._leaving.wait(_BEAT_SECONDS):
            beats += 1
            try:
                self._client.key_value_set_bytes(
                    f"slicebench/alive/{self.index}", b"%d" % beats, True
                )
                self._ended = self._look(heard)
            except jax.errors.JaxRuntimeError:
                self._ended = _unreachable()

    def _look(
        self, heard: dict[str, tuple[bytes, float]]
    ) -> EndedElsewhereError | None:
        """Returns the end of another process, as it told or as its silence tells."""
        for key, content in self._client.key_value_dir_get_bytes("slicebench/ended/"):
            index = int(key.rpartition("/")[2])
            if index != self.index:
                text, status = _unpack(content)
                return EndedElsewhereError(
                    f"process {index} has ended ({text})", status=status
                )
        if not self.leads:
            return None
        now = time.monotonic()
        for key, beat in self._client.key_value_dir_get_bytes("slicebench/alive/"):
            if heard.get(key, (b"", 0.0))[0] != beat:
                heard[key] = beat, now
            if now - heard[key][1] > _LOST_SECONDS:
                text = f"nothing heard of process {key.rpartition('/')[2]}"
                return self._tell_loss(f"{text} for {_LOST_SECONDS:.0f} s")
        return None

    def _tell_loss(self, text: str) -> EndedElsewhereError:
        advice = "it is lost; finished trials and checkpoints are kept, the same "
        error = EndedElsewhereError(
            f"{text}: {advice}commands go on where they are started again", lost=True
        )
        self._post(f"ended/{self.index}", (str(error), 1))
        return error


class TeamStop(Stop):
    """Whether any of several processes has been asked to end; all agree on it.

    Args:
      stop: Of this process.
      team: All processes.
    """

    def __init__(self, stop: Stop, team: Processes):
        super().__init__()
        self._mine = stop
        self._team = team

    def agree(self, late: bool) -> tuple[bool, int | None]:
        """Returns what process 0 has decided, see `Stop.agree`."""
        if not self._team.leads and self._mine.asked is not None:
            self._team.ask_to_stop(self._mine.asked)
        due, asked = self._team.decide(lambda: (late, self._any()))
        return due, asked

    def check(self) -> None:
        """Ends the run in all processes where one of them was asked to.

        Raises:
          Stopped: It was.
        """
        _, asked = self.agree(False)
        if asked is not None:
            raise Stopped(asked)

    def _any(self) -> int | None:
        asked = self._mine.asked
        return self._team.asked_to_stop() if asked is None else int(asked)


def _unreachable() -> EndedElsewhereError:
    return EndedElsewhereError(
        "process 0 cannot be reached: it is lost; finished trials and checkpoints are "
        "kept, the same commands go on where they are started again",
        lost=True,
    )


def _unpack(content: bytes) -> Any:
    return json.loads(zlib.decompress(content))


def _plain(value: Any) -> Any:
    """Turns NumPy values into those that JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be told to another process")
