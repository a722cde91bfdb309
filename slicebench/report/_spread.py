"""How scores spread over classes and cases, the worst cases by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench import spec, statistics
from slicebench.report import (
    _cells,
    _frames,
    _inline,
    _palette,
    _part,
    _reading,
    _style,
    _tables,
    _words,
)
from slicebench.report._tables import Column

_WORST = 8
"""Cases of a section that are listed on the page; all stand in the file."""

_NAMED = 3
"""Cases of a class that are named in the figure."""
_LONGEST = 28
"""Letters of a case's name in the figure."""

_TEXT = (
    "Dice of every test case in the section's best cell, averaged over its trials: "
    "what a mean hides. The worst cases are named, with what the same network scores "
    "on them with all labels: where that is low, too, more slices would not help, and "
    "image or truth deserve a look."
)


def spread(run: _reading.Run, cells: pd.DataFrame) -> _part.Part | None:
    """Returns the section on classes and cases, its figures written.

    Args:
      run: The run.
      cells: Cells with arms.

    Returns:
      None where nothing has a Dice yet.
    """
    best = _best_cells(cells)
    parts = [_section(run, cell) for cell in best]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if frame.empty:
        return None
    views = [
        _view(part, run.workdir / "figures", key, index)
        for index, (key, part) in enumerate(_frames.groups(frame, _cells.GROUP))
    ]
    return _part.Part(
        id="spread",
        title="Classes and cases",
        nav="Cases",
        text=(_TEXT,),
        figures=tuple(views),
        tables=(_worst(frame), _all(frame), _by_class(frame)),
    )


def _best_cells(cells: pd.DataFrame) -> list[_frames.Record]:
    found = []
    dice = _frames.where(cells, {"metric": "dice"})
    for _, part in _frames.groups(dice, _cells.GROUP):
        rows = [row for row in _frames.records(part) if not pd.isna(row["estimate"])]
        swept = [row for row in rows if not _cells.is_ceiling(row)]
        if swept:
            found.append(max(swept, key=lambda row: row["estimate"]))
    return found


