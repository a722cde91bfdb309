"""Figures that compare: the map of allocations and the planned contrasts."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench.report import _curves, _frames, _style


def allocation_figure(cells: pd.DataFrame, *, metric: str) -> Figure:
    """Scores over volumes and slices per volume, one panel an arm.

    Args:
      cells: One row a cell of one task, network dimension and metric: `arm`,
        `num_volumes`, `slices_per_volume`, `budget`, `estimate`, `low`, `high`
        and `in_best_set` (whether the allocation may be its budget's best).
      metric: Score that is drawn; dark is low.

    Returns:
      The figure. Each field gives the score, half the width of its interval and
      the budget; a frame marks the allocations that may be the best.
    """
    arms = list(dict.fromkeys(cells["arm"]))
    rows = sorted(cells["num_volumes"].unique())
    columns = sorted(cells["slices_per_volume"].unique())
    limits = _curves.score_range(cells, ("estimate",))
    with _style.house():
        figure, grid = _curves.panels(len(arms), 3, 0.5 + 0.44 * len(rows))
        for axes, arm in zip(grid, arms, strict=True):
            part = _frames.where(cells, {"arm": arm})
            _fields(axes, part, (rows, columns), limits, metric)
            axes.set_title(_style.words(arm))
        grid[0].set_ylabel("volumes")
    return figure


def _fields(axes: Axes, cells: pd.DataFrame, levels, limits, metric: str) -> None:
    rows, columns = levels
    image = np.full((len(rows), len(columns)), np.nan)
    # A score whose small values are good is drawn with the colours turned round.
    colors = "cividis_r" if metric == "hd95" else "cividis"
    for cell in _frames.records(cells):
        row = rows.index(cell["num_volumes"])
        image[row, columns.index(cell["slices_per_volume"])] = cell["estimate"]
    axes.pcolormesh(image, cmap=colors, vmin=limits[0], vmax=limits[1])
    for cell in _frames.records(cells):
        _field(axes, cell, levels, limits, metric)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [str(int(k)) for k in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [str(int(n)) for n in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("slices per volume")


def _field(axes: Axes, cell: _frames.Record, levels, limits, metric: str) -> None:
    rows, columns = levels
    row = rows.index(cell["num_volumes"])
    column = columns.index(cell["slices_per_volume"])
    share = (cell["estimate"] - limits[0]) / max(limits[1] - limits[0], 1e-9)
    share = min(max(share, 0), 1)
    share = 1 - share if metric == "hd95" else share
    ink = "white" if share < 0.55 else "black"
    place: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    text = _style.decimals(metric, cell["estimate"])
    axes.text(column + 0.5, row + 0.62, text, fontsize=8.5, weight="bold", **place)
    half = _style.decimals(metric, (cell["high"] - cell["low"]) / 2)
    note = f"±{half}" if np.isfinite(cell["high"] - cell["low"]) else ""
    axes.text(column + 0.5, row + 0.27, note, fontsize=6.5, **place)
    if cell["in_best_set"]:
        frame = patches.Rectangle(
            (column + 0.04, row + 0.05), 0.92, 0.9, fill=False, lw=2, ec="#e4572e"
        )
        axes.add_patch(frame)


def forest_figure(contrasts: pd.DataFrame, *, metric: str) -> Figure:
    """Planned contrasts with their intervals and margins.

    Args:
      contrasts: One row a contrast of one metric: `heading` (rows with one
        heading stand together), `label`, `estimate`, `low`, `high`, `margin`
        (positive) and `verdict`; positive estimates favour the side named first.
      metric: Score that is compared.

    Returns:
      The figure; the shaded strip of a row is its margin round zero.
    """
    rows = _frames.records(contrasts)
    heights = _forest_heights(rows)
    total = heights[-1] + 1.0
    with _style.house():
        figure = Figure(figsize=(9.8, 0.27 * total + 0.75), layout="constrained")
        axes = figure.subplots()
        for heading, height in _headings(rows, heights).items():
            axes.annotate(
                heading,
                (0, height - 0.9),
                xycoords=("axes fraction", "data"),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                weight="bold",
            )
        for row, height in zip(rows, heights, strict=True):
            _forest_row(axes, row, height, metric)
        axes.axvline(0, color=_style.INK, linewidth=0.9)
        axes.set_ylim(total, 0)
        axes.set_yticks(heights, [row["label"] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=_style.GRID, linewidth=0.7)
        axes.set_xlabel(f"difference in {_style.metric_label(metric)}")
    return figure


def _forest_heights(rows: list[_frames.Record]) -> list[float]:
    """Returns the height of every row, leaving a line for each heading."""
    heights, at, last = [], 0.0, None
    for row in rows:
        at += 1.0 if row["heading"] == last else 2.0
        last = row["heading"]
        heights.append(at)
    return heights


def _headings(rows: list[_frames.Record], heights: list[float]) -> dict[str, float]:
    """Returns the height of each heading's first row."""
    first: dict[str, float] = {}
    for row, height in zip(rows, heights, strict=True):
        first.setdefault(str(row["heading"]), height)
    return first


def _forest_row(axes: Axes, row: _frames.Record, height: float, metric: str) -> None:
    color = _style.VERDICT_COLORS.get(row["verdict"], _style.FAINT)
    if np.isfinite(row["margin"]):
        strip = patches.Rectangle(
            (-row["margin"], height - 0.5),
            2 * row["margin"],
            1,
            color=_style.MARGIN,
            lw=0,
        )
        axes.add_patch(strip)
    filled = color if row["verdict"] not in ("inconclusive", "exploratory") else "white"
    axes.hlines(height, row["low"], row["high"], color=color, linewidth=1.8)
    axes.plot(row["estimate"], height, "o", color=color, mfc=filled, ms=5.5)
    text = _style.decimals(metric, row["estimate"])
    low, high = (_style.decimals(metric, edge) for edge in (row["low"], row["high"]))
    axes.annotate(
        f"{text} [{low}, {high}]  {row['verdict']}",
        (1.01, height),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=color,
        annotation_clip=False,
    )
