"""From a batch's predictions to score rows, on host threads."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from slicebench.data.prepared import PreparedCase, PreparedTask
from slicebench.evaluation.metrics import CaseTruth, Score, prepare_truth, score_case
from slicebench.evaluation.native import (
    NativeMap,
    prepare_native_map,
    to_native_labels,
)


def tolerance_mm(task: PreparedTask) -> float:
    """Returns the tolerance of surface Dice: the pool's median in-plane spacing.

    One voxel in plane, as the Medical Segmentation Decathlon uses for the
    hippocampus (1 mm; Antonelli et al. 2022).
    """
    return round(float(np.median([case.spacing[1:] for case in task.pool])), 3)


class Scorer:
    """Truth-side work of a task's held-out cases, done once for all trials.

    Attributes:
      task: The task.
      cases: Development cases first, then test cases.
      hard: Whether every way back to the native grid only picks voxels.
    """

    def __init__(self, task: PreparedTask):
        """Prepares surfaces, distance maps and the ways back."""
        self.task = task
        self.cases: tuple[PreparedCase, ...] = (*task.development, *task.test)
        tolerance = tolerance_mm(task)
        self._truths: list[CaseTruth] = [
            prepare_truth(case.native_label, case.spacing, len(task.classes), tolerance)
            for case in self.cases
        ]
        self._ways: list[NativeMap] = [prepare_native_map(case) for case in self.cases]
        self.hard = all(way.gather is not None for way in self._ways)

    def score(
        self, predictions: Sequence[np.ndarray], *, diverged: bool
    ) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
        """Scores one trial.

        Args:
          predictions: One array a case, on the task's grid.
          diverged: Whether the training failed: its predictions count as empty.

        Returns:
          Rows of the test cases (case, class_name, metric, score), and the mean
          development scores by metric, over cases within a class, then classes.
        """
        rows: list[dict[str, Any]] = []
        development: dict[tuple[str, str], list[float]] = defaultdict(list)
        for index, case in enumerate(self.cases):
            for score in self._score_case(index, predictions[index], diverged):
                name = self.task.classes[score.class_index - 1]
                if index < len(self.task.development):
                    development[score.metric, name].append(score.score)
                else:
                    rows.append(
                        {
                            "case": case.name,
                            "class_name": name,
                            "metric": score.metric,
                            "score": score.score,
                        }
                    )
        return rows, _class_means(development)

    def native(self, index: int, prediction: np.ndarray) -> np.ndarray:
        """Returns a prediction of case `index` on its native grid."""
        return to_native_labels(prediction, self._ways[index])

    def _score_case(
        self, index: int, prediction: np.ndarray, diverged: bool
    ) -> list[Score]:
        native = self.native(index, prediction)
        return score_case(
            self._truths[index], np.zeros_like(native) if diverged else native
        )


def _class_means(
    scores: dict[tuple[str, str], list[float]],
) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for metric in ("dice", "nsd", "hd95"):
        classes = [math.fsum(v) / len(v) for (m, _), v in scores.items() if m == metric]
        means[metric] = math.fsum(classes) / len(classes) if classes else None
    return means
