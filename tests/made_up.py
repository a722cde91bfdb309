"""A plausible finished run without any training: for statistics and reports.

Scores follow a two-way model in seeds and cases around a mean that grows with
log2(budget) and falls with log2(slices per volume); `random` gains nothing over
itself and the other strategies differ by a stated amount.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slicebench import spec
from slicebench.results import Store, write_json_atomic

METRICS = ("dice", "nsd", "hd95")
DEPTH = 16
POOL = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """What the scores are made of, in Dice."""

    budget_gain: float = 0.03
    slope: float = 0.02
    strategy_gain: Mapping[str, float] = dataclasses.field(default_factory=dict)
    sd_seed: float = 0.004
    sd_case: float = 0.03
    sd_residual: float = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Axes of the run, the same for every task."""

    tasks: tuple[str, ...] = ("blobs",)
    classes: tuple[str, ...] = ("organ",)
    budgets: tuple[int, ...] = (8, 16)
    slices_per_volume: tuple[int, ...] = (1, 2, 4)
    strategies: tuple[str, ...] = ("random", "k_center")
    dims: tuple[spec.Dims, ...] = ("2d",)
    num_seeds: int = 4
    num_cases: int = 6
    ceiling_seeds: int = 2
    synthetic: bool = True
    diverged: int = 0


def write_made_up_run(
    workdir: Path,
    *,
    tasks: Sequence[str] = ("blobs",),
    seeds: int = 4,
    cases: int = 6,
    truth: Truth | None = None,
    rng_seed: int = 0,
    **plan: Any,
) -> dict[str, Any]:
    """Writes experiment.json, trials and results; returns the experiment."""
    axes = Plan(tasks=tuple(tasks), num_seeds=seeds, num_cases=cases, **plan)
    rng = np.random.default_rng(rng_seed)
    chosen = truth or Truth()
    store = Store(workdir)
    trials: list[spec.Trial] = []
    for task in axes.tasks:
        for dims in axes.dims:
            made = make_trials(task, dims, axes)
            rows, scores = make_rows(made, axes, chosen, rng)
            store.append(spec.digest([t.trial_id for t in made]), rows, scores)
            trials += made
    experiment = make_experiment(axes, trials)
    write_json_atomic(Path(workdir) / "experiment.json", experiment)
    return experiment


def make_trials(task: str, dims: spec.Dims, plan: Plan) -> list[spec.Trial]:
    """Returns the trials of the sweep and its ceiling."""
    cells: list[dict[str, Any]] = [
        {
            "budget": budget,
            "num_volumes": budget // k,
            "slices_per_volume": k,
            "strategy": strategy,
            "features": "intensity" if strategy == "k_center" else "none",
            "seeds": plan.num_seeds,
        }
        for budget in plan.budgets
        for k in plan.slices_per_volume
        for strategy in plan.strategies
        if budget % k == 0
    ]
    cells.append(
        {
            "budget": POOL * DEPTH,
            "num_volumes": POOL,
            "slices_per_volume": None,
            "strategy": "all",
            "features": "none",
            "seeds": plan.ceiling_seeds,
        }
    )
    return [
        spec.Trial(
            task=task,
            target="all",
            fold=0,
            dims=dims,
            volume_strategy="random",
            scope="within",
            interpolation="none",
            pseudo_weight=0.0,
            selection_seed=seed,
            training_seed=seed,
            network=spec.Network(width=8, depth=3),
            training=spec.Training(steps=100),
            program=f"program{dims}",
            context="made up",
            **{key: value for key, value in cell.items() if key != "seeds"},
        )
        for cell in cells
        for seed in range(cell["seeds"])
    ]


