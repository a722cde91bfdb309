"""Where a slice lies in the world, and how a person wants to see it.

World coordinates are RAS+ millimetres as in NIfTI (x to the patient's right, y
anterior, z superior); LPS, as in DICOM and ITK, has the signs of x and y turned.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

PLANES = ("sagittal", "coronal", "axial")
"""Plane whose normal is the x, y or z axis of the world."""

_ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
_UPRIGHT = {0: ((1, -1), (2, -1)), 1: ((0, -1), (2, -1)), 2: ((0, -1), (1, -1))}
"""By the world axis of the normal: world axis and sign of columns and of rows.

Columns run to the patient's left (coronal, axial: the patient faces the reader) or to
posterior (sagittal: anterior at the left); rows run down to inferior or posterior.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a slice lies.

    Attributes:
      ras: Centre of the slice in mm, RAS+.
      plane: `axial`, `coronal` or `sagittal`, whichever is nearest.
      direction: Where rising slice numbers lead, such as `I to S`.
      tilt: Angle between the slice's normal and that plane's, in degrees.
    """

    ras: tuple[float, float, float]
    plane: str
    direction: str
    tilt: float

    @property
    def lps(self) -> tuple[float, float, float]:
        """Centre of the slice in mm, LPS+."""
        x, y, z = self.ras
        return -x + 0.0, -y + 0.0, z


def place(
    affine: Float[np.ndarray, "4 4"], shape: Sequence[int], axis: int, index: int
) -> Place:
    """Returns where slice `index` along stored axis `axis` lies.

    Args:
      affine: Map from indices of the stored array to world mm (RAS+).
      shape: Shape of the stored array, three axes.
      axis: Stored axis that runs over slices.
      index: Slice, from 0.

    Raises:
      ValueError: There is no such slice.
    """
    if not 0 <= index < shape[axis]:
        raise ValueError(f"slice {index} of {shape[axis]}")
    centre = (np.array(shape) - 1) / 2
    centre[axis] = index
    world = affine[:3, :3] @ centre + affine[:3, 3]
    # The normal of the plane, not the step between slices: a gantry tilt shears them.
    first, second = (affine[:3, other] for other in range(3) if other != axis)
    normal = np.cross(first, second)
    normal = normal / np.linalg.norm(normal)
    main = int(np.argmax(np.abs(normal)))
    up = float(np.sign(affine[:3, axis] @ normal) * np.sign(normal[main]))
    ends = _ENDS[main] if up > 0 else _ENDS[main][::-1]
    tilt = np.degrees(np.arccos(min(1.0, float(np.abs(normal[main])))))
    return Place(
        ras=(float(world[0]), float(world[1]), float(world[2])),
        plane=PLANES[main],
        direction=f"{ends[0]} to {ends[1]}",
        tilt=float(tilt),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upright:
    """How a stored plane is turned for display.

    Attributes:
      swap: Whether rows and columns change places.
      flip_rows: Whether rows are then reversed.
      flip_columns: Whether columns are then reversed.
      spacing: Distance between displayed rows and columns in mm.
    """

    swap: bool
    flip_rows: bool
    flip_columns: bool
    spacing: tuple[float, float]

    def apply(
        self, plane: Shaped[np.ndarray, "height width *rest"]
    ) -> Shaped[np.ndarray, "rows columns *rest"]:
        """Turns a plane whose axes are the stored in-plane axes in stored order."""
        turned = plane.swapaxes(0, 1) if self.swap else plane
        turned = turned[::-1] if self.flip_rows else turned
        return turned[:, ::-1] if self.flip_columns else turned


def upright(affine: Float[np.ndarray, "4 4"], axis: int) -> Upright:
    """Returns how slices along a stored axis are turned for a radiologist's eye.

    Axial and coronal slices show the patient's right at the left, sagittal ones
    anterior at the left; superior or anterior is up. Planes are turned by quarters and
    mirrored, never resampled, so an oblique scan stays as tilted as it is.

    Args:
      affine: Map from indices of the stored array to world mm (RAS+).
      axis: Stored axis that runs over slices.
    """
    rest = [other for other in range(3) if other != axis]
    steps = affine[:3, :3]
    sizes = np.linalg.norm(steps, axis=0)
    normal = np.cross(steps[:, rest[0]], steps[:, rest[1]])
    columns, rows = _UPRIGHT[int(np.argmax(np.abs(normal)))]
    share = (steps / sizes)[:, rest]
    # The better of the two ways to pair stored axes with columns and rows.
    straight = abs(share[rows[0], 0]) + abs(share[columns[0], 1])
    swapped = abs(share[rows[0], 1]) + abs(share[columns[0], 0])
    swap = bool(swapped > straight)
    first, second = (1, 0) if swap else (0, 1)
    return Upright(
        swap=swap,
        flip_rows=bool(share[rows[0], first] * rows[1] < 0),
        flip_columns=bool(share[columns[0], second] * columns[1] < 0),
        spacing=(float(sizes[rest[first]]), float(sizes[rest[second]])),
    )
