"""Figure of what interpolated masks gain, over density and over the gap in mm."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slicebench.report import _curves, _frames, _palette, _style

_OPEN = ("inconclusive", "exploratory")
_AXES = (
    ("slices_per_volume", "slices per volume"),
    ("gap_mm", "gap between annotated slices (mm)"),
)


def interpolation_figure(effects: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Differences over slices per volume and, where it is known, over the gap.

    Args:
      effects: One row an interpolated cell of one task and network dimension:
        `arm`, `interpolation`, `budget`, `strategy`, `slices_per_volume`, `gap_mm`
        (may be NaN), `estimate`, `low`, `high`, `margin` and `verdict`.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure; both panels show the same differences.
    """
    drawn = [a for a in _AXES if np.isfinite(_frames.floats(effects, a[0])).any()]
    lines = _lines(effects)
    with _style.house():
        figure, grid = _curves.panels(len(drawn), 2, 2.9, narrow=narrow)
        for axes, (column, label) in zip(grid, drawn, strict=True):
            _background(axes, effects)
            for place, line in enumerate(lines):
                aside = min(0.05, 0.4 / len(lines)) * (place - (len(lines) - 1) / 2)
                _draw(axes, line, column, aside)
            _ticks(axes, effects, column)
            axes.set_xlabel(label)
        grid[0].set_ylabel("difference in Dice")
        _curves.legend(figure, [_handle(line) for line in lines], "")
    return figure


class _Line:
    """One line: the cells of an arm that differ in their density alone."""

    def __init__(self, label: str, part: pd.DataFrame, dash: Any):
        look = _palette.interpolation_looks(part["interpolation"])
        self.label = label
        self.part = part
        self.look = look[str(part["interpolation"].iloc[0])]
        self.dash = dash


def _lines(effects: pd.DataFrame) -> list[_Line]:
    """Returns the lines; those of one interpolation differ in their dashes."""
    varied = [name for name in ("budget", "strategy") if len(set(effects[name])) > 1]
    counts: dict[str, int] = {}
    found: list[_Line] = []
    for key, part in _frames.groups(effects, ["arm", *varied]):
        method = str(part["interpolation"].iloc[0])
        words = [str(key["arm"])]
        words += [f"{key['budget']} slices"] if "budget" in key else []
        words += [_style.words(key["strategy"])] if "strategy" in key else []
        number = counts.get(method, 0)
        counts[method] = number + 1
        found.append(_Line(", ".join(words), part, _style.dash(number)))
    return found


def _handle(line: _Line) -> Line2D:
    return Line2D(
        [],
        [],
        color=line.look.color,
        marker=line.look.marker,
        linestyle=line.dash,
        label=line.label,
    )


def _background(axes: Axes, effects: pd.DataFrame) -> None:
    margins = _frames.floats(effects, "margin")
    margins = margins[np.isfinite(margins)]
    if len(margins):
        axes.axhspan(-margins[0], margins[0], color=_palette.MARGIN, lw=0)
    axes.axhline(0, color=_palette.INK, linewidth=0.9)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.grid(axis="y", color=_palette.GRID, linewidth=0.7)


def _draw(axes: Axes, line: _Line, column: str, aside: float) -> None:
    part = _frames.keep(line.part, line.part[column].notna())
    part = _frames.ordered(part, column)
    at = np.log2(_frames.floats(part, column)) + aside
    color = line.look.color
    middle = _frames.floats(part, "estimate")
    low, high = _frames.floats(part, "low"), _frames.floats(part, "high")
    axes.vlines(at, low, high, color=color, linewidth=1.6, alpha=0.75)
    axes.plot(at, middle, color=color, linestyle=line.dash, linewidth=1.2)
    filled = [verdict not in _OPEN for verdict in part["verdict"]]
    for place, value, full in zip(at, middle, filled, strict=True):
        inside = color if full else _palette.PAPER
        axes.plot(place, value, marker=line.look.marker, color=color, mfc=inside)


def _ticks(axes: Axes, effects: pd.DataFrame, column: str) -> None:
    """Marks the values that occur, on a log axis, as far as they have room."""
    values = np.unique(_frames.floats(effects, column))
    values = values[np.isfinite(values)]
    at, shown = np.log2(values), [0]
    room = max(float(at[-1] - at[0]), 1.0) / 8
    for place in range(1, len(values)):
        if at[place] - at[shown[-1]] >= room:
            shown.append(place)
    labels = [f"{values[place]:.3g}" for place in shown]
    axes.set_xticks(at[shown], labels)
    axes.set_xlim(at[0] - 0.35, at[-1] + 0.35)
