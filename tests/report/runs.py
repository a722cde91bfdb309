"""Work folders for the tests of the report."""

import csv
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slicebench.results import RESULTS, TRIALS, Store, read_json, write_json_atomic
from slicebench.statistics import overall_state, replay_looks
from tests import made_up
from tests.made_up import DEPTH, POOL, write_made_up_run

COMPUTE = {
    "wall_seconds": 812.5,
    "compile_seconds": 61.25,
    "training_seconds": 700.5,
    "evaluation_seconds": 50.5,
    "trial_steps": 5200,
    "sessions": 1,
}


SMALL: dict[str, Any] = {"budgets": (8,), "strategies": ("random",)}
"""Axes of the smallest run that has a slope."""


def write_run(workdir: Path, **plan: Any) -> Path:
    """Writes a made-up run with compute and example predictions."""
    experiment = write_made_up_run(workdir, **{"seeds": 3, "cases": 4, **plan})
    write_json_atomic(workdir / "compute.json", COMPUTE)
    classes = len(experiment["tasks"][0]["classes"])
    write_examples(workdir, experiment["tasks"][0]["name"], classes)
    return workdir


def write_examples(workdir: Path, task: str, classes: int) -> None:
    rng = np.random.default_rng(3)
    truth = np.zeros((2, 16, 24), np.uint8)
    for index in range(1, classes + 1):
        truth[:, 2 * index : 14 - 2 * index, 3 * index : 20 - 2 * index] = index
    predictions = np.stack([truth, np.roll(truth, 1, 2)], 1)
    (workdir / "examples").mkdir(exist_ok=True)
    np.savez(
        workdir / "examples" / f"{task}.npz",
        image=(truth + rng.normal(0, 0.2, truth.shape)).astype(np.float32),
        truth=truth,
        predictions=predictions,
        row_titles=np.array(["case_0 slice 3", "case_1 slice 5"]),
        column_titles=np.array(["8 x 1 random", "all labels"]),
        spacing=np.array([1.0, 0.5]),
    )


def change_experiment(workdir: Path, **fields: Any) -> dict[str, Any]:
    """Replaces fields of experiment.json and returns its content."""
    experiment = {**read_json(workdir / "experiment.json"), **fields}
    write_json_atomic(workdir / "experiment.json", experiment)
    return experiment


def drop_trials(workdir: Path, keep: int) -> None:
    """Leaves only the first trials of a run, as if it had been stopped."""
    store = Store(workdir)
    trials, results = store.read_trials().head(keep), store.read_results()
    results = results[results["trial_id"].isin(trials["trial_id"])]
    rewrite(workdir, trials, results)


def rewrite(workdir: Path, trials: pd.DataFrame, results: pd.DataFrame) -> None:
    """Replaces all trials and results of a run."""
    for folder in ("trials", "results"):
        for part in (workdir / folder).glob("part-*.parquet"):
            part.unlink()
    rows = trials.astype(object).where(trials.notna(), None)[list(TRIALS.names)]
    scores = results.astype(object).where(results.notna(), None)[list(RESULTS.names)]
    if len(rows):
        records = (rows.to_dict("records"), scores.to_dict("records"))
        Store(workdir).append("kept", *records)


def write_choices(workdir: Path, *, alike: Collection[str] = ()) -> pd.DataFrame:
    """Gives the trials of a run made-up choices; returns its trials.

    Every strategy draws uniformly within the volumes of its seed; those named
    `alike` all draw the slices of `random`.
    """
    store = Store(workdir)
    trials, results = store.read_trials(), store.read_results()
    chosen: list[list[int] | None] = []
    for row in trials.to_dict("records"):
        seed, quota = row["selection_seed"], row["slices_per_volume"]
        if row["strategy"] == "all":
            chosen.append(None)
            continue
        volumes = np.random.default_rng(seed).permutation(POOL)[: row["num_volumes"]]
        name = "random" if row["strategy"] in alike else row["strategy"]
        rng = np.random.default_rng([seed, *name.encode()])
        picks = [v * DEPTH + rng.choice(DEPTH, quota, replace=False) for v in volumes]
        chosen.append(sorted(np.concatenate(picks).tolist()))
    trials["chosen_slices"] = pd.Series(chosen, dtype=object)
    quotas = trials["slices_per_volume"].astype(float)
    rewrite(workdir, trials.assign(coverage=quotas / DEPTH), results)
    return store.read_trials()


SPACING = (2.5, 1.0, 1.0)
"""Of the tasks to which `add_interpolation` gives one, mm, depth first."""


