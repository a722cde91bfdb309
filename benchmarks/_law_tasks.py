"""Finished work folders as tasks of the annotation law."""

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from slicebench import main, runner
from slicebench.data import PreparedTask
from slicebench.data.phantom_measures import slice_features
from slicebench.planning.cluster import (
    DepthCorrelation,
    depth_correlation,
    effective_slices,
)
from slicebench.results import Store, read_json
from slicebench.statistics import CEILING

_PLAIN = {
    "strategy": "random",
    "volume_strategy": "random",
    "interpolation": "none",
    "scope": "within",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One allocation of a task.

    Attributes:
      budget: Annotated slices.
      density: Slices of each volume.
      dice: Mean over classes and test cases, by seed.
      places: Places in mm of the annotated slices, of each volume of each seed.
      folds: Fold of each entry of `places`.
    """

    budget: int
    density: int
    dice: Float[np.ndarray, " seed"]
    places: tuple[Float[np.ndarray, " slice"], ...]
    folds: tuple[int, ...]

    @property
    def volumes(self) -> float:
        """Volumes that the budget is spread over."""
        return self.budget / self.density


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawTask:
    """A task with all its allocations.

    Attributes:
      name: Task and target.
      synthetic: Whether it is a phantom.
      ceiling: Mean Dice with all labels.
      cells: By budget and density.
      correlations: Correlation along depth, by fold, from the pool's images.
      neighbour: Correlation of neighbouring slices.
      depth: Median slices of a volume.
    """

    name: str
    synthetic: bool
    ceiling: float
    cells: dict[tuple[int, int], Cell]
    correlations: dict[int, DepthCorrelation]
    neighbour: float
    depth: float

    @property
    def budgets(self) -> list[int]:
        """Budgets, ascending."""
        return sorted({budget for budget, _ in self.cells})

    @property
    def densities(self) -> list[int]:
        """Slices per volume, ascending."""
        return sorted({density for _, density in self.cells})

    @property
    def icc(self) -> float:
        """Mean correlation of two slices of a volume."""
        return float(np.mean([c.icc for c in self.correlations.values()]))

    def worth(
        self, cell: Cell, correlations: dict[int, DepthCorrelation] | None = None
    ) -> float:
        """Returns effective slices of one volume of a cell, mean over all of them.

        Args:
          cell: One of this task's.
          correlations: By fold; None takes the task's own. One of another task, under
            any key, serves every fold.
        """
        known = correlations or self.correlations
        first = next(iter(known.values()))
        return float(
            np.mean(
                [
                    effective_slices(places, known.get(fold, first))
                    for places, fold in zip(cell.places, cell.folds, strict=True)
                ]
            )
        )


def read_tasks(workdirs: Iterable[Path]) -> list[LawTask]:
    """Returns the tasks of finished work folders; equal tasks of several are joined.

    The images come from the command that `experiment.json` holds, so it must run from
    the present folder.

    Raises:
      InputError: A folder without a run, or data that are not there.
      ValueError: A task without a network on all labels.
    """
    parts: dict[str, list[tuple[pd.DataFrame, dict[int, PreparedTask]]]] = {}
    for workdir in workdirs:
        study = _study(read_json(workdir / "experiment.json")["command"])
        table = _scores(Store(workdir))
        for place, rows in table.groupby(["task", "target"], sort=True):
            task, target = cast(tuple[str, str], place)
            folds = {fold: t for (name, fold), t in study.tasks.items() if name == task}
            label = task if target == "all" else f"{task} ({target})"
            parts.setdefault(label, []).append((rows, folds))
    return [_task(name, found) for name, found in parts.items()]


def _study(command: str) -> runner.Study:
    words = shlex.split(command)[3:]
    for flag in main.FLAGS.flags_by_module_dict()[main.__name__]:
        flag.unparse()
    main.parse_flags(["slicebench", *words])
    return runner.make_study(main.read_options())


def _scores(store: Store) -> pd.DataFrame:
    """Returns trials with their mean Dice over test cases, then classes."""
    results = store.read_results()
    dice = results.loc[results["metric"] == "dice"]
    by_class = dice.groupby(["trial_id", "class_name"])["score"].mean()
    score = by_class.groupby("trial_id").mean().rename("dice")
    return store.read_trials().merge(score, on="trial_id")


def _task(
    name: str, parts: Sequence[tuple[pd.DataFrame, dict[int, PreparedTask]]]
) -> LawTask:
    folds = parts[0][1]
    rows = pd.concat([part for part, _ in parts]).drop_duplicates("trial_id")
    top = rows.loc[rows["strategy"] == CEILING, "dice"]
    if top.empty:
        raise ValueError(f"{name}: no network on all labels (--ceiling_seeds)")
    chosen = rows
    for column, value in _PLAIN.items():
        chosen = chosen.loc[chosen[column] == value]
    chosen = chosen.loc[chosen["slices_per_volume"].notna()]
    cells = {
        (int(budget), int(density)): _cell(int(budget), int(density), part, folds)
        for (budget, density), part in cast(Any, chosen).groupby(
            ["budget", "slices_per_volume"]
        )
    }
    correlations = {fold: _correlation(task) for fold, task in folds.items()}
    step = float(
        np.median([case.spacing[0] for t in folds.values() for case in t.pool])
    )
    return LawTask(
        name=name,
        synthetic=folds[0].synthetic,
        ceiling=float(top.mean()),
        cells=cells,
        correlations=correlations,
        neighbour=float(np.mean([c.at(np.array(step)) for c in correlations.values()])),
        depth=float(np.median([case.depth for t in folds.values() for case in t.pool])),
    )


def _correlation(task: PreparedTask) -> DepthCorrelation:
    features = [slice_features(case.image[..., 0]) for case in task.pool]
    return depth_correlation(features, [case.spacing[0] for case in task.pool])


def _cell(
    budget: int, density: int, rows: pd.DataFrame, folds: dict[int, PreparedTask]
) -> Cell:
    ordered: list[dict[Any, Any]] = rows.sort_values("selection_seed").to_dict(
        "records"
    )
    places: list[np.ndarray] = []
    owners: list[int] = []
    for row in ordered:
        found = _places(np.asarray(row["chosen_slices"]), folds[row["fold"]])
        places += found
        owners += [int(row["fold"])] * len(found)
    return Cell(
        budget=budget,
        density=density,
        dice=np.array([row["dice"] for row in ordered]),
        places=tuple(places),
        folds=tuple(owners),
    )


def _places(chosen: np.ndarray, task: PreparedTask) -> list[np.ndarray]:
    """Returns places in mm of chosen slices, volume by volume."""
    starts = np.cumsum([0, *(case.depth for case in task.pool)])
    owner = np.searchsorted(starts, chosen, side="right") - 1
    return [
        (chosen[owner == volume] - starts[volume]) * task.pool[volume].spacing[0]
        for volume in np.unique(owner)
    ]
