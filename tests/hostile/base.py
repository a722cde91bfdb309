"""Sound input of which kinds are made: copied, then spoilt."""

import functools
import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.data import folders, study_folders

IMAGE, LABEL = "imagesTr/c01_0000.nii.gz", "labelsTr/c01.nii.gz"
MSD_IMAGE = "imagesTr/c01.nii.gz"
CASES = 9


@functools.cache
def _templates() -> Path:
    """A folder with one sound dataset of each layout, made once a process."""
    kept = tempfile.TemporaryDirectory(prefix="slicebench-hostile-")
    # Kept alive with the process; removed when it ends.
    _KEPT.append(kept)
    root = Path(kept.name)
    folders.write_nnunet(root / "nnunet", CASES, slice_axis=2)
    folders.write_msd(root / "msd", CASES, slice_axis=2)
    study_folders.write_duke(root / "duke", CASES)
    return root


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def template(layout: str) -> Path:
    """Returns a sound dataset that nobody may change."""
    return _templates() / layout


def copy(layout: str, folder: Path) -> Path:
    """Copies a sound dataset into a folder `D`."""
    shutil.copytree(template(layout), folder / "D")
    return folder / "D"


def spoilt(
    change: Callable[[Path], Any], layout: str = "nnunet"
) -> Callable[[Path], list[str]]:
    """Returns what makes a dataset and changes it."""

    def make(folder: Path) -> list[str]:
        dataset = copy(layout, folder)
        change(dataset)
        return [str(dataset)]

    return make


def content(path: str, data: bytes, layout: str = "nnunet") -> Any:
    """A file gets other bytes."""
    return spoilt(lambda folder: (folder / path).write_bytes(data), layout)


def array(path: str, make: Callable[[np.ndarray, np.ndarray], Any], **how: Any) -> Any:
    """A file gets another array, made of image and label of its case."""

    def change(folder: Path) -> None:
        image, label = folders.draw_case(1)
        folders.save(folder / path, make(image, label), **how)

    return spoilt(change)


def header(path: str, **fields: Any) -> Any:
    """Header fields of a file are changed."""

    def change(folder: Path) -> None:
        plain = bytearray(unpacked(folder / path))
        found = nib.Nifti1Header(bytes(plain[:348]), check=False)
        for name, value in fields.items():
            found[name] = value
        plain[:348] = found.binaryblock
        (folder / path).write_bytes(gzip.compress(bytes(plain)))

    return spoilt(change)


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def declared(layout: str = "nnunet", **changes: Any) -> Any:
    """Entries of dataset.json are changed; None removes one."""

    def change(folder: Path) -> None:
        path = folder / "dataset.json"
        document = json.loads(path.read_text()) | changes
        document = {key: value for key, value in document.items() if value is not None}
        path.write_text(json.dumps(document))

    return spoilt(change, layout)


def entry(**changes: Any) -> Any:
    """The second training entry of a Decathlon dataset is changed."""

    def change(folder: Path) -> None:
        path = folder / "dataset.json"
        document = json.loads(path.read_text())
        document["training"][1] |= changes
        path.write_text(json.dumps(document))

    return spoilt(change, "msd")


def replaced(path: str, make: Callable[[Path], Any], layout: str = "nnunet") -> Any:
    """A file is removed and something else made in its place."""

    def change(folder: Path) -> None:
        (folder / path).unlink()
        make(folder / path)

    return spoilt(change, layout)


def linked(path: str, target: str, layout: str = "nnunet") -> Any:
    """A file is replaced by a link."""
    return replaced(path, lambda place: os.symlink(target, place), layout)
