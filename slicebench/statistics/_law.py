"""The annotation law: a score that effective slices alone decide."""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from typing import Any

import numpy as np
import scipy.optimize
from jaxtyping import Float

_optimize: Any = scipy.optimize

_POWERS = (0.01, 5.0)
"""Bounds of the exponent: below, more slices gain nothing; above, all at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotationLaw:
    """Score = ceiling - scale * effective^(-power).

    A power law towards a ceiling, the usual form of learning curves (Viering and Loog,
    The Shape of Learning Curves, IEEE TPAMI 2023).

    Attributes:
      ceiling: Score with all labels.
      scale: What one effective slice lacks to it.
      power: How fast that shrinks.
    """

    ceiling: float
    scale: float
    power: float

    def predict(
        self, effective: Float[np.ndarray, "*any"]
    ) -> Float[np.ndarray, "*any"]:
        """Returns scores at numbers of effective slices."""
        return self.ceiling - self.scale * np.asarray(effective, float) ** -self.power


def fit_law(
    effective: Float[np.ndarray, " cell"],
    scores: Float[np.ndarray, " cell"],
    ceiling: float,
) -> AnnotationLaw:
    """Fits scale and power by least squares on scores; the ceiling is held.

    Args:
      effective: Effective slices of each cell, above 0.
      scores: Mean score of each cell.
      ceiling: Score with all labels.

    Raises:
      ValueError: Fewer than two different numbers of effective slices, or no cell
        below the ceiling.
    """
    effective, scores = np.asarray(effective, float), np.asarray(scores, float)
    if len(np.unique(effective)) < 2:
        raise ValueError("two different numbers of effective slices are needed")
    if not (scores < ceiling).any():
        raise ValueError(f"no score lies below the ceiling {ceiling:g}")
    lacking = np.maximum(ceiling - scores, 1e-3)
    slope, level = np.polyfit(np.log(effective), np.log(lacking), 1)
    start = (level, float(np.clip(-slope, *_POWERS)))

    def miss(values: Float[np.ndarray, "2"]) -> Float[np.ndarray, " cell"]:
        return ceiling - np.exp(values[0]) * effective ** -values[1] - scores

    bounds = ((-np.inf, _POWERS[0]), (np.inf, _POWERS[1]))
    level, power = _optimize.least_squares(miss, start, bounds=bounds).x.tolist()
    return AnnotationLaw(ceiling=ceiling, scale=math.exp(level), power=power)
