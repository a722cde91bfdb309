"""The map of allocations: scores over volumes and slices per volume."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench.report import _curves, _frames, _palette, _style


def allocation_figure(
    cells: pd.DataFrame, *, metric: str, narrow: bool = False
) -> Figure:
    """Scores over volumes and slices per volume, one panel an arm.

    Args:
      cells: One row a cell of one task, network dimension and metric: `arm`,
        `num_volumes`, `slices_per_volume`, `budget`, `estimate`, `low`, `high`
        and `in_best_set` (whether the allocation may be its budget's best).
      metric: Score that is drawn; dark is low.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure. Each field gives the score, half the width of its interval and
      the budget; a frame marks the allocations that may be the best.
    """
    arms = list(dict.fromkeys(cells["arm"]))
    rows = sorted(cells["num_volumes"].unique())
    columns = sorted(cells["slices_per_volume"].unique())
    limits = _curves.score_range(cells, ("estimate",))
    with _style.house():
        figure, grid = _curves.panels(
            len(arms), 3, 0.5 + 0.44 * len(rows), narrow=narrow
        )
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
    ink = _palette.FIXED_WHITE if share < 0.55 else "black"
    place: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    text = _style.decimals(metric, cell["estimate"])
    axes.text(column + 0.5, row + 0.62, text, fontsize=8.5, weight="bold", **place)
    half = _style.decimals(metric, (cell["high"] - cell["low"]) / 2)
    note = f"±{half}" if np.isfinite(cell["high"] - cell["low"]) else ""
    axes.text(column + 0.5, row + 0.27, note, fontsize=6.5, **place)
    if cell["in_best_set"]:
        frame = patches.Rectangle(
            (column + 0.04, row + 0.05), 0.92, 0.9, fill=False, lw=2, ec=_palette.FRAME
        )
        axes.add_patch(frame)
