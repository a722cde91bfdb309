"""Keeps compiled programs between runs, with jax's persistent compilation cache.

jax writes an entry straight under its name and without a lock, so a killed
process would leave half an entry that is never replaced. Here every process
therefore has a folder of its own, filled with links to what is kept; finished
entries are moved to the others by one rename, and those of a killed process
are thrown away with its folder.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from slicebench import spec
from slicebench.data.cache import cache_folder
from slicebench.errors import InputError
from slicebench.runner.plan_cache import machine, versions

_log = logging.getLogger(__name__)

MOST_BYTES = 2_000_000_000
"""Size of all kept programs; the oldest go first."""

_OWN = "running-"
_HIT = "/jax/compilation_cache/cache_hits"
_DIRECTORY = "jax_compilation_cache_dir"
_EXTRA = "jax_persistent_cache_enable_xla_caches"


class CompiledPrograms:
    """The kept programs as one process sees them.

    Attributes:
      hits: Programs that were read instead of compiled.
    """

    def __init__(self, kept: Path | None, own: Path | None):
        """Links what is kept into the process's own folder.

        Args:
          kept: Folder of finished entries; None if nothing is kept here.
          own: Folder of this process, given to jax.
        """
        self.hits = 0
        self._kept, self._own = kept, own
        if kept is not None and own is not None:
            for entry in kept.glob("*-cache"):
                _link(entry, own / entry.name)

    def publish(self) -> None:
        """Moves what this process has compiled to the kept programs."""
        if self._kept is None or self._own is None:
            return
        for entry in self._own.glob("*-cache"):
            if not (self._kept / entry.name).exists():
                name = f"{self._own.name}-{entry.name}"
                if _link(entry, self._own / name):
                    (self._own / name).replace(self._kept / entry.name)

    def count(self, event: str, **_details: Any) -> None:
        """Listens to jax's events."""
        self.hits += event == _HIT


def _link(source: Path, target: Path) -> bool:
    """Links or copies; an entry that has just been thrown out is left out."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError:
            target.unlink(missing_ok=True)
            return False
    return True


@contextlib.contextmanager
def compiled_programs() -> Iterator[CompiledPrograms]:
    """Lets jax keep what it compiles for more than a second.

    Nothing is changed where the user has chosen a folder (with
    JAX_COMPILATION_CACHE_DIR); where the cache folder cannot be written,
    nothing is kept.
    """
    with contextlib.ExitStack() as stack:
        programs = CompiledPrograms(None, None)
        if jax.config.values.get(_DIRECTORY) is None:
            programs = stack.enter_context(_own_folder())
        jax.monitoring.register_event_listener(programs.count)
        stack.callback(jax.monitoring.unregister_event_listener, programs.count)
        yield programs
        programs.publish()


@contextlib.contextmanager
def _own_folder() -> Iterator[CompiledPrograms]:
    try:
        root = cache_folder() / "compiled"
        # Code for one processor must never run on another.
        key = spec.digest([machine(), versions(), _cpu_features()])
        kept = root / key
        kept.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=_OWN, dir=root))
    except (OSError, InputError) as error:
        _log.warning("compiled programs are not kept (%s)", error)
        yield CompiledPrograms(None, None)
        return
    with (own / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        extra = jax.config.values.get(_EXTRA)
        try:
            clean(root)
            programs = CompiledPrograms(kept, own)
            # These would put the folder's path into every program's key.
            jax.config.update(_EXTRA, "")
            jax.config.update(_DIRECTORY, str(own))
            yield programs
        finally:
            jax.config.update(_DIRECTORY, None)
            jax.config.update(_EXTRA, extra)
            shutil.rmtree(own, ignore_errors=True)


def _cpu_features() -> list[str]:
    """What the processor can do, where the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(("flags", "Features"))})


def clean(root: Path, most_bytes: int = MOST_BYTES) -> None:
    """Removes folders of killed processes, and the oldest entries above a size."""
    for folder in root.glob(f"{_OWN}*"):
        if _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    entries: list[tuple[float, int, Path]] = []
    for path in root.glob("*/*-cache"):
        if not path.parent.name.startswith(_OWN):
            with contextlib.suppress(OSError):
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size


def _abandoned(folder: Path) -> bool:
    """Whether the process of a folder is gone: its lock went with it."""
    try:
        with (folder / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
