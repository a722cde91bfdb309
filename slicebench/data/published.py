"""Data sets that are recognised by their published layout.

They need no `dataset.json`; everything it would say is known. None of them is
downloaded: their licences ask each user to sign or to fetch for themselves.
"""

import pathlib

from slicebench import errors
from slicebench.data._layout import Layout
from slicebench.data.atlas import ATLAS_R2
from slicebench.data.dbc import DUKE_BREAST
from slicebench.data.lits import LITS17

LAYOUTS: dict[str, Layout] = {
    "lits17": LITS17,
    "atlas_r2": ATLAS_R2,
    "duke_breast": DUKE_BREAST,
}
"""Layouts by the name of their TFDS builder."""


def detect(folder: pathlib.Path) -> Layout:
    """Returns the published layout of a folder without `dataset.json`.

    Raises:
      InputError: None or several match; the message lists what was looked for.
    """
    found = [layout for layout in LAYOUTS.values() if layout.matches(folder)]
    if len(found) == 1:
        return found[0]
    looked = "; ".join(layout.expects for layout in LAYOUTS.values())
    if found:
        names = " and ".join(layout.name for layout in found)
        raise errors.InputError(
            f"{folder}: looks like {names}; give a folder that holds one data set"
        )
    raise errors.InputError(
        f"{folder}: no dataset.json, and no published layout is recognised. Looked "
        "for: dataset.json (nnU-Net v2 raw or Medical Segmentation Decathlon); "
        f"{looked}"
    )


def mismatch(folder: pathlib.Path, wanted: Layout, found: Layout) -> errors.InputError:
    """Says that a folder holds another data set than the one asked for."""
    return errors.InputError(
        f"{folder}: looks like {found.name}; expected {wanted.expects}. "
        f"{wanted.instructions}"
    )
