"""How likely a contrast is to succeed, and what it takes: seeds, cases, difference.

Everything rests on the two-way model of `_intervals` and the noncentral t
distribution, with the standard error and Satterthwaite's degrees of freedom that
the expected mean squares give. Seeds and cases are totals over folds; folds hold
different cases, and seeds are nested in them.
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from slicebench import spec
from slicebench.statistics._intervals import Components
from slicebench.statistics._verdicts import ONE_SIDED, TOST

_special: Any = scipy.special

MOST_SEEDS = 1024
MOST_CASES = 4096
"""Where the planner stops looking."""

TARGET = 0.8
"""Power that a plan is to reach."""


def power(
    claim: spec.Claim,
    *,
    margin: float,
    components: Components,
    num_seeds: int,
    num_cases: int,
    difference: float | None = None,
    num_contrasts: int = 1,
    num_folds: int = 1,
) -> float:
    """Returns the power of a contrast in the two-way model.

    Noncentral t for the one-sided claims; for equivalence the two one-sided tests
    in the t approximation.

    Args:
      claim: What the contrast is to show.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      num_seeds: Seeds, at least 2 a fold.
      num_cases: Test cases, at least 2 a fold.
      difference: True difference; by default the margin itself for a claim of
        superiority, none for the others.
      num_contrasts: Contrasts of the family; the level is shared among them
        (Bonferroni, the first and hardest step of Holm).
      num_folds: Folds over which seeds and cases are spread evenly.

    Returns:
      Probability in [0, 1].

    Raises:
      ValueError: Fewer than two seeds or cases a fold, or a margin not above 0.
    """
    if margin <= 0:
        raise ValueError(f"margin {margin}: one above 0 is needed")
    error, df = expected_error(
        components, num_seeds=num_seeds, num_cases=num_cases, num_folds=num_folds
    )
    assumed = margin if claim == "superior" else 0.0
    effect = assumed if difference is None else difference
    critical = _critical(claim, df, num_contrasts)
    if claim == "equivalent":
        room = (margin - effect, margin + effect)
        if error == 0:
            return float(min(room) > 0)
        both = sum(_special.stdtr(df, r / error - critical) for r in room) - 1
        return max(0.0, float(both))
    shift = effect + (margin if claim == "noninferior" else 0.0)
    if error == 0:
        return float(shift > 0)
    return 1.0 - float(_special.nctdtr(df, shift / error, critical))


def seeds_needed(
    claim: spec.Claim,
    *,
    margin: float,
    components: Components,
    num_cases: int,
    target: float = TARGET,
    difference: float | None = None,
    num_contrasts: int = 1,
    num_folds: int = 1,
) -> int | None:
    """Returns the fewest seeds that reach a power, None where none do.

    None means limited by cases: not even `MOST_SEEDS` would be enough. With folds
    the answer is a multiple of their number.

    Args:
      claim: What the contrast is to show.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      num_cases: Test cases, at least 2 a fold.
      target: Power to reach, in (0, 1).
      difference: True difference, as in `power`.
      num_contrasts: Contrasts of the family.
      num_folds: Folds, as in `power`.
    """

    def enough(seeds: int) -> bool:
        reached = power(
            claim,
            margin=margin,
            components=components,
            num_seeds=seeds * num_folds,
            num_cases=num_cases,
            difference=difference,
            num_contrasts=num_contrasts,
            num_folds=num_folds,
        )
        return reached >= target

    found = _fewest(enough, MOST_SEEDS // num_folds)
    return None if found is None else found * num_folds


def cases_needed(
    claim: spec.Claim,
    *,
    margin: float,
    components: Components,
    num_seeds: int,
    target: float = TARGET,
    difference: float | None = None,
    num_contrasts: int = 1,
    num_folds: int = 1,
) -> int | None:
    """Returns the fewest test cases that reach a power, None where none do.

    None means limited by seeds: not even `MOST_CASES` would be enough.

    Args:
      claim: What the contrast is to show.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      num_seeds: Seeds, at least 2 a fold.
      target: Power to reach, in (0, 1).
      difference: True difference, as in `power`.
      num_contrasts: Contrasts of the family.
      num_folds: Folds, as in `power`.
    """

    def enough(cases: int) -> bool:
        reached = power(
            claim,
            margin=margin,
            components=components,
            num_seeds=num_seeds,
            num_cases=cases * num_folds,
            difference=difference,
            num_contrasts=num_contrasts,
            num_folds=num_folds,
        )
        return reached >= target

    found = _fewest(enough, MOST_CASES // num_folds)
    return None if found is None else found * num_folds


def resolvable(
    claim: spec.Claim,
    *,
    error: float,
    df: float,
    target: float = TARGET,
    num_contrasts: int = 1,
) -> float:
    """Returns the smallest difference that a standard error can show.

    For superiority the smallest true difference found with that power; for
    noninferiority and equivalence the smallest margin that could be met with it
    where there is no difference.

    Args:
      claim: What the contrast is to show.
      error: Standard error, as of an `Estimate` or from `expected_error`.
      df: Its degrees of freedom.
      target: Power, in (0, 1).
      num_contrasts: Contrasts of the family.

    Returns:
      Difference, in units of the score; 0 without any spread.
    """
    if error == 0:
        return 0.0
    critical = _critical(claim, df, num_contrasts)
    if claim == "equivalent":
        return error * (critical + float(_special.stdtrit(df, (1 + target) / 2)))
    return error * float(_special.nctdtrinc(df, 1 - target, critical))


def _critical(claim: spec.Claim, df: float, num_contrasts: int) -> float:
    level = (TOST if claim == "equivalent" else ONE_SIDED) / num_contrasts
    return -float(_special.stdtrit(df, level))


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """Returns the smallest number from 2 to `most` that is enough, by bisection."""
    if not enough(most):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def expected_error(
    components: Components, *, num_seeds: int, num_cases: int, num_folds: int = 1
) -> tuple[float, float]:
    """Returns the expected standard error of a mean and its degrees of freedom.

    Args:
      components: Standard deviations of the paired difference.
      num_seeds: Seeds, at least 2 a fold.
      num_cases: Test cases, at least 2 a fold.
      num_folds: Folds, as in `power`.

    Raises:
      ValueError: Fewer than two seeds or cases a fold.
    """
    seeds, cases = num_seeds / num_folds, num_cases / num_folds
    if seeds < 2 or cases < 2:
        raise ValueError(
            f"{num_seeds} seeds and {num_cases} cases in {num_folds} folds: at least "
            "2 of each in a fold are needed"
        )
    residual = components.sd_residual**2
    seed = cases * components.sd_seed**2 + residual
    case = seeds * components.sd_case**2 + residual
    squares = np.array([seed, case, residual])
    freedom = np.array([seeds - 1, cases - 1, (seeds - 1) * (cases - 1)])
    total = seed + case - residual
    spread = float((squares**2 / freedom).sum())
    floor = min(seeds, cases) - 1
    df = max(total**2 / spread, floor) if spread > 0 else floor
    return math.sqrt(total / (seeds * cases) / num_folds), float(df) * num_folds
