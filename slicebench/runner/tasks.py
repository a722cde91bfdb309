"""What the trials of one task share: features, selections, pseudo-labels, truths."""

import collections
from typing import Any

import numpy as np
from jaxtyping import UInt8

from slicebench import spec
from slicebench.data.prepared import PreparedTask
from slicebench.evaluation.scoring import Scorer
from slicebench.interpolation import interpolate
from slicebench.runner.cells import CEILING
from slicebench.runner.inputs import Inputs
from slicebench.selection import (
    VOLUME_STRATEGIES,
    PoolView,
    Selection,
    coverage,
    lookup,
    proxy_scores,
    select,
    uses_labels,
)
from slicebench.training.arrays import (
    TrialArrays,
    add_pseudo,
    make_bank,
    slice_classes,
    trial_arrays,
)

_KEPT = 4096
"""Interpolated volumes that are kept for other trials."""


class TaskWork:
    """What the trials of one task and fold share; each part is made once."""

    def __init__(self, task: PreparedTask, inputs: Inputs | None = None):
        """Remembers the task; everything else waits until it is needed.

        Args:
          task: The task.
          inputs: What selections read beyond the images.
        """
        self.task = task
        self._inputs = inputs or Inputs()
        self._rows: dict[str, tuple[np.ndarray, ...]] = {}
        self._views: dict[tuple[str, str], PoolView] = {}
        self._selections: dict[tuple[Any, ...], Selection] = {}
        self._filled: collections.OrderedDict[tuple[Any, ...], Any] = (
            collections.OrderedDict()
        )
        self._scorer: Scorer | None = None
        labels = np.concatenate([case.label for case in task.pool])
        self._holds = slice_classes(labels, len(task.classes) + 1)
        self._depths = [case.depth for case in task.pool]

    @property
    def scorer(self) -> Scorer:
        """Truth-side scoring work."""
        if self._scorer is None:
            self._scorer = Scorer(self.task)
        return self._scorer

    def make_bank(self, program: spec.Program) -> Any:
        """Returns the pool's slices, stacked."""
        return make_bank(self.task.pool, program.slices, dims=program.dims)

    def select(self, trial: spec.Trial) -> Selection:
        """Returns what a trial annotates; trials of equal choice share it."""
        if trial.strategy == CEILING:
            return Selection(
                volumes=tuple(range(len(self._depths))),
                slices=tuple(tuple(range(depth)) for depth in self._depths),
            )
        if self._inputs.given is not None:
            given = self._inputs.given
            return Selection(volumes=tuple(range(len(given))), slices=given)
        key = (
            trial.volume_strategy,
            trial.strategy,
            trial.features,
            trial.num_volumes,
            trial.slices_per_volume,
            trial.budget,
            trial.scope,
            trial.selection_seed,
        )
        if key not in self._selections:
            self._selections[key] = select(
                self._view(trial.features, trial.volume_strategy),
                volume_strategy=trial.volume_strategy,
                strategy=trial.strategy,
                num_volumes=trial.num_volumes,
                slices_per_volume=trial.slices_per_volume,
                budget=trial.budget,
                scope=trial.scope,
                seed=trial.selection_seed,
                labels=self._labels(trial.strategy),
            )
        return self._selections[key]

    def _labels(self, strategy: str) -> list[np.ndarray] | None:
        """Dense labels for strategies that declare to see them, for no other."""
        if not uses_labels(strategy):
            return None
        return [case.label for case in self.task.pool]

    def _view(self, features: str, volume_strategy: str) -> PoolView:
        key = features, volume_strategy
        if key not in self._views:
            pool = self.task.pool
            entry = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategies")
            scores = None
            if entry.uses_proxy:
                scores = proxy_scores([case.image for case in pool])
            self._views[key] = PoolView.of(
                pool,
                self._features(features),
                groups=self._inputs.groups(self.task, volume_strategy),
                proxy=scores,
            )
        return self._views[key]

    def _features(self, name: str) -> tuple[np.ndarray, ...] | None:
        if name == "none":
            return None
        if name not in self._rows:
            self._rows[name] = self._inputs.features(name, self.task)
        return self._rows[name]

    def annotate(
        self, trial: spec.Trial, program: spec.Program
    ) -> tuple[TrialArrays, dict[str, Any]]:
        """Reveals the chosen slices' labels: sampling table and trial columns."""
        selection = self.select(trial)
        mask = np.concatenate(selection.mask(self._depths))
        spare = program.slices - len(mask)
        holds = np.pad(self._holds, ((0, spare), (0, 0)))
        arrays = trial_arrays(
            np.pad(mask, (0, spare)), holds, trial.training_seed, dims=trial.dims
        )
        columns = {**self._columns(mask), "extent_marks": selection.extent_marks}
        columns["coverage"] = coverage(selection, self._depths)
        if trial.strategy != CEILING:
            columns["chosen_slices"] = np.flatnonzero(mask).tolist()
        if program.pseudo_slots:
            source, shares = self.fill(trial)
            columns["interpolated_slices"] = len(source)
            arrays = add_pseudo(
                arrays,
                source,
                shares,
                slots=program.pseudo_slots,
                weight=trial.pseudo_weight,
            )
        return arrays, columns

    def _columns(self, mask: np.ndarray) -> dict[str, Any]:
        found = mask[:, None] & self._holds
        volume = np.repeat(np.arange(len(self._depths)), self._depths)
        return {
            "annotated_slices": int(mask.sum()),
            "annotated_foreground": int(found.any(1).sum()),
            "foreground_by_class": {
                name: {
                    "slices": int(found[:, index].sum()),
                    "volumes": len(np.unique(volume[found[:, index]])),
                }
                for index, name in enumerate(self.task.classes)
            },
        }

    def fill(
        self, trial: spec.Trial
    ) -> tuple[np.ndarray, UInt8[np.ndarray, "filled height width class"]]:
        """Interpolates between a trial's annotated slices.

        Returns:
          Filled slices of the bank, and the share of each class in units of
          1/255.
        """
        starts = np.cumsum(self._depths) - self._depths
        selection = self.select(trial)
        empty = np.zeros((0, *self.task.grid, len(self.task.classes) + 1), np.uint8)
        source, shares = [np.zeros(0, np.int64)], [empty]
        for volume, slices in zip(selection.volumes, selection.slices, strict=True):
            places, made = self._fill_volume(trial.interpolation, volume, slices)
            source.append(starts[volume] + places)
            shares.append(made)
        return np.concatenate(source), np.concatenate(shares)

    def _fill_volume(
        self, name: str, volume: int, slices: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Interpolates one volume; trials that annotate it alike share it."""
        key = name, volume, slices
        if key not in self._filled:
            case = self.task.pool[volume]
            annotated = np.isin(np.arange(case.depth), slices)
            pseudo = interpolate(
                name, case.label, annotated, self.task.spacing, image=case.image
            )
            classes = len(self.task.classes) + 1
            made = pseudo.probabilities(classes)[pseudo.filled]
            shares = np.rint(255 * made).astype(np.uint8)
            self._filled[key] = np.flatnonzero(pseudo.filled), shares
            if len(self._filled) > _KEPT:
                self._filled.popitem(last=False)
        self._filled.move_to_end(key)
        return self._filled[key]
