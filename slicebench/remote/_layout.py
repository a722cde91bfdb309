"""Which files of a work folder are mirrored, and what they are."""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

TABLES = ("experiment.json", "compute.json", "looks.json")
REPORT = ("summary.json", "report.html", "tables", "figures")
WEIGHTS = "checkpoints/final"
_TREES = ("examples", "features", "tensorboard")
_BATCH = re.compile(r"checkpoints/(batch-[^/]+)/(\d+)\.(tar|json)")

Mark = tuple[int, int, int]
"""Time of change, size and number of a file or folder: another one is another file."""


def is_part(name: str, folder: str) -> bool:
    """Whether a name is that of a part that counts."""
    return name.startswith(f"{folder}/part-") and name.endswith(".parquet")


def checkpoint_of(name: str) -> tuple[str, int, str] | None:
    """Returns batch, step and kind of a checkpoint's file in a place."""
    match = _BATCH.fullmatch(name)
    return (match[1], int(match[2]), match[3]) if match else None


def mark_of(path: Path) -> Mark | None:
    """Returns a file's mark; None if it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def scan(
    folder: Path, known_weights: Collection[tuple[str, Mark | None]], *, report: bool
) -> dict[str, Mark]:
    """Lists a work folder's files that belong in a place.

    Trials come first: what is listed after them is complete for each of them.

    Args:
      folder: Work folder.
      known_weights: Folders of final weights that need not be looked into.
      report: Whether the report's files are among them.
    """
    roots = ["trials", "results", *_TREES, *TABLES, *(REPORT if report else ())]
    found: dict[str, Mark] = {}
    for root in roots:
        found |= _files(folder, root)
    for name in _names(folder / WEIGHTS):
        inner = f"{WEIGHTS}/{name}"
        if (inner, mark_of(folder / inner)) not in known_weights:
            found |= _files(folder, inner)
    return found


def steps_here(folder: Path) -> dict[str, list[int]]:
    """Returns steps of the checkpoints of every batch, in order."""
    root = folder / "checkpoints"
    return {
        batch: sorted(int(n) for n in _names(root / batch) if n.isdecimal())
        for batch in _names(root)
        if batch.startswith("batch-")
    }


def _names(folder: Path) -> list[str]:
    """Names in a folder, but for those of files that are being written."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(n for n in names if n[0] != "." and "checkpoint-tmp" not in n)


def _files(folder: Path, root: str) -> Iterator[tuple[str, Mark]]:
    path = folder / root
    if path.is_dir():
        for name in _names(path):
            yield from _files(folder, f"{root}/{name}")
    else:
        mark = mark_of(path)
        if mark is not None:
            yield root, mark
