"""Figure of how alike the slices are that strategies choose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench.report import _curves, _frames, _palette, _style

_FEW = 6
"""Strategies up to which three panels stand side by side."""

_SMALLEST_TEXT = 4.5
"""Size in points below which a field's number is left to the table."""


def overlap_figure(
    pairs: pd.DataFrame, *, arms: Sequence[str], narrow: bool = False
) -> Figure:
    """Overlap of every two strategies, one panel a number of slices per volume.

    Args:
      pairs: One row two arms of one task and network dimension: `arm_a`, `arm_b`,
        `slices_per_volume`, `jaccard`, `expected_jaccard` and `coverage` (both may
        be NaN); each pair once.
      arms: Every arm, at least two, in the order of drawing; `arm_a` of a pair
        comes before its `arm_b`.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure; each field gives the mean Jaccard index, light is alike.
    """
    densities = sorted(set(pairs["slices_per_volume"]))
    fields = len(arms) - 1
    with _style.house():
        columns = 3 if len(arms) <= _FEW else 2
        figure, grid = _curves.panels(
            len(densities), columns, 1.0 + 0.27 * fields, narrow=narrow
        )
        across = min(len(densities), 2 if len(densities) == 4 else columns)
        across = 1 if narrow else across
        room = (float(figure.get_size_inches()[0]) - 1.5) / across - 0.15
        size = min(8.0, 72 * room / fields / 2.7)
        for axes, density in zip(grid, densities, strict=True):
            part = _frames.where(pairs, {"slices_per_volume": density})
            _triangle(axes, part, arms, size)
            plural = "" if density == 1 else "s"
            axes.set_title(f"{density} slice{plural} per volume")
            axes.set_xlabel(_note(part))
    return figure


def _triangle(
    axes: Axes, pairs: pd.DataFrame, arms: Sequence[str], size: float
) -> None:
    """Draws each pair once: later arms in rows, earlier ones in columns."""
    image = np.full((len(arms) - 1, len(arms) - 1), np.nan)
    for row in _frames.records(pairs):
        at = arms.index(row["arm_b"]) - 1, arms.index(row["arm_a"])
        image[at] = row["jaccard"]
    # Most overlaps are small: their square root spreads them over the colours.
    shade = np.sqrt(image)
    axes.pcolormesh(shade, cmap="cividis", vmin=0, vmax=1, ec=_palette.PAPER, lw=0.8)
    for (row, column), value in np.ndenumerate(image):
        if np.isfinite(value) and size >= _SMALLEST_TEXT:
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{value:.2f}",
                ha="center",
                va="center_baseline",
                fontsize=size,
                color=_palette.FIXED_WHITE if shade[row, column] < 0.55 else "black",
            )
    names = [_style.words(arm) for arm in arms]
    at = np.arange(len(arms) - 1) + 0.5
    axes.set_xticks(at, names[:-1], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(at, names[1:])
    axes.set_ylim(len(arms) - 1, 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _note(pairs: pd.DataFrame) -> str:
    """Returns what chance gives at this density, and how much is annotated."""
    named = (("expected_jaccard", "by chance"), ("coverage", "coverage"))
    parts = []
    for column, name in named:
        values = _frames.floats(pairs, column)
        if np.isfinite(values).any():
            parts.append(f"{name} {np.nanmean(values):.2f}")
    return ", ".join(parts)
