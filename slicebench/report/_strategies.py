"""Each strategy minus random and minus fixed interval, at equal annotation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from slicebench import statistics
from slicebench.report import (
    _cells,
    _forest,
    _frames,
    _inline,
    _palette,
    _reading,
    _style,
    _tables,
)
from slicebench.report._tables import Column

REFERENCES = ("random", "fixed_interval")
"""What every strategy is held against."""

_FREE = ("strategy", "features", "scope")
"""Factors that may differ between a strategy and its reference."""

_SAME = (
    "budget",
    "num_volumes",
    "slices_per_volume",
    "volume_strategy",
    "interpolation",
    "pseudo_weight",
    "steps",
)
_MOST_ROWS = 60
"""Rows of a figure; beyond, it shows the densities with most strategies first."""

_COLUMNS = (
    *_cells.GROUP,
    "metric",
    "budget",
    "num_volumes",
    "slices_per_volume",
    "arm",
    "strategy",
    "reference",
    "estimate",
    "low",
    "high",
    "margin",
    "num_seeds",
    "num_cases",
    "verdict",
)


def differences(
    run: _reading.Run, cells: pd.DataFrame, summary: Mapping[str, Any]
) -> pd.DataFrame:
    """Returns every strategy's difference in Dice from its references.

    Differences are paired by seed and case, between cells that differ in nothing
    but the strategy and what it needs.

    Args:
      run: The run.
      cells: Cells with arms.
      summary: Content of summary.json; gives margins and planned verdicts.

    Returns:
      One row a strategy, reference and cell; `verdict` is that of the planned
      contrast of the same two, else `exploratory`.
    """
    pairs = _pairs(_cells.swept(_frames.where(cells, {"metric": "dice"})))
    if not pairs:
        return pd.DataFrame(columns=list(_COLUMNS))
    contrasts = [_contrast(cell, other) for cell, other in pairs]
    entries = statistics.evaluate(
        contrasts,
        run.results,
        run.trials,
        margins={},
        resamples=1,
        supplement=False,
    )
    margins = {_place(entry): entry["value"] for entry in summary["margins"]}
    planned = _planned(summary["contrasts"])
    rows: list[_frames.Record] = []
    for (cell, other), entry in zip(pairs, entries, strict=True):
        if entry["low"] is None:
            continue
        key = (*_place(cell), *_allocation(cell), cell["strategy"], other["strategy"])
        known = {name: entry[name] for name in _COLUMNS if name in entry}
        rows.append(
            {
                **{name: cell[name] for name in _COLUMNS if name in cell},
                **known,
                "reference": other["strategy"],
                "margin": margins.get(_place(cell)),
                "verdict": planned.get(key, "exploratory"),
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"margin": float})


def _pairs(cells: pd.DataFrame) -> list[tuple[_frames.Record, _frames.Record]]:
    """Returns each cell with the reference cells that differ in strategy alone."""
    rows = _frames.records(cells)
    references: dict[tuple[Any, ...], list[_frames.Record]] = {}
    for row in rows:
        if row["strategy"] in REFERENCES:
            references.setdefault(_key(row), []).append(row)
    found: list[tuple[_frames.Record, _frames.Record]] = []
    for name in REFERENCES:
        for row in rows:
            others = [
                other
                for other in references.get(_key(row), ())
                if other["strategy"] == name
            ]
            if len(others) == 1 and row["strategy"] != name:
                found.append((row, others[0]))
    return found


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in (*_cells.GROUP, *_SAME))


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in (*_cells.GROUP, "metric"))


def _allocation(row: Mapping[str, Any]) -> tuple[int, int]:
    return int(row["budget"]), int(row["slices_per_volume"])


def _contrast(cell: _frames.Record, other: _frames.Record) -> dict[str, Any]:
    sides = [{name: row[name] for name in _FREE} for row in (cell, other)]
    return {
        **{name: cell[name] for name in (*_cells.GROUP, "metric")},
        "name": "difference",
        "family": "",
        "claim": "superior",
        "primary": False,
        "kind": "difference",
        "where": {name: cell[name] for name in _SAME},
        "a": sides[0],
        "b": sides[1],
    }


def _planned(contrasts: list[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """Returns the verdicts of planned contrasts between two strategies."""
    found: dict[tuple[Any, ...], str] = {}
    for contrast in contrasts:
        where, sides = contrast["where"], (contrast["a"], contrast["b"])
        if not all(set(side) <= set(_FREE) and "strategy" in side for side in sides):
            continue
        allocation = (where.get("budget"), where.get("slices_per_volume"))
        if all(isinstance(value, int) for value in allocation):
            names = tuple(side["strategy"] for side in sides)
            found[(*_place(contrast), *allocation, *names)] = contrast["verdict"]
    return found


def figures(
    found: pd.DataFrame, folder: Path, *, section: str, place: str
) -> list[_inline.FigureView]:
    """Draws the differences of one task and dims, one figure a reference.

    Args:
      found: What `differences` returns, of one task and dims.
      folder: Where the files go.
      section: Name of the section in file names.
      place: Task and dims in words.
    """
    views: list[_inline.FigureView] = []
    for key, part in _frames.groups(found, ["reference"]):
        reference = _style.words(key["reference"])
        rows = _rows(part).head(_MOST_ROWS)
        left = len(part) - len(rows)
        more = f" {left} more stand in the table." if left else ""
        views.append(
            _inline.publish(
                _forest.forest_figure(rows, metric="dice"),
                folder,
                name=f"strategies-minus-{_inline.slug(key['reference'])}-{section}",
                title=f"{place}: each strategy minus {reference}",
                caption="Difference in Dice with its 95 % interval, paired by seed "
                f"and case; right of zero is better than {reference}. Shaded: the "
                "equivalence margin. Filled: a planned contrast with a verdict." + more,
                alt=_alt(rows, place, reference),
                narrow=_forest.forest_figure(rows, metric="dice", narrow=True),
            )
        )
    return views


def _rows(part: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows as a forest wants them, allocation by allocation."""
    looks = _palette.looks(part["strategy"])
    rows: list[_frames.Record] = []
    ordered = _frames.records(_frames.ordered(part, "budget", "slices_per_volume"))
    for row in ordered:
        look = looks[row["strategy"]]
        said = "" if row["verdict"] == "exploratory" else row["verdict"]
        heading = (
            f"{row['budget']} slices, {row['num_volumes']} {_style.TIMES} "
            f"{row['slices_per_volume']}"
        )
        words = {"heading": heading, "label": _style.words(row["arm"]), "said": said}
        rows.append({**row, **words, "color": look.color, "marker": look.marker})
    return pd.DataFrame(rows)


def _alt(rows: pd.DataFrame, place: str, reference: str) -> str:
    parts = [
        f"{row['heading']}, {row['label']}: {_style.decimals('dice', row['estimate'])}"
        for row in _frames.records(rows)
    ]
    return f"Dice of each strategy minus {reference} in {place}. {'; '.join(parts)}."


def view(found: pd.DataFrame) -> _tables.Table:
    """Returns the table of all differences."""
    return _tables.Table(
        name="strategy_differences",
        title="Each strategy minus random and minus fixed interval",
        frame=found,
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("budget", "Budget", "count"),
            Column("num_volumes", "Volumes", "count"),
            Column("slices_per_volume", "Slices each", "count"),
            Column("arm", "Strategy"),
            Column("reference", "Minus"),
            Column("estimate", "Difference [95 %]", "interval"),
            Column("margin", "Margin", "score"),
            Column("num_seeds", "Seeds", "count"),
            Column("num_cases", "Cases", "count"),
            Column("verdict", "Verdict", "verdict"),
        ),
        metric="dice",
    )
