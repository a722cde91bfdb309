"""Scores of single cases over many trials."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from slicebench.statistics._index import Place, ScoreIndex

_COLUMNS = ["class_name", "case", "score"]
_AT_ONCE = 1 << 12
"""Trials whose scores are held at a time."""


def case_scores(
    index: ScoreIndex, place: Place, mask: Bool[np.ndarray, " trial"]
) -> pd.DataFrame:
    """Returns class_name, case and score of some trials, in the store's order.

    Args:
      index: Scores of a run.
      place: Task, target, dims and metric; one without scores gives no rows.
      mask: Marks rows of the trials table; few, for every score becomes a row.
    """
    if place not in index:
        return pd.DataFrame(columns=_COLUMNS).astype({"score": float})
    scores, rows = index[place], _in_order(index, place, mask)
    parts: list[pd.DataFrame] = []
    for fold, names in scores.cases.items():
        places = np.flatnonzero(scores.table.folds[rows] == fold)
        values = scores.of(rows[places])[:, : len(names)]
        trial, case, kind = np.nonzero(np.isfinite(values))
        columns: dict[str, Any] = {
            "class_name": np.array(scores.classes, object)[kind],
            "case": np.array(names, object)[case],
            "score": values[trial, case, kind],
            "order": places[trial],
        }
        parts.append(pd.DataFrame(columns))
    whole = pd.concat(parts, ignore_index=True)
    found: Any = whole.sort_values("order", kind="stable", ignore_index=True)[_COLUMNS]
    return found


def case_means(
    index: ScoreIndex, place: Place, mask: Bool[np.ndarray, " trial"]
) -> pd.Series:
    """Returns the mean of every class and case over many trials.

    Sums are compensated (Kahan 1965) and run in the store's order, as pandas does it
    for groups of a table of all scores, which need not be made here.

    Args:
      index: Scores of a run.
      place: Task, target, dims and metric.
      mask: Marks rows of the trials table.

    Returns:
      Means by class_name and case, of those that have a score.
    """
    if place not in index:
        none: Any = case_scores(index, place, mask).groupby(_COLUMNS[:2])["score"]
        return none.mean()
    scores, rows = index[place], _in_order(index, place, mask)
    names = sorted({name for found in scores.cases.values() for name in found})
    number = {name: n for n, name in enumerate(names)}
    columns = {
        fold: np.array([number[name] for name in found], int)
        for fold, found in scores.cases.items()
    }
    sums = np.zeros((3, len(names), len(scores.classes)))
    total, lost, count = sums
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        values = scores.of(part)
        known = np.isfinite(values)
        for trial, fold in enumerate(scores.table.folds[part].tolist()):
            at = columns[fold]
            held = known[trial, : len(at)]
            before, gone = total[at], lost[at]
            added = values[trial, : len(at)] - gone
            after = before + added
            total[at] = np.where(held, after, before)
            lost[at] = np.where(held, after - before - added, gone)
            count[at] += held
    kind, case = np.nonzero(count.T)
    pairs = [np.array(scores.classes, object)[kind], np.array(names, object)[case]]
    means = total.T[kind, case] / count.T[kind, case]
    return pd.Series(means, pd.MultiIndex.from_arrays(pairs, names=_COLUMNS[:2]))


def _in_order(
    index: ScoreIndex, place: Place, mask: Bool[np.ndarray, " trial"]
) -> Int[np.ndarray, " row"]:
    """Returns which trials of a place are marked, in the order of the store."""
    table = index[place].table
    rank = np.empty(len(index.order), np.int64)
    rank[index.order] = np.arange(len(rank))
    found = np.flatnonzero(mask[table.at])
    return found[np.argsort(rank[table.at[found]], kind="stable")]
