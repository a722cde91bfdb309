"""Runs a study: batches through the engine, rows into the store."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from slicebench import spec
from slicebench.results import Store, read_trials_compactly
from slicebench.runner.accounts import Accounts
from slicebench.runner.batches import Finished, ProgramWork, TaskWork
from slicebench.runner.compiled import CompiledPrograms, compiled_programs
from slicebench.runner.live import Scalars, Watcher
from slicebench.runner.locks import only_one
from slicebench.runner.looks import Stage, stages
from slicebench.runner.memory import is_out_of_memory
from slicebench.runner.options import Options
from slicebench.runner.planner import Planner
from slicebench.runner.plans import count_cores
from slicebench.runner.progress import extend_bar, progress_bar
from slicebench.runner.record import (
    Examples,
    describe,
    refuse_other_training,
    write_experiment,
)
from slicebench.runner.retry import set_failed_aside
from slicebench.runner.shards import shared_trials
from slicebench.runner.stopping import Stop, Stopped, stoppable
from slicebench.runner.study import Study
from slicebench.runner.timing import Racer
from slicebench.training.checkpoints import BatchCheckpoints, clean_checkpoints
from slicebench.training.engine import Engine, Plan

_log = logging.getLogger(__name__)


def batches_of(
    trials: list[spec.Trial], size: int, done: set[str]
) -> list[list[spec.Trial]]:
    """Cuts a program's trials into batches; finished trials are left out.

    The cut is made over all trials, finished or not, so that a resumed run has
    the batches of an uninterrupted one.
    """
    cuts = [trials[start : start + size] for start in range(0, len(trials), size)]
    left = [[trial for trial in cut if trial.trial_id not in done] for cut in cuts]
    return [batch for batch in left if batch]


class Session:
    """One call of the command line that trains.

    Args:
      study: What to run.
      options: How.

    Raises:
      InputError: More shares are asked for than there are trials, or scalars and
        their package is missing.
    """

    def __init__(self, study: Study, options: Options):
        self.study = study
        self.options = options
        self._mine = shared_trials(study, options)
        self.store = Store(options.workdir)
        self._planner = Planner(options.plan, options.workdir)
        self._compiled: dict[tuple[str, Plan], ProgramWork] = {}
        self._work: TaskWork | None = None
        self._asked = study
        self._accounts = Accounts(options.workdir)
        self._programs = CompiledPrograms(None, None)
        self._stop = Stop()
        self._scalars: Watcher | None = None
        if options.tensorboard:
            self._scalars = Scalars(options.workdir)
        self._device: dict[str, Any] | None = None

    def run(self) -> None:
        """Trains what is missing; every finished batch is written at once.

        Raises:
          InputError: The work folder cannot be used.
          OutOfMemoryError: Not even one trial fits on a device.
          Stopped: The process was asked to end; what is done is kept.
        """
        with (
            self._only_one(),
            compiled_programs() as programs,
            self._stoppable() as stop,
        ):
            self._programs, self._stop = programs, stop
            self._run()

    def _only_one(self) -> contextlib.AbstractContextManager[None]:
        return only_one(self.options.workdir)

    def _stoppable(self) -> contextlib.AbstractContextManager[Stop]:
        return stoppable()

    def _open_bar(self) -> Any:
        return progress_bar(0, 0)

    def _run(self) -> None:
        self._begin()
        with (
            self._open_bar() as bar,
            # One thread more, which waits for predictions.
            ThreadPoolExecutor(max_workers=count_cores() + 1) as pool,
        ):
            for stage in stages(self.study, self.options.workdir):
                mine = stage.trials if self.study.looks else self._mine
                self._run_stage(dataclasses.replace(stage, trials=mine), bar, pool)

    def _begin(self) -> None:
        """Makes the work folder ready."""
        self._clean()
        if self.options.retry_failed:
            set_failed_aside(self.store)
        trials = read_trials_compactly(self.store)
        refuse_other_training(self.options.workdir, trials, self.study)
        if self._scalars is not None and len(trials):
            self._scalars.add(cast(Any, self.store.read_trials()).to_dict("records"))

    def _finished_ids(self) -> set[str]:
        """Ids of all trials of the work folder that are finished."""
        return self.store.done()

    def _run_stage(self, stage: Stage, bar: Any, pool: ThreadPoolExecutor) -> None:
        """Trains what is missing of a stage; a study without looks has one."""
        asked = stage.study.trials if self.study.looks else stage.trials
        self._asked = dataclasses.replace(stage.study, trials=asked)
        self._write_experiment()
        done = self._finished_ids() & {trial.trial_id for trial in asked}
        trained = [t.training.steps for t in asked if t.trial_id in done]
        total = sum(trial.training.steps for trial in asked)
        extend_bar(bar, total, sum(trained))
        if done and not self._accounts.steps:
            _log.info("%d of %d trials are there already", len(done), len(asked))
            final = self.options.workdir / "checkpoints" / "final"
            if self.options.keep_weights and not all(
                (final / t).is_dir() for t in done
            ):
                _log.warning("--keep_weights: weights of finished trials are not there")
        self._train(stage.trials, done, bar, pool)

    def _train(
        self,
        trials: tuple[spec.Trial, ...],
        done: set[str],
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Trains those of some trials that are not done, one task after another."""
        for key in self.study.tasks:
            mine = [t for t in trials if (t.task, t.fold) == key]
            if mine:
                self._run_task(key, mine, done, bar, pool)

    def _write_experiment(self) -> None:
        write_experiment(
            self.options.workdir / "experiment.json",
            describe(
                # Every share tells of the whole study: together they are complete.
                self._asked if self.study.looks else self.study,
                self.options,
                self._planner.records,
                self._device,
            ),
        )

    def _clean(self) -> None:
        """Removes what a killed run left behind."""
        self.store.clean()
        workdir = self.options.workdir
        clean_checkpoints(workdir / "checkpoints")
        for folder in (workdir / "checkpoints").glob("batch-*"):
            part = folder.name.removeprefix("batch-")
            if self._is_written(part):
                BatchCheckpoints(folder).remove()

    def _run_task(
        self,
        key: tuple[str, int],
        mine: list[spec.Trial],
        done: set[str],
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> None:
        names = dict.fromkeys(trial.program for trial in mine)
        work, examples = self._open(key, names)
        for name in names:
            trials = [trial for trial in mine if trial.program == name]
            while any(trial.trial_id not in done for trial in trials):
                done |= self._run_program(name, trials, work, done, examples, bar, pool)
        examples.finish()

    def _open(
        self, key: tuple[str, int], names: Collection[str]
    ) -> tuple[TaskWork, Examples]:
        """Goes on with a task, of which these programs are trained."""
        # Folds share programs; those of the task before only hold memory.
        self._compiled = {k: w for k, w in self._compiled.items() if k[0] in names}
        task = self.study.tasks[key]
        # The next look goes on with the same task: nothing is made anew.
        if self._work is None or self._work.task is not task:
            self._work = TaskWork(task, self.study.inputs)
        return self._work, self._examples(key)

    def _examples(self, key: tuple[str, int]) -> Examples:
        shown = [t for t in self._asked.trials if (t.task, t.fold) == key]
        return Examples(self.options.workdir, self.study.tasks[key], shown)

    def _run_program(
        self,
        name: str,
        trials: list[spec.Trial],
        work: TaskWork,
        done: set[str],
        examples: Examples,
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> set[str]:
        """Runs what is missing; ends early where memory runs out.

        Returns:
          Ids of all trials that are finished then.
        """
        compiled = self._compile(name, trials, work, done)
        batches = batches_of(trials, compiled.plan.trials, done)
        shown = bar.n
        try:
            self._run_batches(compiled, batches, examples, bar, pool)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            return self._finished_ids()
        # Outside the handler: the error's frames hold arrays of the batch.
        plan = compiled.plan
        del self._compiled[name, plan], compiled
        self._planner.shrink(self.study.programs[name], plan)
        self._write_experiment()
        finished = self.store.done()
        for batch in batches:
            self._checkpoints(batch).remove()
        kept = [t for batch in batches for t in batch if t.trial_id in finished]
        bar.update(shown + sum(t.training.steps for t in kept) - bar.n)
        return finished

    def _compile(
        self, name: str, trials: list[spec.Trial], work: TaskWork, done: set[str]
    ) -> ProgramWork:
        """Chooses the program's plan and puts the task on the devices."""
        program, start = self.study.programs[name], time.monotonic()

        def build(plan: Plan) -> Racer:
            arrays, _ = work.annotate(trials[0], program)
            return Racer(program, plan, work.make_bank(program), arrays)

        left = sum(
            trial.program == name and trial.trial_id not in done
            for trial in self._asked.trials
        )
        plan, engine = self._choose(program, left, build)
        self._accounts.seconds["planning"] += time.monotonic() - start
        self._write_experiment()
        found = self._compiled.get((name, plan))
        if found is None:
            found = ProgramWork(program, plan, work, engine)
            self._compiled[name, plan] = found
        found.use(work)
        return found

    def _choose(
        self, program: spec.Program, left: int, build: Callable[[Plan], Racer]
    ) -> tuple[Plan, Engine | None]:
        """Chooses a program's plan, see `Planner.choose`."""
        return self._planner.choose(program, left, build)

    def _run_batches(
        self,
        compiled: ProgramWork,
        batches: list[list[spec.Trial]],
        examples: Examples,
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Trains one batch after another; each is scored while the next one trains."""
        pending: Callable[[], None] | None = None
        try:
            for batch in batches:
                self._stop.check()
                finish = self._run_batch(compiled, batch, examples, bar, pool)
                if pending is not None:
                    pending()
                pending = finish
        except (RuntimeError, Stopped) as error:
            # What the batch before has reached is not lost with this one.
            if pending is not None and self._can_write_after(error):
                with contextlib.suppress(RuntimeError):
                    pending()
            raise
        if pending is not None:
            pending()

    def _can_write_after(self, error: Exception) -> bool:  # noqa: ARG002
        """Whether the batch before can be written after an error in this one."""
        return True

    def _checkpoints(self, batch: list[spec.Trial]) -> BatchCheckpoints:
        folder = self.options.workdir / "checkpoints"
        return BatchCheckpoints(folder / f"batch-{part_name(batch)}")

    def _is_written(self, part: str) -> bool:
        """Whether a batch's rows are complete: trials are written after scores."""
        return (self.options.workdir / "trials" / f"part-{part}.parquet").exists()

    def _run_batch(
        self,
        compiled: ProgramWork,
        batch: list[spec.Trial],
        examples: Examples,
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> Callable[[], None]:
        checkpoints = self._checkpoints(batch)
        before, start = compiled.compile_seconds, time.monotonic()

        def progress(steps: int) -> None:
            self._accounts.steps += steps * len(batch)
            self._show_rate(bar, batch)
            bar.update(steps * len(batch))

        state, annotated = compiled.train(
            batch, checkpoints, self.options.checkpoint_seconds, progress, self._stop
        )
        trained = time.monotonic()
        seconds = trained - start - (compiled.compile_seconds - before)
        between = compiled.compile_seconds
        finish = compiled.score(batch, state, annotated, seconds, pool)
        self._accounts.seconds["compile"] += compiled.compile_seconds - before
        self._accounts.seconds["training"] += seconds
        self._accounts.seconds["evaluation"] += (
            time.monotonic() - trained - (compiled.compile_seconds - between)
        )
        if self.options.keep_weights:
            final = self.options.workdir / "checkpoints" / "final"
            compiled.keep_weights(final, batch, state)

        def write() -> None:
            waiting = time.monotonic()
            finished: Finished = finish()
            examples.add(finished.predictions)
            self._append(batch, finished)
            checkpoints.remove()
            self._programs.publish()
            self._accounts.seconds["evaluation"] += time.monotonic() - waiting
            self._write_compute()

        return write

    def _append(self, batch: list[spec.Trial], finished: Finished) -> None:
        """Writes a batch's rows."""
        self.store.append(part_name(batch), finished.trials, finished.scores)
        if self._scalars is not None:
            self._scalars.add(finished.trials)

    def _show_rate(self, bar: Any, batch: list[spec.Trial]) -> None:
        trials = self._accounts.steps / batch[0].training.steps
        text = f"{trials / self._accounts.minutes:.1f} trials/min, {batch[0].task}"
        bar.set_postfix_str(text, refresh=False)

    def _write_compute(self) -> None:
        """Adds this call's times to those of earlier ones, after every batch."""
        self._accounts.write(self._programs.hits)


def part_name(batch: Sequence[spec.Trial]) -> str:
    """Returns the name of a batch: a digest of its trials."""
    return spec.digest([trial.trial_id for trial in batch])
