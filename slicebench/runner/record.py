"""What a run writes beside its results: experiment.json and example slices."""

import dataclasses
import importlib.metadata
import json
import platform
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slicebench import spec
from slicebench.data.phantoms import PHANTOMS
from slicebench.data.prepared import PreparedTask
from slicebench.errors import InputError
from slicebench.evaluation.scoring import tolerance_mm
from slicebench.results import read_json, write_json_atomic
from slicebench.runner.cells import CEILING
from slicebench.runner.experiments import resolve
from slicebench.runner.options import Options
from slicebench.runner.plan_cache import machine
from slicebench.runner.study import Study
from slicebench.training.engine import count_parameters

_PACKAGES = (
    "slicebench",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "scikit-learn",
    "nibabel",
    "tensorflow-datasets",
)
_AXES = (
    "budgets",
    "slices_per_volume",
    "strategies",
    "volume_strategies",
    "features",
    "scope",
    "interpolations",
    "dims",
)


def describe(
    study: Study,
    options: Options,
    plans: Mapping[str, dict[str, Any]],
    device: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the content of experiment.json.

    Args:
      study: What is run.
      options: How.
      plans: `Planner.records`: plans so far, by program.
      device: Machine that trains, as `machine` tells it; None is this one.
    """
    firsts = {name: task for (name, _), task in reversed(study.tasks.items())}
    return {
        "schema_version": 1,
        "experiment": study.experiment.name,
        "question": study.experiment.question,
        "command": options.command,
        "smoke": options.smoke,
        "tasks": [_task(task) for task in study.tasks.values()],
        "axes": {name: _axes(study, task) for name, task in firsts.items()},
        **_seeds(study),
        "ceiling_seeds": study.experiment.ceiling_seeds,
        "nsd_tolerance_mm": {name: tolerance_mm(task) for name, task in firsts.items()},
        "programs": [_program(program) for program in study.programs.values()],
        "cells_left_out": [dataclasses.asdict(item) for item in study.left_out],
        "contrasts": list(study.contrasts),
        "contrasts_dropped": list(study.dropped),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "device": device or machine(),
        "plan": {
            "name": options.plan,
            "programs": {n: plans[n] for n in study.programs if n in plans},
        },
        "num_trials": len(study.trials),
    }


def _seeds(study: Study) -> dict[str, Any]:
    """Seeds of a cell; how they are crossed or looked at only where they are."""
    experiment = study.experiment
    found: dict[str, Any] = {"num_seeds": experiment.num_seeds}
    if experiment.training_seeds is not None:
        found |= {
            "num_seeds": experiment.num_seeds * experiment.training_seeds,
            "selection_seeds": experiment.num_seeds,
            "training_seeds": experiment.training_seeds,
        }
    if study.looks:
        found["looks"] = {name: list(seeds) for name, seeds in study.looks.items()}
    return found


def _axes(study: Study, task: PreparedTask) -> dict[str, Any]:
    axes = {name: getattr(study.experiment, name) for name in _AXES}
    return {name: list(resolve(value, task.info)) for name, value in axes.items()}


def _program(program: spec.Program) -> dict[str, Any]:
    return {
        "name": program.name,
        **dataclasses.asdict(program),
        "grid": list(program.grid),
        "parameters": count_parameters(program),
    }


def _task(task: PreparedTask) -> dict[str, Any]:
    names = ("development", "pool", "test")
    return {
        "name": task.name,
        "target": task.target,
        "fold": task.fold,
        "classes": list(task.classes),
        "channels": list(task.channels),
        "grid": list(task.grid),
        "spacing": list(task.spacing),
        "median_slices": task.info.median_slices,
        "orientation": task.orientation,
        "synthetic": task.synthetic,
        "expected": PHANTOMS[task.name].expected if task.synthetic else None,
        "attribution": task.attribution,
        "context": task.context,
        "split": {
            side: [case.name for case in cases]
            for side, cases in zip(names, task.sides, strict=True)
        },
        "provenance": task.provenance,
    }


def write_experiment(path: Path, content: dict[str, Any]) -> None:
    """Writes experiment.json; refuses a work folder of another experiment.

    Raises:
      InputError: The folder holds results of another experiment or of other
        preparations of the same task.
    """
    if path.exists():
        old = read_json(path)
        if old["experiment"] != content["experiment"]:
            raise InputError(
                f"{path.parent}: holds results of experiment {old['experiment']!r}, "
                f"not {content['experiment']!r}; use another --workdir"
            )
        _refuse_other_preparation(path, old, content)
    write_json_atomic(path, content)


def _refuse_other_preparation(
    path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    before = {(t["name"], t["fold"]): t["context"] for t in old["tasks"]}
    for task in new["tasks"]:
        known = before.get((task["name"], task["fold"]))
        if known not in (None, task["context"]):
            raise InputError(
                f"{path.parent}: task {task['name']} was prepared otherwise there "
                f"(context {known}, now {task['context']}): images, target, split or "
                "preprocessing changed; use another --workdir"
            )


def refuse_other_training(workdir: Path, trials: Any, study: Study) -> None:
    """Refuses a work folder whose finished trials were trained otherwise.

    Contrasts and margins take every trial of a task in the folder: of other
    steps or another network they would become a blend.

    Args:
      workdir: Work folder.
      trials: Its trials table.
      study: What is about to be trained.

    Raises:
      InputError: Network or training of a task differ.
    """
    names = ("network", "training")
    planned: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    settings = {(t.task, t.dims, t.network, t.training) for t in study.trials}
    for task, dims, *given in settings:
        new: dict[str, Any] = {
            name: json.loads(spec.canonical_json(value))
            for name, value in zip(names, given, strict=True)
        }
        planned.setdefault((task, dims), {})[spec.canonical_json(new)] = new
    known = trials[["task", "dims", *names]].drop_duplicates().astype(str)
    for task, dims, *texts in known.itertuples(index=False):
        news = planned.get((task, dims))
        old: dict[str, Any] = dict(zip(names, map(json.loads, texts), strict=True))
        if news is None or spec.canonical_json(old) in news:
            continue
        changes = min((_changes(old, new) for new in news.values()), key=len)
        raise InputError(
            f"{workdir}: task {task} was trained otherwise there "
            f"({', '.join(changes)}); use another --workdir"
        )


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    return [
        f"{key} {old[name].get(key)} there, {value} now"
        for name in new
        for key, value in new[name].items()
        if old[name].get(key) != value
    ]


class Examples:
    """Collects example predictions of one task and writes them as .npz.

    Three test cases, one slice each (the one with most foreground); columns are
    the ceiling and the densities of the largest budget with the first seed.

    Args:
      workdir: Work folder.
      task: Where the cases come from.
      trials: All trials of the task.
    """

    def __init__(self, workdir: Path, task: PreparedTask, trials: list[spec.Trial]):
        self._folder = workdir / "examples"
        self._task = task
        # Without test cases there is nothing to show.
        self._columns = _columns(trials) if task.test else {}
        sizes = [(case.label > 0).sum() for case in task.test]
        order = np.argsort(sizes, kind="stable")
        places = {-1, len(order) // 2, 0} if task.test else set[int]()
        chosen = sorted({int(order[place]) for place in places})
        self._cases = chosen[::-1]
        self._slices = [
            int((task.test[index].label > 0).sum((1, 2)).argmax())
            for index in self._cases
        ]

    def add(self, predictions: dict[str, list[np.ndarray]]) -> None:
        """Keeps what the shown trials predicted, one small file a trial."""
        skip = len(self._task.development)
        for trial_id in self._columns:
            if trial_id not in predictions:
                continue
            planes = []
            for index, where in zip(self._cases, self._slices, strict=True):
                plane = predictions[trial_id][skip + index][where]
                planes.append(plane if plane.ndim == 2 else plane.argmax(-1))
            self._write(
                f"parts/{trial_id}", {"plane": np.stack(planes).astype(np.uint8)}
            )

    def finish(self) -> None:
        """Joins the kept predictions into the task's file."""
        found = {
            trial_id: title
            for trial_id, title in self._columns.items()
            if self._path(f"parts/{trial_id}").exists()
        }
        if not found:
            return
        planes = [
            np.load(self._path(f"parts/{trial_id}"))["plane"] for trial_id in found
        ]
        cases = [self._task.test[index] for index in self._cases]
        rows = list(zip(cases, self._slices, strict=True))
        self._write(
            self._task.name,
            {
                "image": np.stack([case.image[at, :, :, 0] for case, at in rows]),
                "truth": np.stack([case.label[at] for case, at in rows]),
                "predictions": np.stack(planes, axis=1),
                "row_titles": np.array([f"{c.name}, slice {at}" for c, at in rows]),
                "column_titles": np.array(list(found.values())),
                "spacing": np.array(cases[0].spacing[1:]),
            },
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    def _write(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several workers may write at once.
        temporary = self._folder / "parts" / f".writing-{uuid.uuid4().hex}.npz"
        temporary.parent.mkdir(exist_ok=True)
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]
        temporary.replace(path)


def _columns(trials: list[spec.Trial]) -> dict[str, str]:
    """Trials that are shown, by id: the ceiling, then densities, few to many."""
    first = [t for t in trials if t.selection_seed == t.training_seed == 0]
    shown = {t.trial_id: "all slices" for t in first if t.strategy == CEILING}
    sparse = [trial for trial in first if trial.slices_per_volume is not None]
    if not sparse:
        return shown
    budget = max(trial.budget for trial in sparse)
    strategy = sparse[0].strategy
    for trial in sorted(sparse, key=lambda trial: trial.slices_per_volume or 0):
        if trial.budget == budget and trial.strategy == strategy:
            title = f"{trial.num_volumes} x {trial.slices_per_volume}"
            shown[trial.trial_id] = title
    return shown
