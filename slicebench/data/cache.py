"""Keeps prepared tasks and validation results between runs.

A task's folder is named by a digest of all that made it and appears by one
rename, so that a killed run leaves no half-written task. Nothing is pickled.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from slicebench import errors, spec
from slicebench.data import _eviction
from slicebench.data.prepared import PreparedCase

_log = logging.getLogger(__name__)

FORMAT = 1
"""Number of the cache layout and of all preprocessing code behind it."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
_ABANDONED = 24 * 3600.0
"""Age in seconds from which an unfinished entry is taken to be a killed run's."""

Sides = dict[str, tuple[PreparedCase, ...]]


class Generated(NamedTuple):
    """A task about to be written.

    Attributes:
      grid: Height and width.
      channels: Number of image channels.
      record: JSON-ready values kept beside the cases.
      sides: Prepared cases of each side, made as they are asked for.
    """

    grid: tuple[int, int]
    channels: int
    record: dict[str, Any]
    sides: dict[str, Iterator[PreparedCase]]


def cache_folder(given: str | pathlib.Path | None = None) -> pathlib.Path:
    """Returns the cache folder: as given, else $SLICEBENCH_CACHE, else ~/.cache.

    Raises:
      InputError: It cannot be made or written.
    """
    chosen = given or os.environ.get("SLICEBENCH_CACHE") or "~/.cache/slicebench"
    folder = pathlib.Path(chosen).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise errors.InputError(
            f"{folder}: the cache folder cannot be written ({error.strerror}); set "
            "SLICEBENCH_CACHE to a folder that can"
        ) from None
    return folder


def load_or_generate(
    folder: pathlib.Path, key: str, generate: Callable[[], Generated]
) -> tuple[Sides, dict[str, Any]]:
    """Reads a task from the cache, or makes and writes it first.

    A damaged entry is reported by a warning and made again. All tasks together
    stay below a limit (`_eviction.limit_bytes`); the least recently used go.

    Args:
      folder: Cache folder.
      key: Digest of everything that the task depends on.
      generate: Makes the task; called only when the cache lacks it.

    Returns:
      Cases by side, and the record kept beside them.
    """
    entry = folder / "tasks" / key
    limit = _eviction.limit_bytes()
    with _eviction.using(entry) as there:
        if there:
            try:
                return _read(entry)
            except _DAMAGE as error:
                _log.warning("%s: damaged cache entry is made again: %s", entry, error)
                shutil.rmtree(entry, ignore_errors=True)
    _write(entry, generate())
    with _eviction.using(entry):
        task = _read(entry)
    _eviction.shrink(entry.parent, limit, keep=entry)
    return task


def read_index(
    folder: pathlib.Path, subject: pathlib.Path, files: tuple[pathlib.Path, ...]
) -> dict[str, Any] | None:
    """Returns what was kept for a dataset folder whose files are unchanged.

    Files count as unchanged when path, size and time of change are the same.

    Args:
      folder: Cache folder.
      subject: Dataset folder.
      files: Every file that the kept values depend on.
    """
    try:
        kept = json.loads(_index_path(folder, subject).read_text(encoding="utf-8"))
        if kept["state"] == [FORMAT, _state(files)]:
            return kept["value"]
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _log.warning("%s: damaged index is made again: %s", subject, error)
    return None


def write_index(
    folder: pathlib.Path,
    subject: pathlib.Path,
    state: list[Any],
    value: dict[str, Any],
) -> None:
    """Keeps a JSON-ready value for a dataset folder.

    Args:
      folder: Cache folder.
      subject: Dataset folder.
      state: `file_state` of its files, taken before they were read.
      value: What to keep.
    """
    path = _index_path(folder, subject)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    temporary.write_text(json.dumps({"state": state, "value": value}))
    temporary.replace(path)


def file_state(files: tuple[pathlib.Path, ...]) -> list[Any]:
    """Returns path, size and time of change of files, and the layout number."""
    return [FORMAT, _state(files)]


def _state(files: tuple[pathlib.Path, ...]) -> list[list[Any]]:
    stats = [(path, path.stat()) for path in files]
    return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def _index_path(folder: pathlib.Path, subject: pathlib.Path) -> pathlib.Path:
    return folder / "index" / f"{spec.digest(str(subject.resolve()))}.json"


def _write(entry: pathlib.Path, generated: Generated) -> None:
    from slicebench.data import _builder

    entry.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(entry.parent)
    temporary = pathlib.Path(
        tempfile.mkdtemp(prefix=f"{entry.name}.incomplete-", dir=entry.parent)
    )
    try:
        _builder.write(temporary, generated.sides, generated.grid, generated.channels)
        task = {"record": generated.record, "files": _digests(temporary)}
        (temporary / "task.json").write_text(json.dumps(task))
        try:
            temporary.rename(entry)
        except OSError:
            # Another process may have finished the same task in the meantime.
            if not (entry / "task.json").exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: pathlib.Path) -> None:
    for path in folder.glob("*.incomplete-*"):
        # Another process may remove or finish it in the same moment.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _read(entry: pathlib.Path) -> tuple[Sides, dict[str, Any]]:
    from slicebench.data import _builder

    task = json.loads((entry / "task.json").read_text())
    if _digests(entry) != task["files"]:
        raise ValueError("files differ from what was written")
    return _builder.read(entry), task["record"]


def _digests(entry: pathlib.Path) -> dict[str, str]:
    """SHA-256 of each file of an entry but task.json and the lock."""
    found: dict[str, str] = {}
    for path in sorted(entry.rglob("*")):
        if path.is_file() and path.name not in ("task.json", _eviction.LOCK):
            with path.open("rb") as file:
                value = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(entry).as_posix()] = value
    return found
