"""From checked annotations to trained networks, with their scores on test cases."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from slicebench import spec
from slicebench.data import formats, preprocess, targets, volumes
from slicebench.data.prepared import PreparedCase, PreparedTask
from slicebench.errors import InputError
from slicebench.planning.annotated import labelled_volume
from slicebench.planning.importing import CaseState, Imported
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.runner import Options, Session, given_study
from slicebench.statistics import cell_table

EXPERIMENT = "train_on_annotations"
EVALUATION_FILE = "evaluation.json"
_METRICS = ("dice", "nsd", "hd95")
_NETWORKS = {
    "2d": spec.Network(width=16, depth=4),
    "3d": spec.Network(width=8, depth=3),
}
_TRAININGS = {
    "2d": spec.Training(steps=1000, batch=16),
    "3d": spec.Training(steps=1000, batch=2, learning_rate=2e-2),
}
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What is trained; fields are the flags of the command line.

    Attributes:
      out: Work folder; the same request again goes on there.
      dims: Networks.
      seeds: Networks, each with weights, batches and augmentation of its own.
      network: Architecture; None takes the one of the sweeps.
      training: Schedule; None takes 1000 steps.
      settings: In-plane grid.
      checkpoint_seconds: Time between checkpoints.
      command: The command as typed, for the record.
    """

    out: Path
    dims: spec.Dims = "2d"
    seeds: int = 3
    network: spec.Network | None = None
    training: spec.Training | None = None
    settings: preprocess.Settings = dataclasses.field(
        default_factory=preprocess.Settings
    )
    checkpoint_seconds: float = 60.0
    command: str = ""

    def __post_init__(self):
        if self.seeds < 1:
            raise InputError(f"--seeds={self.seeds}: a number from 1 is allowed")

    def schedule(self) -> tuple[spec.Network, spec.Training]:
        """Returns architecture and schedule, defaults filled in."""
        return (
            self.network or _NETWORKS[self.dims],
            self.training or _TRAININGS[self.dims],
        )


def default_schedule(dims: spec.Dims) -> tuple[spec.Network, spec.Training]:
    """Returns the architecture and schedule that nobody has changed."""
    return _NETWORKS[dims], _TRAININGS[dims]


def train(imported: Imported, request: TrainingRequest) -> list[str]:
    """Trains on exactly the annotated slices, keeps weights, scores test cases.

    Args:
      imported: Checked annotations.
      request: What is trained.

    Returns:
      What was reached, in words.

    Raises:
      InputError: Nothing is annotated, or the folder holds another training.
    """
    task, given = annotated_task(imported, request.dims, request.settings)
    _refuse_other_annotations(request.out, task)
    network, training = request.schedule()
    study = given_study(
        task,
        given,
        name=EXPERIMENT,
        dims=request.dims,
        num_seeds=request.seeds,
        network=network,
        training=training,
    )
    options = Options(
        experiment=EXPERIMENT,
        workdir=request.out,
        keep_weights=True,
        plan="timed",
        checkpoint_seconds=request.checkpoint_seconds,
        command=request.command,
    )
    Session(study, options).run()
    return evaluate(request.out, [trial.trial_id for trial in study.trials])


def annotated_task(
    imported: Imported, dims: spec.Dims, settings: preprocess.Settings
) -> tuple[PreparedTask, tuple[tuple[int, ...], ...]]:
    """Prepares what is annotated and the finished test cases.

    Grid and intensity windows are fitted on the images of annotated volumes. Labels of
    slices that nobody annotated are not kept: in 2D such slices are left out, in 3D
    their images stay, as surroundings, and their labels are background without weight.

    Args:
      imported: Checked annotations.
      dims: Networks.
      settings: In-plane grid.

    Returns:
      The task, and the annotated slices of each case of its pool.

    Raises:
      InputError: No slice is annotated.
    """
    states = [case for case in imported.cases if case.side == "pool" and case.done]
    held = [case for case in imported.cases if case.side == "test" and case.label]
    if not states:
        raise InputError("no annotated slice yet: nothing to train on")
    pool = [labelled_volume(imported, case) for case in states]
    test = [labelled_volume(imported, case) for case in held if not case.open]
    channels = tuple(imported.plan["channels"])
    fitted = preprocess.fit(pool, channels, settings)
    values = tuple((value,) for value in range(1, len(imported.classes) + 1))
    target = targets.Target(name="all", classes=imported.classes, values=values)
    prepared = [
        _only_annotated(preprocess.prepare_case(volume, fitted, target), state, dims)
        for volume, state in zip(pool, states, strict=True)
    ]
    flat = dims == "2d"
    given = tuple(
        tuple(range(len(state.done))) if flat else state.done for state in states
    )
    mirror = volumes.mirror_axis([*pool, *test])
    task = PreparedTask(
        name=Path(imported.plan["images"]).name or "scans",
        target=target.name,
        fold=0,
        classes=target.classes,
        channels=channels,
        grid=fitted.grid,
        development=(),
        pool=tuple(prepared),
        test=tuple(preprocess.prepare_case(case, fitted, target) for case in test),
        synthetic=False,
        # Whether left and right may be exchanged is not known of a user's classes.
        flip=False,
        mirror_axis=mirror,
        orientation=_orientation([*pool, *test]),
        attribution="the user's own scans",
        provenance=_provenance(imported, [*pool, *test])
        | {"preprocessing": settings.record | _fitted(channels, pool, test, fitted)},
    )
    return task, given


