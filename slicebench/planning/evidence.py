"""What finished runs say about allocations, as a small table with its provenance."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import importlib.resources
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from slicebench.errors import InputError
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.statistics import CEILING, cell_table, development_margin

SCHEMA = 1
_METRIC = "dice"
_PLACE = ("task", "target", "dims")
_PLAIN = {
    "strategy": "random",
    "volume_strategy": "random",
    "interpolation": "none",
    "scope": "within",
}
"""What evidence is about: random slices of random volumes, nothing else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """Mean test Dice of one allocation.

    Attributes:
      budget: Annotated slices.
      num_volumes: Volumes they lie in.
      slices_per_volume: Slices of each.
      dice: Mean over classes, cases and seeds.
      low: Lower end of its 95 % interval.
      high: Upper end.
      sd_seeds: Standard deviation of the means of seeds: what one user, who annotates
        once, has to expect.
      num_seeds: Seeds.
      sd_cases: Standard deviation over the test cases of one network's Dice, root mean
        square over networks; None where it is not known.
    """

    budget: int
    num_volumes: int
    slices_per_volume: int
    dice: float
    low: float
    high: float
    sd_seeds: float
    num_seeds: int
    sd_cases: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Allocations of random slices on one task.

    Attributes:
      task: Task name.
      target: What is segmented.
      dims: `2d` or `3d`.
      classes: Class names.
      spacing: Spacing in mm, slices first, in plane that of the network's grid.
      slices: Median slices of a volume.
      prevalence: Share of slices that show any of the structures.
      ceiling: Mean Dice of the same network on all labels; None where not run.
      margin: Smallest Dice difference that matters.
      cells: Allocations.
      provenance: Experiment, command, trials, network and steps.
    """

    task: str
    target: str
    dims: str
    classes: tuple[str, ...]
    spacing: tuple[float, float, float]
    slices: float
    prevalence: float
    ceiling: float | None
    margin: float
    cells: tuple[Cell, ...]
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """Task, target and dims in words."""
        target = "" if self.target == "all" else f" {self.target}"
        return f"{self.task}{target} ({self.dims})"

    @property
    def budgets(self) -> tuple[int, ...]:
        """Budgets that have been run, ascending."""
        return tuple(sorted({cell.budget for cell in self.cells}))


def read_evidence(workdir: Path) -> tuple[Evidence, ...]:
    """Returns the allocations of random slices in a work folder, task by task.

    Raises:
      InputError: No run, or one without two allocations of a budget.
    """
    experiment = read_json(workdir / "experiment.json")
    store = Store(workdir)
    trials, results = store.read_trials(), store.read_results()
    table, tables = cell_table(results, trials), (trials, results)
    table = table.loc[table["metric"] == _METRIC]
    found = [
        evidence
        for place, cells in table.groupby(list(_PLACE), sort=True)
        if (evidence := _evidence(cast(Any, place), cells, tables, experiment))
    ]
    if not found:
        raise InputError(
            f"{workdir}: no two allocations of one budget with random slices; run "
            "--experiment=allocation"
        )
    return tuple(found)


def _evidence(
    place: tuple[str, str, str],
    cells: pd.DataFrame,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    experiment: dict[str, Any],
) -> Evidence | None:
    trials, results = tables
    chosen = cells
    for name, value in _PLAIN.items():
        chosen = chosen.loc[chosen[name] == value]
    chosen = chosen.loc[chosen["slices_per_volume"].notna()]
    if chosen["budget"].duplicated().sum() == 0 or chosen["program"].nunique() > 1:
        return None
    task = next(t for t in experiment["tasks"] if t["name"] == place[0])
    mine = trials
    for name, value in zip(_PLACE, place, strict=True):
        mine = mine.loc[mine[name] == value]
    top = cells.loc[cells["strategy"] == CEILING, "mean"]
    return Evidence(
        task=place[0],
        target=place[1],
        dims=place[2],
        classes=tuple(task["classes"]),
        spacing=_spacing(task),
        slices=float(task["median_slices"]),
        prevalence=_prevalence(mine),
        ceiling=float(top.iloc[0]) if len(top) else None,
        margin=development_margin(trials, *place, _METRIC).value,
        cells=tuple(
            _cell(row, _sd_cases(results, _of_cell(trials, row)))
            for row in chosen.to_dict("records")
        ),
        provenance={
            "experiment": experiment["experiment"],
            "command": experiment["command"],
            "synthetic": task["synthetic"],
            "trials": len(mine),
            "cases": int(chosen["num_cases"].max()),
            "network": json.loads(mine["network"].iloc[0]),
            "steps": int(mine["steps"].iloc[0]),
        },
    )


def _spacing(task: dict[str, Any]) -> tuple[float, float, float]:
    if "spacing" not in task:
        raise InputError(
            f"experiment.json: task {task['name']} has no spacing; the same command "
            "again writes it (finished trials are kept)"
        )
    depth, height, width = task["spacing"]
    return depth, height, width


def _prevalence(trials: pd.DataFrame) -> float:
    """Share of annotated slices with foreground; of all slices where they were."""
    dense = trials.loc[trials["strategy"] == CEILING]
    shown = dense if len(dense) else trials.loc[trials["strategy"] == "random"]
    return float(shown["annotated_foreground"].sum() / shown["annotated_slices"].sum())


def _of_cell(trials: pd.DataFrame, row: dict[Any, Any]) -> pd.Series:
    """Returns the ids of a cell's trials."""
    mask = pd.Series(data=True, index=trials.index)
    for name in (*_PLACE, "budget", "slices_per_volume", *_PLAIN):
        mask &= (trials[name] == row[name]).fillna(value=False).astype(bool)
    return trials.loc[mask, "trial_id"]


