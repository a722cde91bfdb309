"""Whether work folders may be merged: what must be equal, and how to say it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slicebench import errors, spec

Experiment = Mapping[str, Any]

_SAME = ("schema_version", "experiment", "smoke")
_PLACE = ("dims", "grid", "channels", "classes", "slices")
"""What a program follows from its task in."""

_SHOWN = 80
"""Letters of a value beyond which a message leaves the rest out."""


def check(folders: Sequence[tuple[Path, Experiment]]) -> None:
    """Compares every folder with the first, and those that share tasks.

    Equal must be: experiment, schema and smoke everywhere; for a task that two
    folders share also its data and split, axes, networks and schedules, tolerance
    and contrasts. Folders share all their tasks or none.

    Args:
      folders: Each folder with the content of its experiment.json.

    Raises:
      InputError: Names both folders and every difference.
    """
    for number, (folder, experiment) in enumerate(folders):
        for other, known in folders[:number]:
            faults = _differences(known, experiment)
            if faults:
                raise errors.gather(f"{other} and {folder} cannot be merged", faults)


def _differences(one: Experiment, other: Experiment) -> list[str]:
    faults = [
        _fault(name, one.get(name), other.get(name))
        for name in _SAME
        if one.get(name) != other.get(name)
    ]
    if faults:
        return faults
    sides = [{str(task["name"]) for task in e["tasks"]} for e in (one, other)]
    if not sides[0] & sides[1]:
        return []
    if sides[0] != sides[1]:
        given = (sorted(sides[0]), sorted(sides[1]))
        return [
            f"{_fault('tasks', *given)} (allowed: the same tasks, or none in common)"
        ]
    return _task_faults(one, other)


def _task_faults(one: Experiment, other: Experiment) -> list[str]:
    faults: list[str] = []
    tasks = [
        {(t["name"], t.get("fold", 0)): t for t in e["tasks"]} for e in (one, other)
    ]
    for key in sorted(tasks[0].keys() & tasks[1].keys()):
        pair = (tasks[0][key], tasks[1][key])
        targets = [task.get("target") for task in pair]
        if targets[0] != targets[1]:
            # The rest follows from it, in every fold.
            fault = _fault(f"target of task {key[0]}", *targets)
            return [f"{fault} (two targets of the same patients are no two tasks)"]
        for name in ("context", "classes"):
            values = tuple(task.get(name) for task in pair)
            if values[0] != values[1]:
                what = "data, split or preprocessing" if name == "context" else name
                faults.append(_fault(f"{what} of task {key[0]}", *values))
    for name in ("axes", "nsd_tolerance_mm"):
        faults += _table_faults(name, one.get(name) or {}, other.get(name) or {})
    faults += _program_faults(one, other)
    return faults or _contrast_faults(one, other)


def _table_faults(name: str, one: Mapping[str, Any], other: Any) -> list[str]:
    """Returns the entries of two tables by task that differ."""
    faults: list[str] = []
    for task in sorted(one.keys() & other.keys()):
        values = (one[task], other[task])
        if isinstance(values[0], Mapping):
            faults += [
                _fault(f"{key} of task {task}", values[0].get(key), values[1].get(key))
                for key in sorted({*values[0], *values[1]})
                if values[0].get(key) != values[1].get(key)
            ]
        elif values[0] != values[1]:
            faults.append(_fault(f"{name} of task {task}", *values))
    return faults


def _program_faults(one: Experiment, other: Experiment) -> list[str]:
    """Returns how networks or schedules for equal inputs differ."""
    sides = [_programs(experiment) for experiment in (one, other)]
    faults: list[str] = []
    for place in sorted(sides[0].keys() & sides[1].keys()):
        for name in ("network", "training", "precision"):
            values = [sorted({p[name] for p in side[place]}) for side in sides]
            if values[0] != values[1]:
                faults += _setting_faults(name, *values)
    return faults


def _programs(experiment: Experiment) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for program in experiment.get("programs", ()):
        place = spec.canonical_json({name: program.get(name) for name in _PLACE})
        entry = {
            name: spec.canonical_json(program.get(name))
            for name in ("network", "training", "precision")
        }
        found.setdefault(place, []).append(entry)
    return found


def _setting_faults(name: str, one: list[str], other: list[str]) -> list[str]:
    """Spells out single settings where each side has one program."""
    sides = [[json.loads(text) for text in side] for side in (one, other)]
    if any(len(side) != 1 or not isinstance(side[0], dict) for side in sides):
        return [_fault(name, one, other)]
    first, second = sides[0][0], sides[1][0]
    return [
        _fault(f"{name}, {key}", first.get(key), second.get(key))
        for key in sorted({*first, *second})
        if first.get(key) != second.get(key)
    ]


def _contrast_faults(one: Experiment, other: Experiment) -> list[str]:
    sides = [
        {spec.canonical_json(c): str(c["name"]) for c in e["contrasts"]}
        for e in (one, other)
    ]
    alone = [
        sorted({name for key, name in sides[a].items() if key not in sides[1 - a]})
        for a in (0, 1)
    ]
    return [_fault("planned contrasts", *alone)] if any(alone) else []


def _fault(name: str, one: Any, other: Any) -> str:
    return f"{name}: {_short(one)} against {_short(other)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else spec.canonical_json(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
