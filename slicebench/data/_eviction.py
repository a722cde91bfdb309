"""Bounds the cache: the least recently used tasks go first, never one in use.

Each entry has a file `lock`: held shared while the entry is read, exclusive
while it is removed; its time of change is the time of last use.
"""

import contextlib
import fcntl
import logging
import math
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from slicebench import errors

_log = logging.getLogger(__name__)

LOCK = "lock"
VARIABLE = "SLICEBENCH_CACHE_GB"
_DEFAULT = 20.0


def limit_bytes() -> int:
    """Largest size of all prepared tasks: $SLICEBENCH_CACHE_GB, else 20 GB.

    Raises:
      InputError: The variable is no number above 0.
    """
    given = os.environ.get(VARIABLE, "").strip()
    try:
        size = float(given) if given else _DEFAULT
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise errors.InputError(
            f"{VARIABLE}={given}: allowed is a number of gigabytes above 0"
        )
    return int(size * 1e9)


@contextlib.contextmanager
def using(entry: pathlib.Path) -> Iterator[bool]:
    """Holds an entry and marks it as used now.

    Gives whether the entry is there; another process may have removed it.
    """
    try:
        descriptor = os.open(entry / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        there = entry.exists()
        if there:
            os.utime(descriptor)
        yield there
    finally:
        os.close(descriptor)  # which releases the lock


def shrink(folder: pathlib.Path, limit: int, keep: pathlib.Path) -> None:
    """Removes the least recently used entries until all fit into a limit.

    Args:
      folder: Folder of entries.
      limit: Bytes.
      keep: Entry that stays, even where it alone exceeds the limit.
    """
    sizes = {
        path: _size(path)
        for path in folder.iterdir()
        if path.is_dir() and ".incomplete-" not in path.name
    }
    total = sum(sizes.values())
    for path in sorted(sizes, key=_last_use):
        if total <= limit:
            return
        if path != keep and _remove(path):
            total -= sizes[path]
            _log.info("%s: removed from the cache, least recently used", path)
    if total > limit:
        _log.warning(
            "%s: %.1f GB in use exceed the cache's limit of %.1f GB; raise %s",
            folder,
            total / 1e9,
            limit / 1e9,
            VARIABLE,
        )


def _remove(entry: pathlib.Path) -> bool:
    """Removes an entry unless a process holds it."""
    try:
        descriptor = os.open(entry / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        return True  # another process was faster
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Out of the way by one step: nobody sees half an entry.
        aside = entry.with_name(f"{entry.name}.incomplete-{uuid.uuid4().hex}")
        entry.rename(aside)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    finally:
        os.close(descriptor)
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _last_use(entry: pathlib.Path) -> float:
    for path in (entry / LOCK, entry):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


def _size(entry: pathlib.Path) -> int:
    total = 0
    for path in entry.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
