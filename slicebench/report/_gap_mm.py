"""How far annotated slices lie apart: what an interpolation has to bridge."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from slicebench.report import _frames

CHOSEN = "chosen slices"
"""The gap was measured on the slices that were annotated."""

_COVERAGE = "coverage"
_DEPTH = "median depth"


class Gap(NamedTuple):
    """Mean distance between neighbouring annotated slices of a volume.

    Attributes:
      slices: In slices; 1 is next to each other; NaN where nothing tells it.
      mm: In mm, by the median slice spacing of the pool; NaN where it is unknown.
      source: What it was taken from.
    """

    slices: float
    mm: float
    source: str


def gap(trials: pd.DataFrame, tasks: Sequence[Mapping[str, Any]]) -> Gap:
    """Returns the mean gap over the trials of a cell.

    Args:
      trials: Trials of one cell with two or more slices in each volume, at least
        one. Where no chosen slices are stored, the gap is one over the coverage,
        and where there is none either, the pool's median depth over the slices of
        a volume; both are exact for equal intervals only.
      tasks: Records of experiment.json; `spacing` (mm, depth first) and
        `median_slices` of the trials' task and fold are read.
    """
    places = {(str(t["name"]), int(t.get("fold", 0))): t for t in tasks}
    found: list[tuple[float, float]] = []
    sources: list[str] = []
    for row in _frames.records(trials):
        task = places.get((str(row["task"]), int(row["fold"])), {})
        slices, source = _in_slices(row, task)
        spacing = task.get("spacing") or [np.nan]
        found.append((slices, slices * float(spacing[0])))
        sources.append(source)
    mean = np.mean(found, axis=0)
    return Gap(float(mean[0]), float(mean[1]), ", ".join(dict.fromkeys(sources)))


def _in_slices(row: Mapping[str, Any], task: Mapping[str, Any]) -> tuple[float, str]:
    quota = int(row["slices_per_volume"])
    chosen = row.get("chosen_slices")
    # Pool indices ascend volume by volume, so equal quotas lie in equal runs.
    known = isinstance(chosen, (list, tuple, np.ndarray))
    if known and len(chosen) and len(chosen) % quota == 0:
        runs = np.asarray(chosen, int).reshape(-1, quota)
        return float(np.diff(runs, axis=1).mean()), CHOSEN
    coverage: Any = row.get("coverage")
    missing: Any = pd.isna(coverage)
    if not missing and coverage > 0:
        return 1 / float(coverage), _COVERAGE
    return float(task.get("median_slices") or np.nan) / quota, _DEPTH
