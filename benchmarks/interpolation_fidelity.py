"""How well interpolated masks match hidden labels, by gap between slices.

    python -m benchmarks.interpolation_fidelity [--data=FOLDER[,FOLDER...]]
        [--json=FILE] [--csv=FILE] [--markdown=FILE] [--figure=FILE]

Of each pool case (pool only: test cases stay unseen) every n-th slice is
annotated, from slice `case number mod n` on, and the slices between are filled
on the task's grid by every method. Only hidden slices are scored:

- `dice`: of all hidden voxels of a volume.
- `nsd`: surface Dice in the plane, tolerance one voxel of the grid: the share of
  outline length that lies within the tolerance of the other outline.
- `failures`: share of hidden slices with truth whose own Dice is below 0.5, a
  slice left empty among them.

Each is averaged over volumes that hold the class on hidden slices, then over
classes. Soft labels are scored by their most probable class. Methods whose
package is missing are left out and named.
"""

import argparse
import csv
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from slicebench.data import PreparedCase, PreparedTask, load_task
from slicebench.data.phantoms import make_phantom
from slicebench.errors import InputError
from slicebench.evaluation import prepare_truth, score_case
from slicebench.interpolation import INTERPOLATIONS, interpolate

METRICS = ("dice", "nsd", "failures")
FAILED = 0.5
"""Dice of a slice below which interpolation failed there."""

_APART_MM = 1000.0
"""Slice distance at which slices are scored each for itself."""

