"""What a report lacks: trials not finished or diverged, cells left out."""

import json
import re
from collections import Counter
from typing import Any, NamedTuple

import pandas as pd

from slicebench import spec, statistics
from slicebench.report import _frames, _reading
from slicebench.report._tables import Column, Table

_SEEDS = ["selection_seed", "training_seed"]
_TWIN = re.compile(r"identical by construction to (?P<name>\S+)(?P<rest>.*)")


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
            "Identical by construction: trained once",
            "Same masks and labels as the cell named beside, whose trials stand for "
            "both: left out of families and pooling.",
            twins(run.experiment),
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

    The seeds of a cell are spread over the folds of its task. A cell of which
    nothing is finished cannot be told from the results; such trials are counted
    together in the last row.
    """
    planned = int(run.experiment["num_trials"])
    rows: list[dict[str, Any]] = []
    most = _most(run.trials)
    factors = list(spec.CELL_FIELDS)
    for cell, part in _frames.groups(_frames.columns(run.trials, factors), factors):
        wanted = max(_wanted(run.experiment, cell), most[_kind(cell)])
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


def _kind(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["task"], cell["dims"], cell["strategy"] == statistics.CEILING


def _most(trials: pd.DataFrame) -> Counter[tuple[Any, ...]]:
    """Returns the most trials that a cell of each task and dims has.

    Cells of one task share their seeds; a run that is made look by look has more
    of them where it was not decided early.
    """
    most: Counter[tuple[Any, ...]] = Counter()
    factors = list(spec.CELL_FIELDS)
    for cell, part in _frames.groups(_frames.columns(trials, factors), factors):
        most[_kind(cell)] = max(most[_kind(cell)], len(part))
    return most


def _wanted(experiment: dict[str, Any], cell: dict[str, Any]) -> int:
    """Returns the planned trials of a cell, over all folds of its task."""
    if cell["strategy"] == statistics.CEILING:
        return int(experiment.get("ceiling_seeds", 0))
    by_task: dict[str, int] = experiment.get("seeds_by_task") or {}
    seeds = by_task.get(str(cell["task"]), int(experiment.get("num_seeds", 0)))
    folds = sum(1 for task in experiment["tasks"] if task["name"] == cell["task"])
    if folds < 2:
        return seeds
    # Every fold has the same number of selection seeds, at least two.
    crossed = int(experiment.get("training_seeds") or 1)
    return max(2, -(-seeds // (crossed * folds))) * folds * crossed


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


def twins(experiment: dict[str, Any]) -> Table:
    """Returns the cells that are copies of others, with what they equal."""
    copies = [entry for entry in _entries(experiment) if _TWIN.match(entry["reason"])]
    known = {spec.canonical_json(entry["cell"]): entry for entry in copies}
    rows = [
        {
            "cell": cell_words(entry["cell"]),
            "equals": _original(entry, known),
            "reason": entry["reason"],
        }
        for entry in copies
    ]
    return Table(
        name="identical",
        title="Cells identical by construction",
        frame=pd.DataFrame(rows, columns=["cell", "equals", "reason"]),
        columns=(
            Column("cell", "Cell"),
            Column("equals", "Equals"),
            Column("reason", "Reason"),
        ),
    )


def _original(entry: dict[str, Any], copies: dict[str, dict[str, Any]]) -> str:
    """Returns the cell that is trained in place of a copy.

    A copy may equal a copy in its turn: one slice a volume at equal intervals,
    interpolated, is random and interpolated, which is random alone.
    """
    cell, found = entry["cell"], _TWIN.match(entry["reason"])
    for _ in copies:
        if found is None:
            break
        changes = _changes(cell, found["name"])
        if changes is None:
            return found["name"] + found["rest"]
        cell = {**cell, **changes}
        further = copies.get(spec.canonical_json(cell))
        found = _TWIN.match(further["reason"]) if further else None
    return cell_words(cell)


def _changes(cell: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Returns what a copy differs in from the cell named by its reason."""
    if name == "none" and "interpolation" in cell:
        return {"interpolation": "none", "pseudo_weight": 0.0}
    return {"strategy": name} if "strategy" in cell else None


def _left_out(experiment: dict[str, Any]) -> Table:
    rows = [
        {"cell": cell_words(entry["cell"]), "reason": entry["reason"]}
        for entry in _entries(experiment)
        if not _TWIN.match(entry["reason"])
    ]
    return _reasons("left_out", "Cells left out", "cell", rows)


def _entries(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns each left-out cell once: every fold of a task names it."""
    found = {
        spec.canonical_json(entry): entry
        for entry in experiment.get("cells_left_out", ())
    }
    return list(found.values())


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
        elif not pd.isna(value) and (name == "strategy" or value not in silent):
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)
