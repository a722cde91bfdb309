"""Estimates of a run: what the statistics say, arranged for the report."""

from typing import Any, NamedTuple

import pandas as pd

from slicebench import spec, statistics
from slicebench.report import _cells, _frames, _reading, _style
from slicebench.report._tables import Column, Table

FACTORS = list(spec.CELL_FIELDS)

_CELL_COLUMNS = [
    *FACTORS,
    "metric",
    "estimate",
    "low",
    "high",
    "sd_seeds",
    "num_seeds",
    "num_cases",
    "diverged_share",
]


class Numbers(NamedTuple):
    """Everything with an estimate.

    Attributes:
      summary: Content of summary.json.
      cells: One row a cell and metric, with `arm`, `style`,
        `share_of_ceiling` and `in_best_set`.
      ceilings: One row a task and dims.
      classes: As `cells`, for each class on its own (`class_name`).
      warnings: What a reader should know before the verdicts.
    """

    summary: dict[str, Any]
    cells: pd.DataFrame
    ceilings: pd.DataFrame
    classes: pd.DataFrame
    warnings: list[str]


def estimate(run: _reading.Run) -> Numbers:
    """Estimates every contrast and cell, and writes summary.json."""
    summary = statistics.write_summary(run.workdir)
    cells = _cells.with_share(_cells.with_arms(cell_estimates(run.results, run.trials)))
    cells["in_best_set"] = False
    dice = _frames.where(cells, {"metric": "dice"})
    return Numbers(
        summary=summary,
        cells=cells,
        ceilings=_cells.ceilings(dice),
        classes=_classes(run),
        warnings=[],
    )


def cell_estimates(results: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    frame = statistics.cell_table(results, trials)
    return frame[_CELL_COLUMNS]


def _classes(run: _reading.Run) -> pd.DataFrame:
    """Returns the cells of each class on its own, where there are several."""
    parts = []
    for key, results in _frames.groups(run.results, ["class_name"]):
        cells = _cells.with_arms(cell_estimates(results, run.trials))
        cells.insert(0, "class_name", str(key["class_name"]))
        parts.append(cells)
    if not parts:
        return pd.DataFrame(columns=["class_name", *_CELL_COLUMNS, "arm", "style"])
    return pd.concat(parts, ignore_index=True)


_PLACE = (
    Column("task", "Task"),
    Column("dims", "Dims"),
    Column("budget", "Budget", "count"),
    Column("num_volumes", "Volumes", "count"),
    Column("slices_per_volume", "Slices each", "count"),
    Column("arm", "Strategy"),
)


def cell_view(cells: pd.DataFrame, metric: str) -> Table:
    """Returns the table of every cell in one metric."""
    name = _style.metric_label(metric)
    share = (Column("share_of_ceiling", "Of ceiling", "share"),)
    bounded = not _style.metric_unit(metric)
    return Table(
        name="cells",
        title=f"{name} of every cell",
        frame=cells,
        columns=(
            *_PLACE,
            Column("estimate", f"{name} [95 %]", "interval"),
            Column("sd_seeds", "SD of seeds", "score"),
            Column("num_seeds", "Seeds", "count"),
            Column("num_cases", "Cases", "count"),
            Column("diverged_share", "Diverged", "share"),
            *(share if bounded else ()),
        ),
        metric=metric,
        only=(("metric", metric),),
    )


def class_view(classes: pd.DataFrame) -> Table:
    """Returns the table of Dice by class."""
    return Table(
        name="classes",
        title="Dice by class",
        frame=classes,
        columns=(
            *_PLACE,
            Column("class_name", "Class"),
            Column("estimate", "Dice [95 %]", "interval"),
            Column("sd_seeds", "SD of seeds", "score"),
            Column("num_cases", "Cases", "count"),
        ),
        metric="dice",
        only=(("metric", "dice"),),
    )


def ceiling_view(ceilings: pd.DataFrame) -> Table:
    """Returns the table of ceilings and of the best cell below each."""
    return Table(
        name="ceilings",
        title="Dice of the same network on all labels, and of the best cell",
        frame=ceilings,
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("estimate", "All labels [95 % interval]", "interval"),
            Column("num_seeds", "Seeds", "count"),
            Column("best_cell", "Best cell"),
            Column("best_estimate", "Its Dice", "score"),
            Column("share_of_ceiling", "Share", "share"),
        ),
        metric="dice",
    )


def best_table(numbers: Numbers, key: dict[Any, Any]) -> Table | None:
    return None
