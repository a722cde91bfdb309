"""Ranking many strategies at once: Friedman's test, rank distributions, rliable.

Scores are oriented (larger is better) and complete: every strategy on the same seeds
and cases. Rank 1 is best; ties share the mean rank.
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float

from slicebench import spec
from slicebench.statistics import _effects, _index

_stats: Any = scipy.stats


FEWEST = 3
"""Strategies from which on a ranking says more than a contrast."""

RESAMPLES = 2000

_ARM = ("strategy", "features")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Friedman:
    """Friedman's test with Nemenyi's post-hoc comparison (Demsar 2006).

    Attributes:
      ranks: Mean rank of each strategy, in the order given.
      statistic: Chi-square statistic, corrected for ties.
      p: Its p value; 1 where every block ranks all strategies alike as ties.
      critical_difference: Mean ranks that differ by less are not told apart.
      num_blocks: Blocks, that is seeds.
      cliques: Sets of strategies (indices, best first) not told apart, each as
        large as it can be; sets of one are left out.
    """

    ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    num_blocks: int
    cliques: tuple[tuple[int, ...], ...]


def friedman(
    scores: Float[np.ndarray, "strategy block"], *, level: float = 0.05
) -> Friedman:
    """Tests whether strategies differ in rank over blocks.

    The caller's blocks are seeds, their scores means over cases. With cases as blocks
    and means over seeds, all cases share the luck of the seeds: two copies of random
    slices then differ "significantly" (seen in an A/A run). The critical difference
    is `q sqrt(k (k + 1) / (6 N))` with q the studentised range over infinite degrees
    of freedom divided by sqrt(2).

    Args:
      scores: Oriented scores, at least 2 strategies and 2 blocks.
      level: Level of the post-hoc comparison.

    Raises:
      ValueError: Fewer than two strategies or blocks.
    """
    count, blocks = scores.shape
    if count < 2 or blocks < 2:
        raise ValueError(f"{count} strategies x {blocks} blocks: 2 x 2 are needed")
    ranks = _stats.rankdata(-scores, axis=0)
    means = ranks.mean(1)
    spread = float(((ranks - (count + 1) / 2) ** 2).sum())
    # With all ties no block ranks anything.
    statistic = 0.0
    if spread > 0:
        between = blocks**2 * float(((means - (count + 1) / 2) ** 2).sum())
        statistic = (count - 1) * between / spread
    quantile = float(_stats.studentized_range.isf(level, count, np.inf)) / math.sqrt(2)
    difference = quantile * math.sqrt(count * (count + 1) / (6 * blocks))
    return Friedman(
        ranks=tuple(means.tolist()),
        statistic=statistic,
        p=float(_stats.chi2.sf(statistic, count - 1)),
        critical_difference=difference,
        num_blocks=blocks,
        cliques=_cliques(means, difference),
    )


def _cliques(
    means: Float[np.ndarray, " strategy"], difference: float
) -> tuple[tuple[int, ...], ...]:
    """Returns the longest runs of mean ranks within one critical difference."""
    order = np.argsort(means, kind="stable")
    found: list[tuple[int, ...]] = []
    last = 0
    for start in range(len(order)):
        near = means[order] < means[order[start]] + difference
        stop = int(near.sum())
        if stop - start > 1 and stop > last:
            found.append(tuple(order[start:stop].tolist()))
        last = max(last, stop)
    return tuple(found)


def rank_distribution(
    folds: Sequence[Float[np.ndarray, "strategy _seed _case"]],
    *,
    resamples: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "strategy rank"]:
    """Returns how often each strategy takes each rank when data are drawn anew.

    Seeds and cases are resampled independently, for all strategies alike (crossed
    bootstrap, in each fold); strategies are ranked by their mean. Ranking uncertainty
    is shown in this way by challengeR (Wiesenfarth et al., Scientific Reports 2021).

    Args:
      folds: Oriented scores, one array a fold.
      resamples: Number of resamples.
      generator: Source of all randomness.

    Returns:
      Share of resamples; a tie over several ranks counts in each in equal parts.
    """
    count = len(folds[0])
    total = sum(scores.shape[2] for scores in folds)
    means = np.zeros((count, resamples))
    for scores in folds:
        _, seeds, cases = scores.shape
        by_seed = generator.multinomial(seeds, [1 / seeds] * seeds, resamples)
        by_case = generator.multinomial(cases, [1 / cases] * cases, resamples)
        sums = np.stack([((by_seed @ one) * by_case).sum(1) for one in scores])
        means += sums / seeds / total
    # Sums in another order differ in their last bits only; such scores are equal.
    means = np.round(means, 12)
    lowest = _stats.rankdata(-means, method="min", axis=0)
    highest = _stats.rankdata(-means, method="max", axis=0)
    rank = np.arange(1, count + 1)[None, :, None]
    held = (lowest[:, None] <= rank) & (rank <= highest[:, None])
    return (held / (highest - lowest + 1)[:, None]).mean(2)


def probability_of_improvement(
    a: Float[np.ndarray, "seed_a case"], b: Float[np.ndarray, "seed_b case"]
) -> float:
    """Returns how likely a training of `a` beats one of `b` on a case.

    Over all pairs of seeds, ties counting half, averaged over cases: the Mann-Whitney
    statistic as in rliable (Agarwal et al., NeurIPS 2021), with cases as tasks.

    >>> probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]]))
    0.875
    """
    wins = (a[:, None] > b[None]).mean((0, 1))
    ties = (a[:, None] == b[None]).mean((0, 1))
    return float((wins + ties / 2).mean())


def interquartile_mean(values: Float[np.ndarray, "seed case"]) -> float:
    """Returns the mean of the middle half of all scores (rliable's IQM).

    A quarter of the scores, rounded down, is cut off at either end.

    >>> interquartile_mean(np.array([[0.0, 0.5, 0.7, 9.0]]))
    0.6
    """
    return float(_stats.trim_mean(values.ravel(), 0.25))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranking:
    """Strategies that differ in nothing else, ranked.

    Attributes:
      place: Task, target, dims, metric and the factors that all share.
      arms: One mapping a strategy, best mean rank first: strategy, features, mean
        (over cases, then seeds), mean_rank (over seeds), p_best (share of resamples
        in which it is first), improvement (probability over `random`, None
        without it) and iqm.
      test: Friedman's test over seeds.
      num_cases: Cases, over all folds.
      num_seeds: Seeds that all strategies have, over all folds.
    """

    place: dict[str, Any]
    arms: tuple[dict[str, Any], ...]
    test: Friedman
    num_seeds: int
    num_cases: int


def rank_strategies(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    metric: str = "dice",
    seed: int = 0,
) -> list[Ranking]:
    """Ranks strategies wherever at least three differ in nothing else.

    Args:
      results: Tidy scores, or their index.
      trials: Trials table.
      metric: Score to rank by.
      seed: Seed of the bootstrap.
    """
    found: list[Ranking] = []
    for (task, target, dims, name), scores in _index.index_scores(
        results, trials
    ).items():
        if name != metric:
            continue
        place = {"task": task, "target": target, "dims": dims, "metric": metric}
        for shared, cells in _groups(scores).items():
            factors: dict[str, Any] = dict(zip(_SHARED, shared, strict=True))
            ranking = _ranking(scores, cells, {**place, **factors}, seed)
            if ranking is not None:
                found.append(ranking)
    return found


_SHARED = tuple(name for name in _index.FACTORS if name not in _ARM)


def _named(cell: _index.Cell) -> dict[str, Any]:
    names: tuple[str, ...] = _index.FACTORS
    return dict(zip(names, cell, strict=True))


def _groups(scores: _index.Scores) -> dict[tuple[Any, ...], list[_index.Cell]]:
    """Returns cells that differ in strategy and features only."""
    groups: dict[tuple[Any, ...], list[_index.Cell]] = {}
    for cell in scores.rows:
        named: dict[str, Any] = _named(cell)
        if named["slices_per_volume"] is not None or named["scope"] == "pooled":
            groups.setdefault(tuple(named[name] for name in _SHARED), []).append(cell)
    return {key: cells for key, cells in groups.items() if len(cells) >= FEWEST}


def _ranking(
    scores: _index.Scores,
    cells: Sequence[_index.Cell],
    place: dict[str, Any],
    seed: int,
) -> Ranking | None:
    """Ranks cells on the seeds and cases that all have; None without any."""
    sign = _effects.orientation(place["metric"])
    try:
        by_cell = [
            _effects.effect_matrices(
                scores, {other: float(sign * (other == cell)) for other in cells}
            )
            for cell in cells
        ]
    except _index.NotComparableError:
        return None
    folds = [np.stack(parts) for parts in zip(*by_cell, strict=True)]
    blocks = np.concatenate([fold.mean(2) for fold in folds], axis=1)
    if blocks.shape[1] < 2:
        return None
    num_cases = sum(fold.shape[2] for fold in folds)
    test = friedman(blocks)
    stream = np.random.default_rng(
        spec.derive_seed(seed, "ranking", spec.canonical_json(place))
    )
    first = rank_distribution(folds, resamples=RESAMPLES, generator=stream)[:, 0]
    names = [_named(cell) for cell in cells]
    reference = [n["strategy"] for n in names]
    index = reference.index("random") if "random" in reference else None
    weights = np.array([fold.shape[2] for fold in folds]) / num_cases
    arms = [
        {
            **{factor: names[arm][factor] for factor in _ARM},
            "mean": float(sign * (weights @ [fold[arm].mean() for fold in folds])),
            "mean_rank": test.ranks[arm],
            "p_best": float(first[arm]),
            "improvement": None
            if index is None or arm == index
            else float(
                weights @ [probability_of_improvement(f[arm], f[index]) for f in folds]
            ),
            "iqm": float(
                sign * (weights @ [interquartile_mean(fold[arm]) for fold in folds])
            ),
        }
        for arm in range(len(cells))
    ]
    return Ranking(
        place=place,
        arms=tuple(sorted(arms, key=lambda arm: (arm["mean_rank"], arm["strategy"]))),
        test=test,
        num_seeds=blocks.shape[1],
        num_cases=num_cases,
    )
