"""Counts and settings that the page says in words, as a table of their own."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from slicebench.report import _reading, _tables

_RUN = "run"


def overview(
    run: _reading.Run, num_cells: int, verdicts: Sequence[dict[str, Any]]
) -> _tables.Table:
    """Returns every count of the page that stands in no other table.

    Only its file is written.

    Args:
      run: The run.
      num_cells: Cells with an estimate.
      verdicts: What `_verdicts.groups` returns.
    """
    rows = [
        *((_RUN, name, value) for name, value in run_counts(run, num_cells).items()),
        *_tasks(run.experiment),
        *_examples(run),
        *(
            (group["title"], name, count)
            for group in verdicts
            for name, count in group["counts"].items()
        ),
    ]
    return _tables.Table(
        name="overview",
        title="Counts and settings",
        frame=pd.DataFrame(rows, columns=["where", "quantity", "value"]),
        columns=(),
    )


def run_counts(run: _reading.Run, num_cells: int) -> dict[str, int]:
    """Returns what there is of a run, what was planned and what is missing."""
    planned = int(run.experiment["num_trials"])
    return {
        "trials finished": len(run.trials),
        "trials planned": planned,
        "trials missing": max(planned - len(run.trials), 0),
        "trials diverged": run.trials["status"].to_list().count("diverged"),
        "cells": num_cells,
        "seeds a cell": run.most_seeds,
        "test cases": len(run.results.cases),
        "tasks": len({task["name"] for task in run.experiment["tasks"]}),
    }


def _tasks(experiment: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    tolerances = experiment.get("nsd_tolerance_mm") or {}
    names = [str(task["name"]) for task in experiment["tasks"]]
    for name in dict.fromkeys(names):
        yield name, "folds", names.count(name)
        if name in tolerances:
            yield name, "NSD tolerance, mm", tolerances[name]
    for task in experiment["tasks"]:
        where = f"{task['name']}, fold {task['fold']}" if task.get("fold") else None
        for side, cases in task.get("split", {}).items():
            yield where or str(task["name"]), f"{side} cases", len(cases)


def _examples(run: _reading.Run) -> Iterator[tuple[str, str, Any]]:
    for name, examples in run.examples.items():
        yield name, "example slices", len(examples.row_titles)
        yield name, "example networks", len(examples.column_titles)
