"""Which shape of a slice goes on as which shape of the next annotated one.

A shape is a connected part of one class in a plane (voxels that share an edge
or a corner). Shapes of a class that overlap go on as each other, one or many:
a branching needs no more. A loose shape, which overlaps none of its class on
the other side, has three ways to go on:

- Most of it lies on loose shapes of other classes: one structure under two
  names, and only the name changes. It stays where it is.
- A loose shape of its class on the other side is its nearest and the other way
  round, their centroids no further apart than twice the sum of their radii
  (radius of a disc of the same area): it moves there.
- Else it ends: it shrinks by distance from its border like a paraboloid, with
  its tip `_morph.END` of the way to the other annotated slice. Seen from the
  other side it appears the same way.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage

from slicebench.interpolation._distances import Pixel
from slicebench.interpolation._gaps import Plane

REACH = 2.0
"""How far a shape may move, in sums of the two radii."""

_TOUCHING = np.ones((3, 3), bool)


class Shape(NamedTuple):
    """A loose shape.

    Attributes:
      value: Its class.
      mask: Its voxels.
      centre: Row and column of its centroid.
      radius: Radius in mm of a disc of its area.
    """

    value: int
    mask: Bool[np.ndarray, "height width"]
    centre: tuple[float, float]
    radius: float


class Piece(NamedTuple):
    """What is interpolated apart from the rest: a shape that ends or moves.

    Attributes:
      lower: The shape on the lower slice, None if it appears.
      upper: The shape on the upper slice, None if it ends.
    """

    lower: Shape | None
    upper: Shape | None

    @property
    def value(self) -> int:
        """Its class."""
        shape = self.lower or self.upper
        return shape.value if shape else 0


class Parts(NamedTuple):
    """Two annotated slices, taken apart.

    Attributes:
      lower: The lower slice without pieces: there it has what the upper one has.
      upper: The upper slice without pieces, likewise.
      pieces: What was taken out, by class.
    """

    lower: Plane
    upper: Plane
    pieces: list[Piece]


def take_apart(lower: Plane, upper: Plane, pixel: Pixel) -> Parts:
    """Takes shapes out that end, appear or move.

    Args:
      lower: Classes on one annotated slice.
      upper: Classes on the other.
      pixel: Voxel size in mm.
    """
    below: list[Shape] = []
    above: list[Shape] = []
    for value in np.union1d(lower, upper):
        if value:
            found = _find_loose(lower, upper, int(value), pixel)
            below += found[0]
            above += found[1]
    if not (below or above):
        return Parts(lower, upper, [])
    covers = [_cover(shapes, lower.shape) for shapes in (below, above)]
    below = [shape for shape in below if not _renamed(shape, covers[1])]
    above = [shape for shape in above if not _renamed(shape, covers[0])]
    taken = [_cover(shapes, lower.shape) for shapes in (below, above)]
    nothing = np.zeros_like(lower)
    return Parts(
        np.where(taken[0], np.where(taken[1], nothing, upper), lower),
        np.where(taken[1], np.where(taken[0], nothing, lower), upper),
        _pair(below, above, pixel),
    )


def _find_loose(
    lower: Plane, upper: Plane, value: int, pixel: Pixel
) -> tuple[list[Shape], list[Shape]]:
    """Returns the shapes of a class that overlap none of it on the other side."""
    labels = [_label(plane == value) for plane in (lower, upper)]
    both = (labels[0] > 0) & (labels[1] > 0)
    below, above = (
        [
            _measure(found == name, value, pixel)
            for name in np.setdiff1d(found, [0, *found[both].tolist()])
        ]
        for found in labels
    )
    return below, above


def _label(
    mask: Bool[np.ndarray, "height width"],
) -> Int[np.ndarray, "height width"]:
    """Numbers the connected parts of a mask from 1."""
    numbers = np.empty(mask.shape, np.int32)
    ndimage.label(mask, _TOUCHING, output=numbers)
    return numbers


def _measure(mask: Bool[np.ndarray, "height width"], value: int, pixel: Pixel) -> Shape:
    rows, columns = np.nonzero(mask)
    radius = math.sqrt(len(rows) * pixel[0] * pixel[1] / math.pi)
    return Shape(value, mask, (float(rows.mean()), float(columns.mean())), radius)


def _cover(
    shapes: list[Shape], size: tuple[int, ...]
) -> Bool[np.ndarray, "height width"]:
    cover = np.zeros(size, bool)
    for shape in shapes:
        cover |= shape.mask
    return cover


def _renamed(shape: Shape, cover: Bool[np.ndarray, "height width"]) -> bool:
    return bool(2 * np.count_nonzero(cover & shape.mask) > shape.mask.sum())


def _pair(below: list[Shape], above: list[Shape], pixel: Pixel) -> list[Piece]:
    """Joins shapes that move; all others end or appear."""
    pieces: list[Piece] = []
    for value in sorted({shape.value for shape in [*below, *above]}):
        left = [shape for shape in below if shape.value == value]
        right = [shape for shape in above if shape.value == value]
        pairs = _mutual(left, right, pixel) if left and right else []
        pieces += [Piece(left[i], right[j]) for i, j in pairs]
        gone, new = (
            (set(side) for side in zip(*pairs, strict=True)) if pairs else ((), ())
        )
        pieces += [Piece(s, None) for i, s in enumerate(left) if i not in gone]
        pieces += [Piece(None, s) for j, s in enumerate(right) if j not in new]
    return pieces


def _mutual(
    below: list[Shape], above: list[Shape], pixel: Pixel
) -> list[tuple[int, int]]:
    """Returns pairs of shapes that are each other's nearest, and near enough."""
    apart = np.full((len(below), len(above)), np.inf)
    for (i, a), (j, b) in itertools.product(enumerate(below), enumerate(above)):
        distance = math.hypot(
            (a.centre[0] - b.centre[0]) * pixel[0],
            (a.centre[1] - b.centre[1]) * pixel[1],
        )
        if distance <= REACH * (a.radius + b.radius):
            apart[i, j] = distance
    pairs = enumerate(apart.argmin(axis=1).tolist())
    back = apart.argmin(axis=0).tolist()
    return [(i, j) for i, j in pairs if back[j] == i and apart[i, j] < np.inf]


def move_between(piece: Piece) -> Int[np.ndarray, "2"]:
    """Returns how many rows and columns a moving shape goes, upper less lower."""
    assert piece.lower is not None
    assert piece.upper is not None
    apart = np.subtract(piece.upper.centre, piece.lower.centre)
    # Half a voxel away from zero: the way back is the same number of voxels.
    return (np.sign(apart) * np.floor(np.abs(apart) + 0.5)).astype(int)
