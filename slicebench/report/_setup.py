"""What a run was made with: networks, schedules, versions, compute."""

import json
from typing import Any

import numpy as np
import pandas as pd

from slicebench.report import _frames, _reading, _style
from slicebench.report._tables import Column, Table


def setup_tables(run: _reading.Run) -> list[Table]:
    """Returns networks and schedules, compute used, versions and device."""
    folders = merged(run.experiment)
    rest = [_programs(run.experiment), _compute(run), _versions(run.experiment)]
    return [folders, *rest] if folders else rest


def _programs(experiment: dict[str, Any]) -> Table:
    rows = []
    for program in experiment.get("programs", ()):
        training = dict(program.get("training", {}))
        augmentation = training.pop("augmentation", {})
        rows.append(
            {
                "name": program.get("name"),
                "dims": str(program.get("dims", "")).upper(),
                "network": _settings(program.get("network", {})),
                "parameters": program.get("parameters"),
                "grid": f" {_style.TIMES} ".join(
                    str(size) for size in program.get("grid", ())
                ),
                "channels": program.get("channels"),
                "classes": program.get("classes"),
                "training": _settings(training),
                "augmentation": _settings(augmentation),
                "precision": program.get("precision"),
            }
        )
    columns = (
        Column("name", "Program"),
        Column("dims", "Dims"),
        Column("network", "Network"),
        Column("parameters", "Parameters", "count"),
        Column("grid", "Grid"),
        Column("channels", "Channels", "count"),
        Column("classes", "Classes with background", "count"),
        Column("training", "Schedule"),
        Column("augmentation", "Augmentation"),
        Column("precision", "Precision"),
    )
    return Table(
        name="programs",
        title="Networks and schedules",
        frame=pd.DataFrame(rows, columns=[column.key for column in columns]),
        columns=columns,
    )


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{_style.words(name)} {value}" for name, value in values.items())


_COMPUTE = {
    "wall_seconds": "wall time, s",
    "compile_seconds": "compiling, s (apart from training)",
    "programs_read_from_cache": "compiled programs read from the cache",
    "planning_seconds": "timing execution plans, s",
    "training_seconds": "training, s",
    "evaluation_seconds": "waiting for evaluation and writing, s",
    "trial_steps": "trial-steps",
    "sessions": "times started or resumed",
}


def _compute(run: _reading.Run) -> Table:
    """Returns what was used; rates leave compiling out."""
    used = run.compute
    rows: list[dict[str, Any]] = [
        {"quantity": "trials finished", "value": float(len(run.trials))}
    ]
    rows += [
        {"quantity": text, "value": float(used[key])}
        for key, text in _COMPUTE.items()
        if isinstance(used.get(key), (int, float))
    ]
    if len(run.trials):
        alone = float(np.mean(_frames.floats(run.trials, "seconds")))
        rows.append({"quantity": "seconds a trial, mean of trials", "value": alone})
    working = sum(
        float(used.get(key) or 0) for key in ("training_seconds", "evaluation_seconds")
    )
    if used.get("wall_seconds"):
        hours = float(used["wall_seconds"]) / 3600
        rows.append({"quantity": "wall time, h", "value": hours})
        rows.append(
            {
                "quantity": "device-hours (wall time x devices)",
                "value": hours * _devices(run.experiment),
            }
        )
    if working > 0:
        rate = 3600 * len(run.trials) / working
        rows.append({"quantity": "trials per hour, without compiling", "value": rate})
    return Table(
        name="compute",
        title="Compute used",
        frame=pd.DataFrame(rows, columns=["quantity", "value"]),
        columns=(Column("quantity", "Quantity"), Column("value", "Value", "number")),
        open=True,
    )


def _devices(experiment: dict[str, Any]) -> float:
    count = experiment.get("device", {}).get("count", 1)
    return float(count) if isinstance(count, int) else 1.0


def merged(experiment: dict[str, Any]) -> Table | None:
    """Returns the folders that a merged run is made of, None for a single run."""
    sources = experiment.get("merged_from")
    if not sources:
        return None
    rows = [
        {
            "folder": source["folder"],
            "tasks": ", ".join(dict.fromkeys(source["tasks"])),
            "trials": source["trials"],
            "planned": source["planned"],
            "device": _settings(source["device"]),
            "versions": _settings(source["versions"]),
            "wall_seconds": source["wall_seconds"],
        }
        for source in sources
    ]
    columns = (
        Column("folder", "Folder"),
        Column("tasks", "Tasks"),
        Column("trials", "Trials", "count"),
        Column("planned", "Planned", "count"),
        Column("device", "Device"),
        Column("versions", "Versions"),
        Column("wall_seconds", "Wall time, s", "number"),
    )
    return Table(
        name="merged",
        title="Merged folders",
        frame=pd.DataFrame(rows, columns=[column.key for column in columns]),
        columns=columns,
        open=True,
    )


def _versions(experiment: dict[str, Any]) -> Table:
    device = experiment.get("device", {})
    plan = experiment.get("plan", {})
    rows = [
        *((name, version) for name, version in experiment.get("versions", {}).items()),
        *((f"device {name}", value) for name, value in device.items()),
        *((f"plan {name.replace('_', ' ')}", _plain(plan[name])) for name in plan),
    ]
    frame = pd.DataFrame(rows, columns=["name", "value"]).astype(str)
    return Table(
        name="versions",
        title="Versions, device and plan",
        frame=frame,
        columns=(Column("name", "Name"), Column("value", "Value")),
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def rebuild(experiment: dict[str, Any], *, images: bool = True) -> str:
    """Returns the command that makes the report from results."""
    sources = [source["folder"] for source in experiment.get("merged_from", ())]
    where = f"{','.join(sources)} --out=DIR" if sources else "DIR"
    hidden = "" if images else " --no_images"
    return f"python -m slicebench.report --workdir={where}{hidden}"


def splits(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the cases on each side of every task's split."""
    found = []
    for task in experiment["tasks"]:
        split = task.get("split", {})
        fold = f", fold {task['fold']}" if task.get("fold") else ""
        sides = [{"name": side, "cases": cases} for side, cases in split.items()]
        found.append(
            {
                "title": f"{task['name']}{fold}",
                "counts": ", ".join(f"{len(s['cases'])} {s['name']}" for s in sides),
                "sides": sides,
                "attribution": task.get("attribution", ""),
            }
        )
    return found


def split_table(experiment: dict[str, Any]) -> Table:
    """Returns one row a case: its task, fold and side."""
    rows = [
        (task["name"], task.get("fold", 0), side, case)
        for task in experiment["tasks"]
        for side, cases in task.get("split", {}).items()
        for case in cases
    ]
    names = ("task", "fold", "side", "case")
    return Table(
        name="splits",
        title="Splits",
        frame=pd.DataFrame(rows, columns=list(names)),
        columns=tuple(Column(name, name.capitalize()) for name in names),
    )
