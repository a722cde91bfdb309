"""Means over crossed seeds and cases, and how sure they are.

Every seed is scored on every case, so a mean has two sources of chance that
cross: new seeds would shift all cases together, other cases all seeds. The
model is two-way random effects, `D[s, c] = mean + seed[s] + case[c] +
residual[s, c]` (Searle, Casella and McCulloch, Variance Components, 1992).
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

_stats: Any = scipy.stats

FEW_SEEDS = 10
FEW_CASES = 20
"""Below these the interval's coverage has no target, only a bound on error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds and cases with what its uncertainty is made of.

    Attributes:
      mean: Grand mean.
      variance: Variance of the grand mean; NaN where one number says nothing.
      df: Degrees of freedom of that variance.
      num_seeds: Seeds; the smallest number over folds.
      num_cases: Cases, over all folds.
      method: `two-way`, or `seeds only` / `cases only` where the other factor
        has one level and its variance cannot be known.
    """

    mean: float
    variance: float
    df: float
    num_seeds: int
    num_cases: int
    method: str

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.variance)

    def interval(self, level: float) -> tuple[float, float]:
        """Returns the two-sided t interval of a confidence level in (0, 1)."""
        half = float(_stats.t.ppf(0.5 + level / 2, self.df)) * self.error
        return self.mean - half, self.mean + half

    def p_above(self, bound: float) -> float:
        """Returns the one-sided p value of the null `mean <= bound`."""
        distance = self.mean - bound
        if self.variance == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(_stats.t.sf(distance / self.error, self.df))

    def p_below(self, bound: float) -> float:
        """Returns the one-sided p value of the null `mean >= bound`."""
        return dataclasses.replace(self, mean=-self.mean).p_above(-bound)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Components:
    """Standard deviations of the two-way model, in units of the score."""

    sd_seed: float
    sd_case: float
    sd_residual: float


def estimate_mean(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    *,
    effective_cases: Sequence[float | None] | None = None,
) -> Estimate:
    """Estimates the mean over cases of matrices that are nested in folds.

    Folds hold different cases and are independent: the mean is weighted by
    cases and its variance is the weighted sum, with Satterthwaite's degrees of
    freedom.

    Args:
      folds: One seed x case matrix a fold; usually one. No value is missing.
      effective_cases: Number of cases that each fold's degrees of freedom go by,
        where it hangs on fewer than it has; None stands for all.

    Returns:
      The estimate.
    """
    known = effective_cases or [None] * len(folds)
    parts = [_two_way(*pair) for pair in zip(folds, known, strict=True)]
    if len(parts) == 1:
        return parts[0]
    cases = np.array([part.num_cases for part in parts])
    weights = cases / cases.sum()
    terms = weights**2 * np.array([part.variance for part in parts])
    df = np.array([part.df for part in parts])
    total = float(terms.sum())
    methods = {part.method for part in parts}
    return Estimate(
        mean=float(weights @ np.array([part.mean for part in parts])),
        variance=total,
        df=total**2 / float((terms**2 / df).sum()) if total > 0 else float(df.sum()),
        num_seeds=sum(part.num_seeds for part in parts),
        num_cases=int(cases.sum()),
        method=methods.pop() if len(methods) == 1 else "mixed over folds",
    )


def _two_way(
    matrix: Float[np.ndarray, "seed case"], effective_cases: float | None
) -> Estimate:
    """Estimates the mean of one crossed matrix.

    The variance of the grand mean is (MS_seed + MS_case - MS_residual) / (seeds
    x cases), its degrees of freedom Satterthwaite's. Where a variance component
    is estimated negative the sum falls below MS_seed or MS_case; the larger of
    the two then takes its place (that component is zero), and the degrees of
    freedom are never below those of the smaller factor.
    """
    seeds, cases = matrix.shape
    mean = float(matrix.mean())
    if seeds == 1 or cases == 1:
        values = matrix.ravel()
        several = len(values) > 1
        method = "one score" if not several else "cases only"
        return Estimate(
            mean=mean,
            variance=float(values.var(ddof=1)) / len(values) if several else math.nan,
            df=float(len(values) - 1) if several else math.nan,
            num_seeds=seeds,
            num_cases=cases,
            method="seeds only" if several and cases == 1 else method,
        )
    squares = mean_squares(matrix)
    free = cases - 1 if effective_cases is None else max(1.0, effective_cases - 1)
    between = np.array([seeds - 1, free, (seeds - 1) * free])
    scale = float(_scale(squares))
    spread = float((squares**2 / between).sum())
    floor = min(seeds - 1, free)
    return Estimate(
        mean=mean,
        variance=scale / matrix.size,
        df=max(scale**2 / spread, floor) if spread > 0 else float(floor),
        num_seeds=seeds,
        num_cases=cases,
        method="two-way",
    )


def _scale(squares: Float[np.ndarray, "3 *any"]) -> Float[np.ndarray, "*any"]:
    """Returns seeds x cases times the variance of the mean, from mean squares."""
    return np.maximum(squares[0] + squares[1] - squares[2], squares[:2].max(0))


def mean_squares(
    matrix: Float[np.ndarray, "seed case"],
) -> Float[np.ndarray, "3"]:
    """Returns the mean squares of seeds, cases and residual."""
    seeds, cases = matrix.shape
    rows, columns, mean = matrix.mean(1), matrix.mean(0), matrix.mean()
    residual = matrix - rows[:, None] - columns[None, :] + mean
    return np.array(
        [
            cases * rows.var(ddof=1),
            seeds * columns.var(ddof=1),
            (residual**2).sum() / ((seeds - 1) * (cases - 1)),
        ]
    )


def variance_components(matrix: Float[np.ndarray, "seed case"]) -> Components:
    """Returns the components of a crossed matrix, by its mean squares.

    Args:
      matrix: At least two seeds and two cases; negative estimates become 0.

    Raises:
      ValueError: Fewer than two seeds or two cases.

    >>> matrix = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> components = variance_components(matrix)
    >>> round(components.sd_seed**2, 6), round(components.sd_case**2, 6)
    (2.0, 0.5)
    """
    seeds, cases = matrix.shape
    if seeds < 2 or cases < 2:
        raise ValueError(f"{seeds} seeds x {cases} cases: at least 2 x 2 are needed")
    seed, case, residual = mean_squares(matrix)
    return Components(
        sd_seed=math.sqrt(max(0.0, (seed - residual) / cases)),
        sd_case=math.sqrt(max(0.0, (case - residual) / seeds)),
        sd_residual=math.sqrt(residual),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampled:
    """Means of resamples of seeds and cases, and their two-way variances.

    Attributes:
      means: Mean of each resample.
      variances: Two-way variance of each resample's mean; 0 where not computed.
    """

    means: Float[np.ndarray, " resample"]
    variances: Float[np.ndarray, " resample"]

    def percentile(self, level: float) -> tuple[float, float]:
        """Returns the percentile interval of a confidence level in (0, 1)."""
        return _tails(self.means, level)

    def studentised(self, estimate: Estimate, level: float) -> tuple[float, float]:
        """Returns the bootstrap-t interval around an estimate of the same matrices."""
        spread = self.variances > 0
        if not spread.any():
            return estimate.mean, estimate.mean
        distances = self.means[spread] - estimate.mean
        low, high = _tails(distances / np.sqrt(self.variances[spread]), level)
        error = estimate.error
        return estimate.mean - high * error, estimate.mean - low * error


def bootstrap_interval(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    *,
    level: float,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Returns a percentile interval of the crossed (pigeonhole) bootstrap.

    Seeds and cases are drawn anew with replacement, independently of each other
    and in each fold (Owen, The pigeonhole bootstrap, 2007). It stands beside
    the t interval as a check; with few seeds it is too narrow.

    Args:
      folds: One seed x case matrix a fold.
      level: Confidence level in (0, 1).
      resamples: Number of resamples.
      generator: Source of all randomness.

    Returns:
      Lower and upper end.
    """
    return resample(folds, resamples, generator, variances=False).percentile(level)