def add_interpolation(workdir: Path, gain: float, *, seeds: int, cases: int) -> None:
    """Adds interpolated masks, which gain so much Dice, to the cells of `random`.

    One planned contrast a task and density with two or more slices compares them
    with none; tasks get a spacing and a median depth.
    """
    experiment = read_json(workdir / "experiment.json")
    store, tasks, contrasts = Store(workdir), [], []
    for task in experiment["tasks"]:
        tasks.append({**task, "spacing": list(SPACING), "median_slices": DEPTH})
        axes = experiment["axes"][task["name"]]
        plan = made_up.Plan(
            tasks=(task["name"],),
            classes=tuple(task["classes"]),
            budgets=tuple(axes["budgets"]),
            slices_per_volume=tuple(k for k in axes["slices_per_volume"] if k > 1),
            strategies=("random",),
            num_seeds=seeds,
            num_cases=cases,
            ceiling_seeds=0,
        )
        trials = [
            dataclasses.replace(t, interpolation="linear", pseudo_weight=0.5)
            for t in made_up.make_trials(task["name"], "2d", plan)
        ]
        truth = made_up.Truth(strategy_gain={"random": gain})
        rows = made_up.make_rows(trials, plan, truth, np.random.default_rng(9))
        store.append(f"interpolated_{task['name']}", *rows)
        contrasts += [
            _interpolation_contrast(task["name"], plan.budgets[0], slices)
            for slices in plan.slices_per_volume
        ]
    change_experiment(
        workdir,
        tasks=tasks,
        contrasts=[*experiment["contrasts"], *contrasts],
        num_trials=len(store.read_trials()),
    )


def _interpolation_contrast(task: str, budget: int, slices: int) -> dict[str, Any]:
    return {
        "name": f"linear against none at {slices} slices per volume",
        "family": f"interpolation {task}",
        "claim": "superior",
        "primary": True,
        "kind": "difference",
        "metric": "dice",
        "task": task,
        "target": "all",
        "dims": "2d",
        "where": {"budget": budget, "slices_per_volume": slices, "strategy": "random"},
        "a": {"interpolation": "linear", "pseudo_weight": 0.5},
        "b": {"interpolation": "none"},
    }


def read_table(workdir: Path, name: str) -> list[dict[str, str]]:
    """Returns the rows of one of the report's CSV files."""
    with (workdir / "tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_full_run(workdir: Path) -> Path:
    """Writes a run that has every section: two tasks, looks, choices, curves."""
    seeds, cases = 4, 4
    axes = {"budgets": (8,), "slices_per_volume": (1, 2)}
    strategies = ("random", "fixed_interval", "k_center")
    write_run(
        workdir,
        tasks=("blobs", "tubes"),
        classes=("front", "back"),
        strategies=strategies,
        seeds=seeds,
        cases=cases,
        diverged=1,
        **axes,
    )
    add_interpolation(workdir, -0.1, seeds=seeds, cases=cases)
    write_choices(workdir)
    store = Store(workdir)
    trials, results = store.read_trials(), store.read_results()
    rng = np.random.default_rng(5)
    falling = np.linspace(1.5, 0.3, 6)
    curves = [(falling + rng.normal(0, 0.01, 6)).tolist() for _ in trials.index]
    trials["loss_curve"] = pd.Series(curves, dtype=object)
    rewrite(workdir, trials, results)
    write_looks(workdir, trials, results)
    return workdir


def write_looks(workdir: Path, trials: pd.DataFrame, results: pd.DataFrame) -> None:
    """Takes two looks at every task of a run and writes looks.json."""
    contrasts = read_json(workdir / "experiment.json")["contrasts"]
    tasks = list(dict.fromkeys(contrast["task"] for contrast in contrasts))
    looks: list[dict[str, Any]] = [
        {"look": number + 1, "seeds": seeds, "contrasts": []}
        for number, seeds in enumerate((2, 4))
    ]
    for task in tasks:
        ours = [contrast for contrast in contrasts if contrast["task"] == task]
        taken = replay_looks(ours, results, trials, seeds=(2, 4), taken=2)
        for look, entries in zip(looks, taken, strict=True):
            look["contrasts"] += entries
    units = [
        {
            "task": task,
            "dims": "2d",
            "seeds": [2, 4],
            "looks_taken": 2,
            "state": overall_state(
                [e["state"] for e in looks[-1]["contrasts"] if e["task"] == task]
            ),
        }
        for task in tasks
    ]
    state = overall_state([unit["state"] for unit in units])
    content = {"schema_version": 1, "units": units, "looks": looks, "state": state}
    write_json_atomic(workdir / "looks.json", content)
    change_experiment(workdir, looks={task: [2, 4] for task in tasks})