def _sd_cases(results: pd.DataFrame, trial_ids: pd.Series) -> float | None:
    """Returns the spread over cases of one network's Dice, mean over its classes."""
    mine = results.loc[
        results["trial_id"].isin(trial_ids) & (results["metric"] == _METRIC)
    ]
    by_case = mine.groupby(["trial_id", "case"])["score"].mean()
    variance = by_case.groupby("trial_id").var(ddof=1).mean()
    return math.sqrt(variance) if math.isfinite(variance) else None


def _cell(row: dict[Any, Any], sd_cases: float | None) -> Cell:
    return Cell(
        budget=int(row["budget"]),
        num_volumes=int(row["num_volumes"]),
        slices_per_volume=int(row["slices_per_volume"]),
        dice=float(row["mean"]),
        low=float(row["low"]),
        high=float(row["high"]),
        sd_seeds=float(row["sd_seeds"]),
        num_seeds=int(row["num_seeds"]),
        sd_cases=sd_cases,
    )


def write_table(path: Path, table: Sequence[Evidence]) -> None:
    """Writes a table of evidence; numbers have four decimals."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 4) if math.isfinite(value) else None
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(v) for v in value] if isinstance(value, list | tuple) else value

    entries = [rounded(dataclasses.asdict(evidence)) for evidence in table]
    write_json_atomic(path, {"schema_version": SCHEMA, "evidence": entries})


def shipped() -> tuple[Evidence, ...]:
    """Returns the table that comes with the package, from its own real runs."""
    file = importlib.resources.files("slicebench.planning") / "evidence.json"
    return parse_table(json.loads(file.read_text(encoding="utf-8")))


def parse_table(content: dict[str, Any]) -> tuple[Evidence, ...]:
    """Returns the evidence of a table that `write_table` wrote."""
    return tuple(
        Evidence(
            **{
                **entry,
                "classes": tuple(entry["classes"]),
                "spacing": tuple(entry["spacing"]),
                "cells": tuple(Cell(**cell) for cell in entry["cells"]),
            }
        )
        for entry in content["evidence"]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of the user's scans before anything is annotated.

    Attributes:
      spacing: Median spacing in mm, slices first.
      slices: Median slices of a volume.
      num_classes: Structures to be outlined; None where not said.
      prevalence: Expected share of slices that show them; None where not said.
    """

    spacing: tuple[float, float, float]
    slices: float
    num_classes: int | None = None
    prevalence: float | None = None


NEAR = 2.0
"""Largest ratio of slice spacing, number of slices or prevalence that counts as near.

A convention, not a finding: nothing yet shows how far evidence carries.
"""


def distances(traits: Traits, evidence: Evidence) -> dict[str, float]:
    """Returns by which factor each trait of a task differs, at least 1.

    In-plane spacing is that of a network's grid and therefore left out.
    """
    pairs: dict[str, tuple[float | None, float]] = {
        "slice spacing": (traits.spacing[0], evidence.spacing[0]),
        "slices of a volume": (traits.slices, evidence.slices),
        "share of slices with structure": (traits.prevalence, evidence.prevalence),
        "number of classes": (traits.num_classes, len(evidence.classes)),
    }
    return {
        name: float(np.exp(abs(np.log(mine / theirs))))
        for name, (mine, theirs) in pairs.items()
        if mine is not None
    }


def nearest(
    traits: Traits, table: Sequence[Evidence], dims: str = "2d"
) -> tuple[Evidence, dict[str, float]] | None:
    """Returns the most alike task and how it differs, None where none is near.

    Near is a task no trait of which differs by more than the factor `NEAR`, the number
    of classes apart; the most alike has the smallest product of factors.
    """
    found = [
        (evidence, distances(traits, evidence))
        for evidence in table
        if evidence.dims == dims
    ]
    near = [
        (evidence, factors)
        for evidence, factors in found
        if all(v <= NEAR for k, v in factors.items() if k != "number of classes")
    ]
    if not near:
        return None
    return min(near, key=lambda pair: math.prod(pair[1].values()))
