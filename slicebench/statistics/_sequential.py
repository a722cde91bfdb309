"""Bounds for looking at results more than once, by numerical integration.

Means over the first n seeds, at growing n, have the joint distribution of a
Brownian motion that is seen at their information, 1 / variance: of two looks the
covariance is the later variance, also where all looks share their cases. So the
theory of group-sequential tests holds (Jennison and Turnbull, Group Sequential
Methods, 1999), with what one more seed adds in place of one more patient.
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Float

_optimize: Any = scipy.optimize
_special: Any = scipy.special
_stats: Any = scipy.stats

LIMIT = 8.0
"""Largest bound; a standard normal number is above it with probability 6e-16."""

OBRIEN_FLEMING = 0.0
POCOCK = 0.5
"""Shapes of `boundaries`, in the family of Wang and Tsiatis (1987)."""

_NODES = 240
_LEAST_STEP = 4e-3
"""Least growth of information between two looks that the integrals resolve. Less is
taken as this much: looks count as less alike than they are, and bounds only rise."""


def spent(alpha: float, fraction: float) -> float:
    """Returns the error that may be spent by an information fraction.

    The O'Brien-Fleming type function of Lan and DeMets (1983) for one side,
    `2 (1 - Phi(z_(alpha / 2) / sqrt(fraction)))`: almost nothing early, all of it
    at the end.

    Args:
      alpha: One-sided error, in (0, 1).
      fraction: Information so far as a share of that of the last look; above 1
        counts as 1.

    >>> round(spent(0.025, 0.5), 5), round(spent(0.025, 1.0), 5)
    (0.00153, 0.025)
    """
    if fraction <= 0:
        return 0.0
    quantile = float(_stats.norm.isf(alpha / 2))
    return 2 * float(_special.ndtr(-quantile / math.sqrt(min(fraction, 1.0))))


def crossing(
    information: Sequence[float], bounds: Sequence[float], *, two_sided: bool = False
) -> Float[np.ndarray, " look"]:
    """Returns the probability of crossing first at each look, without any effect.

    The recursion of Armitage, McPherson and Rowe (1969) over Gauss-Legendre nodes.

    Args:
      information: Of each look, growing, above 0.
      bounds: Of the standardised mean at each look; above `LIMIT` nothing crosses.
      two_sided: Whether below `-bound` counts as crossing too.

    Raises:
      ValueError: Other numbers of looks, or information that does not grow.
    """
    levels = _checked(information)
    if len(levels) != len(bounds):
        raise ValueError(f"{len(levels)} looks, {len(bounds)} bounds")
    path = _Path(levels, two_sided=two_sided)
    found: list[float] = []
    for bound in bounds:
        found.append(path.cross(bound))
        path.pass_by(bound)
    return np.array(found)


def next_bound(
    information: Sequence[float],
    earlier: Sequence[float],
    total: float,
    *,
    two_sided: bool = False,
) -> float:
    """Returns the bound of the newest look that spends an error in all.

    Args:
      information: Of each look so far, growing, the newest last.
      earlier: Bounds of the looks before.
      total: Probability to cross at any look so far, without any effect.
      two_sided: As for `crossing`.

    Returns:
      The bound; `LIMIT` where the looks before have spent everything.

    Raises:
      ValueError: Other numbers of looks, or information that does not grow.
    """
    levels = _checked(information)
    if len(levels) != len(earlier) + 1:
        raise ValueError(f"{len(levels)} looks, {len(earlier)} bounds before the last")
    path, left = _Path(levels, two_sided=two_sided), total
    for bound in earlier:
        left -= path.cross(bound)
        path.pass_by(bound)

    def excess(bound: float) -> float:
        return path.cross(bound) - left

    if excess(LIMIT) >= 0:
        return LIMIT
    lowest = 0.0 if two_sided else -LIMIT
    if excess(lowest) <= 0:
        return lowest
    return float(_optimize.brentq(excess, lowest, LIMIT, xtol=1e-9))


def boundaries(
    information: Sequence[float],
    alpha: float,
    *,
    shape: float = OBRIEN_FLEMING,
    two_sided: bool = False,
) -> Float[np.ndarray, " look"]:
    """Returns bounds of a fixed shape whose error over all looks is exact.

    The bound of a look is `c (information / last)^(shape - 1/2)`: `OBRIEN_FLEMING`
    falls with the square root of information, `POCOCK` is constant.

    Args:
      information: Of each look, growing, above 0.
      alpha: Error over all looks, in (0, 1); of both sides if `two_sided`.
      shape: Exponent, `OBRIEN_FLEMING` to `POCOCK`.
      two_sided: As for `crossing`.

    Raises:
      ValueError: Information that does not grow.
    """
    levels = _checked(information)
    falling = (levels / levels[-1]) ** (shape - 0.5)

    def excess(constant: float) -> float:
        bounds = (constant * falling).tolist()
        return float(crossing(information, bounds, two_sided=two_sided).sum()) - alpha

    return float(_optimize.brentq(excess, 0.0, LIMIT, xtol=1e-9)) * falling


class _Path:
    """Density of the standardised mean among paths that have not crossed yet."""

    def __init__(self, information: Float[np.ndarray, " look"], *, two_sided: bool):
        self._information = information
        self._two_sided = two_sided
        self._look = 0
        self._points = np.zeros(0)
        self._masses = np.zeros(0)

    def cross(self, bound: float) -> float:
        """Returns the probability to be above the bound at the present look."""
        if self._look == 0:
            above = float(_special.ndtr(-bound))
            return 2 * above if self._two_sided else above
        ahead, drift, spread = self._move()
        beyond = _special.ndtr((drift - bound * ahead) / spread)
        if self._two_sided:
            beyond = beyond + _special.ndtr((-bound * ahead - drift) / spread)
        return float(self._masses @ beyond)

    def pass_by(self, bound: float) -> None:
        """Goes on to the next look with the paths within the bound."""
        upper = min(bound, LIMIT)
        lower = -upper if self._two_sided else -LIMIT
        nodes, weights = _legendre()
        half = (upper - lower) / 2
        points = lower + half * (1 + nodes)
        if self._look == 0:
            density = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
        else:
            ahead, drift, spread = self._move()
            distance = (points[:, None] * ahead - drift) / spread
            kernel = np.exp(-(distance**2) / 2) / math.sqrt(2 * math.pi)
            density = kernel @ self._masses * ahead / spread
        self._points, self._masses = points, half * weights * density
        self._look += 1

    def _move(self) -> tuple[float, Float[np.ndarray, " node"], float]:
        """Returns the scales of this look, of where paths were, and of the step."""
        before, now = self._information[self._look - 1 : self._look + 1]
        ahead = math.sqrt(now)
        step = max(float(now - before), _LEAST_STEP * float(now))
        return ahead, self._points * math.sqrt(now - step), math.sqrt(step)


@functools.cache
def _legendre() -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    return np.polynomial.legendre.leggauss(_NODES)


def _checked(information: Sequence[float]) -> Float[np.ndarray, " look"]:
    levels = np.array(information, float)
    if not len(levels) or levels[0] <= 0 or (np.diff(levels) < 0).any():
        raise ValueError(f"information {list(information)}: positive and growing")
    return levels
