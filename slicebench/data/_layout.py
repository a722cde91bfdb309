"""What a published data set's own folder layout is described by."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple


class CaseFiles(NamedTuple):
    """Files of one case.

    Attributes:
      name: Case name.
      images: One file a channel, or one file or DICOM folder with all channels.
      label: File of integer labels.
      overlays: Further label files, painted over the first in this order.
      group: Patient; None where groups.csv or the case name says it.
    """

    name: str
    images: tuple[pathlib.Path, ...]
    label: pathlib.Path
    overlays: tuple[pathlib.Path, ...] = ()
    group: str | None = None


class Layout(NamedTuple):
    """A data set that is recognised by its published folder and file names.

    Attributes:
      name: Data set name in tables and records.
      expects: What is looked for, on one line.
      instructions: Where to get the files and how to lay them out.
      channels: Channel names.
      labels: Foreground class names and label values as read.
      regions: Names of joined labels, for `--target_labels`.
      flip: Whether mirroring left to right keeps every class's meaning.
      attribution: Licence, citation and source on one line.
      matches: Whether a folder is laid out like this.
      scan: Finds the cases; appends one clause for each fault.
    """

    name: str
    expects: str
    instructions: str
    channels: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    regions: tuple[tuple[str, tuple[int, ...]], ...]
    flip: bool
    attribution: str
    matches: Callable[[pathlib.Path], bool]
    scan: Callable[[pathlib.Path, list[str]], list[CaseFiles]]
