"""What interpolated masks gain, over density and over the gap that they bridge."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slicebench import statistics
from slicebench.report import (
    _cells,
    _frames,
    _gap_mm,
    _inline,
    _interpolation_figure,
    _part,
    _reading,
    _style,
    _tables,
    _words,
)
from slicebench.report._tables import Column

_TEXT = (
    "Training on interpolated masks beside the annotated slices, minus training on the "
    "annotated slices alone: paired by seed and case, with the same slices on both "
    "sides. Below zero, interpolation harms. The gap is the mean distance between "
    "neighbouring annotated slices of a volume, which an interpolation has to bridge; "
    "in mm by the pool's median slice spacing. Half of a batch is interpolated, so the "
    "annotated slices alone at more steps are a second control.",
)

_SAME = (
    "budget",
    "num_volumes",
    "slices_per_volume",
    "volume_strategy",
    "strategy",
    "features",
    "scope",
)
_FREE = ("interpolation", "pseudo_weight", "steps")
"""Factors that may differ between interpolated masks and none."""

_COLUMNS = (
    *_cells.GROUP,
    "metric",
    *_SAME,
    *_FREE,
    "reference_steps",
    "arm",
    "coverage",
    "gap_slices",
    "gap_mm",
    "gap_from",
    "estimate",
    "low",
    "high",
    "margin",
    "num_seeds",
    "num_cases",
    "verdict",
)


def interpolation(
    run: _reading.Run, cells: pd.DataFrame, summary: Mapping[str, Any]
) -> _part.Part | None:
    """Returns the section on interpolated masks, its figures written.

    Args:
      run: The run.
      cells: Cells with arms.
      summary: Content of summary.json; gives margins and planned verdicts.

    Returns:
      None where no cell is interpolated, or none has its like without.
    """
    found = effects(run, cells, summary)
    if found.empty:
        return None
    return _part.Part(
        id="interpolation",
        title="Interpolated masks, by density and by gap",
        nav="Interpolation",
        text=_TEXT,
        figures=tuple(
            _view(part, run, key, index)
            for index, (key, part) in enumerate(_frames.groups(found, _cells.GROUP))
        ),
        tables=(_table(found),),
    )


def effects(
    run: _reading.Run, cells: pd.DataFrame, summary: Mapping[str, Any]
) -> pd.DataFrame:
    """Returns the difference in Dice of every interpolated cell from none.

    Returns:
      One row an interpolated cell and cell without interpolation that differs in
      nothing but the steps; `verdict` is that of the planned contrast of the two,
      else `exploratory`.
    """
    pairs = _pairs(_cells.swept(_frames.where(cells, {"metric": "dice"})))
    if not pairs:
        return pd.DataFrame(columns=list(_COLUMNS))
    entries = statistics.evaluate(
        [_contrast(*pair) for pair in pairs],
        run.results,
        run.trials,
        margins={},
        resamples=1,
        supplement=False,
    )
    margins = {_place(entry): entry["value"] for entry in summary["margins"]}
    rows: list[_frames.Record] = []
    for (cell, other), entry in zip(pairs, entries, strict=True):
        if entry["low"] is None:
            continue
        rows.append(
            {
                **{name: cell[name] for name in _COLUMNS if name in cell},
                **{name: entry[name] for name in _COLUMNS if name in entry},
                **_distance(run, cell),
                "reference_steps": other["steps"],
                "arm": _arm(cell, other),
                "margin": margins.get(_place(cell)),
                "verdict": _verdict(cell, other, summary["contrasts"]),
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"margin": float})


def _pairs(cells: pd.DataFrame) -> list[tuple[_frames.Record, _frames.Record]]:
    """Returns each interpolated cell with the same slices alone."""
    rows = _frames.records(cells)
    plain: dict[tuple[Any, ...], list[_frames.Record]] = {}
    for row in rows:
        if row["interpolation"] == "none":
            plain.setdefault(_key(row), []).append(row)
    return [
        (row, other)
        for row in rows
        if row["interpolation"] != "none"
        for other in plain.get(_key(row), ())
    ]


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in (*_cells.GROUP, *_SAME))


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in (*_cells.GROUP, "metric"))


def _contrast(cell: _frames.Record, other: _frames.Record) -> dict[str, Any]:
    sides = [{name: row[name] for name in _FREE} for row in (cell, other)]
    return {
        **{name: cell[name] for name in (*_cells.GROUP, "metric")},
        "name": "interpolation",
        "family": "",
        "claim": "superior",
        "primary": False,
        "kind": "difference",
        "where": {name: cell[name] for name in _SAME},
        "a": sides[0],
        "b": sides[1],
    }


def _arm(cell: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Returns what is compared in words, without the slices that both share."""
    name = _style.words(cell["interpolation"])
    words = f"{name} at weight {cell['pseudo_weight']:g}"
    against = "none"
    if cell["steps"] != other["steps"]:
        against = f"none at {other['steps'] / cell['steps']:g} times the steps"
    return f"{words} {_style.MINUS} {against}"


