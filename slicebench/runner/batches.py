"""One batch of trials: what they annotate, their training and their scores."""

import collections
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from slicebench import spec
from slicebench.evaluation.inference import by_case, make_predictor
from slicebench.runner.stopping import Stop, Stopped
from slicebench.runner.tasks import TaskWork
from slicebench.training.arrays import TrialArrays
from slicebench.training.checkpoints import BatchCheckpoints, save_weights
from slicebench.training.engine import Engine, Plan, steps_done, trial_params
from slicebench.training.placement import read_held
from slicebench.training.step import TrialState

_log = logging.getLogger(__name__)
_CHUNK = 10
"""Steps after which progress is told; the host is at most two such chunks ahead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """A trained batch, or what a process holds of it, ready to be written."""

    trials: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    predictions: dict[str, list[np.ndarray]]


class ProgramWork:
    """Compiled programs, training and prediction, on one task or fold at a time.

    Attributes:
      program: What is trained.
      plan: How.
      work: The task or fold.
    """

    def __init__(
        self,
        program: spec.Program,
        plan: Plan,
        work: TaskWork,
        engine: Engine | None = None,
    ):
        """Puts the pool and the held-out slices on the devices.

        Args:
          program: What is trained.
          plan: How.
          work: The task or fold.
          engine: The program under this plan, if it is compiled already.
        """
        self.program = program
        self.plan = plan
        self.engine = engine or Engine(program, plan, work.make_bank(program))
        cases, hard = work.scorer.cases, work.scorer.hard
        self.predictor = make_predictor(program, plan, cases, hard=hard)
        self.work = work
        self._fresh = True

    def use(self, work: TaskWork) -> None:
        """Goes on with another fold: equal shapes are not compiled again.

        Every batch of the fold before must be finished.
        """
        if work is self.work:
            return
        self.work, self._fresh = work, True
        self.engine.use(work.make_bank(self.program))
        cases, hard = work.scorer.cases, work.scorer.hard
        if hard == self.predictor.hard:
            self.predictor.use(cases)
        else:
            spent = self.predictor.compile_seconds
            self.predictor = make_predictor(self.program, self.plan, cases, hard=hard)
            self.predictor.compile_seconds = spent

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
        stop: Stop | None = None,
    ) -> tuple[TrialState, list[dict[str, Any]]]:
        """Trains a batch from its newest checkpoint, or from the start.

        Args:
          trials: At most as many as the plan holds; the rest is padding.
          checkpoints: Where this batch's state is kept.
          checkpoint_seconds: Time between checkpoints.
          progress: Called with the number of steps done since the last call.
          stop: Looked at now and then; None never stops.

        Returns:
          Last state, and what each trial held here annotated.

        Raises:
          Stopped: The process was asked to end; there is a checkpoint.
        """
        padded = [*trials, *[trials[-1]] * (self.plan.trials - len(trials))]
        mine = [padded[place] for place in self.engine.held]
        made = [self.work.annotate(trial, self.program) for trial in mine]
        arrays = self.engine.put([item[0] for item in made])
        before = self.engine.compile_seconds
        state = self._restore(checkpoints)
        if state is None:
            state = self.engine.init([trial.training_seed for trial in mine])
        self.engine.compile(state, arrays)
        self._log_compilation(self.engine.compile_seconds - before)
        state = self._advance(
            state, arrays, checkpoints, checkpoint_seconds, progress, stop or Stop()
        )
        return state, [item[1] for item in made[: len(self._places(trials))]]

    def _places(self, trials: Sequence[spec.Trial]) -> range:
        """Places of the trials held here; what is behind them is padding."""
        held = self.engine.held
        return range(min(held.start, len(trials)), min(held.stop, len(trials)))

    def _restore(self, checkpoints: BatchCheckpoints) -> TrialState | None:
        state = checkpoints.restore(self.engine.abstract_state())
        if state is not None and steps_done(state) % self.plan.steps_per_call:
            _log.warning("checkpoint is between two calls of this plan: not used")
            return None
        if state is not None:
            _log.info("goes on from step %d", steps_done(state))
        return state

    def _advance(
        self,
        state: TrialState,
        arrays: TrialArrays,
        checkpoints: BatchCheckpoints,
        checkpoint_seconds: float,
        progress: Callable[[int], None],
        stop: Stop,
    ) -> TrialState:
        """Does the steps that are left, the host one chunk ahead of the devices."""
        step, total = steps_done(state), self.program.training.steps
        progress(step)
        saved = time.monotonic()
        each = self.plan.steps_per_call
        under_way: collections.deque[tuple[jax.Array, int]] = collections.deque()

        def wait(most: int) -> None:
            while len(under_way) > most:
                mark, steps = under_way.popleft()
                jax.block_until_ready(mark)
                progress(steps)

        while step < total:
            chunk = min(each * max(1, _CHUNK // each), total - step)
            for _ in range(chunk // each):
                state = self.engine.step(state, arrays)
            step += chunk
            # The state's own buffers are given to the next call: a copy is waited for.
            under_way.append((jnp.copy(state.step), chunk))
            wait(1)
            if step == total:
                break
            late, asked = stop.agree(time.monotonic() - saved >= checkpoint_seconds)
            if late or asked is not None:
                wait(0)
                checkpoints.save(state, step)
                saved = time.monotonic()
            if asked is not None:
                raise Stopped(asked)
        wait(0)
        return state

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
        """Starts prediction and scoring on host threads, beside the next training.

        The first prediction of a fold may compile: it is waited for, so that
        compilation is told apart and nothing compiles beside a training. So is every
        one of several processes, which must start their programs in the same order.

        Returns:
          A function that waits for the scores and returns the rows held here.
        """
        trials = [trials[place] for place in self._places(trials)]
        healthy, losses = read_held(state.healthy), read_held(state.loss)
        supervised, curves = read_held(state.supervised), read_held(state.curve)
        params = state.params
        now = self._fresh or not self.engine.split.is_fully_addressable
        first = self.predictor.predict(params) if now else None
        self._fresh = False

        def predict() -> list[tuple[list[np.ndarray], Future[Any]]]:
            found = self.predictor.predict(params) if first is None else first
            return [
                self._submit(found[index], bool(healthy[index]), pool)
                for index in range(len(trials))
            ]

        predicted = pool.submit(predict)

        def finish() -> Finished:
            rows: list[dict[str, Any]] = []
            scores: list[dict[str, Any]] = []
            cut: dict[str, list[np.ndarray]] = {}
            for index, (cases, future) in enumerate(predicted.result()):
                trial = trials[index]
                test, development = future.result()
                cut[trial.trial_id] = cases
                scores += [{"trial_id": trial.trial_id, **row} for row in test]
                rows.append(
                    trial_row(trial)
                    | annotated[index]
                    | _effort(self.program, annotated[index], supervised[index])
                    | {f"development_{k}": v for k, v in development.items()}
                    | {
                        "status": "ok" if healthy[index] else "diverged",
                        "seconds": seconds / len(trials),
                        "final_loss": float(losses[index]),
                        "loss_curve": curves[index].tolist(),
                    }
                )
            return Finished(trials=rows, scores=scores, predictions=cut)

        return finish

    def _submit(
        self, predictions: np.ndarray, healthy: bool, pool: ThreadPoolExecutor
    ) -> tuple[list[np.ndarray], Future[Any]]:
        cases = list(by_case(predictions, self.predictor.cases))
        score = self.work.scorer.score
        return cases, pool.submit(score, cases, diverged=not healthy)

    def keep_weights(
        self, folder: Path, trials: Sequence[spec.Trial], state: TrialState
    ) -> None:
        """Writes the last weights of every trial of a batch."""
        for index, trial in enumerate(trials[n] for n in self._places(trials)):
            save_weights(folder / trial.trial_id, trial_params(state.params, index))


def _effort(
    program: spec.Program,
    annotated: dict[str, Any],
    supervised: Int[np.ndarray, " kind"],
) -> dict[str, float]:
    """How often a trial saw its labels.

    Args:
      program: What was trained.
      annotated: The trial's columns, with `annotated_slices`.
      supervised: Annotated and interpolated slices that entered a loss.

    Returns:
      Epochs over annotated slices, supervised voxels, and the share of
      interpolated slices among all that supervised.
    """
    plane = float(np.prod(program.patch[-2:]))
    true, interpolated = map(int, supervised)
    slices = true * plane / float(np.prod(program.grid))
    return {
        "epochs": slices / annotated["annotated_slices"],
        "supervised_voxels": (true + interpolated) * plane,
        "interpolated_share": interpolated / max(true + interpolated, 1),
    }


def trial_row(trial: spec.Trial) -> dict[str, Any]:
    """Columns of the trials table that stand before anything is trained."""
    fields = dataclasses.fields(trial)
    return {
        **{field.name: getattr(trial, field.name) for field in fields},
        "trial_id": trial.trial_id,
        "steps": trial.training.steps,
    }
