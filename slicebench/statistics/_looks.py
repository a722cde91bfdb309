"""Planned contrasts at their looks: what is decided, and what never can be.

A look tests every claim at the level that the O'Brien-Fleming type function has left
(`_sequential`), with the same t-based p values as a single look: a bound z becomes
the level 1 - Phi(z). Holm's adjustment runs at each look over the family, each claim
in its own column; a contrast that is adjusted by j has bounds of its own for error
alpha / j from the first look on (Maurer and Bretz 2013).
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy.stats
from jaxtyping import Float

from slicebench import spec
from slicebench.statistics import _intervals, _power, _sequential, _verdicts

_stats: Any = scipy.stats

State = Literal["decided", "case-limited", "cap reached", "going on"]

_SEEDS_ALONE = 0.95
"""Confidence, over seeds alone, of where the mean of these cases may be."""

_ALPHAS = {
    name: _verdicts.TOST if name == "p_equivalent" else _verdicts.ONE_SIDED
    for name in _verdicts.P_VALUES
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What a look sees of one contrast.

    Attributes:
      estimate: Effect, oriented so that positive favours a.
      by_cases: Variance of the mean that new seeds do not lower.
      by_seeds: Variance of the mean that falls with the number of seeds.
      df_cases: Degrees of freedom of `by_cases`.
      margin: Smallest difference that matters; None where the metric has none.
    """

    estimate: _intervals.Estimate
    by_cases: float
    by_seeds: float
    df_cases: float
    margin: float | None

    def variance(self, growth: float) -> float:
        """Returns the variance of the mean at `growth` times the seeds."""
        return self.by_cases + self.by_seeds / growth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What the looks so far have made of one contrast.

    Attributes:
      bounds: Bounds of the looks so far, by one-sided error.
      rejected: Names of the p values that have passed their level.
      holds: Whether its claim has passed its level without Holm's adjustment.
      verdict: Verdict so far.
      state: Whether it is settled.
    """

    bounds: Mapping[float, tuple[float, ...]] = dataclasses.field(
        default_factory=dict[float, tuple[float, ...]]
    )
    rejected: frozenset[str] = frozenset()
    holds: bool = False
    verdict: str = "inconclusive"
    state: State = "going on"


def observe(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    margin: float | None,
    *,
    effective_cases: Sequence[float | None] | None = None,
) -> Observation | None:
    """Returns what a look sees; None where nothing can be tested.

    Args:
      folds: One seed x case matrix a fold, oriented; none where a contrast has no
        scores.
      margin: Smallest difference that matters, above 0, or None.
      effective_cases: As for `estimate_mean`.
    """
    if not folds:
        return None
    estimate = _intervals.estimate_mean(folds, effective_cases=effective_cases)
    if estimate.method != "two-way":
        return None
    cases = np.array([matrix.shape[1] for matrix in folds])
    shares = (cases / cases.sum()) ** 2
    by_cases, by_seeds = np.zeros(len(folds)), np.zeros(len(folds))
    for number, matrix in enumerate(folds):
        parts = _intervals.variance_components(matrix)
        by_cases[number] = parts.sd_case**2 / matrix.shape[1]
        residual = parts.sd_residual**2 / matrix.shape[1]
        by_seeds[number] = (parts.sd_seed**2 + residual) / matrix.shape[0]
    terms = shares * by_cases
    known = effective_cases or [None] * len(folds)
    effective = [
        n if given is None else given for n, given in zip(cases, known, strict=True)
    ]
    free = np.maximum(np.array(effective, float) - 1, 1.0)
    spread = float((terms**2 / free).sum())
    total = float(terms.sum())
    return Observation(
        estimate=estimate,
        by_cases=total,
        by_seeds=float(shares @ by_seeds),
        df_cases=total**2 / spread if spread > 0 else float(free.sum()),
        margin=margin,
    )


def take_look(
    contrasts: Sequence[Mapping[str, Any]],
    observations: Sequence[Observation | None],
    before: Sequence[Progress],
    seeds: Sequence[int],
    number: int,
) -> list[Progress]:
    """Takes one look at the primary contrasts of a study.

    Args:
      contrasts: With `family` and `claim`.
      observations: What this look sees of each; None is never decided.
      before: What the looks before have made of each.
      seeds: Seeds of every planned look, growing.
      number: Which look this is, from 0.

    Returns:
      What has become of each contrast.
    """
    families: dict[str, list[int]] = {}
    for index, contrast in enumerate(contrasts):
        families.setdefault(str(contrast["family"]), []).append(index)
    claims = [str(contrast["claim"]) for contrast in contrasts]
    after = list(before)
    for members in families.values():
        for index in members:
            seen = observations[index]
            if seen is not None:
                bounds = _extended(before[index], seen, seeds, number, len(members))
                after[index] = dataclasses.replace(before[index], bounds=bounds)
        _reject(members, claims, observations, after)
        for index in members:
            after[index] = _settled(
                claims[index],
                observations[index],
                after[index],
                last=number == len(seeds) - 1,
            )
    return after


def _extended(
    before: Progress,
    seen: Observation,
    seeds: Sequence[int],
    number: int,
    size: int,
) -> dict[float, tuple[float, ...]]:
    """Returns the bounds of every error that Holm may ask for, this look included."""
    growth = [count / seeds[number] for count in seeds]
    variances = [seen.variance(step) for step in growth]
    if variances[number] <= 0:
        # Nothing varies: what the p values say needs no bound.
        errors = {alpha / j for alpha in _ALPHAS.values() for j in range(1, size + 1)}
        last = {error: float(_stats.norm.isf(error)) for error in errors}
        return {e: (*before.bounds.get(e, ()), last[e]) for e in errors}
    information = [1 / variance for variance in variances[: number + 1]]
    fraction = variances[-1] / variances[number]
    found: dict[float, tuple[float, ...]] = {}
    for alpha in set(_ALPHAS.values()):
        for j in range(1, size + 1):
            earlier = before.bounds.get(alpha / j, ())
            total = _sequential.spent(alpha / j, fraction)
            # A look at which nothing could be tested has spent nothing.
            known = information[number - len(earlier) :]
            bound = _sequential.next_bound(known, earlier, total)
            found[alpha / j] = (*earlier, bound)
    return found


def level(progress: Progress, alpha: float) -> float:
    """Returns the p value that the newest look asks for, by its bound."""
    bounds = progress.bounds.get(alpha, ())
    if not bounds or bounds[-1] >= _sequential.LIMIT:
        return 0.0
    return float(_stats.norm.sf(bounds[-1]))


def _reject(
    members: Sequence[int],
    claims: Sequence[str],
    observations: Sequence[Observation | None],
    after: list[Progress],
) -> None:
    """Holm's steps, one column a claim: what is rejected leaves its error to others."""
    raw: dict[int, dict[str, float | None]] = {}
    for index in members:
        seen = observations[index]
        # A contrast once decided stays as it is.
        if seen is not None and after[index].state != "decided":
            raw[index] = _verdicts.p_values(seen.estimate, seen.margin)
            after[index] = _holding(claims[index], raw[index], after[index])
    for name, alpha in _ALPHAS.items():
        found = True
        while found:
            left = [i for i in members if name not in after[i].rejected]
            found = False
            for index in left:
                value = raw.get(index, {}).get(name)
                if value is None or value > level(after[index], alpha / len(left)):
                    continue
                rejected = after[index].rejected | {name}
                after[index] = dataclasses.replace(after[index], rejected=rejected)
                found = True


