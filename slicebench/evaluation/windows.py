"""Sliding windows over volumes, with Gaussian weights (Isensee et al. 2021)."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_OVERLAP = 0.5
_WIDTH = 1 / 8
"""Standard deviation of the weights, as a share of the window."""
_LEAST = 1e-3
"""Smallest weight along an axis: every voxel of a window counts."""


class Window(NamedTuple):
    """Where a window lies in a stack of volumes.

    Attributes:
      case: Number of the volume.
      start: First slice within the volume.
      top: First row.
      left: First column.
      slices: Slices of the window that exist.
    """

    case: int
    start: int
    top: int
    left: int
    slices: int


def starts(length: int, window: int) -> list[int]:
    """Returns where windows start: evenly spread, at least half overlapping.

    >>> starts(40, 32), starts(20, 32), starts(64, 32)
    ([0, 8], [0], [0, 16, 32])
    """
    room = length - window
    if room <= 0:
        return [0]
    count = math.ceil(room / (window * _OVERLAP)) + 1
    return [round(place) for place in np.linspace(0, room, count)]


def windows_of(
    depths: Sequence[int], grid: tuple[int, int], patch: tuple[int, ...]
) -> list[Window]:
    """Returns the windows that cover volumes of the given depths, in order."""
    planes = [starts(side, size) for side, size in zip(grid, patch[1:], strict=True)]
    return [
        Window(case, start, top, left, min(patch[0], depth - start))
        for case, depth in enumerate(depths)
        for start, top, left in itertools.product(starts(depth, patch[0]), *planes)
    ]


def gaussian(patch: tuple[int, ...]) -> Float[np.ndarray, "depth height width"]:
    """Returns the weights of a window, 1 in the middle."""
    lines = []
    for size in patch:
        away = (np.arange(size) - (size - 1) / 2) / (size * _WIDTH)
        line = np.exp(-(away**2) / 2)
        lines.append(np.maximum(line / line.max(), _LEAST))
    weights = lines[0][:, None, None] * lines[1][:, None] * lines[2]
    return weights.astype(np.float32)


def groups_of(depths: Sequence[int], most: int) -> list[range]:
    """Cuts volumes, in order, into groups of at most so many slices.

    A volume deeper than that is a group of its own.

    >>> groups_of([4, 4, 9, 2], 8)
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    groups: list[range] = []
    first, total = 0, 0
    for case, depth in enumerate(depths):
        if case > first and total + depth > most:
            groups.append(range(first, case))
            first, total = case, 0
        total += depth
    return [*groups, range(first, len(depths))] if depths else []