def make_rows(
    trials: Sequence[spec.Trial], plan: Plan, truth: Truth, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns trial and score rows of one task."""
    rows: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    cases = [f"{trials[0].task}_{number:02d}" for number in range(plan.num_cases)]
    difficulty = rng.normal(0, truth.sd_case, len(cases))
    for index, trial in enumerate(trials):
        diverged = index < plan.diverged
        mean = _mean_dice(trial, truth) + rng.normal(0, truth.sd_seed)
        rows.append(_trial_row(trial, plan, mean, diverged))
        for class_index, class_name in enumerate(plan.classes):
            noise = rng.normal(0, truth.sd_residual, len(cases))
            dice = mean - 0.05 * class_index + difficulty + noise
            for case, value in zip(cases, np.clip(dice, 0, 1), strict=True):
                clipped = 0.0 if diverged else float(value)
                scores += _scores(trial.trial_id, case, class_name, clipped)
    return rows, scores


def _mean_dice(trial: spec.Trial, truth: Truth) -> float:
    if trial.strategy == "all":
        return 0.85
    assert trial.slices_per_volume is not None
    return (
        0.6
        + truth.budget_gain * math.log2(trial.budget)
        - truth.slope * math.log2(trial.slices_per_volume)
        + truth.strategy_gain.get(trial.strategy, 0.0)
    )


def _scores(
    trial_id: str, case: str, class_name: str, dice: float
) -> list[dict[str, Any]]:
    values = {"dice": dice, "nsd": dice**0.5, "hd95": 40.0 * (1 - dice)}
    return [
        {
            "trial_id": trial_id,
            "case": case,
            "class_name": class_name,
            "metric": metric,
            "score": values[metric],
        }
        for metric in METRICS
    ]


def _trial_row(
    trial: spec.Trial, plan: Plan, mean: float, diverged: bool
) -> dict[str, Any]:
    foreground = trial.budget // 2
    return {
        **{f.name: getattr(trial, f.name) for f in dataclasses.fields(trial)},
        "trial_id": trial.trial_id,
        "annotated_slices": trial.budget,
        "annotated_foreground": foreground,
        "foreground_by_class": {
            name: {"slices": foreground, "volumes": trial.num_volumes}
            for name in plan.classes
        },
        "epochs": trial.training.steps * trial.training.batch / trial.budget,
        "supervised_voxels": 1.6e6,
        "development_dice": None if diverged else mean,
        "development_nsd": None if diverged else mean**0.5,
        "development_hd95": None if diverged else 40.0 * (1 - mean),
        "status": "diverged" if diverged else "ok",
        "steps": trial.training.steps,
        "seconds": 1.5,
        "final_loss": None if diverged else 0.3,
    }


def make_contrasts(plan: Plan) -> list[dict[str, Any]]:
    """Returns one slope a budget and each strategy against `random`."""
    contrasts: list[dict[str, Any]] = []
    base = {"metric": "dice", "target": "all", "primary": True}
    for task in plan.tasks:
        for dims in plan.dims:
            place = {**base, "task": task, "dims": dims}
            contrasts += [
                {
                    **place,
                    "name": f"allocation slope at {budget} slices",
                    "family": f"allocation {task} {dims}",
                    "claim": "superior",
                    "kind": "slope",
                    "where": {"budget": budget, "strategy": "random"},
                    "a": {},
                    "b": {},
                }
                for budget in plan.budgets
            ]
            contrasts += [
                {
                    **place,
                    "name": f"{strategy} against random, k = {k}",
                    "family": f"strategies {task} {dims}",
                    "claim": "superior",
                    "primary": k == min(plan.slices_per_volume),
                    "kind": "difference",
                    "where": {"budget": plan.budgets[-1], "slices_per_volume": k},
                    "a": {"strategy": strategy},
                    "b": {"strategy": "random"},
                }
                for strategy in plan.strategies
                if strategy != "random"
                for k in plan.slices_per_volume
            ]
    return contrasts


def make_experiment(plan: Plan, trials: Sequence[spec.Trial]) -> dict[str, Any]:
    """Returns the content of experiment.json."""
    axes = {
        "budgets": list(plan.budgets),
        "slices_per_volume": list(plan.slices_per_volume),
        "strategies": list(plan.strategies),
        "volume_strategies": ["random"],
        "features": ["intensity"],
        "scope": ["within"],
        "interpolations": ["none"],
        "dims": list(plan.dims),
    }
    return {
        "schema_version": 1,
        "experiment": "made_up",
        "question": "Does a made-up run read like a real one?",
        "command": "python -m slicebench.main --experiment=made_up",
        "tasks": [_task(name, plan) for name in plan.tasks],
        "axes": dict.fromkeys(plan.tasks, axes),
        "num_seeds": plan.num_seeds,
        "nsd_tolerance_mm": dict.fromkeys(plan.tasks, 2.0),
        "programs": [_program(dims, plan) for dims in plan.dims],
        "cells_left_out": [
            {
                "cell": {"task": plan.tasks[0], "budget": 8, "slices_per_volume": 32},
                "reason": "32 slices per volume, the thinnest volume has 16",
            }
        ],
        "contrasts": make_contrasts(plan),
        "contrasts_dropped": [
            {"name": "2d against 3d", "reason": "no cell with dims 3d"}
        ],
        "versions": {"jax": "0.10.2", "numpy": "2.4.0", "slicebench": "0.1.0"},
        "device": {"platform": "cpu", "kind": "cpu", "count": 2},
        "plan": {"name": "fixed", "trials_per_batch": 8},
        "num_trials": len(trials),
    }


def _task(name: str, plan: Plan) -> dict[str, Any]:
    cases = [f"{name}_{number:02d}" for number in range(plan.num_cases)]
    return {
        "name": name,
        "target": "all",
        "fold": 0,
        "classes": list(plan.classes),
        "channels": ["intensity"],
        "grid": [32, 32],
        "synthetic": plan.synthetic,
        "expected": "k_center equals random by construction",
        "attribution": "made up for tests",
        "context": "made up",
        "split": {
            "development": [f"{name}_dev{number}" for number in range(3)],
            "pool": [f"{name}_pool{number:02d}" for number in range(POOL)],
            "test": cases,
        },
        "provenance": {"seed": 0},
    }


def _program(dims: spec.Dims, plan: Plan) -> dict[str, Any]:
    return {
        "name": f"program{dims}",
        "dims": dims,
        "network": dataclasses.asdict(spec.Network(width=8, depth=3)),
        "training": dataclasses.asdict(spec.Training(steps=100)),
        "grid": [32, 32],
        "channels": 1,
        "classes": 1 + len(plan.classes),
        "slices": POOL * DEPTH,
        "precision": "float32",
        "parameters": 30_000,
    }