def _holding(
    claim: str, raw: Mapping[str, float | None], progress: Progress
) -> Progress:
    """Notes whether the claim alone, outside its family, has passed its level."""
    name = f"p_{claim}"
    value = raw[name]
    passed = value is not None and value <= level(progress, _ALPHAS[name])
    return dataclasses.replace(progress, holds=progress.holds or passed)


def _settled(
    claim: str, seen: Observation | None, progress: Progress, *, last: bool
) -> Progress:
    """Gives a contrast its verdict and state after a look."""
    if progress.state == "decided":
        return progress
    if seen is None:
        return dataclasses.replace(progress, state="case-limited")
    passed = {name: 0.0 if name in progress.rejected else None for name in _ALPHAS}
    verdict = _verdicts.decide(passed)
    state: State = "cap reached" if last else "going on"
    if verdict in ("superior", "inferior", "equivalent") or verdict == claim:
        state = "decided"
    elif is_case_limited(claim, seen):
        state = "case-limited"
    return dataclasses.replace(progress, verdict=verdict, state=state)


def is_case_limited(claim: str, seen: Observation) -> bool:
    """Whether even infinitely many seeds would leave a contrast undecided.

    With more and more seeds the interval shrinks to the part that these cases
    leave, around a mean that is not known yet. A contrast is limited by its cases
    where no mean within the 95 % interval over seeds alone would be decided.

    Args:
      claim: What it is to show.
      seen: The newest look.
    """
    estimate = seen.estimate
    error = math.sqrt(seen.by_cases)
    wide = float(_stats.t.isf(_verdicts.ONE_SIDED, seen.df_cases)) * error
    narrow = float(_stats.t.isf(_verdicts.TOST, seen.df_cases)) * error
    quantile = float(_stats.t.isf((1 - _SEEDS_ALONE) / 2, estimate.num_seeds - 1))
    half = quantile * math.sqrt(seen.by_seeds)
    low, high = estimate.mean - half, estimate.mean + half
    # Means that stay undecided: neither beyond the wide half interval, nor so near
    # to 0 that the narrow one fits into the margin.
    room = -math.inf if seen.margin is None else seen.margin - narrow
    open_means = [(-wide, wide)] if room <= 0 else [(-wide, -room), (room, wide)]
    if claim == "noninferior" and seen.margin is not None:
        open_means = [(a, min(b, wide - seen.margin)) for a, b in open_means]
    return any(a <= low and high <= b for a, b in open_means)


