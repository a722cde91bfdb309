"""The annotation law: a score that effective slices alone decide."""

import dataclasses

import numpy as np
from jaxtyping import Float

_POWERS = (0.01, 5.0)
"""Bounds of the exponent: below, more slices gain nothing; above, all at once."""

_POINTS = 200
"""Powers tried at a time."""

_ZOOMS = 3
"""Times that the search closes in on the best of them."""


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
    lacking = ceiling - scores
    powers = np.geomspace(*_POWERS, _POINTS)
    left, right = _POWERS
    for _ in range(_ZOOMS):
        best = int(_project(powers, effective, lacking)[1].argmin())
        left = float(powers[max(best - 1, 0)])
        right = float(powers[min(best + 1, _POINTS - 1)])
        powers = np.linspace(left, right, _POINTS)
    power = np.array([(left + right) / 2])
    scale = _project(power, effective, lacking)[0]
    return AnnotationLaw(ceiling=ceiling, scale=float(scale[0]), power=float(power[0]))


def _project(
    powers: Float[np.ndarray, " power"],
    effective: Float[np.ndarray, " cell"],
    lacking: Float[np.ndarray, " cell"],
) -> tuple[Float[np.ndarray, " power"], Float[np.ndarray, " power"]]:
    """Returns the best scale at each power and the sum of squares left by it.

    The scale is linear once the power is known (variable projection, Golub and
    Pereyra, SIAM Journal on Numerical Analysis 1973), so one search in one number is
    enough.
    """
    shapes = effective ** -powers[:, None]
    scale = np.maximum(shapes @ lacking / (shapes**2).sum(1), 0.0)
    return scale, ((scale[:, None] * shapes - lacking) ** 2).sum(1)