def _distance(run: _reading.Run, cell: Mapping[str, Any]) -> dict[str, Any]:
    place = (str(cell["task"]), str(cell["target"]), str(cell["dims"]), "dice")
    table = run.results[place].table
    names = (*_SAME, *_FREE)
    cells = table.matching({name: cell[name] for name in names})
    rows = np.sort(np.concatenate([table.at[table.rows[found]] for found in cells]))
    trials = run.trials.iloc[rows]
    gap = _gap_mm.gap(trials, run.experiment["tasks"])
    return {
        "coverage": float(np.mean(_frames.floats(trials, "coverage"))),
        "gap_slices": gap.slices,
        "gap_mm": gap.mm,
        "gap_from": gap.source,
    }


def _verdict(
    cell: Mapping[str, Any],
    other: Mapping[str, Any],
    contrasts: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the verdict of the planned contrast of exactly these two cells."""
    for contrast in contrasts:
        where, a, b = (contrast.get(name) or {} for name in ("where", "a", "b"))
        sides = ((cell, {**where, **a}), (other, {**where, **b}))
        if (
            _place(contrast) == _place(cell)
            and {"budget", "slices_per_volume"} <= where.keys()
            and {"interpolation"} <= a.keys() & b.keys()
            and all(_is(*side) for side in sides)
        ):
            return str(contrast["verdict"])
    return "exploratory"


def _is(cell: Mapping[str, Any], factors: Mapping[str, Any]) -> bool:
    return all(cell.get(name) == value for name, value in factors.items())


def _view(
    part: pd.DataFrame, run: _reading.Run, key: _frames.Record, index: int
) -> _inline.FigureView:
    title = _words.title(key)
    return _inline.publish(
        _interpolation_figure.interpolation_figure(part),
        run.workdir / "figures",
        name=f"interpolation-{_inline.slug(key['task'], key['dims'], index)}",
        title=f"{title}: interpolated masks minus none",
        caption="Bars are 95 % intervals over seeds and cases; above zero is better "
        "than the annotated slices alone. Shaded: the margin. Filled: a planned "
        "contrast with a verdict.",
        alt=_alt(part, title),
        narrow=_interpolation_figure.interpolation_figure(part, narrow=True),
    )


def _alt(part: pd.DataFrame, title: str) -> str:
    parts: list[str] = []
    for row in _frames.records(part):
        place = f"{row['arm']}, {row['slices_per_volume']} per volume"
        if not pd.isna(row["gap_mm"]):
            place += f", gap {row['gap_mm']:.1f} mm"
        parts.append(f"{place}: {_style.decimals('dice', row['estimate'])}")
    return f"Difference in Dice, {title}. {'; '.join(parts)}."


def _table(found: pd.DataFrame) -> _tables.Table:
    return _tables.Table(
        name="interpolation",
        title="Interpolated masks minus none",
        frame=found,
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("budget", "Budget", "count"),
            Column("slices_per_volume", "Slices each", "count"),
            Column("strategy", "Strategy"),
            Column("interpolation", "Interpolation"),
            Column("pseudo_weight", "Weight", "number"),
            Column("steps", "Steps", "count"),
            Column("reference_steps", "Minus none, steps", "count"),
            Column("coverage", "Coverage", "share"),
            Column("gap_slices", "Gap, slices", "number"),
            Column("gap_mm", "Gap, mm", "number"),
            Column("estimate", "Difference [95 %]", "interval"),
            Column("margin", "Margin", "score"),
            Column("num_seeds", "Seeds", "count"),
            Column("num_cases", "Cases", "count"),
            Column("verdict", "Verdict", "verdict"),
        ),
        metric="dice",
        open=len(found) <= 24,
    )
