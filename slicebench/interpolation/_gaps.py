"""What every method shares: gaps between annotated slices, and their filling."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, Shaped

Plane = Integer[np.ndarray, "height width"]


class Gap(NamedTuple):
    """Slices without annotation between two annotated neighbours.

    Attributes:
      lower: Annotated slice below.
      upper: Annotated slice above, at least two further.
    """

    lower: int
    upper: int

    @property
    def inside(self) -> slice:
        """Index expression of the slices between."""
        return slice(self.lower + 1, self.upper)

    @property
    def steps(self) -> int:
        """Distance between the two annotated slices, in slices."""
        return self.upper - self.lower


def find_gaps(annotated: Bool[np.ndarray, " depth"]) -> list[Gap]:
    """Returns the gaps between annotated slices, from the first on.

    >>> find_gaps(np.array([0, 1, 1, 0, 0, 1, 0], dtype=bool))
    [Gap(lower=2, upper=5)]
    """
    marks = [int(place) for place in np.flatnonzero(annotated)]
    return [Gap(a, b) for a, b in itertools.pairwise(marks) if b - a > 1]


def find_filled(
    annotated: Bool[np.ndarray, " depth"], *, outside: bool
) -> Bool[np.ndarray, " depth"]:
    """Returns which slices an interpolation fills.

    >>> find_filled(np.array([0, 1, 0, 1, 0], dtype=bool), outside=False)
    array([False, False,  True, False, False])
    """
    filled = np.zeros_like(annotated)
    marks = np.flatnonzero(annotated)
    if marks.size:
        reach = slice(None) if outside else slice(marks[0], marks[-1] + 1)
        filled[reach] = ~annotated[reach]
    return filled


def keep_annotated(
    label: Shaped[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
) -> Shaped[np.ndarray, "depth height width"]:
    """Returns the label with zeros on slices that nobody annotated."""
    kept = np.zeros_like(label)
    kept[annotated] = label[annotated]
    return kept


def fill_gaps(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    between: Callable[[Gap], Integer[np.ndarray, "inside height width"]],
    *,
    outside: bool,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Fills a hard label gap by gap.

    Args:
      label: Class indices.
      annotated: Which slices are annotated.
      between: Makes the slices inside a gap, lowest first.
      outside: Whether the first and last annotated slice are repeated beyond.

    Returns:
      Pseudo-label and filled slices, see `FillMasks`.
    """
    pseudo = keep_annotated(label, annotated)
    for gap in find_gaps(annotated):
        pseudo[gap.inside] = between(gap)
    marks = np.flatnonzero(annotated)
    if outside and marks.size:
        pseudo[: marks[0]] = label[marks[0]]
        pseudo[marks[-1] + 1 :] = label[marks[-1]]
    return pseudo, find_filled(annotated, outside=outside)
