"""Every cell with its mean and interval, and which allocation may be best."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from slicebench import spec
from slicebench.errors import InputError
from slicebench.statistics import _components, _effects, _index, _intervals
from slicebench.statistics._evaluate import LEVEL, unseen_class

CEILING = "all"
"""Strategy name of the networks trained on every slice of the pool."""


def unite_ceilings(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns trials whose networks on all labels are one cell over folds.

    Pools of folds differ by a few cases, and so does what it costs to label them
    whole; the largest number stands for all.

    Args:
      trials: Trials table.
    """
    mask = trials["strategy"] == CEILING
    place = ["task", "target", "dims", "steps", "network", "training"]
    united = trials.copy(deep=False)
    for column in ("budget", "num_volumes"):
        largest = trials[mask].groupby(place)[column].transform("max")
        united.loc[mask, column] = largest
    return united


def split_false_positives(results: pd.DataFrame) -> pd.DataFrame:
    """Returns scores in which false positives of two kinds stand apart.

    `fp_ml` is left where the truth of a case lacks the class, and `fp_rate` (1 where
    anything was predicted, else 0) is added there; where the truth has the class, its
    false positives on slices without it become `fp_ml_slices`.

    Args:
      results: Tidy scores.
    """
    key = pd.MultiIndex.from_arrays(
        [results[name] for name in ("trial_id", "case", "class_name")]
    )
    present = key.isin(key[(results["metric"] == "dice").to_numpy(bool)])
    false = (results["metric"] == "fp_ml").to_numpy(bool)
    split = results.copy()
    split.loc[false & present, "metric"] = "fp_ml_slices"
    empty = _effects.take(results, false & ~present)
    rates = empty.assign(metric="fp_rate", score=(empty["score"] > 0).astype(float))
    return pd.concat([split, rates], ignore_index=True)


def cell_table(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    by_class: bool = False,
) -> pd.DataFrame:
    """Returns one row a cell and metric, with estimate and 95 % interval.

    Args:
      results: Tidy scores, or their index.
      trials: Trials table.
      by_class: One row a class instead of the mean over classes.

    Returns:
      Columns: the cell (`spec.CELL_FIELDS`), program,
      class_name (`all` for the mean), metric, mean (over cases within a class,
      then classes), low, high, method, sd_seeds (of the means of seeds),
      num_seeds, num_cases, num_trials, share_diverged, share_class_unseen (of
      trials whose annotated slices lack a class), and means over trials of
      annotated_slices, extent_marks, coverage, epochs and interpolated_share.
      Without an interval low and high are NaN. Scores are not turned: lower
      HD95 is better here.
    """
    index = _index.index_scores(results, trials)
    rows: list[dict[str, Any]] = []
    described: dict[int, _Described] = {}
    for (task, target, dims, metric), scores in index.items():
        place = {"task": task, "target": target, "dims": dims}
        parts = {"all": scores}
        if by_class:
            parts = {name: scores.of_class(n) for n, name in enumerate(scores.classes)}
        if id(scores.table) not in described:
            described[id(scores.table)] = _Described(scores.table)
        for class_name, part in parts.items():
            named = {"class_name": class_name, "metric": metric}
            for cell in scores.rows:
                row = _cell_row(part, cell)
                if row is not None:
                    about = described[id(scores.table)].of(cell)
                    rows.append({**place, **row, **about, **named})
    columns = [*spec.CELL_FIELDS, *_COLUMNS]
    table = pd.DataFrame(rows, columns=columns)
    density = table["slices_per_volume"].astype("Int64")
    return table.assign(slices_per_volume=density).sort_values(
        [*spec.CELL_FIELDS, "class_name", "metric"],
        ignore_index=True,
        kind="stable",
    )


_ALLOCATION = ("num_volumes", "slices_per_volume")
_MEANS = (
    "annotated_slices",
    "extent_marks",
    "coverage",
    "epochs",
    "interpolated_share",
)
"""Columns of trials that are averaged over the trials of a cell."""

_COLUMNS = (
    "program",
    "class_name",
    "metric",
    "mean",
    "low",
    "high",
    "method",
    "sd_seeds",
    "num_seeds",
    "num_cases",
    "num_trials",
    "share_diverged",
    "share_class_unseen",
    *_MEANS,
)


def best_allocation(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    where: Mapping[str, Any],
    metric: str = "dice",
    level: float = LEVEL,
) -> list[dict[str, Any]]:
    """Returns the allocations with whether each may still be the best.

    Multiple comparisons with the best (Hsu 1984): an allocation leaves the set
    when some other one is better, by the one-sided paired t test on seeds and
    cases, at `(1 - level) / (allocations - 1)`. The truly best allocation is
    then in the set with at least probability `level`, whatever the correlation
    between the comparisons (Bonferroni).

    Args:
      results: Tidy scores, or their index.
      trials: Trials table.
      where: Factor values that leave one cell an allocation: task, target,
        dims, budget, strategy, interpolation and so on.
      metric: Score that is compared.
      level: Confidence that the set holds the best allocation.

    Returns:
      One mapping an allocation, best mean first: num_volumes,
      slices_per_volume, mean, low, high (interval of the mean), num_seeds,
      num_cases, p_best (adjusted p value of being the best), in_set.

    Raises:
      InputError: `where` leaves scores of several tasks, targets or dims, or
        cells that differ in more than their allocation.
    """
    try:
        scores, cells = _allocations(results, trials, where, metric)
        folds = {cell: _effects.seed_rows(scores, {cell: 1}) for cell in cells}
        rows = [_allocation_row(cell, folds[cell]) for cell in cells]
        others = max(1, len(cells) - 1)
        for row, cell in zip(rows, cells, strict=True):
            smallest = min(
                (_p_better(scores, o, cell, metric) for o in cells if o != cell),
                default=1.0,
            )
            row["p_best"] = min(1.0, smallest * others)
            row["in_set"] = row["p_best"] > 1 - level
    except _index.NotComparableError as error:
        raise InputError(f"best allocation where {dict(where)}: {error}") from error
    sign = _effects.orientation(metric)
    return sorted(rows, key=lambda row: -sign * row["mean"])


