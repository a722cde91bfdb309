"""New scans as the networks know them: turned alike, and refused where they cannot be.

A network has seen its training scans in stored order. A scan whose axes run to other
sides of the body would reach it mirrored or lying on its side, so it is turned by whole
axes first; nothing is interpolated, and predictions are turned back.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from nibabel.orientations import aff2axcodes

from slicebench.data.scans import find_scans
from slicebench.data.volumes import Scan, slices_first
from slicebench.errors import InputError, gather
from slicebench.predict.weights import Trained
from slicebench.results import read_json

SLICE_RATIO = 2.0
"""Largest ratio of slice spacings between a scan and training, for 3D networks."""
COARSER = 2.0
"""Largest ratio of a scan's in-plane spacing to the grid's."""
FIELD = (0.25, 1.5)
"""A scan's extent in plane over the grid's."""
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TurnedScan(Scan):
    """A scan read along other axes; further fields are those of `Scan`.

    Attributes:
      axes: Stored axes that run over depth, height and width.
      flips: Which of the three are read backwards.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool] = (False, False, False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depth, height and width in voxels."""
        return self._turned(slices_first((0, 1, 2), self.slice_axis), super().shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along depth, height and width, in mm."""
        return self._turned(slices_first((0, 1, 2), self.slice_axis), super().spacing)

    def _turned(
        self, order: tuple[int, int, int], values: tuple[Any, Any, Any]
    ) -> tuple[Any, Any, Any]:
        depth, height, width = (values[order.index(axis)] for axis in self.axes)
        return depth, height, width

    def load_image(self) -> Float32[np.ndarray, "channel depth height width"]:
        """Reads every channel, turned."""
        image = np.moveaxis(super().load_image(), 1, 1 + self.slice_axis)
        moved = image.transpose(0, *(1 + axis for axis in self.axes))
        return np.ascontiguousarray(np.flip(moved, self._backwards(1)))

    def to_stored(
        self, label: UInt8[np.ndarray, "depth height width"]
    ) -> UInt8[np.ndarray, "first second third"]:
        """Turns a label map back to the order of the file."""
        plain = np.flip(label, self._backwards(0))
        return np.ascontiguousarray(plain.transpose(np.argsort(self.axes)))

    def _backwards(self, first: int) -> tuple[int, ...]:
        return tuple(first + int(place) for place in np.flatnonzero(self.flips))


def turned(scan: Scan, orientation: str | None) -> TurnedScan:
    """Returns a scan as training scans of an orientation were read.

    Args:
      scan: As it is stored.
      orientation: Where depth, height and width have to lead, see
        `volumes.orientation`; None leaves stored order.
    """
    axes = slices_first((0, 1, 2), scan.slice_axis)
    flips = (False, False, False)
    if orientation is not None:
        codes = aff2axcodes(scan.affine)
        places = {code: axis for axis, code in enumerate(codes)}
        places |= {_OPPOSITE[code]: axis for axis, code in enumerate(codes)}
        depth, height, width = (places[letter] for letter in orientation)
        axes = (depth, height, width)
        back = [
            codes[axis] != letter
            for axis, letter in zip(axes, orientation, strict=True)
        ]
        flips = (back[0], back[1], back[2])
    return TurnedScan(
        name=scan.name,
        group=scan.group,
        image_paths=scan.image_paths,
        slice_axis=scan.slice_axis,
        axes=axes,
        flips=flips,
    )


def find_turned_scans(
    folder: Path,
    trained: Trained,
    *,
    slice_axis: int | None = None,
    any_spacing: bool = False,
) -> tuple[TurnedScan, ...]:
    """Finds the scans of a folder and checks that the networks can know them.

    Args:
      folder: NIfTI files, or a dataset folder with `imagesTr`.
      trained: Networks and their training.
      slice_axis: Stored axis over slices, where training did not record directions.
      any_spacing: Whether scans of very different spacing or extent are taken.

    Raises:
      InputError: With every fault found.
    """
    _check_names(folder, trained)
    found = find_scans(
        folder,
        slice_axis=trained.slice_axis if slice_axis is None else slice_axis,
        channels=trained.channels,
    )
    scans = tuple(turned(scan, trained.orientation) for scan in found.scans)
    faults = (
        [] if any_spacing else [f for scan in scans for f in _faults(scan, trained)]
    )
    if faults:
        raise gather(f"{found.folder} (--any_spacing goes on anyway)", faults)
    return scans


def _check_names(folder: Path, trained: Trained) -> None:
    """Refuses a dataset.json that names other channels, or the same in another order.

    Raises:
      InputError: It does.
    """
    for place in (folder, folder.parent):
        path = place / "dataset.json"
        if not path.is_file():
            continue
        content = read_json(path)
        declared = content.get("channel_names") or content.get("modality")
        if isinstance(declared, dict) and declared:
            names = tuple(str(name) for name in declared.values())
            if names != trained.channels:
                raise InputError(
                    f"{path}: channels {', '.join(names)}; the networks were trained "
                    f"on {', '.join(trained.channels)}"
                )
        return


def _faults(scan: TurnedScan, trained: Trained) -> list[str]:
    """Says where a scan is so unlike training that its units may be wrong."""
    faults: list[str] = []
    depth, *plane = scan.spacing
    usual = trained.spacing[0]
    if trained.program.dims == "3d" and not _within(depth / usual, SLICE_RATIO):
        faults.append(
            f"{scan.name}: {depth:.3g} mm between slices, in training {usual:.3g} mm; "
            f"a 3D network allows a factor of {SLICE_RATIO:g}"
        )
    names = ("height", "width")
    pairs = zip(plane, trained.fitted.spacing, strict=True)
    if any(step > COARSER * grid for step, grid in pairs):
        faults.append(
            f"{scan.name}: in-plane spacing {_by(plane)} mm, more than {COARSER:g} "
            f"times the {_by(trained.fitted.spacing)} mm of training"
        )
    for name, extent, size, step in zip(
        names,
        trained.fitted.extent(scan),
        trained.fitted.grid,
        trained.fitted.spacing,
        strict=True,
    ):
        share = extent / (size * step)
        if not FIELD[0] <= share <= FIELD[1]:
            faults.append(
                f"{scan.name}: {name} of {extent:.4g} mm, the field of training is "
                f"{size * step:.4g} mm; allowed are {FIELD[0]:g} to {FIELD[1]:g} times "
                "that. Are its units mm?"
            )
    return faults


def _within(ratio: float, most: float) -> bool:
    return 1 / most <= ratio <= most


def _by(values: Any) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
