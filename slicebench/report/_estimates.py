"""Estimates of a run: what the statistics say, arranged for the report."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from slicebench import spec, statistics
from slicebench.report import _cells, _frames, _reading

FACTORS = list(spec.CELL_FIELDS)

_RENAMED = {"mean": "estimate"}


class Numbers(NamedTuple):
    """Everything with an estimate.

    Attributes:
      summary: Content of summary.json.
      cells: One row a cell and metric: the columns of `cell_table` (its `mean`
        called `estimate`), `arm`, `style`, `share_of_ceiling`,
        `half_width` (of the interval), `in_best_set`.
      ceilings: One row a task, target and dims.
      classes: As `cells`, without the last three, for each class on its own.
      allocations: One row an allocation that was compared for being the best.
    """

    summary: dict[str, Any]
    cells: pd.DataFrame
    ceilings: pd.DataFrame
    classes: pd.DataFrame
    allocations: pd.DataFrame


def estimate(run: _reading.Run) -> Numbers:
    """Estimates every contrast and cell, and writes summary.json.

    Raises:
      InputError: experiment.json cannot be used.
    """
    summary = statistics.write_summary(run.workdir, run.scores)
    cells = _cells.with_share(_cells.with_arms(_table(run, by_class=False)))
    best = summary["best_allocations"]
    cells["half_width"] = (cells["high"] - cells["low"]) / 2
    cells["in_best_set"] = [_in_set(row, best) for row in _frames.records(cells)]
    return Numbers(
        summary=summary,
        cells=cells,
        ceilings=_cells.ceilings(_frames.where(cells, {"metric": "dice"})),
        classes=_cells.with_arms(_table(run, by_class=True)),
        allocations=_allocations(best),
    )


def _table(run: _reading.Run, *, by_class: bool) -> pd.DataFrame:
    table = statistics.cell_table(run.results, run.trials, by_class=by_class)
    return table.rename(columns=_RENAMED)


def _in_set(cell: Mapping[str, Any], best: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether a comparison of this cell's budget leaves it in its set."""
    for entry in best:
        place = {name: entry[name] for name in (*_cells.GROUP, "metric")}
        wanted = {**entry["where"], **place}
        if all(_matches(cell.get(name), value) for name, value in wanted.items()):
            pair = (cell["num_volumes"], cell["slices_per_volume"])
            return any(
                row["in_set"] and (row["num_volumes"], row["slices_per_volume"]) == pair
                for row in entry["allocations"]
                if not pd.isna(pair[1])
            )
    return False


def _matches(value: Any, wanted: Any) -> bool:
    allowed = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    return value in allowed


def _allocations(best: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    names = ["num_volumes", "slices_per_volume", "mean", "low", "high"]
    names += ["num_seeds", "num_cases", "p_best", "in_set"]
    rows = [
        {
            **{name: entry[name] for name in (*_cells.GROUP, "metric", "contrast")},
            "budget": row["num_volumes"] * (row["slices_per_volume"] or 0),
            **{_RENAMED.get(name, name): row[name] for name in names},
        }
        for entry in best
        for row in entry["allocations"]
    ]
    columns = [*_cells.GROUP, "metric", "contrast", "budget"]
    columns += [_RENAMED.get(name, name) for name in names]
    return pd.DataFrame(rows, columns=columns)