class _Described:
    """What a table says of the trials of each of its cells."""

    def __init__(self, table: _index.CellTable):
        self._table = table
        self._program = table.column("program").astype(object).to_numpy()
        names = ["foreground_by_class"]
        self._diverged = (table.column("status") == "diverged").to_numpy(bool)
        self._unseen = unseen_class(table.frame[names].iloc[table.at])
        self._numbers = {
            name: table.column(name).to_numpy(dtype=float, na_value=math.nan)
            for name in _MEANS
            if name in table.frame
        }
        self._known: dict[_index.Cell, dict[str, Any]] = {}

    def of(self, cell: _index.Cell) -> dict[str, Any]:
        """Returns a cell's program, number of trials, shares and means."""
        if cell not in self._known:
            rows = self._table.rows[cell]
            self._known[cell] = {
                "program": self._program[rows[0]],
                "num_trials": len(rows),
                "share_diverged": float(self._diverged[rows].mean()),
                "share_class_unseen": float(self._unseen[rows].mean()),
                **{name: self._mean(name, rows) for name in _MEANS},
            }
        return self._known[cell]

    def _mean(self, name: str, rows: Int[np.ndarray, " n"]) -> float:
        """Returns the mean of a column; NaN where older results lack it."""
        if name not in self._numbers:
            return math.nan
        values = self._numbers[name][rows]
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else math.nan


def _cell_row(scores: _index.Scores, cell: _index.Cell) -> dict[str, Any] | None:
    try:
        rows = _effects.seed_rows(scores, {cell: 1.0})
    except _index.NotComparableError:
        return None  # such as a class that no case of this metric has
    estimate = _components.estimate_effect(rows)
    low, high = _interval(estimate)
    folds = [_effects.by_selection(part) for part in rows]
    factors = dict(zip(_index.FACTORS, cell, strict=True))
    for name in ("network", "training"):
        factors.pop(name)
    seeds = [matrix.mean(1) for matrix in folds if len(matrix) > 1]
    spread = [float(means.var(ddof=1)) for means in seeds]
    return {
        **factors,
        "mean": estimate.mean,
        "low": low,
        "high": high,
        "method": estimate.method,
        "sd_seeds": math.sqrt(sum(spread) / len(spread)) if spread else math.nan,
        "num_seeds": estimate.num_seeds,
        "num_cases": estimate.num_cases,
    }


def _interval(estimate: _intervals.Estimate) -> tuple[float, float]:
    if math.isnan(estimate.variance):
        return math.nan, math.nan
    return estimate.interval(LEVEL)


def _allocations(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    where: Mapping[str, Any],
    metric: str,
) -> tuple[_index.Scores, list[_index.Cell]]:
    """Returns the scores of one task, target and dims, and the cells to compare."""
    if isinstance(results, pd.DataFrame):
        chosen = _effects.take(trials, _index.select(trials, where))
        known = results["trial_id"].isin(chosen["trial_id"].tolist())
        mask = (known & (results["metric"] == metric)).to_numpy(bool)
        results, trials = _effects.take(results, mask), chosen
    index = _index.index_scores(results, trials)
    found = {
        place: cells
        for place, scores in index.items()
        if place[3] == metric and (cells := scores.table.matching(where))
    }
    if len(found) != 1:
        raise _index.NotComparableError(
            f"{len(found)} task, target and dims have {metric}, not 1"
        )
    ((place, cells),) = found.items()
    differ = [name for name in _effects.varying(cells) if name not in _ALLOCATION]
    if differ:
        raise _index.NotComparableError(f"cells differ in {', '.join(differ)}")
    return index[place], cells


def _allocation_row(
    cell: _index.Cell, folds: Sequence[_effects.SeedRows]
) -> dict[str, Any]:
    estimate = _components.estimate_effect(folds)
    low, high = _interval(estimate)
    factors = dict(zip(_index.FACTORS, cell, strict=True))
    return {
        **{name: factors[name] for name in _ALLOCATION},
        "mean": estimate.mean,
        "low": None if math.isnan(low) else low,
        "high": None if math.isnan(high) else high,
        "num_seeds": estimate.num_seeds,
        "num_cases": estimate.num_cases,
    }


def _p_better(
    scores: _index.Scores, other: _index.Cell, cell: _index.Cell, metric: str
) -> float:
    """Returns the p value of the null that `other` is not better than `cell`."""
    sign = float(_effects.orientation(metric))
    folds = _effects.seed_rows(scores, {other: sign, cell: -sign})
    estimate = _components.estimate_effect(folds)
    # One seed or one case cannot exclude anything: the other factor is unknown.
    return estimate.p_above(0.0) if estimate.method == "two-way" else 1.0