def _only_annotated(
    case: PreparedCase, state: CaseState, dims: spec.Dims
) -> PreparedCase:
    """Forgets the labels of all other slices; in 2D their images, too."""
    done = list(state.done)
    if dims == "2d":
        image, label = case.image[done], case.label[done]
    else:
        image, label = case.image, np.zeros_like(case.label)
        label[done] = case.label[done]
    # Native labels serve scoring, and nothing that is trained on is scored.
    return dataclasses.replace(case, image=image, label=label, native_label=label)


def _fitted(
    channels: Sequence[str],
    pool: Sequence[volumes.Volume],
    test: Sequence[volumes.Volume],
    fitted: preprocess.Fitted,
) -> dict[str, Any]:
    return preprocess.fitted_record(channels, [*pool, *test], fitted)


def _orientation(cases: Sequence[volumes.Volume]) -> str | None:
    found = volumes.orientation(cases)
    if found is None:
        _log.warning(
            "scans are stored in several directions (axes run to other sides of the "
            "body): the networks have to learn each of them; store all alike if you can"
        )
    return found


def _provenance(
    imported: Imported, cases: Sequence[volumes.Volume]
) -> dict[str, object]:
    """Names images and used labels by content; labels that are not used change nothing.

    Args:
      imported: Checked annotations.
      cases: What is trained on and scored.
    """
    states = {case.case: case for case in imported.cases}
    content = [
        [case.name, [formats.digest(path) for path in case.image_paths]]
        for case in cases
    ]
    labels = [
        [case.name, states[case.name].done, _digest(case, states[case.name].done)]
        for case in cases
    ]
    return {
        "source": spec.digest([content, labels], length=32),
        "plan": imported.plan["digest"],
        "annotated": {
            case.case: list(case.done)
            for case in imported.cases
            if case.side == "pool" and case.done
        },
        "slice_axis": imported.plan["request"].get("slice_axis"),
    }


def _digest(case: volumes.Volume, done: Sequence[int]) -> str:
    label: UInt8[np.ndarray, "depth height width"] = case.load_label()
    return spec.digest([label.shape, label[list(done)].tobytes().hex()])


def _refuse_other_annotations(out: Path, task: PreparedTask) -> None:
    path = out / "experiment.json"
    if not path.exists():
        return
    old = read_json(path)
    known = {t["name"]: t["context"] for t in old.get("tasks", [])}
    if old.get("experiment") != EXPERIMENT or known.get(task.name) != task.context:
        raise InputError(
            f"--out={out}: holds another training, such as one on fewer annotations or "
            "with other preprocessing; give a new folder"
        )


def evaluate(out: Path, trial_ids: Sequence[str]) -> list[str]:
    """Writes evaluation.json: scores of the test cases with their intervals.

    The interval is two-way over seeds and cases (`slicebench.statistics`): of the mean
    score of such networks on such cases, given these annotations.

    Args:
      out: Work folder of a finished training.
      trial_ids: Its networks.

    Returns:
      Scores in words, and how wide the interval is.
    """
    store = Store(out)
    trials: Any = store.read_trials()
    results: Any = store.read_results()
    trials = trials[trials["trial_id"].isin(trial_ids)]
    results = results[results["trial_id"].isin(trial_ids)]
    diverged = int((trials["status"] == "diverged").sum())
    words = [f"{len(trials)} networks trained, {diverged} diverged: {out}"]
    if not len(results):
        write_json_atomic(out / EVALUATION_FILE, {"schema_version": 1, "scores": []})
        words.append("no test case is labelled slice by slice yet: nothing is scored")
        return words
    rows = [
        _plain(row)
        for by_class in (False, True)
        for row in _rows(cell_table(results, trials, by_class=by_class))
    ]
    write_json_atomic(out / EVALUATION_FILE, {"schema_version": 1, "scores": rows})
    words += [_in_words(row) for row in rows if row["class_name"] == "all"]
    classes = [row for row in rows if row["class_name"] != "all"]
    if len({row["class_name"] for row in classes}) > 1:
        words += [_in_words(row) for row in classes if row["metric"] == "dice"]
    return words


def _rows(table: Any) -> list[dict[str, Any]]:
    rows = table[table["metric"].isin(_METRICS)].to_dict("records")
    return sorted(rows, key=lambda row: _METRICS.index(row["metric"]))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of `cell_table` as JSON: no interval is null."""
    names = ("class_name", "metric", "mean", "low", "high", "method", "sd_seeds")
    kept = {name: row[name] for name in (*names, "num_seeds", "num_cases")}
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in kept.items()
    }


def _in_words(row: dict[str, Any]) -> str:
    names = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95 (mm)"}
    title = names[row["metric"]]
    if row["class_name"] != "all":
        title = f"{title}, {row['class_name']}"
    digits = 2 if row["metric"] == "hd95" else 3
    counts = f"{row['num_cases']} test cases, {row['num_seeds']} networks"
    found = f"{title} {row['mean']:.{digits}f}"
    if row["low"] is None:
        return f"{found} on {counts}: too few for an interval"
    low, high = row["low"], row["high"]
    text = (
        f"{found} [{low:.{digits}f}, {high:.{digits}f}] on {counts}; the interval is "
        f"{high - low:.{digits}f} wide"
    )
    return text if row["method"] == "two-way" else f"{text} ({row['method']})"
