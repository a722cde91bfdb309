"""How likely a contrast is to succeed, before anything is trained."""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from typing import Any

import numpy as np
import scipy.stats

from slicebench import spec
from slicebench.statistics._intervals import Components
from slicebench.statistics._verdicts import ONE_SIDED, TOST

_stats: Any = scipy.stats

MOST_SEEDS = 1024


def power(
    claim: spec.Claim,
    *,
    margin: float,
    components: Components,
    num_seeds: int,
    num_cases: int,
    difference: float | None = None,
    num_contrasts: int = 1,
) -> float:
    """Returns the power of a contrast in the two-way model.

    Noncentral t for the one-sided claims, with the standard error and
    Satterthwaite's degrees of freedom of the expected mean squares; for
    equivalence the two one-sided tests in the t approximation.

    Args:
      claim: What the contrast is to show.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      num_seeds: Seeds, at least 2.
      num_cases: Test cases, at least 2.
      difference: True difference; by default the margin itself for a claim of
        superiority, none for the others.
      num_contrasts: Contrasts of the family; the level is shared among them
        (Bonferroni, the first and hardest step of Holm).

    Returns:
      Probability in [0, 1].

    Raises:
      ValueError: Fewer than two seeds or cases, or a margin not above 0.
    """
    if num_seeds < 2 or num_cases < 2 or margin <= 0:
        raise ValueError(
            f"{num_seeds} seeds, {num_cases} cases, margin {margin}: at least 2, 2 "
            "and above 0 are needed"
        )
    error, df = _error(components, num_seeds, num_cases)
    assumed = margin if claim == "superior" else 0.0
    effect = assumed if difference is None else difference
    level = (TOST if claim == "equivalent" else ONE_SIDED) / num_contrasts
    critical = float(_stats.t.isf(level, df))
    if claim == "equivalent":
        room = (margin - effect, margin + effect)
        if error == 0:
            return float(min(room) > 0)
        both = sum(float(_stats.t.cdf(r / error - critical, df)) for r in room) - 1
        return max(0.0, both)
    shift = effect + (margin if claim == "noninferior" else 0.0)
    if error == 0:
        return float(shift > 0)
    return float(_stats.nct.sf(critical, df, shift / error))


def seeds_needed(
    claim: spec.Claim,
    *,
    margin: float,
    components: Components,
    num_cases: int,
    target: float = 0.8,
    difference: float | None = None,
    num_contrasts: int = 1,
) -> int | None:
    """Returns the fewest seeds that reach a power, None where none do.

    None means limited by cases: not even 1024 seeds would be enough.

    Args:
      claim: What the contrast is to show.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      num_cases: Test cases, at least 2.
      target: Power to reach, in (0, 1).
      difference: True difference, as in `power`.
      num_contrasts: Contrasts of the family.
    """
    low, high = 1, MOST_SEEDS

    def enough(seeds: int) -> bool:
        reached = power(
            claim,
            margin=margin,
            components=components,
            num_seeds=seeds,
            num_cases=num_cases,
            difference=difference,
            num_contrasts=num_contrasts,
        )
        return reached >= target

    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _error(
    components: Components, num_seeds: int, num_cases: int
) -> tuple[float, float]:
    """Returns the expected standard error of a mean and its degrees of freedom."""
    residual = components.sd_residual**2
    seed = num_cases * components.sd_seed**2 + residual
    case = num_seeds * components.sd_case**2 + residual
    squares = np.array([seed, case, residual])
    freedom = np.array([num_seeds - 1, num_cases - 1, 1.0])
    freedom[2] = freedom[0] * freedom[1]
    total = seed + case - residual
    spread = float((squares**2 / freedom).sum())
    floor = min(num_seeds, num_cases) - 1
    df = max(total**2 / spread, floor) if spread > 0 else floor
    return math.sqrt(total / (num_seeds * num_cases)), float(df)
