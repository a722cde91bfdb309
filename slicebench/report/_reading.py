"""What a report is made from: the files of a work folder."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import pandas as pd

from slicebench import spec, statistics
from slicebench.errors import InputError
from slicebench.report import _examples
from slicebench.results import Store, read_json

_NEEDED = ("experiment", "question", "command", "tasks", "contrasts", "num_trials")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run as far as it has come.

    Attributes:
      workdir: Its work folder.
      experiment: Content of experiment.json.
      trials: One row a finished trial, networks on all labels one cell over folds.
      scores: Scores and trials as they were stored.
      results: The same scores, of `trials`.
      compute: Content of compute.json, empty without it.
      examples: Example predictions by task; none where images are not wanted.
    """

    workdir: Path
    experiment: dict[str, Any]
    trials: pd.DataFrame
    scores: statistics.ScoreIndex
    results: statistics.ScoreIndex
    compute: dict[str, Any]
    examples: dict[str, _examples.Examples]

    @functools.cached_property
    def most_seeds(self) -> int:
        """Seeds of the cells that have most of them, planned or trained.

        In a run that is made look by look some tasks have more than were asked of
        every one.
        """
        factors = list(spec.CELL_FIELDS)
        swept = self.trials["strategy"] != statistics.CEILING
        cells = self.trials.loc[swept, factors]
        counts: Any = cells.groupby(factors, dropna=False).size()
        return max([int(self.experiment.get("num_seeds", 0)), *counts.tolist()])

    def task(self, name: str) -> dict[str, Any]:
        """Returns a task's record; a bare one for a name that is not listed."""
        for task in self.experiment["tasks"]:
            if task["name"] == name:
                return task
        return {"name": name, "synthetic": False, "classes": []}


def read_experiment(workdir: Path) -> dict[str, Any]:
    """Reads experiment.json of a work folder.

    Raises:
      InputError: The folder or the file is missing, or the file is damaged.
    """
    if not os.path.isdir(workdir):
        raise InputError(f"--workdir={workdir}: no such folder; give a run's folder")
    path = workdir / "experiment.json"
    if not path.exists():
        raise InputError(
            f"--workdir={workdir}: holds no experiment.json; give the folder that "
            "`python -m slicebench.main --workdir=...` has written"
        )
    experiment = read_json(path)
    missing = [name for name in _NEEDED if name not in experiment]
    if missing:
        raise InputError(f"{path}: fields missing: {', '.join(missing)}")
    if not experiment["tasks"]:
        raise InputError(f"{path}: lists no task")
    return experiment


def read_run(workdir: Path, *, images: bool = True) -> Run:
    """Reads a work folder.

    Args:
      workdir: Work folder of a run.
      images: Whether example pictures are read.

    Raises:
      InputError: The folder or its experiment.json is missing, or a file is
        damaged.
    """
    experiment = read_experiment(workdir)
    scores = statistics.read_index(Store(workdir))
    trials = statistics.unite_ceilings(scores.trials)
    compute = workdir / "compute.json"
    pictures = sorted((workdir / "examples").glob("*.npz")) if images else []
    return Run(
        workdir=workdir,
        experiment=experiment,
        trials=trials,
        results=scores.among(trials),
        scores=scores,
        compute=read_json(compute) if compute.is_file() else {},
        examples={file.stem: _examples.read_examples(file) for file in pictures},
    )
