"""Made-up parts of very many trials, written column by column."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slicebench import spec
from slicebench.results import RESULTS, TRIALS
from slicebench.runner.session import part_name
from slicebench.runner.study import Study

METRICS = ("dice", "nsd", "hd95", "fp_ml")
_CURVE = 50
_PER_CLASS = {"slices": 20, "volumes": 10}


def write_parts(study: Study, workdir: Path, *, batch: int, scores: int) -> int:
    """Writes all trials of a study as finished.

    Args:
      study: Whose trials; their scores rise with the budget, all else is noise.
      workdir: Where the parts go.
      batch: Trials of a part.
      scores: Scores of a trial: cases times classes times four metrics.

    Returns:
      Number of parts.
    """
    for kind in ("results", "trials"):
        (workdir / kind).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    by_task: dict[tuple[str, int, str], list[spec.Trial]] = {}
    for trial in study.trials:
        key = (trial.task, trial.fold, trial.program)
        by_task.setdefault(key, []).append(trial)
    count = 0
    for trials in by_task.values():
        task = study.task_of(trials[0])
        for start in range(0, len(trials), batch):
            part = trials[start : start + batch]
            name = f"part-{part_name(part)}.parquet"
            columns = _trial_columns(part, task.classes, rng)
            _write(workdir / "results" / name, RESULTS, _scores(columns, task, scores))
            _write(workdir / "trials" / name, TRIALS, _typed(columns, TRIALS))
            count += 1
    return count


def _write(path: Path, schema: Any, columns: dict[str, Any]) -> None:
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def _typed(columns: dict[str, Any], schema: Any) -> dict[str, Any]:
    return {f.name: pa.array(columns[f.name], f.type) for f in schema}


@functools.lru_cache(maxsize=256)
def _json(value: Any) -> str:
    return spec.canonical_json(value)


def _trial_columns(
    trials: Sequence[spec.Trial], classes: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(spec.Trial)]
    columns: dict[str, Any] = {n: [getattr(t, n) for t in trials] for n in names}
    count, budgets = len(trials), np.array(columns["budget"])
    dice = np.clip(0.5 + 0.03 * np.log2(budgets) + rng.normal(0, 0.01, count), 0, 1)
    seen = spec.canonical_json(dict.fromkeys(classes, _PER_CLASS))
    columns |= {
        "trial_id": [trial.trial_id for trial in trials],
        "network": [_json(trial.network) for trial in trials],
        "training": [_json(trial.training) for trial in trials],
        "steps": [trial.steps for trial in trials],
        "annotated_slices": budgets,
        "annotated_foreground": budgets // 2,
        "foreground_by_class": [seen] * count,
        "epochs": np.array([t.steps * t.training.batch for t in trials]) / budgets,
        "supervised_voxels": np.full(count, 1.6e6),
        "development_dice": dice,
        "development_nsd": dice**0.5,
        "development_hd95": 40 * (1 - dice),
        "seconds": rng.uniform(5, 6, count),
        "final_loss": rng.uniform(0.2, 0.3, count),
        "interpolated_slices": np.zeros(count, int),
        "interpolated_share": np.zeros(count),
        "extent_marks": np.zeros(count, int),
        "coverage": np.array([(t.slices_per_volume or 16) / 16 for t in trials]),
        "chosen_slices": [_chosen(t, rng) for t in trials],
        "loss_curve": [
            np.linspace(1.5, 0.3, _CURVE) + rng.normal(0, 0.1) for _ in trials
        ],
        "status": np.where(rng.random(count) < 1e-3, "diverged", "ok"),
    }
    return columns


def _chosen(trial: spec.Trial, rng: np.random.Generator) -> Any:
    """Returns slices of volumes of 16: as many of each as its quota says."""
    quota = trial.slices_per_volume
    if quota is None:
        return None
    volumes = np.sort(rng.permutation(4 * trial.num_volumes)[: trial.num_volumes])
    picks = rng.random((len(volumes), 16)).argsort(1)[:, :quota]
    return (16 * volumes[:, None] + np.sort(picks, 1)).ravel()


def _scores(columns: dict[str, Any], task: Any, scores: int) -> dict[str, Any]:
    """Returns the rows of scores of some trials, trial by trial."""
    classes = task.classes
    cases = max(1, scores // (len(METRICS) * len(classes)))
    names = [f"{task.name}_test_{number:03d}" for number in range(cases)]
    count = len(columns["trial_id"])
    shape = (count, cases, len(classes), len(METRICS))
    rng = np.random.default_rng(count)
    ease = np.random.default_rng(7).normal(0, 0.05, cases)[:, None]
    dice = columns["development_dice"][:, None, None] + ease
    dice = np.clip(dice + rng.normal(0, 0.02, shape[:3]), 0, 1)
    values = np.stack([dice, dice**0.5, 40 * (1 - dice), 10 * (1 - dice)], -1)
    repeat = values.size // count
    rows = np.repeat(np.arange(count), repeat)
    typed = {
        name: pa.array(columns[name], RESULTS.field(name).type).take(pa.array(rows))
        for name in RESULTS.names
        if name in columns
    }
    codes = np.indices(shape).reshape(4, -1)
    for axis, (name, texts) in enumerate(
        (("case", names), ("class_name", classes), ("metric", METRICS)), start=1
    ):
        found = pa.DictionaryArray.from_arrays(pa.array(codes[axis]), list(texts))
        typed[name] = found.cast(pa.string())
    return {**typed, "score": pa.array(values.ravel())}
