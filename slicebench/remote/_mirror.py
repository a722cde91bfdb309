"""Carries what a run writes from its local folder to a place."""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slicebench.errors import InputError
from slicebench.remote._layout import (
    REPORT,
    TABLES,
    WEIGHTS,
    Mark,
    checkpoint_of,
    is_part,
    mark_of,
    scan,
    steps_here,
)
from slicebench.remote._packing import pack
from slicebench.remote._parallel import in_parallel
from slicebench.remote._place import Place, RemoteError
from slicebench.results import read_json, write_json_atomic

__all__ = ["REPORT", "Mirror"]

_log = logging.getLogger(__name__)

_STATE = ".mirror.json"


class Mirror:
    """What a place has of a local work folder.

    Args:
      place: Where to.
      folder: Local work folder, whose lock this process holds.

    Attributes:
      known: Files that the place has as they are here.
      weights: Folders of final weights that the place has as they are here.
      checkpoints: Names of checkpoint files in the place.
      agreed: Parts of trials, and digests of JSON files, that were the same here and
        there at an earlier time; it outlives the process.
      identity: Name of this local folder among all.
    """

    def __init__(self, place: Place, folder: Path):
        self.place, self.folder = place, folder
        self.known: dict[str, Mark] = {}
        self.weights: set[tuple[str, Mark | None]] = set()
        self.checkpoints: set[str] = set()
        state = _read_state(folder / _STATE)
        self.identity = str(state.get("identity") or uuid.uuid4().hex)
        self.agreed: dict[str, str] = dict(state.get("agreed") or {})
        self._may: Callable[[], bool] = lambda: True
        self.keep_state()

    def only_while(self, may: Callable[[], bool]) -> None:
        """Nothing is changed in the place unless a function says that it may."""
        self._may = may

    def keep_state(self) -> None:
        """Notes what the next process must know of this folder."""
        state = {"identity": self.identity, "agreed": self.agreed}
        write_json_atomic(self.folder / _STATE, state)

    def note(self, name: str) -> None:
        """Notes that the place has a file as it is here."""
        path = self.folder / name
        mark = mark_of(path)
        if mark is None:
            return
        self.known[name] = mark
        if name in TABLES:
            self.agreed[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif is_part(name, "trials"):
            self.agreed[name] = ""

    def push(self, *, report: bool = False) -> None:
        """Makes the place like the folder, in an order that a kill cannot spoil.

        Scores come before the trials that make them count, and trials that were taken
        out go before others come.

        Args:
          report: Whether the report's files belong to it.

        Raises:
          RemoteError: Something could not be written; all of it stays here.
        """
        agreed = dict(self.agreed)
        here = scan(self.folder, self.weights, report=report)
        fresh = {name for name, mark in here.items() if self.known.get(name) != mark}
        trials = {name for name in fresh if is_part(name, "trials")}
        scores = {name for name in fresh if is_part(name, "results")}
        self._put(fresh - trials - scores, here)
        self._note_weights(here)
        gone = {n for n in self.known if n not in here and n.endswith(".parquet")}
        for folder in ("trials", "results"):
            out = {name for name in gone if is_part(name, folder)}
            if folder == "trials":
                out |= trials & self.known.keys()
            self._remove(out)
        self._put(scores, here)
        self._put(trials, here)
        self._push_checkpoints()
        if self.agreed != agreed:
            self.keep_state()

    def pending(self) -> int:
        """Returns how many files the place lacks."""
        here = scan(self.folder, self.weights, report=False)
        return sum(self.known.get(name) != mark for name, mark in here.items())

    def _put(self, names: Iterable[str], here: dict[str, Mark]) -> None:
        in_parallel(lambda name: self._put_one(name, here[name]), sorted(names))

    def _put_one(self, name: str, mark: Mark) -> None:
        self._check()
        path = self.folder / name
        content = path.read_bytes() if name in TABLES else None
        try:
            if content is None:
                self.place.put(path, name)
            else:
                self.place.write(name, content)
        except RemoteError:
            if path.exists():
                raise
            return  # Replaced or deleted meanwhile: the next time tells.
        self.known[name] = mark
        if content is not None:
            self.agreed[name] = hashlib.sha256(content).hexdigest()
        elif is_part(name, "trials"):
            self.agreed[name] = ""

    def _remove(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self._check()
            self.place.remove([name])
            self.known.pop(name, None)
            self.agreed.pop(name, None)

    def _check(self) -> None:
        if not self._may():
            raise RemoteError(f"{self.place.url}: the lease is not held")

    def _note_weights(self, here: dict[str, Mark]) -> None:
        """From now on, folders of weights that were copied are not looked into."""
        depth = WEIGHTS.count("/") + 2
        names = {"/".join(n.split("/")[:depth]) for n in here if n.startswith(WEIGHTS)}
        self.weights |= {(name, mark_of(self.folder / name)) for name in names}

    def _push_checkpoints(self) -> None:
        """Copies the newest checkpoint of every batch; older ones are deleted."""
        wanted: set[str] = set()
        for batch, found in steps_here(self.folder).items():
            if not found or self._is_finished(batch):
                continue
            name = f"checkpoints/{batch}/{found[-1]}"
            if f"{name}.json" in self.checkpoints or self._push_checkpoint(name):
                wanted |= {f"{name}.tar", f"{name}.json"}
            else:
                # It went away while it was read; what is there stays meanwhile.
                wanted |= {n for n in self.checkpoints if _batch(n) == batch}
        # A mark goes before what it stands for.
        for name in sorted(self.checkpoints - wanted):
            self._check()
            self.place.remove([name])
            self.checkpoints.discard(name)

    def _push_checkpoint(self, name: str) -> bool:
        """Copies a checkpoint, then the mark that it is complete."""
        self._check()
        folder = self.folder / name
        archive = self.folder / ".upload.tar"
        try:
            record = pack(folder, archive)
            # One of the newest two: no file of it was deleted while it was read.
            newest = steps_here(self.folder)[folder.parent.name][-2:]
            if int(folder.name) not in newest:
                return False
            self.checkpoints.add(f"{name}.tar")
            self.place.put(archive, f"{name}.tar")
            self.place.write(f"{name}.json", (json.dumps(record) + "\n").encode())
            self.checkpoints.add(f"{name}.json")
        except (OSError, KeyError):
            return False
        finally:
            archive.unlink(missing_ok=True)
        return True

    def _is_finished(self, batch: str) -> bool:
        part = batch.removeprefix("batch-")
        return (self.folder / f"trials/part-{part}.parquet").exists()


def _batch(name: str) -> str | None:
    found = checkpoint_of(name)
    return found[0] if found else None


def _read_state(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) if path.exists() else {}
    except InputError as error:
        _log.warning("%s: is made anew", error)
        return {}
