"""Who may write in a work folder: locks that go with their process, however it ends.

Workers hold a shared lock for as long as they live, so that a run that begins never
cleans up under the workers of an earlier one; a batch is trained under a lock of its
own, so that a worker that was given up for lost, but is not, and its successor never
write the same checkpoints.
"""

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from slicebench.errors import InputError

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 120.0
"""How long a run waits for the workers of an earlier one to end."""

_RUN = ".lock"
_WORKERS = ".workers"


@contextlib.contextmanager
def only_one(workdir: Path, patience: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Holds the work folder for a run, once no worker of an earlier one is left.

    Args:
      workdir: Work folder; it is made if it is not there.
      patience: Seconds to wait for the workers of an earlier run.

    Raises:
      InputError: The folder cannot be written, or another process runs there.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = (workdir / _RUN).open("w")
    except OSError as error:
        raise InputError(
            f"--workdir={workdir}: cannot be written ({error.strerror}); give a folder "
            "that can be made or written"
        ) from None
    with lock as file:
        if not _locked(file, fcntl.LOCK_EX):
            raise InputError(
                f"--workdir={workdir}: another process runs there; wait for it or "
                "use another folder"
            )
        _wait_for_workers(workdir, patience)
        yield


def _wait_for_workers(workdir: Path, patience: float) -> None:
    if not (workdir / _WORKERS).exists():
        return
    end = time.monotonic() + patience
    with (workdir / _WORKERS).open("r+") as file:
        told = False
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > end:
                raise InputError(
                    f"--workdir={workdir}: workers of an earlier run still train "
                    f"there after {patience:.0f} s; end them, or wait"
                )
            if not told:
                _log.warning("waiting for the workers of an earlier run to end")
                told = True
            time.sleep(_POLL_SECONDS)


def open_as_worker(workdir: Path) -> IO[str]:
    """Returns a file whose shared lock says that a worker lives, until it is closed.

    Raises:
      OSError: The folder cannot be written here.
      InputError: A run is cleaning up there.
    """
    file = (workdir / _WORKERS).open("a+")
    end = time.monotonic() + _PATIENCE_SECONDS
    while not _locked(file, fcntl.LOCK_SH):
        if time.monotonic() > end:
            file.close()
            raise InputError(f"--workdir={workdir}: another run holds it")
        time.sleep(_POLL_SECONDS)
    return file


@contextlib.contextmanager
def held(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Waits for a lock and holds it.

    Args:
      path: File of the lock; its folder is made if it is not there.
      check: Called while waiting; it raises to give up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        while not _locked(file, fcntl.LOCK_EX):
            check()
            time.sleep(_POLL_SECONDS)
        yield


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
