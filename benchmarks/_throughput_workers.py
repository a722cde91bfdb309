"""Processes that stay alive and train on demand, started together each round.

Every way of training lives in processes of its own, so that thread pools and
allocators of different libraries never meet, and rounds can take turns.
"""

import contextlib
import importlib
import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

WARM_UP_STEPS = 2
"""Steps that run, outside every time, before a way is timed."""
_PATIENCE = 1800.0
"""Seconds after which a process without an answer counts as failed."""


class Ready(NamedTuple):
    """A way of training is compiled and warm.

    Attributes:
      compile_seconds: Time spent compiling.
      parameters: Trained weights of one network.
      trials: Trials that train at a time.
    """

    compile_seconds: float
    parameters: int
    trials: int


class Bench(Protocol):
    """What runs inside a process."""

    def prepare(self, method: str, case: Any, trials: int) -> Ready:
        """Makes `trials` trainings ready, compiled and warm."""
        ...

    def run(self, method: str, steps: int) -> int:
        """Advances them, waits for the results, returns trial-steps done."""
        ...

    def drop(self) -> None:
        """Frees what was prepared."""
        ...


class Lap(NamedTuple):
    """One process's share of a round, seconds of the machine's one clock."""

    start: float
    end: float
    trial_steps: int


class Fault(NamedTuple):
    """Why a process could not do what it was asked."""

    reason: str


class WayError(RuntimeError):
    """A way of training does not work here; the message says why."""


class Group:
    """Equal processes that work at the same time.

    Args:
      bench: Import path of the `Bench`, as `module:class`.
      processes: How many.
      settings: Keyword arguments of the class.
      ranked: Also tell each process its number and how many there are, as
        `rank` and `processes`.
    """

    def __init__(
        self,
        bench: str,
        processes: int,
        settings: Mapping[str, Any],
        *,
        ranked: bool = False,
    ):
        context = multiprocessing.get_context("spawn")
        # Kept here, because a barrier that nobody holds is gone before the
        # processes have read it.
        self._barrier = context.Barrier(processes, timeout=_PATIENCE)
        self._lost = ""
        self._links: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(processes):
            here, there = context.Pipe()
            place = {"rank": rank, "processes": processes} if ranked else {}
            process = context.Process(
                target=_serve,
                args=(there, self._barrier.wait, bench, {**settings, **place}),
            )
            process.start()
            there.close()
            self._links.append(here)
            self._processes.append(process)

    def prepare(self, method: str, case: Any, trials: int) -> Ready:
        """Makes a method ready in every process; the slowest counts.

        Raises:
          WayError: It failed in a process.
        """
        replies = self._ask("prepare", method, case, trials)
        return Ready(
            compile_seconds=max(reply.compile_seconds for reply in replies),
            parameters=replies[0].parameters,
            trials=sum(reply.trials for reply in replies),
        )

    def laps(self, method: str, steps: int) -> list[Lap]:
        """Lets all processes run from one start; returns each one's share.

        Raises:
          WayError: It failed in a process.
        """
        return self._ask("run", method, steps)

    def rate(self, method: str, steps: int) -> float:
        """Returns trial-steps a second, summed over the processes.

        Raises:
          WayError: It failed in a process.
        """
        laps = self.laps(method, steps)
        return sum(lap.trial_steps / (lap.end - lap.start) for lap in laps)

    def call(self, verb: str, *operands: Any) -> list[Any]:
        """Calls a further method in every process; returns their answers.

        Raises:
          WayError: It failed in a process.
        """
        return self._ask("call", verb, *operands)

    def drop(self) -> None:
        """Frees what was prepared, where there is a process left to do so."""
        with contextlib.suppress(WayError):
            self._ask("drop")

    def close(self) -> None:
        """Ends the processes."""
        for link in self._links:
            link.close()
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()
                process.join()

    def _ask(self, verb: str, *operands: Any) -> list[Any]:
        if self._lost:
            raise WayError(self._lost)
        try:
            for link in self._links:
                link.send((verb, *operands))
            replies = [_receive(link) for link in self._links]
        except (EOFError, OSError) as fault:
            # Answers that are still under way would be taken for later ones.
            self._lost = f"{type(fault).__name__} of a process during {verb}"
            raise WayError(self._lost) from fault
        for reply in replies:
            if isinstance(reply, Fault):
                raise WayError(reply.reason)
        return replies


def _receive(link: Connection) -> Any:
    if not link.poll(_PATIENCE):
        raise TimeoutError
    return link.recv()


def _serve(
    link: Connection, wait: Callable[[], int], path: str, settings: dict[str, Any]
) -> None:
    """Answers requests until the other end closes; faults are sent as text."""
    bench: Bench | None = None
    while True:
        try:
            verb, *operands = link.recv()
        except EOFError:
            return
        reply: Any = None
        try:
            if bench is None and verb != "drop":
                module, _, name = path.partition(":")
                bench = getattr(importlib.import_module(module), name)(**settings)
            if bench is not None:
                reply = _answer(bench, wait, verb, operands)
        # Any fault of a library under test is a finding, not the race's end.
        except Exception as fault:
            reply = Fault(_first_line(fault))
        link.send(reply)


def _answer(
    bench: Bench, wait: Callable[[], int], verb: str, operands: list[Any]
) -> Any:
    if verb == "prepare":
        return bench.prepare(*operands)
    if verb == "drop":
        return bench.drop()
    if verb == "call":
        return getattr(bench, operands[0])(*operands[1:])
    # After a pause the first steps are slower; a training has no pauses.
    bench.run(operands[0], WARM_UP_STEPS)
    wait()
    start = time.perf_counter()
    trial_steps = bench.run(*operands)
    return Lap(start, time.perf_counter(), trial_steps)


def _first_line(fault: Exception) -> str:
    line = next((text for text in str(fault).splitlines() if text.strip()), "")
    return f"{type(fault).__name__}: {line.strip()}"[:200]
