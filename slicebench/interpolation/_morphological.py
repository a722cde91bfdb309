"""Morphological interpolation: shapes change by conditional dilations."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from slicebench.interpolation._distances import Pixel
from slicebench.interpolation._gaps import Gap, Plane, fill_gaps
from slicebench.interpolation._morph import Planes, between

_NEVER = 2**20
"""Steps to a voxel that no dilation reaches."""

_EDGES = ((0, 1), (1, 0))
_CORNERS = (*_EDGES, (1, 1), (1, -1))


def morphological(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Fills by conditional dilations, after Albu, Beugeling and Laurendeau 2008.

    What both slices share of a class (background is one) grows by dilations
    conditional on the class's region on either slice. A voxel that is p below
    and q above is reached after n(p) dilations within p's region below and
    after n(q) within q's region above; between the slices it turns from p to q
    at the share n(q) / (n(p) + n(q)) of the way. Every voxel thus has the class
    of one of its two neighbours: no gaps, no overlaps. Dilations go over edges
    and over edges and corners in turn, and count voxels, not mm. Shapes without
    an overlap move or end as `_shapes` says.

    The paper's method takes the element halfway along the sequence of
    conditional dilations and repeats this between the slices so found, for one
    class at a time; taking the element at a slice's own share of the way, and
    all classes at once, is the form used here.

    Source: A. B. Albu, T. Beugeling and D. Laurendeau, IEEE Trans. Biomedical
    Engineering 55(8), 2008; S. Beucher, "Interpolations d'ensembles, de
    partitions et de fonctions", 1994, for the share of the way.
    """
    del image
    pixel = spacing[1], spacing[2]

    def fill(gap: Gap) -> Planes:
        ends = label[gap.lower], label[gap.upper]
        return between(turn_over, *ends, range(1, gap.steps), gap.steps, pixel)

    return fill_gaps(label, annotated, fill, outside=outside)


def turn_over(
    lower: Plane, upper: Plane, wanted: Sequence[int], steps: int, pixel: Pixel
) -> Planes:
    """Interpolates two planes, see `morphological`; a `Morph`."""
    del pixel
    shared = lower == upper
    leave, enter = (count_dilations(plane, shared) for plane in (lower, upper))
    first = np.minimum(lower, upper)
    found = np.empty((len(wanted), *lower.shape), lower.dtype)
    for plane, step in zip(found, wanted, strict=True):
        late = step * leave - (steps - step) * enter
        plane[:] = np.where(late > 0, upper, np.where(late < 0, lower, first))
    return found


def count_dilations(
    plane: Plane, seeds: Bool[np.ndarray, "height width"]
) -> Int[np.ndarray, "height width"]:
    """Counts the dilations of seeds, each within its class, to every voxel.

    Args:
      plane: Class indices.
      seeds: Where the count is 0.
    """
    counts = np.where(seeds, 0, _NEVER)
    reached = seeds.copy()
    same = {move: _same(plane, move) for move in _CORNERS}
    step, idle = 0, 0
    while idle < 2 and not reached.all():
        step += 1
        grown = reached.copy()
        for move in _EDGES if step % 2 else _CORNERS:
            there, here = _overlap(move)
            grown[here] |= reached[there] & same[move]
            grown[there] |= reached[here] & same[move]
        fresh = grown & ~reached
        counts[fresh] = step
        idle = 0 if fresh.any() else idle + 1
        reached = grown
    return counts


def _overlap(
    move: tuple[int, int],
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns where a plane and the same plane moved both are."""
    rows, columns = move
    here = slice(rows, None), slice(max(columns, 0), columns if columns < 0 else None)
    there = (
        slice(None, -rows if rows else None),
        slice(max(-columns, 0), -columns if columns > 0 else None),
    )
    return there, here


def _same(plane: Plane, move: tuple[int, int]) -> Bool[np.ndarray, "rows columns"]:
    there, here = _overlap(move)
    return plane[there] == plane[here]
