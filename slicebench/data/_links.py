"""Symbolic links that lead out of a dataset folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from slicebench.data import formats
from slicebench.data._layout import CaseFiles

FOLLOW = "SLICEBENCH_LINKS"
"""Environment variable that allows them with the value `follow`."""


def faults(folder: Path, cases: Iterable[CaseFiles]) -> list[str]:
    """Names files of a dataset that lie elsewhere.

    An unpacked archive may hold links to anything that its reader can read; whoever
    has made links on purpose says so in the environment, not in the folder.

    Args:
      folder: Dataset folder; it may be a link itself.
      cases: Files of each case.

    Returns:
      One clause for each file that a link leads out of the folder.
    """
    if os.environ.get(FOLLOW) == "follow":
        return []
    root = Path(os.path.realpath(folder))
    paths = [folder / "dataset.json", folder / "groups.csv"]
    for case in cases:
        for path in (*case.images, case.label, *case.overlays):
            paths += [path, *formats.files_of(path)]
    return [
        f"{path.relative_to(folder).as_posix()} is a link that leads out of the "
        f"dataset folder; put the file there, or set {FOLLOW}=follow if the links are "
        "your own"
        for path in dict.fromkeys(paths)
        if not Path(os.path.realpath(path)).is_relative_to(root)
    ]
