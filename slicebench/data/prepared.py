"""A task made ready for training: cases on one grid, and the way back.

Axes are named `volume depth height width channel class` throughout; depth is
the slice axis. Everything here is NumPy on the host.
"""

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from slicebench import spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedScan:
    """One case's image on an in-plane grid: all that a strategy may learn from.

    Attributes:
      name: Case name.
      group: Patient; cases of one patient stay on one side of a split.
      image: Normalised image on the grid (slices are never resampled in depth).
      spacing: Distance between voxel centres of the native grid in mm,
        slices first.
    """

    name: str
    group: str
    image: Float[np.ndarray, "depth height width channel"]
    spacing: tuple[float, float, float]

    @property
    def depth(self) -> int:
        """Number of slices."""
        return self.image.shape[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedCase(PreparedScan):
    """One labelled case on the task's in-plane grid, with its native geometry.

    Attributes:
      label: Class indices on the grid, 0 is background.
      native_label: Class indices as stored, slices first.
      to_native: Row and column interpolation matrices M such that
        `rows @ grid_plane @ columns.T` is the native plane.
    """

    label: UInt8[np.ndarray, "depth height width"]
    native_label: UInt8[np.ndarray, "depth native_height native_width"]
    to_native: tuple[
        Float[np.ndarray, "native_height height"],
        Float[np.ndarray, "native_width width"],
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedTask:
    """A task for one outer fold: what training, selection and scoring read.

    Attributes:
      name: Task name.
      target: What is segmented; `all` for every class of the dataset.
      fold: Outer fold.
      classes: Foreground class names; class index i + 1 in labels.
      channels: Channel names.
      grid: Height and width of `image` and `label` of every case.
      development: Cases on which settings and margins are chosen.
      pool: Cases that may be annotated.
      test: Cases that are scored once.
      synthetic: Whether the cases are phantoms.
      flip: Whether mirroring left to right keeps every class's meaning.
      attribution: Source and licence of the images.
      provenance: JSON-ready record: source digest, split seed, preprocessing
        settings with every fitted value.
      mirror_axis: In-plane axis that runs left to right, 1 for height and 2 for
        width; None where none does, so that mirroring would not exchange left
        and right.
      orientation: Where depth, height and width lead in every case, see
        `volumes.orientation`; None where cases differ or have no body.
    """

    name: str
    target: str
    fold: int
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    grid: tuple[int, int]
    development: tuple[PreparedCase, ...]
    pool: tuple[PreparedCase, ...]
    test: tuple[PreparedCase, ...]
    synthetic: bool
    flip: bool
    attribution: str
    provenance: dict[str, object]
    mirror_axis: Literal[1, 2] | None = 2
    orientation: str | None = None

    @property
    def context(self) -> str:
        """Digest of dataset, split and preprocessing; part of a trial's id."""
        cases = [[case.name for case in side] for side in self.sides]
        return spec.digest([self.name, self.target, self.provenance, cases])

    @property
    def sides(self) -> tuple[tuple[PreparedCase, ...], ...]:
        """Development, pool and test cases."""
        return self.development, self.pool, self.test

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between grid points in mm, slices first: median of the pool."""
        fitted: Any = self.provenance.get("preprocessing") or {}
        native = np.median([case.spacing for case in self.pool], axis=0)
        height, width = fitted.get("spacing") or native[1:]
        return float(native[0]), float(height), float(width)

    @property
    def info(self) -> spec.TaskInfo:
        """What an experiment may know before it plans."""
        depths = np.array([case.depth for case in self.pool])
        return spec.TaskInfo(
            name=self.name,
            pool_volumes=len(self.pool),
            min_slices=int(depths.min()),
            median_slices=int(np.median(depths)),
            max_slices=int(depths.max()),
            grid=self.grid,
            synthetic=self.synthetic,
            spacing=self.spacing,
        )


def interpolation_matrix(
    positions: Float[np.ndarray, " out"], size: int
) -> Float[np.ndarray, "out size"]:
    """Returns the matrix of linear interpolation at fractional positions.

    Positions outside the line give zero rows: outside is background.

    Args:
      positions: Where to read, in index units of the line.
      size: Number of points on the line.

    >>> interpolation_matrix(np.array([0.5, 2.0]), 3)
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 1. ]])
    """
    matrix = np.zeros((len(positions), size))
    low = np.floor(positions).astype(int)
    share = positions - low
    rows = np.arange(len(positions))
    for index, weight in ((low, 1 - share), (low + 1, share)):
        inside = (index >= 0) & (index < size)
        matrix[rows[inside], index[inside]] += weight[inside]
    return matrix
