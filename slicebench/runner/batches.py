"""One batch of trials: what they annotate, their training and their scores."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slicebench import spec
from slicebench.data.prepared import PreparedTask
from slicebench.evaluation.inference import by_case, make_predictor
from slicebench.evaluation.scoring import Scorer
from slicebench.runner.cells import CEILING
from slicebench.selection import FEATURES, PoolView, Selection, select
from slicebench.training.arrays import TrialArrays, make_bank, slice_classes
from slicebench.training.arrays import trial_arrays as make_trial_arrays
from slicebench.training.checkpoints import BatchCheckpoints, save_weights
from slicebench.training.engine import Engine, Plan, trial_params
from slicebench.training.step import TrialState

_log = logging.getLogger(__name__)
_SYNC_EVERY = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """A trained batch, ready to be written."""

    trials: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    predictions: dict[str, list[np.ndarray]]


class TaskWork:
    """What the trials of one task and fold share; each part is made once."""

    def __init__(self, task: PreparedTask):
        """Remembers the task; everything else waits until it is needed."""
        self.task = task
        self._views: dict[str, PoolView] = {}
        self._selections: dict[tuple[Any, ...], Selection] = {}
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
                self._view(trial.features),
                volume_strategy=trial.volume_strategy,
                strategy=trial.strategy,
                num_volumes=trial.num_volumes,
                slices_per_volume=trial.slices_per_volume,
                budget=trial.budget,
                scope=trial.scope,
                seed=trial.selection_seed,
            )
        return self._selections[key]

    def _view(self, features: str) -> PoolView:
        if features not in self._views:
            rows = None
            if features != "none":
                images = [case.image for case in self.task.pool]
                rows = FEATURES[features].extract(images)
            self._views[features] = PoolView.of(self.task.pool, rows)
        return self._views[features]

    def annotate(self, trial: spec.Trial, slices: int) -> tuple[TrialArrays, dict]:
        """Reveals the chosen slices' labels: sampling table and trial columns."""
        mask = np.concatenate(self.select(trial).mask(self._depths))
        spare = slices - len(mask)
        holds = np.pad(self._holds, ((0, spare), (0, 0)))
        arrays = make_trial_arrays(
            np.pad(mask, (0, spare)), holds, trial.training_seed, dims=trial.dims
        )
        found = mask[:, None] & self._holds
        volume = np.repeat(np.arange(len(self._depths)), self._depths)
        columns = {
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
        return arrays, columns


class ProgramWork:
    """Compiled programs for one task: training and prediction."""

    def __init__(self, program: spec.Program, plan: Plan, work: TaskWork):
        """Puts the pool and the held-out slices on the devices."""
        self.work = work
        self.program = program
        self.plan = plan
        self.engine = Engine(program, plan, work.make_bank(program))
        scorer = work.scorer
        self.predictor = make_predictor(program, plan, scorer.cases, hard=scorer.hard)

    @property
    def compile_seconds(self) -> float:
        """Time spent compiling so far."""
        return self.engine.compile_seconds + self.predictor.compile_seconds

    def train(
        self,
        trials: Sequence[spec.Trial],
        checkpoints: BatchCheckpoints,
        checkpoint_seconds: float,
        progress: Callable[[int], None],
    ) -> tuple[TrialState, list[dict[str, Any]]]:
        """Trains a batch from its newest checkpoint, or from the start.

        Args:
          trials: At most as many as the plan holds; the rest is padding.
          checkpoints: Where this batch's state is kept.
          checkpoint_seconds: Time between checkpoints.
          progress: Called with the number of steps done since the last call.

        Returns:
          Last state, and what each trial annotated.
        """
        padded = [*trials, *[trials[-1]] * (self.plan.trials - len(trials))]
        made = [self.work.annotate(trial, self.program.slices) for trial in padded]
        arrays = self.engine.put([item[0] for item in made])
        before = self.engine.compile_seconds
        state = checkpoints.restore(self.engine.abstract_state())
        if state is None:
            state = self.engine.init([trial.training_seed for trial in padded])
        self.engine.compile(state, arrays)
        self._log_compilation(self.engine.compile_seconds - before)
        step = int(state.step[0])
        progress(step)
        saved = time.monotonic()
        total = self.program.training.steps
        while step < total:
            chunk = min(_SYNC_EVERY, total - step)
            for _ in range(chunk):
                state = self.engine.step(state, arrays)
            step += chunk
            jax.block_until_ready(state.step)
            progress(chunk)
            if step < total and time.monotonic() - saved >= checkpoint_seconds:
                checkpoints.save(state, step)
                saved = time.monotonic()
        return state, [item[1] for item in made[: len(trials)]]

    def _log_compilation(self, seconds: float) -> None:
        if seconds:
            _log.info("compiled training %s in %.1f s", self.program.name, seconds)

    def score(
        self,
        trials: Sequence[spec.Trial],
        state: TrialState,
        annotated: Sequence[dict[str, Any]],
        seconds: float,
        pool: ThreadPoolExecutor,
    ) -> Callable[[], Finished]:
        """Predicts on the devices, starts scoring on host threads.

        Returns:
          A function that waits for the scores and returns the batch's rows.
        """
        predictions = self.predictor.predict(state.params)
        healthy, losses = np.asarray(state.healthy), np.asarray(state.loss)
        supervised = np.asarray(state.supervised)
        futures: list[Future[Any]] = []
        cut: dict[str, list[np.ndarray]] = {}
        for index, trial in enumerate(trials):
            cases = list(by_case(predictions[index], self.predictor.cases))
            cut[trial.trial_id] = cases
            futures.append(
                pool.submit(
                    self.work.scorer.score, cases, diverged=not bool(healthy[index])
                )
            )

        def finish() -> Finished:
            rows: list[dict[str, Any]] = []
            scores: list[dict[str, Any]] = []
            for index, (trial, future) in enumerate(zip(trials, futures, strict=True)):
                test, development = future.result()
                scores += [{"trial_id": trial.trial_id, **row} for row in test]
                rows.append(
                    {
                        **{
                            field.name: getattr(trial, field.name)
                            for field in dataclasses.fields(trial)
                        },
                        **annotated[index],
                        **_effort(self.program, annotated[index], supervised[index]),
                        **{f"development_{k}": v for k, v in development.items()},
                        "trial_id": trial.trial_id,
                        "status": "ok" if healthy[index] else "diverged",
                        "steps": trial.training.steps,
                        "seconds": seconds / len(trials),
                        "final_loss": float(losses[index]),
                    }
                )
            return Finished(trials=rows, scores=scores, predictions=cut)

        return finish

    def keep_weights(
        self, folder: Path, trials: Sequence[spec.Trial], state: TrialState
    ) -> None:
        """Writes the last weights of every trial of a batch."""
        for index, trial in enumerate(trials):
            save_weights(folder / trial.trial_id, trial_params(state.params, index))


def _effort(
    program: spec.Program, annotated: dict[str, Any], supervised: np.integer
) -> dict[str, float]:
    """How often a trial saw its labels: epochs over them, and voxels."""
    plane = float(np.prod(program.patch[-2:]))
    slices = int(supervised) * plane / float(np.prod(program.grid))
    return {
        "epochs": slices / annotated["annotated_slices"],
        "supervised_voxels": int(supervised) * plane,
    }
