"""Figures of scores over density and over budget.

Every function takes estimates with their intervals and returns the figure; none
sees single runs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slicebench.report import _frames, _palette, _style

_PANEL_HEIGHT = 2.55


class Level(NamedTuple):
    """A reference level, such as the same network on all labels."""

    estimate: float
    low: float
    high: float


def panels(
    count: int, columns: int, height: float = _PANEL_HEIGHT, *, narrow: bool = False
) -> tuple:
    """Returns a figure with a row-wise grid of panels of one size.

    Args:
      count: Number of panels.
      columns: Most panels in a row.
      height: Height of a panel in inches.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure and its axes, unused ones removed.
    """
    columns = 2 if count == 4 else min(columns, count)
    width = {1: 5.4, 2: 8.0}.get(count, _style.WIDE)
    if narrow:
        columns, width = 1, _style.NARROW
    rows = -(-count // columns)
    figure = Figure(figsize=(width, rows * height + 0.75), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])


def density_figure(
    cells: pd.DataFrame,
    *,
    metric: str,
    ceiling: Level | None = None,
    narrow: bool = False,
) -> Figure:
    """Score over slices per volume, one panel a budget, one line an arm.

    Args:
      cells: One row a cell of one task, network dimension and metric: `arm`,
        `strategy`, `style` (number of the arm among those of its strategy),
        `budget`, `num_volumes`, `slices_per_volume`, `estimate`, `low`, `high`.
      metric: Score that is drawn.
      ceiling: The same network with every slice of the pool labelled.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure; bars are the intervals of `cells`.
    """
    budgets = sorted(cells["budget"].unique())
    with _style.house():
        figure, grid = panels(len(budgets), 3, narrow=narrow)
        _limits(grid, cells, metric, ceiling)
        for axes, budget in zip(grid, budgets, strict=True):
            part = _frames.where(cells, {"budget": budget})
            _lines(axes, part, metric)
            _pair_ticks(axes, part)
            axes.set_title(f"{budget} annotated slices")
            axes.set_xlabel(f"slices per volume (volumes {_style.TIMES} slices)")
        _arm_legend(figure, cells)
    return figure


def budget_figure(
    cells: pd.DataFrame,
    *,
    metric: str,
    ceiling: Level | None = None,
    narrow: bool = False,
) -> Figure:
    """Score over budget, one panel an arm, one line a number of slices per volume.

    Args:
      cells: As for `density_figure`.
      metric: Score that is drawn.
      ceiling: The same network with every slice of the pool labelled.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure; darker lines have fewer slices per volume.
    """
    arms = list(dict.fromkeys(cells["arm"]))
    densities = sorted(cells["slices_per_volume"].unique())
    with _style.house():
        figure, grid = panels(len(arms), 3, narrow=narrow)
        _limits(grid, cells, metric, ceiling)
        shades = _palette.shades(len(densities))
        for axes, arm in zip(grid, arms, strict=True):
            whole = _frames.ordered(_frames.where(cells, {"arm": arm}), "budget")
            for index, density in enumerate(densities):
                part = _frames.where(whole, {"slices_per_volume": density})
                aside = 0.03 * (index - (len(densities) - 1) / 2)
                at = np.log2(_frames.floats(part, "budget")) + aside
                _bars(axes, part, at, _Stroke(shades[index], "o", "-", metric))
            _log_ticks(axes, sorted({int(b) for b in cells["budget"]}))
            axes.set_title(_style.words(arm))
            axes.set_xlabel("annotated slices in total")
        handles = [
            Line2D([], [], color=shade, marker="o", label=f"{density}")
            for shade, density in zip(shades, densities, strict=True)
        ]
        legend(figure, handles, "slices per volume:")
    return figure


def _lines(axes: Axes, cells: pd.DataFrame, metric: str) -> None:
    """Draws one line an arm, set apart sideways so that bars do not cover."""
    looks = _palette.looks(cells["strategy"])
    arms = list(dict.fromkeys(cells["arm"]))
    for index, arm in enumerate(arms):
        part = _frames.where(cells, {"arm": arm})
        part = _frames.ordered(part, "slices_per_volume")
        look = looks[part["strategy"].iloc[0]]
        # Many arms stand closer, so that none leaves the panel.
        aside = min(0.07, 0.6 / len(arms)) * (index - (len(arms) - 1) / 2)
        at = np.log2(_frames.floats(part, "slices_per_volume")) + aside
        line = _style.dash(int(part["style"].iloc[0]))
        _bars(axes, part, at, _Stroke(look.color, look.marker, line, metric))


class _Stroke(NamedTuple):
    """How one line is drawn, and of which metric it is."""

    color: Any
    marker: str
    line: Any
    metric: str


def _bars(
    axes: Axes, part: pd.DataFrame, at: Float[np.ndarray, " cell"], stroke: _Stroke
) -> None:
    color = stroke.color
    middle = _frames.floats(part, "estimate")
    low, high = _frames.floats(part, "low"), _frames.floats(part, "high")
    axes.vlines(at, low, high, color=color, linewidth=1.6, alpha=0.75)
    axes.plot(
        at,
        middle,
        color=color,
        marker=stroke.marker,
        linestyle=stroke.line,
        mec=_palette.PAPER,
        mew=0.5,
    )
    for place, value in zip(at, middle, strict=True):
        _outside(axes, place, value, stroke)


def _pair_ticks(axes: Axes, part: pd.DataFrame) -> None:
    """Marks each density with the number of volumes it leaves."""
    rows = _frames.records(part)
    pairs = sorted({(int(r["slices_per_volume"]), int(r["num_volumes"])) for r in rows})
    at = [float(np.log2(slices)) for slices, _ in pairs]
    labels, last = [], -np.inf
    for place, (slices, volumes) in zip(at, pairs, strict=True):
        # Neighbours that stand close would write over each other on one line.
        close = place - last < 0.8
        lines = "\n\n" if close else "\n"
        labels.append(f"{slices}{lines}{volumes}{_style.TIMES}{slices}")
        last = -np.inf if close else place
    axes.set_xticks(at, labels)
    axes.set_xlim(at[0] - 0.35, at[-1] + 0.35)


def _log_ticks(axes: Axes, values: list[int]) -> None:
    axes.set_xticks(np.log2(values), [str(value) for value in values])
    axes.set_xlim(np.log2(values[0]) - 0.35, np.log2(values[-1]) + 0.35)


def _arm_legend(figure: Figure, cells: pd.DataFrame) -> None:
    looks = _palette.looks(cells["strategy"])
    arms = {str(row["arm"]): row for row in _frames.records(cells)}
    handles = [
        Line2D(
            [],
            [],
            color=looks[row["strategy"]].color,
            marker=looks[row["strategy"]].marker,
            linestyle=_style.dash(int(row["style"])),
            label=_style.words(arm),
        )
        for arm, row in arms.items()
    ]
    legend(figure, handles, "")


def _limits(grid, cells: pd.DataFrame, metric: str, ceiling: Level | None) -> None:
    """Draws the ceiling, one range for all panels, and a light grid."""
    low, high = score_range(cells)
    if ceiling is not None:
        low, high = min(low, ceiling.estimate), max(high, ceiling.estimate)
    room = max(high - low, 1e-3)
    for axes in grid:
        axes.set_ylim(low - 0.09 * room, high + 0.14 * room)
        axes.grid(axis="y", color=_palette.GRID, linewidth=0.7)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
        if ceiling is not None:
            _ceiling(axes, metric, ceiling)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(_style.metric_label(metric))


def score_range(
    cells: pd.DataFrame, columns: Sequence[str] = ("low", "estimate", "high")
) -> tuple[float, float]:
    """Returns the range of scores to draw.

    Cells with diverged trials, whose scores count as zero, would squeeze all
    others into a line: they set the range only where there is nothing else.

    Args:
      cells: As for `density_figure`; `share_diverged` may be there.
      columns: Whose values are to fit.
    """
    if "share_diverged" in cells and 0 in cells["share_diverged"].to_list():
        cells = _frames.where(cells, {"share_diverged": 0})
    ends = [_frames.floats(cells, name) for name in columns]
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def _outside(axes: Axes, at: float, value: float, stroke: _Stroke) -> None:
    """Marks a score beyond the drawn range at its edge, with its value."""
    bottom, top = axes.get_ylim()
    if bottom <= value <= top:
        return
    below = value < bottom
    axes.annotate(
        _style.decimals(stroke.metric, value),
        (at, 0.0 if below else 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 14 if below else -14),
        textcoords="offset points",
        ha="center",
        va="bottom" if below else "top",
        fontsize=7,
        color=stroke.color,
        arrowprops={"arrowstyle": "-|>", "color": stroke.color, "lw": 1, "shrinkA": 0},
    )


def _ceiling(axes: Axes, metric: str, ceiling: Level) -> None:
    value = ceiling.estimate
    axes.axhline(value, color=_palette.CEILING, linestyle=(0, (6, 3)), linewidth=1.1)
    axes.annotate(
        f"all labels {_style.decimals(metric, value)}",
        (0.99, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2.5),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=_palette.CEILING,
    )


_LEGEND_ROWS = 4
"""Rows of a legend for which every figure has room; more make it taller."""

_LEGEND_ROW = 0.18
"""Height of a row in inches."""


def legend(figure: Figure, handles: list[Line2D], title: str) -> None:
    if len(handles) < 2:
        return
    if title:
        handles = [Line2D([], [], linestyle="none", label=title), *handles]
    columns = _columns([str(handle.get_label()) for handle in handles], figure)
    more = -(-len(handles) // columns) - _LEGEND_ROWS
    if more > 0:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + more * _LEGEND_ROW)
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.4,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _columns(labels: list[str], figure: Figure) -> int:
    """Returns how many columns of a legend fit into its figure, at most seven."""
    for count in range(min(len(labels), 7), 1, -1):
        parts = np.array_split([len(label) for label in labels], count)
        # Inches of a line's handle and gaps, and of a letter of a legend's size.
        if sum(0.55 + 0.06 * part.max() for part in parts) <= figure.bbox_inches.width:
            return count
    return 1
