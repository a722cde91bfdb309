"""Opening a volume's file, whatever its format, as voxels and affine.

NIfTI files are the rule; a folder is a DICOM series and `.seg.nrrd` a 3D
Slicer segmentation, both in published layouts only.
"""

import hashlib
import pathlib
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Float64

from slicebench.data import dbc, dicom, nifti
from slicebench.errors import read_regular

_MAX_SHIFT = 0.1
"""Largest distance between voxel centres that count as one, in voxels."""


class Stored(NamedTuple):
    """Voxels in stored order, and the map from their indices to world mm (RAS+)."""

    array: np.ndarray
    affine: Float64[np.ndarray, "4 4"]


def files_of(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The files behind a path: itself, or those of a DICOM series folder."""
    return dicom.series_files(path) if path.is_dir() else (path,)


def read_header(
    path: pathlib.Path,
) -> tuple[tuple[int, ...], Float64[np.ndarray, "4 4"]]:
    """Returns stored shape and affine without reading voxels.

    Raises:
      nifti.READ_ERRORS: Not a sound file.
    """
    if path.is_dir():
        shape, affine, _ = dicom.read_geometry(path)
        return shape, affine
    opened: Any = nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    return tuple(opened.shape), np.asarray(opened.affine, np.float64)


def read(path: pathlib.Path) -> Stored:
    """Reads a file that was validated before.

    Raises:
      nifti.READ_ERRORS: Not a sound file.
    """
    if path.is_dir():
        return Stored(*dicom.read_series(path))
    if path.name.endswith(".nrrd"):
        return Stored(*dbc.read_mask(path))
    opened: Any = nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    return Stored(np.asanyarray(opened.dataobj), np.asarray(opened.affine, np.float64))


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, or of the names and contents of a series.

    Raises:
      OSError: It cannot be read.
    """
    found = hashlib.sha256()
    for file in files_of(path):
        if path.is_dir():
            found.update(file.name.encode() + b"\0")
        found.update(file.read_bytes())
    return found.hexdigest()


def read_checked(path: pathlib.Path) -> tuple[str, Stored]:
    """Reads any file and returns its digest, voxels and affine.

    Raises:
      OSError: It cannot be read.
      nifti.READ_ERRORS: With the reason, where it is not a sound file.
    """
    if path.is_dir() or path.name.endswith(".nrrd"):
        return digest(path), read(path)
    content = read_regular(path, nifti.MAX_FILE)
    stored = nifti.parse(content, compressed=path.suffix == ".gz")
    return hashlib.sha256(content).hexdigest(), Stored(
        np.asanyarray(stored.dataobj), np.asarray(stored.affine, np.float64)
    )


def align(
    stored: Stored, shape: tuple[int, ...], affine: Float64[np.ndarray, "4 4"]
) -> np.ndarray:
    """Moves labels with another axis order or extent onto an image's grid.

    Axes are permuted and reversed and the block is put in place; nothing is
    interpolated.

    Args:
      stored: Labels and their affine.
      shape: Shape of the image.
      affine: Its map from indices to world mm.

    Raises:
      ValueError: The grids do not coincide, or labelled voxels lie outside.
    """
    steps = np.linalg.solve(affine, stored.affine)
    turn, offset = np.rint(steps[:3, :3]), np.rint(steps[:3, 3])
    ends = np.array([*np.ndindex(2, 2, 2)]) * (np.array(stored.array.shape) - 1)
    places = ends @ turn.T + offset
    off = np.abs(ends @ steps[:3, :3].T + steps[:3, 3] - places).max()
    if off > _MAX_SHIFT or not np.array_equal(turn @ turn.T, np.eye(3)):
        raise ValueError("its voxels do not coincide with those of the image")
    array = np.transpose(stored.array, np.abs(turn).argmax(axis=1))
    array = np.flip(array, tuple(np.flatnonzero(turn.sum(axis=1) < 0).tolist()))
    first = places.min(axis=0).astype(int)
    last = np.minimum(first + array.shape, shape)
    low = np.maximum(first, 0)
    target = tuple(slice(a, max(a, b)) for a, b in zip(low, last, strict=True))
    source = tuple(
        slice(part.start - begin, part.stop - begin)
        for part, begin in zip(target, first, strict=True)
    )
    placed = np.zeros(shape, array.dtype)
    if last.min() > 0 and (last > low).all():
        placed[target] = array[source]
    if np.count_nonzero(placed) != np.count_nonzero(array):
        raise ValueError("labelled voxels lie outside the image")
    return placed
