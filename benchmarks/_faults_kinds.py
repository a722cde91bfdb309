"""Kinds of fault: each disturbs one run and says what happened."""

import contextlib
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks._faults_run import Run

_CHECKPOINT = "checkpoints/batch-*/[0-9]*"
_PART = "trials/part-*.parquet"
_TRIES = 5

_JUMPS = """
import time

_now, _start = time.time, time.time()


def _jumping():
    passed = _now() - _start
    return _now() + (86400.0 if 4 < passed < 8 else -86400.0 if passed >= 8 else 0.0)


time.time = _jumping
"""


class NotPossibleError(RuntimeError):
    """This machine does not allow to make the fault."""


def _told(run: Run, status: int) -> str:
    return f"status {status}: {run.last_line()}".replace(str(run.workdir), "WORKDIR")


def _signalled(number: signal.Signals) -> Callable[[Run], str]:
    def make(run: Run) -> str:
        process = run.start()
        run.wait_for(process, _CHECKPOINT)
        process.send_signal(number)
        status = run.wait(process)
        if status not in (0, 128 + number):
            raise RuntimeError(_told(run, status))
        return _told(run, status)

    return make


def _killed_with_checkpoint(run: Run) -> list[Path]:
    """Kills the run while a complete checkpoint is there; returns its files.

    Raises:
      RuntimeError: Whenever it was killed there was none.
    """
    for _ in range(_TRIES):
        process = run.start()
        run.wait_for(process, _CHECKPOINT, _complete)
        process.kill()
        process.wait()
        # Those that are being written have a longer name.
        folders = [path for path in run.workdir.glob(_CHECKPOINT) if _complete(path)]
        files = [path for folder in folders for path in folder.rglob("*")]
        if found := [path for path in files if path.is_file()]:
            return found
    raise RuntimeError(f"no complete checkpoint after {_TRIES} kills")


def _complete(path: Path) -> bool:
    return path.name.isdecimal()


def _killed_with_part(run: Run) -> None:
    process = run.start()
    run.wait_for(process, _PART)
    process.kill()
    process.wait()


def cut_checkpoint(run: Run) -> str:
    """Every file of every checkpoint loses its second half."""
    files = _killed_with_checkpoint(run)
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return f"{len(files)} files cut in half; set aside, begun again"


def empty_checkpoint(run: Run) -> str:
    """Every file of every checkpoint is removed."""
    files = _killed_with_checkpoint(run)
    for path in files:
        path.unlink()
    return f"{len(files)} files removed; set aside, begun again"


def _damaged_part(folder: str, *, missing: bool) -> Callable[[Run], str]:
    def make(run: Run) -> str:
        _killed_with_part(run)
        path = next((run.workdir / folder).glob("part-*.parquet"))
        if missing:
            path.unlink()
            return "set aside with its other half; trained again"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return "set aside with its other half; trained again"

    return make


def two_at_once(run: Run) -> str:
    """A second process on the same work folder."""
    process = run.start()
    run.wait_for(process, ".lock")
    log, run.log = run.log, run.log.with_name("second")
    status = run.wait(run.start())
    note = _told(run, status)
    run.log = log
    if status != 2 or run.wait(process) != 0:
        raise RuntimeError(note)
    return f"second process: {note}"


def stale_lock(run: Run) -> str:
    """A lock file whose process is gone."""
    run.workdir.mkdir()
    (run.workdir / ".lock").write_text("99999999")
    return "recognised: the lock goes with its process"


def clock_jumps(run: Run) -> str:
    """The clock of the day jumps a day ahead after 4 s, and two back after 8 s."""
    folder = run.workdir.parent / "jumps"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_JUMPS)
    status = run.wait(run.start(environment={"PYTHONPATH": f"{folder}:."}))
    if status != 0:
        raise RuntimeError(_told(run, status))
    return "ended well"


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    """Puts a file system of its own under a new folder, for as long as it lasts."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode != 0:
        raise NotPossibleError("mounting needs rights that are not there")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def disk_full(run: Run) -> str:
    """A file system of 256 KiB under the work folder."""
    with _mounted(run.workdir, "size=256k"):
        status = run.wait(run.start())
        note = _told(run, status)
        kept = run.workdir.parent / "kept"
        shutil.copytree(run.workdir, kept)
    run.workdir.rmdir()
    kept.rename(run.workdir)
    if status == 0:
        raise NotPossibleError("256 KiB are enough for this run")
    return note


def file_too_large(run: Run) -> str:
    """No file may grow beyond 16 KiB: writing fails half way."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))

    process = run.start(prepare=limit)
    status = run.wait(process)
    if status == 0:
        raise RuntimeError("the limit was not met")
    return _told(run, status)


def little_memory(run: Run) -> str:
    """An address space of 2.5 GiB."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (5 << 29, 5 << 29))

    return _told(run, run.wait(run.start(prepare=limit)))


def read_only(run: Run) -> str:
    """A work folder on a file system that is mounted read-only."""
    with _mounted(run.workdir, "ro"):
        status = run.wait(run.start())
    if status != 2:
        raise RuntimeError(_told(run, status))
    return _told(run, status)


KINDS: dict[str, Callable[[Run], str]] = {
    "SIGINT while training": _signalled(signal.SIGINT),
    "SIGTERM while training": _signalled(signal.SIGTERM),
    "checkpoint cut in half": cut_checkpoint,
    "checkpoint emptied": empty_checkpoint,
    "trials part cut in half": _damaged_part("trials", missing=False),
    "results part cut in half": _damaged_part("results", missing=False),
    "results part missing": _damaged_part("results", missing=True),
    "trials part missing": _damaged_part("trials", missing=True),
    "two processes on one work folder": two_at_once,
    "stale lock": stale_lock,
    "clock of the day jumps": clock_jumps,
    "disk full (file system of 256 KiB)": disk_full,
    "disk full (files of at most 16 KiB)": file_too_large,
    "little memory (2.5 GiB of addresses)": little_memory,
    "read-only work folder": read_only,
}
"""By what is said in the table; `make` returns a note, and the run is finished then."""