def studentised_interval(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    *,
    level: float,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Returns a studentised (bootstrap-t) interval of the crossed bootstrap.

    Each resample's distance from the mean is divided by its own two-way standard
    error; the quantiles of these take the place of Student's (Efron 1979; Hall,
    The bootstrap and Edgeworth expansion, 1992). Resamples without spread are left
    out; where all are, the interval is the mean alone.

    Args:
      folds: One seed x case matrix a fold, at least 2 x 2 each.
      level: Confidence level in (0, 1).
      resamples: Number of resamples.
      generator: Source of all randomness.

    Returns:
      Lower and upper end.
    """
    drawn = resample(folds, resamples, generator)
    return drawn.studentised(estimate_mean(folds), level)


def resample(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    resamples: int,
    generator: np.random.Generator,
    *,
    variances: bool = True,
) -> Resampled:
    """Draws the resamples that both bootstraps read their intervals from.

    Args:
      folds: One seed x case matrix a fold.
      resamples: Number of resamples.
      generator: Source of all randomness.
      variances: Whether each resample's two-way variance is computed as well.
    """
    total = sum(matrix.shape[1] for matrix in folds)
    found = Resampled(means=np.zeros(resamples), variances=np.zeros(resamples))
    for matrix in folds:
        seeds, cases = matrix.shape
        by_seed = _counts(seeds, resamples, generator)
        by_case = _counts(cases, resamples, generator)
        rows = by_case @ matrix.T / cases
        mean = np.einsum("rs,rs->r", by_seed, rows) / seeds
        share = cases / total
        found.means[:] += share * mean
        if variances and min(seeds, cases) > 1:
            squares = _weighted_squares(matrix, by_seed, by_case)
            found.variances[:] += share**2 * _scale(squares) / matrix.size
    return found


def _tails(values: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _counts(
    size: int, resamples: int, generator: np.random.Generator
) -> Float[np.ndarray, "resample size"]:
    """Returns how often each of `size` things is among as many draws of them.

    The counts are multinomial; drawing them one by one is several times faster than
    a binomial for each.
    """
    drawn = generator.integers(0, size, (resamples, size))
    drawn += size * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * size)
    return counts.reshape(resamples, size).astype(float)


def _weighted_squares(
    matrix: Float[np.ndarray, "seed case"],
    by_seed: Float[np.ndarray, "resample seed"],
    by_case: Float[np.ndarray, "resample case"],
) -> Float[np.ndarray, "3 resample"]:
    """Returns `mean_squares` of matrices whose rows and columns repeat.

    Args:
      matrix: Values.
      by_seed: How often each resample has each seed.
      by_case: How often each resample has each case.
    """
    seeds, cases = matrix.shape
    rows, columns = by_case @ matrix.T / cases, by_seed @ matrix / seeds
    mean = np.einsum("rs,rs->r", by_seed, rows) / seeds
    seed = cases * np.einsum("rs,rs->r", by_seed, (rows - mean[:, None]) ** 2)
    case = seeds * np.einsum("rc,rc->r", by_case, (columns - mean[:, None]) ** 2)
    whole = np.einsum("rc,rc->r", by_seed @ matrix**2, by_case)
    whole -= matrix.size * mean**2
    freedom = np.array([seeds - 1, cases - 1, (seeds - 1) * (cases - 1)])
    left = np.maximum(whole - seed - case, 0.0)
    return np.stack([seed, case, left]) / freedom[:, None]
