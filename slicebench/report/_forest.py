"""Forest plots: differences with their intervals and margins, one a row."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench.report import _frames, _palette, _style

_OPEN = ("inconclusive", "exploratory")
_LETTERS = 64
"""Letters of a label on a phone's line."""

_WIDEST = 60
"""Letters of a line of a label beside the axes."""

_SPREAD = 6.0
"""Times the median distance from zero that the axis reaches at most."""


def forest_figure(
    contrasts: pd.DataFrame, *, metric: str, narrow: bool = False
) -> Figure:
    """Differences with their intervals and margins.

    Args:
      contrasts: One row a difference in one metric: `heading` (rows with one
        heading stand together), `label`, `estimate`, `low`, `high`, `margin`
        (positive) and `verdict`; positive estimates favour the side named first.
        With `color` and `marker` rows are drawn so, else by their verdict; with
        `wide_low` and `wide_high` a second, thin interval is drawn.
      metric: Score that is compared.
      narrow: Labels and numbers above each row, for a phone.

    Returns:
      The figure; the shaded strip of a row is its margin round zero. A row far
      outside the others is drawn as an arrow at the edge, its numbers beside it.
    """
    rows = _frames.records(contrasts)
    heights = _heights(rows, 2.4 if narrow else 1.0)
    lines = max(_wrapped(row["label"]).count("\n") + 1 for row in rows)
    size = _size(heights, narrow, lines)
    with _style.house():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        limits = _limits(rows)
        axes.set_xlim(*limits)
        for row, height in zip(rows, heights, strict=True):
            _row(axes, row, height, limits)
            _words(axes, row, height, metric, narrow)
        for heading, height in _headings(rows, heights).items():
            _heading(axes, heading, height - (2.6 if narrow else 0.9), narrow)
        axes.axvline(0, color=_palette.INK, linewidth=0.9)
        axes.set_ylim(heights[-1] + 1.0, 0)
        labels = [] if narrow else [_wrapped(row["label"]) for row in rows]
        axes.set_yticks([] if narrow else heights, labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=_palette.GRID, linewidth=0.7)
        axes.set_xlabel(f"difference in {_style.metric_label(metric)}")
    return figure


def _wrapped(label: str) -> str:
    """Breaks a long label into lines, so that the axes keep their room."""
    return "\n".join(textwrap.wrap(label, _WIDEST)) or label


def _size(heights: list[float], narrow: bool, lines: int) -> tuple[float, float]:
    line = 0.2 if narrow else max(0.27, 0.145 * lines)
    width = _style.NARROW if narrow else _style.WIDE
    return width, line * (heights[-1] + 1.0) + 0.75


def _heights(rows: list[_frames.Record], step: float) -> list[float]:
    """Returns the height of every row, leaving a line for each heading."""
    heights, at, last = [], 0.0, None
    for row in rows:
        at += step if row["heading"] == last else step + (1.0 if step == 1 else 1.4)
        last = row["heading"]
        heights.append(at)
    return heights


def _headings(rows: list[_frames.Record], heights: list[float]) -> dict[str, float]:
    """Returns the height of each heading's first row."""
    first: dict[str, float] = {}
    for row, height in zip(rows, heights, strict=True):
        first.setdefault(str(row["heading"]), height)
    return first


def _limits(rows: list[_frames.Record]) -> tuple[float, float]:
    """Returns the drawn range: all rows, but for those that would squeeze the rest."""
    names = ("low", "high", "estimate", "wide_low", "wide_high")
    ends = np.array([[row.get(name, np.nan) for name in names] for row in rows], float)
    band = max((row["margin"] for row in rows if np.isfinite(row["margin"])), default=0)
    usual = float(np.nanmedian(np.abs(ends[:, :3])))
    furthest = max(_SPREAD * usual, 2 * band, 1e-9)
    # A row that lies outside as a whole says nothing of the range of the others.
    inside = ends[np.abs(ends[:, 2]) <= furthest]
    low = max(min(float(np.nanmin(inside)), -band), -furthest)
    high = min(max(float(np.nanmax(inside)), band), furthest)
    room = 0.04 * (high - low)
    return low - room, high + room


def _heading(axes: Axes, text: str, height: float, narrow: bool) -> None:
    place: dict[str, Any] = {"xytext": (0 if narrow else -6, 0)}
    axes.annotate(
        text,
        (0, height),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left" if narrow else "right",
        va="center",
        weight="bold",
        **place,
    )


def _row(
    axes: Axes, row: _frames.Record, height: float, limits: tuple[float, float]
) -> None:
    color = row.get("color") or _color(row)
    if np.isfinite(row["margin"]):
        strip = patches.Rectangle(
            (-row["margin"], height - 0.5),
            2 * row["margin"],
            1,
            color=_palette.MARGIN,
            lw=0,
        )
        axes.add_patch(strip)
    filled = _palette.PAPER if row["verdict"] in _OPEN else color
    low, high = max(row["low"], limits[0]), min(row["high"], limits[1])
    if np.isfinite(row.get("wide_low", np.nan)):
        axes.hlines(height, row["wide_low"], row["wide_high"], color=color, lw=0.8)
    if low <= high:
        axes.hlines(height, low, high, color=color, linewidth=1.8)
    lowest = np.fmin(row["low"], row.get("wide_low", np.nan))
    highest = np.fmax(row["high"], row.get("wide_high", np.nan))
    aside = 0.015 * (limits[1] - limits[0])
    for edge, outside, sign in (
        (limits[0] + aside, lowest < limits[0], "<"),
        (limits[1] - aside, highest > limits[1], ">"),
    ):
        if outside:
            axes.plot(edge, height, sign, color=color, ms=6)
    if limits[0] <= row["estimate"] <= limits[1]:
        marker = row.get("marker") or "o"
        look = {"marker": marker, "color": color, "mfc": filled, "ms": 5.5}
        axes.plot(row["estimate"], height, **look)


def _color(row: _frames.Record) -> str:
    return _palette.VERDICT_COLORS.get(row["verdict"], _palette.FAINT)


def _words(
    axes: Axes, row: _frames.Record, height: float, metric: str, narrow: bool
) -> None:
    """Writes the numbers, right of a wide row or above a narrow one."""
    middle, low, high = (
        _style.decimals(metric, row[name]) for name in ("estimate", "low", "high")
    )
    numbers = f"{middle} [{low}, {high}]  {row.get('said', row['verdict'])}".rstrip()
    shared: dict[str, Any] = {"va": "center", "annotation_clip": False}
    if not narrow:
        axes.annotate(
            numbers,
            (1.01, height),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=_color(row),
            **shared,
        )
        return
    label = textwrap.shorten(row["label"], _LETTERS, placeholder="...")
    lines = ((label, _palette.INK, 1.45), (numbers, _color(row), 0.75))
    for text, color, above in lines:
        axes.annotate(
            text,
            (0, height - above),
            xycoords=("axes fraction", "data"),
            fontsize=7.5,
            color=color,
            **shared,
        )
