"""Which networks of a work folder are used, and what they were trained on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slicebench import spec
from slicebench.data import preprocess
from slicebench.errors import InputError
from slicebench.results import Maybe, Need, Store, check_form, read_json
from slicebench.runner import GIVEN
from slicebench.training.checkpoints import load_weights
from slicebench.training.step import Params, make_init

FINAL = Path("checkpoints") / "final"
_SHOWN = 8
_RECORD = {"tasks": Need([dict]), "programs": Need([dict])}
_TASK = {
    "fold": Need(int),
    "context": Need(str),
    "synthetic": Need(bool),
    "classes": Need([str]),
    "channels": Need([str]),
    "spacing": Need([float]),
    "provenance": Need({"preprocessing": Need(dict), "slice_axis": Maybe(int)}),
}
"""What is read of experiment.json, beyond the form it has anyway."""
_ALIKE = (*spec.CELL_FIELDS, "fold", "selection_seed", "program", "context")
"""Trials that share these were trained on the same slices and differ in luck alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks whose probabilities are averaged, and how scans are made ready for them.

    Attributes:
      run: Work folder.
      trial_ids: Networks.
      program: What they are.
      params: Their weights.
      classes: Foreground class names, for values 1, 2, ... of a prediction.
      channels: Channel names.
      fitted: Grid and intensity windows.
      spacing: Distance between grid points in mm, slices first.
      orientation: Where depth, height and width of the training scans lead; None
        where they differ or the run is older than this record.
      slice_axis: Stored axis over slices, where training declared one.
      words: How they were chosen.
    """

    run: Path
    trial_ids: tuple[str, ...]
    program: spec.Program
    params: tuple[Params, ...]
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    fitted: preprocess.Fitted
    spacing: tuple[float, float, float]
    orientation: str | None
    slice_axis: int | None
    words: str


def read_trained(run: Path, trial: str | None = None) -> Trained:
    """Reads the networks of a work folder whose weights were kept.

    Args:
      run: Work folder of a training with kept weights.
      trial: Trial id, or its first letters; None takes the trial with the best
        development Dice and all that were trained on the same slices with other
        seeds. Without development cases all kept networks must be of one kind.

    Raises:
      InputError: No such folder, trial or weights; networks that are not alike.
    """
    path = run / "experiment.json"
    experiment = read_json(path)
    check_form(path, experiment, _RECORD)
    trials: Any = Store(run).read_trials()
    kept = {found.name for found in (run / FINAL).glob("*") if found.name.isalnum()}
    rows = trials[trials["trial_id"].isin(kept)]
    if not len(rows):
        raise InputError(
            f"--weights={run}: no finished network has kept weights; train with "
            "--keep_weights, or with python -m slicebench.planning train"
        )
    chosen, words = _choose(run, rows, trial)
    first = chosen.iloc[0]
    task = _task(run, experiment, first)
    program = _program(run, experiment, first["program"])
    like = jax.eval_shape(make_init(program), np.zeros(2, np.uint32)).params
    ids = tuple(chosen["trial_id"])
    try:
        fitted = preprocess.read_fitted(
            task["channels"], task["provenance"]["preprocessing"]
        )
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: preprocessing of task {task['name']} cannot be used "
            f"({type(error).__name__}: {error})"
        ) from None
    return Trained(
        run=run,
        trial_ids=ids,
        program=program,
        params=tuple(load_weights(run / FINAL / name, like) for name in ids),
        classes=tuple(task["classes"]),
        channels=tuple(task["channels"]),
        fitted=fitted,
        spacing=tuple(task["spacing"]),
        orientation=task.get("orientation"),
        slice_axis=task["provenance"].get("slice_axis"),
        words=words,
    )


def _choose(run: Path, rows: Any, trial: str | None) -> tuple[Any, str]:
    if trial is not None:
        found = rows[rows["trial_id"].str.startswith(trial)]
        if len(found) != 1:
            raise InputError(
                f"--trial={trial}: {len(found)} networks with kept weights in {run} "
                f"start like this; allowed: {_listed(list(rows['trial_id']))}"
            )
        return found, f"network {found.iloc[0]['trial_id']}, as asked for"
    sound = rows[rows["status"] == "ok"]
    if not len(sound):
        raise InputError(f"--weights={run}: every network with kept weights diverged")
    if sound["development_dice"].notna().any():
        order = sound.sort_values(
            ["development_dice", "trial_id"], ascending=[False, True]
        )
        best = order.iloc[0]
        words = f"best development Dice ({best['development_dice']:.3f})"
    else:
        best, words = sound.iloc[0], "no development cases to choose by"
        if any(_kind(row) != _kind(best) for _, row in sound.iterrows()):
            raise InputError(
                f"--weights={run}: networks of several kinds and {words}; give "
                f"--trial, one of {_listed(list(sound['trial_id']))}"
            )
    alike = sound[[_kind(row) == _kind(best) for _, row in sound.iterrows()]]
    count = f"{len(alike)} network{'s' if len(alike) > 1 else ''}"
    return alike, f"{count} trained on the same slices, {words}"


def _kind(row: Any) -> tuple[str, ...]:
    # What an annotator has done is the same for every seed.
    free = ("selection_seed",) if row["strategy"] == GIVEN else ()
    return tuple(str(row[name]) for name in _ALIKE if name not in free)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _task(run: Path, experiment: Mapping[str, Any], row: Any) -> dict[str, Any]:
    """Returns the task's record, the one with this trial's preparation."""
    for task in experiment["tasks"]:
        if (task["name"], task.get("fold")) == (row["task"], row["fold"]):
            check_form(run / "experiment.json", task, _TASK)
            if task["context"] != row["context"]:
                raise InputError(f"{run}: experiment.json is of another preparation")
            if task["synthetic"]:
                raise InputError(
                    f"--weights={run}: trained on phantoms ({task['name']}), which say "
                    "nothing of scans"
                )
            return task
    raise InputError(f"{run / 'experiment.json'}: task {row['task']} is not there")


def _program(run: Path, experiment: Mapping[str, Any], name: str) -> spec.Program:
    """Rebuilds what was compiled; its name is a digest, so nothing can be lost."""
    record = next((p for p in experiment["programs"] if p["name"] == name), None)
    if record is None:
        raise InputError(f"{run / 'experiment.json'}: program {name} is not there")
    try:
        program = parse_program(record)
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run / 'experiment.json'}: program {name} cannot be read ({error})"
        ) from None
    if program.name != name:
        raise InputError(
            f"{run / 'experiment.json'}: program {name} reads as {program.name}: the "
            "record was changed, or another version wrote it"
        )
    return program


def parse_program(record: Mapping[str, Any]) -> spec.Program:
    """Returns the program of its record in experiment.json.

    Raises:
      TypeError: Fields that this version does not know.
    """
    fields = {field.name for field in dataclasses.fields(spec.Program)}
    plain = {key: value for key, value in record.items() if key in fields}
    training = dict(plain["training"])
    training["augmentation"] = spec.Augmentation(**training["augmentation"])
    training["patch"] = tuple(training["patch"])
    volumetric = plain.get("volumetric")
    plain |= {
        "network": spec.Network(**plain["network"]),
        "training": spec.Training(**training),
        "grid": tuple(plain["grid"]),
        "volumetric": None if volumetric is None else _volumetric(volumetric),
    }
    return spec.Program(**plain)


def _volumetric(record: Mapping[str, Any]) -> spec.Volumetric:
    return spec.Volumetric(
        patch=tuple(record["patch"]),
        kernels=tuple(map(tuple, record["kernels"])),
        pools=tuple(map(tuple, record["pools"])),
    )
