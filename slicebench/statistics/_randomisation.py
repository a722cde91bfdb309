"""Tests over seeds that assume no distribution: sign flips and Wilcoxon.

Both take one number a seed, its difference averaged over the test cases, so they
speak of new seeds on these cases; the t interval speaks of new cases as well.
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

_stats: Any = scipy.stats

MOST_EXACT = 12
"""Seeds up to which every pattern of signs is tried."""

FLIPS = 10_000
"""Random patterns of signs beyond."""

_DECIMALS = 12
"""Sums in another order differ in their last bits only; such values are equal."""


def sign_flip(
    folds: Sequence[Float[np.ndarray, "_seed _case"]], *, generator: np.random.Generator
) -> float | None:
    """Returns the two-sided randomisation p value of no difference.

    Under the null a seed's difference is as likely positive as negative: its whole
    row changes sign. The p value is the share of patterns whose mean is at least
    as far from 0 as the observed one (Edgington and Onghena, Randomization Tests,
    2007): of all patterns up to `MOST_EXACT` seeds, else of `FLIPS` random ones with
    the observed one counted among them. It cannot fall below 2 / 2^seeds.

    Args:
      folds: One seed x case matrix a fold; seeds are flipped one by one in each,
        folds weigh as in the estimate (by cases).
      generator: Source of the random patterns; not touched where all are tried.

    Returns:
      The p value in (0, 1]; None with fewer than two seeds.
    """
    total = sum(matrix.shape[1] for matrix in folds)
    parts = [m.mean(1) * m.shape[1] / total / len(m) for m in folds]
    shares: Float[np.ndarray, " seed"] = np.concatenate(parts)
    count = len(shares)
    if count < 2:
        return None
    # Turning every sign changes no distance: the first seed may keep its own.
    if count <= MOST_EXACT:
        patterns = np.arange(2 ** (count - 1))[:, None] >> np.arange(count - 1) & 1
    else:
        patterns = generator.integers(0, 2, (FLIPS, count - 1), dtype=np.int8)
    sums = shares.sum() - 2 * (patterns.astype(float) @ shares[1:])
    far = np.abs(sums) >= abs(shares.sum()) - 10.0**-_DECIMALS
    if count <= MOST_EXACT:
        return float(far.mean())
    return float((far.sum() + 1) / (FLIPS + 1))


def wilcoxon(
    folds: Sequence[Float[np.ndarray, "_seed _case"]], *, level: float
) -> tuple[float | None, str | None]:
    """Returns Wilcoxon's signed-rank p value over seeds, two-sided, and a note.

    Seeds without any difference are left out, as Wilcoxon did; exact up to 50 seeds
    without ties (SciPy's rule).

    Args:
      folds: One seed x case matrix a fold.
      level: Level that the p value is held against, adjusted for the family.

    Returns:
      The p value, None where no seed differs or there are fewer than two seeds; and
      why it cannot reach the level, None where it can.
    """
    values = np.round(np.concatenate([matrix.mean(1) for matrix in folds]), _DECIMALS)
    if len(values) < 2:
        return None, "one seed: nothing to rank"
    differing = values[values != 0]
    if not len(differing):
        return None, "no seed differs"
    p = float(_stats.wilcoxon(differing).pvalue) if len(differing) > 1 else 1.0
    smallest = 2.0 ** (1 - len(differing))
    if smallest <= level:
        return p, None
    return p, (
        f"{len(differing)} seeds: the smallest p that the test can give is "
        f"{smallest:.3g}, above {level:.3g}"
    )