def _section(run: _reading.Run, cell: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row a class and case, the worst case first."""
    place = {name: cell[name] for name in _cells.GROUP}
    named = (str(cell["task"]), str(cell["target"]), str(cell["dims"]), "dice")
    tops = {**place, "strategy": statistics.CEILING}
    keys = ["class_name", "case"]
    factors = {name: cell[name] for name in spec.CELL_FIELDS}
    here = _tidy(run, named, factors).groupby(keys)["score"]
    swept = (run.trials["strategy"] != statistics.CEILING).to_numpy(bool)
    table = pd.DataFrame(
        {
            "estimate": here.mean(),
            "sd": here.std(),
            "missed": here.agg(lambda values: float((values == 0).mean())),
            "num_trials": here.size(),
            "all_cells": statistics.case_means(run.results, named, swept),
            "ceiling": _tidy(run, named, tops).groupby(keys)["score"].mean(),
        }
    )
    table = table.dropna(subset=["estimate"]).reset_index()
    table = table.sort_values(["estimate", "case", "class_name"], ignore_index=True)
    words = {**place, "cell": _cells.cell_name(cell)}
    return pd.DataFrame({**{k: [v] * len(table) for k, v in words.items()}}).join(table)


def _tidy(
    run: _reading.Run, place: tuple[str, str, str, str], values: Mapping[str, Any]
) -> pd.DataFrame:
    """Returns class, case and score of the trials with some values."""
    mask = np.ones(len(run.trials), bool)
    for name, value in values.items():
        if not pd.isna(value):
            mask &= (run.trials[name] == value).fillna(value=False).to_numpy(bool)
    return statistics.case_scores(run.results, place, mask)


_COLUMNS = (
    Column("task", "Task"),
    Column("dims", "Dims"),
    Column("case", "Case"),
    Column("class_name", "Class"),
    Column("estimate", "Dice", "score"),
    Column("sd", "SD of trials", "score"),
    Column("missed", "Missed", "share"),
    Column("all_cells", "Mean of all cells", "score"),
    Column("ceiling", "All labels", "score"),
    Column("cell", "Cell"),
)


def _worst(frame: pd.DataFrame) -> _tables.Table:
    worst = [part.head(_WORST) for _, part in _frames.groups(frame, _cells.GROUP)]
    return _tables.Table(
        name="worst_cases",
        title="Worst cases",
        frame=pd.concat(worst, ignore_index=True),
        columns=_COLUMNS,
        metric="dice",
        open=True,
    )


def _all(frame: pd.DataFrame) -> _tables.Table:
    return _tables.Table(
        name="cases",
        title="Every case of the best cell",
        frame=frame,
        columns=_COLUMNS,
        metric="dice",
    )


def _by_class(frame: pd.DataFrame) -> _tables.Table:
    keys = [*_cells.GROUP, "class_name"]
    rows: list[_frames.Record] = []
    for key, part in _frames.groups(frame, keys):
        values = _quartiles(_frames.floats(part, "estimate"))
        named = dict(zip(_QUARTILES, values, strict=True))
        best = {"num_cases": len(part), "cell": part["cell"].iloc[0]}
        rows.append({**key, **named, **best})
    return _tables.Table(
        name="case_quartiles",
        title="Test cases of each class in the best cell",
        frame=pd.DataFrame(rows),
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("class_name", "Class"),
            Column("lower_quartile", "Lower quartile", "score"),
            Column("median", "Median", "score"),
            Column("upper_quartile", "Upper quartile", "score"),
            Column("num_cases", "Cases", "count"),
            Column("cell", "Cell"),
        ),
        metric="dice",
    )


_QUARTILES = ("lower_quartile", "median", "upper_quartile")


def _view(
    part: pd.DataFrame, folder: Path, key: _frames.Record, index: int
) -> _inline.FigureView:
    title = _words.title(key)
    return _inline.publish(
        spread_figure(part),
        folder,
        name=f"cases-{_inline.slug(key['task'], key['dims'], index)}",
        title=f"{title}: Dice of every test case",
        caption=f"{part['cell'].iloc[0]}. A dot is a case, the box the middle half of "
        f"them; the {_NAMED} worst of each class are named.",
        alt=_alt(part, title),
        narrow=spread_figure(part, narrow=True),
    )


def _alt(part: pd.DataFrame, title: str) -> str:
    parts = []
    for key, rows in _frames.groups(part, ["class_name"]):
        values = _frames.floats(rows, "estimate")
        low, middle, high = (_style.decimals("dice", q) for q in _quartiles(values))
        worst = _frames.records(rows)[0]
        parts.append(
            f"{key['class_name']}: median {middle}, quartiles {low} and {high}, worst "
            f"{worst['case']} with {_style.decimals('dice', worst['estimate'])}"
        )
    return f"Dice of every test case, {title}. {'; '.join(parts)}."


def _quartiles(values: Any) -> list[float]:
    return [float(np.quantile(values, share)) for share in (0.25, 0.5, 0.75)]


def spread_figure(cases: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Scores of every case, one strip a class.

    Args:
      cases: One row a class and case: `class_name`, `case`, `estimate`.
      narrow: For a phone.

    Returns:
      The figure.
    """
    groups = [
        (str(k["class_name"]), p) for k, p in _frames.groups(cases, ["class_name"])
    ]
    width = _style.NARROW if narrow else 8.0
    with _style.house():
        figure = Figure(figsize=(width, 0.7 + 0.85 * len(groups)), layout="constrained")
        axes = figure.subplots()
        for place, (_, part) in enumerate(groups):
            _strip(axes, part, place, narrow=narrow)
        axes.set_yticks(range(len(groups)), [name for name, _ in groups])
        axes.set_ylim(len(groups) - 0.4, -0.45)
        axes.grid(axis="x", color=_palette.GRID, linewidth=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Dice")
    return figure


def _strip(axes: Axes, part: pd.DataFrame, place: int, *, narrow: bool) -> None:
    values = _frames.floats(part, "estimate")
    low, middle, high = _quartiles(values)
    # Neighbours in rank stand at different heights, always the same ones.
    aside = 0.17 * np.array([(rank * 7) % 11 / 5 - 1 for rank in range(len(values))])
    axes.barh(place, high - low, 0.5, left=low, color=_palette.MARGIN)
    axes.vlines(middle, place - 0.25, place + 0.25, color=_palette.INK, lw=1.4)
    axes.plot(values, place + aside, "o", color="#0072b2", ms=3.2, mec="none")
    longest = _LONGEST // 2 if narrow else _LONGEST
    worst = ", ".join(
        f"{_short(str(row['case']), longest)} "
        f"{_style.decimals('dice', row['estimate'])}"
        for row in _frames.records(part)[: 2 if narrow else _NAMED]
    )
    note = axes.annotate(
        f"worst: {worst}",
        (0.01, place + 0.36),
        xycoords=("axes fraction", "data"),
        fontsize=6.2 if narrow else 7.5,
        va="center",
        color=_palette.FAINT,
    )
    # Long names must not squeeze the axes.
    note.set_in_layout(False)


def _short(name: str, longest: int) -> str:
    """Cuts the middle out of a long name; its ends tell cases apart."""
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
