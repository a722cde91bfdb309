"""What a report lacks: trials not finished or diverged, cells left out."""

import json
from typing import Any, NamedTuple

import pandas as pd

from slicebench import spec
from slicebench.report import _frames, _reading
from slicebench.report._tables import Column, Table

_SEEDS = ["selection_seed", "training_seed"]


class Gap(NamedTuple):
    """One kind of thing that is not there.

    Attributes:
      title: Its name.
      text: What it means for the numbers.
      table: What is concerned.
    """

    title: str
    text: str
    table: Table


def gaps(run: _reading.Run) -> list[Gap]:
    """Returns every kind of gap, empty ones too."""
    return [
        Gap(
            "Missing trials",
            "Planned, not finished: the numbers above rest on what is there.",
            missing_trials(run),
        ),
        Gap(
            "Diverged trials",
            "Counted as empty predictions; the share of each cell stands in its row.",
            _diverged(run),
        ),
        Gap(
            "Cells left out",
            "They lie on the planned grid, and no trial of them can be made.",
            _left_out(run.experiment),
        ),
        Gap(
            "Contrasts dropped",
            "Planned, but one of their sides has no cells.",
            _dropped(run.experiment),
        ),
    ]


def missing_trials(run: _reading.Run) -> Table:
    """Returns cells with fewer seeds than planned, and the number of others.

    A cell of which nothing is finished cannot be told from the results; such
    trials are counted together in the last row.
    """
    planned = int(run.experiment["num_trials"])
    wanted = int(run.experiment.get("num_seeds", 0))
    rows: list[dict[str, Any]] = []
    trials = _frames.keep(run.trials, run.trials["strategy"] != "all")
    for cell, part in _frames.groups(trials, [*spec.CELL_FIELDS, "fold"]):
        if len(part) < wanted:
            rows.append(
                {
                    "cell": cell_words(cell),
                    "finished": len(part),
                    "missing": wanted - len(part),
                }
            )
    known = sum(row["missing"] for row in rows)
    rest = planned - len(run.trials) - known
    if rest > 0:
        rows.append({"cell": "cells not begun", "finished": 0, "missing": rest})
    return Table(
        name="missing",
        title="Missing trials",
        frame=pd.DataFrame(rows, columns=["cell", "finished", "missing"]),
        columns=(
            Column("cell", "Cell"),
            Column("finished", "Finished", "count"),
            Column("missing", "Missing", "count"),
        ),
    )


def _diverged(run: _reading.Run) -> Table:
    rows = [
        {
            "trial_id": row["trial_id"],
            "cell": cell_words({name: row[name] for name in spec.CELL_FIELDS}),
            **{name: row[name] for name in _SEEDS},
        }
        for row in _frames.records(_frames.where(run.trials, {"status": "diverged"}))
    ]
    frame = pd.DataFrame(rows, columns=["trial_id", "cell", *_SEEDS])
    return Table(
        name="diverged",
        title="Diverged trials",
        frame=frame,
        columns=(
            Column("trial_id", "Trial"),
            Column("cell", "Cell"),
            Column("selection_seed", "Selection seed", "count"),
            Column("training_seed", "Training seed", "count"),
        ),
    )


def _left_out(experiment: dict[str, Any]) -> Table:
    rows = [
        {"cell": cell_words(entry["cell"]), "reason": entry["reason"]}
        for entry in experiment.get("cells_left_out", ())
    ]
    return _reasons("left_out", "Cells left out", "cell", rows)


def _dropped(experiment: dict[str, Any]) -> Table:
    rows = [
        {"contrast": entry["name"], "reason": entry["reason"]}
        for entry in experiment.get("contrasts_dropped", ())
    ]
    return _reasons("contrasts_dropped", "Contrasts dropped", "contrast", rows)


def _reasons(name: str, title: str, key: str, rows: list[dict[str, Any]]) -> Table:
    columns = (Column(key, key.capitalize()), Column("reason", "Reason"))
    frame = pd.DataFrame(rows, columns=[key, "reason"])
    return Table(name=name, title=title, frame=frame, columns=columns)


def cell_words(cell: dict[str, Any]) -> str:
    """Returns a cell's factors in one line, without those that say nothing.

    >>> cell_words({"task": "liver", "budget": 8, "interpolation": "none"})
    'task liver, budget 8'
    """
    silent = (None, "none", "all", 0.0)
    parts = []
    for name, value in cell.items():
        if isinstance(value, (dict, list)):
            parts.append(f"{name} {json.dumps(value)}")
        elif not pd.isna(value) and value not in silent:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)
