"""One volume on disk, its geometry, and how its files are read.

Arrays are returned with the slice axis first. Height and width are the two
other axes of the stored array in stored order, never flipped: where the slice
axis is 2, (depth, height, width) here is (height, width, depth) in the file.
Physical orientation stays in `affine`, which refers to the stored order.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes

from slicebench.data import formats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """One case without labels; voxels are read from disk at each call and not kept.

    Attributes:
      name: Case name.
      group: Patient; the case name where no grouping is given.
      image_paths: One file (or DICOM folder) a channel, or one file that holds
        all channels on its fourth axis.
      slice_axis: Axis of the stored array that runs over slices.
    """

    name: str
    group: str
    image_paths: tuple[pathlib.Path, ...]
    slice_axis: int

    @functools.cached_property
    def _header(self) -> tuple[tuple[int, ...], np.ndarray]:
        shape, affine = formats.read_header(self.image_paths[0])
        return shape[:3], affine

    @property
    def affine(self) -> Float64[np.ndarray, "4 4"]:
        """Map from indices of the stored array to world mm (RAS+)."""
        return self._header[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depth, height and width in voxels."""
        return slices_first(self._header[0], self.slice_axis)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along depth, height and width, in mm."""
        sizes = [float(size) for size in voxel_sizes(self.affine)]
        return slices_first(sizes, self.slice_axis)

    def load_image(self) -> Float32[np.ndarray, "channel depth height width"]:
        """Reads every channel."""
        channels: list[np.ndarray] = []
        for path in self.image_paths:
            channels.extend(split_channels(formats.read(path).array))
        moved = [np.moveaxis(channel, self.slice_axis, 0) for channel in channels]
        return np.stack(moved).astype(np.float32, order="C", copy=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volume(Scan):
    """One labelled case; further fields are those of `Scan`.

    Attributes:
      label_path: File of integer labels.
      overlay_paths: Further label files; where there are any, all label files
        are moved onto the image's grid and painted over each other in turn.
    """

    label_path: pathlib.Path
    overlay_paths: tuple[pathlib.Path, ...] = ()

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Every file or DICOM folder of the case, images first."""
        return *self.image_paths, self.label_path, *self.overlay_paths

    def load_label(self) -> UInt8[np.ndarray, "depth height width"]:
        """Reads the label values as stored (0 to 255)."""
        labels = [formats.read(path) for path in (self.label_path, *self.overlay_paths)]
        if self.overlay_paths:
            aligned = (formats.align(label, *self._header) for label in labels)
            stored = paint(aligned)
        else:
            stored = split_channels(labels[0].array)[0]
        moved = np.moveaxis(stored, self.slice_axis, 0)
        return np.ascontiguousarray(moved).astype(np.uint8)


def paint(labels: Iterable[np.ndarray]) -> np.ndarray:
    """Paints label maps of one grid over each other; later foreground stays."""
    painted, *over = labels
    for label in over:
        painted = np.where(label != 0, label, painted)
    return painted


def split_channels(array: np.ndarray) -> list[np.ndarray]:
    """Returns the 3-D channels of a stored 3-D array or 4-D, channels-last one."""
    if array.ndim == 3:
        return [array]
    return [array[..., channel] for channel in range(array.shape[3])]


def slices_first(values: Any, slice_axis: int) -> tuple[Any, Any, Any]:
    """Reorders three per-axis values to depth, height, width.

    >>> slices_first((35, 50, 36), 2)
    (36, 35, 50)
    """
    rest = [axis for axis in range(3) if axis != slice_axis]
    return values[slice_axis], values[rest[0]], values[rest[1]]


def axial_axis(affine: Float64[np.ndarray, "4 4"]) -> int | None:
    """Returns the array axis closest to the body's long axis (inferior-superior).

    Spacing plays no part: in thin-slice sets the in-plane spacing may be the
    larger one.

    Args:
      affine: Map from array indices to world mm (RAS+).

    Returns:
      The axis whose direction has the largest superior component, or None
      where two axes are within 5 % of each other, as in a 45 degree oblique.

    >>> axial_axis(np.diag([1.5, 1.5, 10.0, 1.0]))
    2
    """
    return _closest(affine, 2)


def left_right_axis(affine: Float64[np.ndarray, "4 4"]) -> int | None:
    """Returns the array axis closest to the body's left-right direction.

    Args:
      affine: Map from array indices to world mm (RAS+).

    Returns:
      The axis whose direction has the largest rightward component, or None
      where two axes are within 5 % of each other.

    >>> left_right_axis(np.diag([1.5, 1.5, 10.0, 1.0]))
    0
    """
    return _closest(affine, 0)


def mirror_axis(cases: Iterable[Scan]) -> Literal[1, 2] | None:
    """Returns the in-plane axis that runs left to right in every case.

    Returns:
      1 for height, 2 for width; None where left to right runs over slices, lies
      between axes, or is not the same axis in all cases: mirroring such planes
      would not exchange left and right.
    """
    places: tuple[Literal[1, 2] | None, ...] = (None, 1, 2)
    found: set[Literal[1, 2] | None] = set()
    for case in cases:
        axis = left_right_axis(case.affine)
        order = slices_first((0, 1, 2), case.slice_axis)
        found.add(None if axis is None else places[order.index(axis)])
    return found.pop() if len(found) == 1 else None


def orientation(cases: Iterable[Scan]) -> str | None:
    """Returns where depth, height and width lead in every case.

    Returns:
      Three letters of R, L, A, P, S and I (right, left, anterior, posterior, superior,
      inferior), nearest by affine, such as `SRA`; None where cases differ.
    """
    found = {
        "".join(slices_first(aff2axcodes(case.affine), case.slice_axis))
        for case in cases
    }
    return found.pop() if len(found) == 1 else None


def _closest(affine: Float64[np.ndarray, "4 4"], direction: int) -> int | None:
    sizes = voxel_sizes(affine)
    if not np.isfinite(affine).all() or not sizes.all():
        raise ValueError("affine is not finite and invertible")
    share = np.abs((affine[:3, :3] / sizes)[direction])
    second, first = np.sort(share)[1:]
    return int(np.argmax(share)) if second < 0.95 * first else None