# Okabe and Ito (2008): apart for the common kinds of colour blindness.
_LINES = {
    "nearest": ("#e69f00", "s", "-"),
    "linear": ("#56b4e9", "v", ":"),
    "signed_distance": ("#0072b2", "o", "-"),
    "morphological": ("#009e73", "^", "--"),
    "morphological_itk": ("#8c6d1f", "D", "-."),
    "image_guided": ("#d55e00", "P", "-"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Scores of one method, class and volume at one gap."""

    task: str
    method: str
    class_name: str
    case: str
    gap: int
    gap_mm: float
    dice: float
    nsd: float
    failures: float


def main(argv: Sequence[str] | None = None) -> None:
    """Scores, then prints the table and writes what was asked for."""
    arguments = _parse(argv)
    matplotlib.use("Agg")
    start = time.perf_counter()
    methods = _available(arguments.methods.split(","))
    gaps = [int(gap) for gap in arguments.gaps.split(",")]
    rows: list[Row] = []
    for task in _tasks(arguments):
        for number, case in enumerate(_spread(task.pool, arguments.cases)):
            for gap in gaps:
                rows += score_gap(task, case, methods, gap, number % gap)
        print(f"{task.name}: {time.perf_counter() - start:.0f} s", flush=True)
    if not rows:
        raise SystemExit("no case is deep enough for these gaps")
    classes, tasks = summarise(pd.DataFrame(map(dataclasses.asdict, rows)))
    table = markdown(tasks)
    print(table)
    if arguments.json:
        record = [dataclasses.asdict(row) for row in rows]
        arguments.json.write_text(json.dumps(record, indent=1))
    if arguments.csv:
        classes.to_csv(arguments.csv, float_format="%.4f", quoting=csv.QUOTE_MINIMAL)
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n")
    if arguments.figure:
        draw(tasks, arguments.figure)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fidelity of interpolated masks.")
    parser.add_argument("--data", default="", help="comma list of dataset folders")
    parser.add_argument("--phantoms", default="phantom_organ")
    parser.add_argument("--cases", type=int, default=4, help="pool cases of a task")
    parser.add_argument("--gaps", default="2,3,4,6,8", help="in slices")
    parser.add_argument("--methods", default=",".join(_LINES))
    for output in ("json", "csv", "markdown", "figure"):
        parser.add_argument(f"--{output}", type=Path)
    return parser.parse_args(argv)


def _tasks(arguments: argparse.Namespace) -> Iterator[PreparedTask]:
    for folder in filter(None, arguments.data.split(",")):
        yield load_task(folder)
    for name in filter(None, arguments.phantoms.split(",")):
        yield make_phantom(name, seed=0)


def _available(methods: Sequence[str]) -> list[str]:
    """Returns the methods that run here; names the others."""
    label = np.zeros((3, 4, 4), np.uint8)
    found = []
    for name in methods:
        try:
            interpolate(
                name,
                label,
                np.array([True, False, True]),
                (1.0, 1.0, 1.0),
                image=np.zeros((*label.shape, 1)),
            )
            found.append(name)
        except InputError as error:
            if name not in INTERPOLATIONS:
                raise
            print(f"left out: {error}")
    return found


def _spread(cases: Sequence[PreparedCase], most: int) -> list[PreparedCase]:
    """Returns at most so many cases, evenly spread over the list."""
    places = np.linspace(0, len(cases) - 1, min(most, len(cases))).round().astype(int)
    return [cases[place] for place in places]


def score_gap(
    task: PreparedTask,
    case: PreparedCase,
    methods: Sequence[str],
    gap: int,
    first: int,
) -> list[Row]:
    """Scores every method on one case.

    Args:
      task: The task, for its grid and classes.
      case: A case of it.
      methods: Names in `INTERPOLATIONS`.
      gap: Distance of annotated slices, in slices.
      first: First annotated slice.
    """
    annotated = np.zeros(case.depth, bool)
    annotated[first::gap] = True
    marks = np.flatnonzero(annotated)
    if len(marks) < 2 or gap < 2:
        return []
    hidden = ~annotated
    hidden[: marks[0]] = hidden[marks[-1] :] = False
    spacing = (case.spacing[0], *task.spacing[1:])
    truth = case.label[hidden]
    prepared = prepare_truth(
        _interleave(truth),
        (_APART_MM, *spacing[1:]),
        len(task.classes),
        max(spacing[1:]),
    )
    rows = []
    for name in methods:
        made = interpolate(name, case.label, annotated, spacing, image=case.image)
        guess = made.hard()[hidden].astype(np.uint8)
        scores = {
            (score.class_index, score.metric): score.score
            for score in score_case(prepared, _interleave(guess))
        }
        for index, class_name in enumerate(task.classes, 1):
            if not prepared.is_empty(index):
                rows.append(
                    Row(
                        task=task.name,
                        method=name,
                        class_name=class_name,
                        case=case.name,
                        gap=gap,
                        gap_mm=gap * spacing[0],
                        dice=scores[index, "dice"],
                        nsd=scores[index, "nsd"],
                        failures=failure_rate(truth == index, guess == index),
                    )
                )
    return rows


def _interleave(planes: np.ndarray) -> np.ndarray:
    """Puts an empty slice between slices, so that none touches another."""
    wide = np.zeros((2 * len(planes) - 1, *planes.shape[1:]), np.uint8)
    wide[::2] = planes
    return wide


def failure_rate(truth: np.ndarray, guess: np.ndarray) -> float:
    """Returns the share of slices with truth on which Dice is below `FAILED`."""
    both, ours, theirs = (
        mask.sum(axis=(1, 2), dtype=float) for mask in (truth & guess, truth, guess)
    )
    there = ours > 0
    return float(np.mean(2 * both[there] / (ours + theirs)[there] < FAILED))


def summarise(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Averages over volumes within a class, then over classes.

    Returns:
      One row a task, gap, class and method; one a task, gap and method. A task's
      row has the median gap in mm and the number of volumes.
    """
    keys = ["task", "gap", "class_name", "method"]
    grouped = rows.groupby(keys, sort=False)
    columns = {"gap_mm": ("gap_mm", "median"), "cases": ("case", "nunique")}
    columns |= {metric: (metric, "mean") for metric in METRICS}
    classes = grouped.agg(**columns)
    tasks = classes.groupby(["task", "gap", "method"], sort=False).agg(
        gap_mm=("gap_mm", "median"),
        cases=("cases", "max"),
        **{metric: (metric, "mean") for metric in METRICS},
    )
    return classes, tasks


def markdown(tasks: pd.DataFrame) -> str:
    """Returns a table: a row a task and gap, `Dice / NSD / failures` a method.

    The highest Dice of a row is bold.
    """
    methods = list(dict.fromkeys(tasks.index.get_level_values("method")))
    lines = [
        "| task | gap (slices) | gap (mm) | volumes | " + " | ".join(methods) + " |",
        "|---|--:|--:|--:|" + "---|" * len(methods),
    ]
    for name, gap in dict.fromkeys(tasks.index.droplevel("method")):
        found = tasks.loc[name, gap]
        best = found["dice"].round(3).max()
        cells = []
        for method in methods:
            dice, nsd, failures = found.loc[method, list(METRICS)]
            text = f"{dice:.3f}"
            text = f"**{text}**" if round(dice, 3) == best else text
            cells.append(f"{text} / {nsd:.3f} / {failures:.2f}")
        shown = [f"{found['gap_mm'].iloc[0]:.4g}", str(int(found["cases"].iloc[0]))]
        lines.append(f"| {name} | {gap} | " + " | ".join([*shown, *cells]) + " |")
    return "\n".join(lines)


def draw(tasks: pd.DataFrame, path: Path) -> None:
    """Draws a line a method over the gap in mm: Dice above, failures below."""
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(tasks.index.get_level_values("task")))
    figure, axes = plt.subplots(
        2, len(names), figsize=(2.6 * len(names), 4.6), sharey="row", squeeze=False
    )
    for (row, metric), (column, name) in itertools.product(
        enumerate(("dice", "failures")), enumerate(names)
    ):
        _panel(axes[row][column], tasks.loc[name], metric)
    for column, name in enumerate(names):
        axes[0][column].set_title(name.removeprefix("Dataset"), fontsize=8)
        axes[1][column].set_xlabel("gap (mm)")
    axes[0][0].set_ylabel("Dice")
    axes[1][0].set_ylabel(f"slices below Dice {FAILED}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, dpi=120, metadata=_metadata(path))
    plt.close(figure)


def _panel(axes: Any, found: pd.DataFrame, metric: str) -> None:
    for method, group in found.groupby("method", sort=False):
        color, marker, dash = _LINES.get(str(method), ("#4d4d4d", "*", "-"))
        axes.plot(
            group["gap_mm"],
            group[metric],
            color=color,
            marker=marker,
            linestyle=dash,
            markersize=4,
            linewidth=1.3,
            label=str(method).replace("_", " "),
        )
    axes.set_ylim(0, 1)
    axes.grid(color="#dfe3e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _metadata(path: Path) -> dict[str, None]:
    """Leaves dates out of the file, so that equal figures are equal bytes."""
    return {"Date": None} if path.suffix == ".svg" else {"Software": None}


if __name__ == "__main__":
    main()
