"""What a kind of hostile input is, and how it is tried."""

import contextlib
import dataclasses
import hashlib
import importlib
import io
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import absl.flags
from absl.testing import flagsaver

from slicebench.data import check
from tests import command

LONGEST = 60.0
"""Wall clock seconds after which a refusal counts as a hang.

Most take a tenth of one; the first of a process may import heavy libraries.
"""
MOST_MEMORY = 1 << 30
"""Bytes by which a refusal may raise the process's peak memory."""
NOBODY = 65534
_MOST_BYTES = 1 << 24

Make = Callable[[Path], list[str]]
"""Makes the input in an empty folder; returns the command's arguments."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of damaged or hostile input.

    Attributes:
      name: Short name.
      done: What was done, for the table.
      make: Makes the input.
      says: What the message must name; what the output must hold where it is taken.
      command: `check`, `main`, `report`, `predict` or `planning`.
      status: Exit status; 0 where such input is sound and must be taken.
      nobody: Whether the command runs as a user who may not read everything.
    """

    name: str
    done: str
    make: Make
    says: tuple[str, ...]
    command: str = "check"
    status: int = 2
    nobody: bool = False


@dataclasses.dataclass(frozen=True)
class Tried:
    """What came of one kind.

    Attributes:
      status: Exit status; None where the command raised something.
      message: Standard error of a refusal, output of what is taken.
      lost: Files that were there before and are gone or changed.
      seconds: How long the command took.
      memory: Bytes by which it raised the process's peak memory.
    """

    status: int | None
    message: str
    lost: int
    seconds: float
    memory: int

    def faults(self, kind: Kind) -> list[str]:
        """Returns what is not as promised."""
        found = []
        if self.status != kind.status:
            found.append(f"exit status {self.status}, not {kind.status}")
        if "Traceback" in self.message:
            found.append("a traceback")
        if kind.status == 2 and len(self.message.splitlines()) != 1:
            found.append(f"{len(self.message.splitlines())} lines, not 1")
        if kind.status == 2 and not self.message.isprintable():
            found.append("characters that do not print")
        found += [f"does not say {text!r}" for text in kind.says if not self.has(text)]
        if self.lost:
            found.append(f"{self.lost} files lost")
        if self.seconds > LONGEST:
            found.append(f"took {self.seconds:.0f} s")
        if self.memory > MOST_MEMORY:
            found.append(f"took {self.memory >> 20} MiB")
        return found

    def has(self, text: str) -> bool:
        return text in self.message


def attempt(kind: Kind, folder: Path) -> Tried:
    """Makes a kind of input in an empty folder and runs the command on it."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = kind.make(folder)
    before = _contents(folder)
    peak = _peak()
    start = time.monotonic()
    with _as_nobody(folder) if kind.nobody else contextlib.nullcontext():
        status, out, err = _COMMANDS[kind.command](arguments)
    seconds = time.monotonic() - start
    after = _contents(folder)
    return Tried(
        status=status,
        message=(err if kind.status else out).strip(),
        lost=sum(after.get(path) != digest for path, digest in before.items()),
        seconds=seconds,
        memory=_peak() - peak,
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _contents(folder: Path) -> dict[str, str]:
    """Digest of every ordinary file."""
    found = {}
    for root, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(root, name)
            if os.path.isfile(path) and os.path.getsize(path) < _MOST_BYTES:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[os.fsdecode(path)] = digest
    return found


@contextlib.contextmanager
def _as_nobody(folder: Path) -> Iterator[None]:
    """Root may read everything: another user tries it, where there is a root."""
    if os.geteuid() != 0:
        yield
        return
    # A user's temporary folder is closed to others.
    modes = {path: path.stat().st_mode for path in (folder, *folder.parents)}
    modes = {path: mode for path, mode in modes.items() if mode & 0o055 != 0o055}
    for path, mode in modes.items():
        path.chmod(mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


def _check(arguments: list[str]) -> tuple[int | None, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = check.main(arguments)
    return status, out.getvalue(), err.getvalue()


def _main(arguments: list[str]) -> tuple[int | None, str, str]:
    done = command.run(*arguments)
    # Beside what is wrong, the program's log says what it is doing.
    return done.status, done.out, "\n".join(done.errors)


def _module(name: str) -> Callable[[list[str]], tuple[int | None, str, str]]:
    def call(arguments: list[str]) -> tuple[int | None, str, str]:
        called = importlib.import_module(f"slicebench.{name}.__main__")
        out, err = io.StringIO(), io.StringIO()
        kept = flagsaver.save_flag_values(called.FLAGS)
        was_parsed = absl.flags.FLAGS.is_parsed()
        status: int | None = 0
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            command.quiet_logging(),
            mock.patch.object(sys, "argv", [name, *arguments]),
        ):
            try:
                called.run()
            except SystemExit as end:
                status = end.code or 0  # type: ignore[assignment]
        flagsaver.restore_flag_values(kept, called.FLAGS)
        if not was_parsed:
            absl.flags.FLAGS.unparse_flags()
        return status, out.getvalue(), err.getvalue()

    return call


_COMMANDS: dict[str, Callable[[list[str]], tuple[int | None, str, str]]] = {
    "check": _check,
    "main": _main,
    **{name: _module(name) for name in ("report", "predict", "planning")},
}


def remove(folder: Path) -> None:
    """Deletes what a kind has made, whatever its permissions."""
    shutil.rmtree(folder, ignore_errors=True)