def power_by_look(
    claim: spec.Claim,
    *,
    margin: float,
    components: _intervals.Components,
    seeds: Sequence[int],
    num_cases: int,
    difference: float,
    num_contrasts: int = 1,
    num_folds: int = 1,
    simulations: int = 20_000,
) -> list[float]:
    """Returns the probability that a claim has been shown by each look.

    Means over growing numbers of seeds are drawn from the two-way model; standard
    errors and Student's degrees of freedom are those of the expected mean squares.

    Args:
      claim: What is to be shown.
      margin: Smallest difference that matters, above 0.
      components: Standard deviations of the paired difference.
      seeds: Seeds of every planned look, growing, from 2.
      num_cases: Test cases, at least 2.
      difference: True difference.
      num_contrasts: Contrasts of the family, which share the error (Bonferroni).
      num_folds: Outer folds over which seeds and cases are spread.
      simulations: Simulated runs; equal calls draw equal ones.
    """
    alpha = _ALPHAS[f"p_{claim}"] / num_contrasts
    by_cases = components.sd_case**2 / num_cases
    residual = components.sd_residual**2 * num_folds / num_cases
    one_seed = components.sd_seed**2 + residual
    counts = np.array(seeds, float)
    variances = by_cases + one_seed / counts
    rng = np.random.default_rng(0)
    steps = np.sqrt(np.diff(counts, prepend=0.0) * one_seed)
    sums = (rng.normal(size=(simulations, len(counts))) * steps).cumsum(1)
    means = difference + sums / counts
    means += rng.normal(size=(simulations, 1)) * math.sqrt(by_cases)
    bounds: list[float] = []
    shown = np.zeros(simulations, bool)
    found: list[float] = []
    for look, variance in enumerate(variances.tolist()):
        information = (1 / variances[: look + 1]).tolist()
        total = _sequential.spent(alpha, float(variances[-1]) / variance)
        bounds.append(_sequential.next_bound(information, bounds, total))
        _, df = _power.expected_error(
            components,
            num_seeds=seeds[look],
            num_cases=num_cases,
            num_folds=num_folds,
        )
        critical = float(_stats.t.isf(_stats.norm.sf(bounds[-1]), df))
        need = critical * math.sqrt(variance)
        above = means[:, look] > need - (0.0 if claim == "superior" else margin)
        if claim == "equivalent":
            above &= means[:, look] < margin - need
        shown |= above
        found.append(float(shown.mean()))
    return found
