"""From two annotated slices to the slices between, given a way to morph.

A morph interpolates two planes whose shapes overlap. This module does the rest
for every morph alike: it takes loose shapes out (`_shapes`), morphs what is
left, and puts the loose shapes back on top, moved or shrunk; where two of them
meet the higher class stays. What they open between classes on their way, such as
the wall of a tube that narrows by more than the wall is thick and moves apart from
its cavity, is closed again.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage

from slicebench.interpolation._distances import Pixel, depth_inside
from slicebench.interpolation._gaps import Plane
from slicebench.interpolation._shapes import Piece, Shape, move_between, take_apart

END = 0.75
"""Share of the way to the other annotated slice at which an ending shape is gone.

Its end is anywhere between the two; of 0.5, 0.75 and 1, with straight and with
rounded tips, this did best on development cases of real tasks, by little."""

_ROUND = np.ones((3, 3), bool)

Planes = Integer[np.ndarray, "inside height width"]
Morph = Callable[[Plane, Plane, Sequence[int], int, Pixel], Planes]
"""Two planes, wanted steps from the lower to the upper one, number of steps to
the upper one, voxel size in mm; returns one plane a wanted step."""


def between(
    morph: Morph,
    lower: Plane,
    upper: Plane,
    wanted: Sequence[int],
    steps: int,
    pixel: Pixel,
) -> Planes:
    """Interpolates two annotated slices.

    Args:
      morph: What interpolates overlapping shapes.
      lower: Classes on the lower annotated slice.
      upper: Classes on the upper one.
      wanted: Slices wanted, counted from the lower one: from 1 to `steps` - 1.
      steps: Distance of the two annotated slices in slices.
      pixel: Voxel size in mm.
    """
    found = np.zeros((len(wanted), *lower.shape), lower.dtype)
    box = _box((lower > 0) | (upper > 0), 1)
    if box is None:
        return found
    lower, upper = lower[box], upper[box]
    parts = take_apart(lower, upper, pixel)
    inner = morph(parts.lower, parts.upper, wanted, steps, pixel)
    for piece in parts.pieces:
        _put_back(inner, piece, morph, wanted, steps, pixel)
    if parts.pieces:
        for plane in inner:
            _close(plane, lower > 0, upper > 0, pixel)
    found[:, box[0], box[1]] = inner
    return found


def _box(
    mask: Bool[np.ndarray, "height width"], margin: int
) -> tuple[slice, slice] | None:
    """Returns the box of a mask, widened; distances inside it stay exact."""
    hits = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not hits[0].size:
        return None
    rows, columns = (
        slice(max(0, int(hit[0]) - margin), int(hit[-1]) + 1 + margin) for hit in hits
    )
    return rows, columns


def _put_back(
    planes: Planes,
    piece: Piece,
    morph: Morph,
    wanted: Sequence[int],
    steps: int,
    pixel: Pixel,
) -> None:
    if piece.lower and piece.upper:
        frame = _Frame(piece)
        if (frame.lower & frame.upper).any():
            moved = morph(
                frame.lower.astype(np.uint8),
                frame.upper.astype(np.uint8),
                wanted,
                steps,
                pixel,
            )
            for plane, mask, step in zip(planes, moved, wanted, strict=True):
                frame.put(plane, mask > 0, step, steps)
            return
    for shape, away in (
        (piece.lower, wanted),
        (piece.upper, [steps - step for step in wanted]),
    ):
        if shape:
            _shrink(planes, shape, away, steps, pixel)


def _shrink(
    planes: Planes, shape: Shape, away: Sequence[int], steps: int, pixel: Pixel
) -> None:
    """Draws a shape that ends towards a slice `steps` away from its own."""
    inside = depth_inside(shape.mask, pixel)
    deepest = inside.max()
    for plane, step in zip(planes, away, strict=True):
        radius = math.sqrt(max(0.0, 1 - step / (END * steps)))
        plane[(inside > 0) & (inside > deepest * (1 - radius))] = shape.value


def _close(
    plane: Plane,
    below: Bool[np.ndarray, "height width"],
    above: Bool[np.ndarray, "height width"],
    pixel: Pixel,
) -> None:
    """Closes gaps: enclosed background that neither annotated slice explains.

    It lies where both have foreground, or between two classes where one at least has.
    Its voxels get the class of the nearest other one.
    """
    empty = np.empty(plane.shape, np.int32)
    ndimage.label(plane == 0, output=empty)
    gaps = np.zeros(plane.shape, bool)
    outer = {*empty[0], *empty[-1], *empty[:, 0], *empty[:, -1]}
    for name in np.setdiff1d(empty, [0, *outer]):
        gap = empty == name
        edge = ndimage.binary_dilation(gap, _ROUND) & ~gap
        between = len(np.unique(plane[edge])) > 1
        if (below & above)[gap].all() or (between and (below | above)[gap].all()):
            gaps |= gap
    if gaps.any():
        nearest = np.empty((2, *plane.shape), np.int32)
        ndimage.distance_transform_edt(
            plane == 0, pixel, False, return_indices=True, indices=nearest
        )
        plane[gaps] = plane[tuple(nearest)][gaps]


class _Frame:
    """Both shapes of a moving piece, centroid on centroid.

    Attributes:
      lower: The lower shape, with an empty frame of one voxel at least.
      upper: The upper shape, drawn on the lower one's centroid.
    """

    def __init__(self, piece: Piece):
        assert piece.lower
        assert piece.upper
        self._value = piece.value
        self._move = move_between(piece)
        places = [np.argwhere(shape.mask) for shape in (piece.lower, piece.upper)]
        places[1] = places[1] - self._move
        both = np.concatenate(places)
        self._origin = both.min(axis=0) - 1
        size = both.max(axis=0) + 2 - self._origin
        masks = np.zeros((2, *size), bool)
        for mask, place in zip(masks, places, strict=True):
            mask[tuple((place - self._origin).T)] = True
        self.lower, self.upper = masks

    def put(
        self,
        plane: Plane,
        mask: Bool[np.ndarray, "rows columns"],
        step: int,
        steps: int,
    ) -> None:
        """Draws an interpolated shape where it is after so many steps."""
        # Half voxels round up from either side, so reversed depth changes nothing.
        shift = (2 * step * self._move + steps) // (2 * steps)
        rows, columns = (np.argwhere(mask) + self._origin + shift).T
        seen = (rows >= 0) & (rows < plane.shape[0])
        seen &= (columns >= 0) & (columns < plane.shape[1])
        plane[rows[seen], columns[seen]] = self._value
