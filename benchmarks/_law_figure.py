"""The figure of the annotation law: Dice over slices, and over effective slices."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter

from benchmarks._law_tasks import LawTask
from slicebench.statistics import fit_law

# Okabe and Ito (2008): apart for the common kinds of colour blindness.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
_MARKERS = "osD^vP"


def draw(tasks: Sequence[LawTask], told: pd.DataFrame, path: Path) -> None:
    """Writes one row of panels a task: budget, effective slices, gap."""
    figure, axes = plt.subplots(
        len(tasks), 3, figsize=(11, 2.9 * len(tasks)), squeeze=False, layout="tight"
    )
    for task, row in zip(tasks, axes, strict=True):
        _dice(row[0], task, effective=False)
        _dice(row[1], task, effective=True)
        _gap(row[2], task, told)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _dice(axis: Axes, task: LawTask, *, effective: bool) -> None:
    for index, density in enumerate(task.densities):
        cells = [
            task.cells[b, density] for b in task.budgets if (b, density) in task.cells
        ]
        at = [c.volumes * task.worth(c) if effective else c.budget for c in cells]
        error = [c.dice.std(ddof=1) / np.sqrt(len(c.dice)) for c in cells]
        axis.errorbar(
            at,
            [c.dice.mean() for c in cells],
            error,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            linestyle="none" if effective else "-",
            markersize=5,
            label=f"{density} a volume",
        )
    if effective:
        _sparse_law(axis, task)
    axis.set_xscale("log")
    ticks = LogLocator(subs=(1, 2, 5)) if effective else FixedLocator(task.budgets)
    axis.xaxis.set_major_locator(ticks)
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("effective slices" if effective else "annotated slices")
    axis.set_ylabel("Dice")
    axis.set_title(task.name, fontsize=9)
    axis.legend(fontsize=7, frameon=False)


def _sparse_law(axis: Axes, task: LawTask) -> None:
    """Draws the law fitted on one slice a volume."""
    sparse = [b for b in task.budgets if (b, 1) in task.cells]
    scores = np.array([task.cells[b, 1].dice.mean() for b in sparse])
    law = fit_law(np.array(sparse, float), scores, task.ceiling)
    low = min(c.volumes * task.worth(c) for c in task.cells.values())
    at = np.geomspace(low, max(sparse), 100)
    axis.plot(at, law.predict(at), color="0.4", label="law from 1 a volume")


def _gap(axis: Axes, task: LawTask, told: pd.DataFrame) -> None:
    mine = told.loc[told["task"] == task.name]
    for index, (way, rows) in enumerate(mine.groupby("way", sort=False)):
        axis.plot(
            rows["measured"],
            rows["predicted"],
            marker=_MARKERS[index % len(_MARKERS)],
            color=_COLOURS[index % len(_COLOURS)],
            linestyle="none",
            label=str(way),
        )
    ends = [
        mine[["measured", "predicted"]].min().min(),
        mine[["measured", "predicted"]].max().max(),
    ]
    axis.plot(ends, ends, color="0.6", linewidth=1)
    axis.set_xlabel("measured gap (Dice)")
    axis.set_ylabel("predicted gap")
    axis.legend(fontsize=6, frameon=False)
