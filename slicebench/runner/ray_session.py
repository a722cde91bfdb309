"""A run on a Ray cluster: the driver deals batches, workers train and write them.

Execution is at least once, rows are there exactly once: what a lost worker had under
way is dealt again, a part is named by the digest of its trials and appears by one
rename, and a batch that is there already is left out.
"""

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.results import trials_of
from slicebench.runner.dispatch import Batch, Line, Queue, Unit
from slicebench.runner.locks import only_one
from slicebench.runner.options import Options
from slicebench.runner.plans import count_cores
from slicebench.runner.processes import Processes
from slicebench.runner.ray_cluster import Size, check_executor, connected, size_workers
from slicebench.runner.ray_crew import Crew, Ended
from slicebench.runner.ray_worker import LOCKS, TOKEN, Outcome, Setup, study_digest
from slicebench.runner.session import Session, batches_of, part_name
from slicebench.runner.shards import work
from slicebench.runner.stopping import stoppable
from slicebench.runner.study import Study
from slicebench.runner.team_session import TeamSession

_log = logging.getLogger(__name__)

_MOST_LOSSES = 5
"""Workers that a batch may take down before it is taken to be the cause."""

_WAITING_SECONDS = 60.0
"""Time between two lines that say that no worker has found a place yet."""

_START = "start"


class LostBatchError(RuntimeError):
    """A batch whose workers are lost again and again."""


class RaySession(Session):
    """One call of the command line that trains on a Ray cluster.

    Args:
      study: What to run.
      options: How.

    Raises:
      InputError: Flags that do not go together, or Ray is missing.
    """

    def __init__(self, study: Study, options: Options):
        check_executor(options)
        super().__init__(study, options)
        self._crew: Any = None
        self._queue = Queue()
        self._unplanned: dict[str, Line] = {}
        self._losses: dict[str, int] = {}
        self._wanted: tuple[spec.Trial, ...] = ()
        self._done: set[str] = set()
        self._finished = 0
        self._bar: Any = None

    def run(self) -> None:
        """Trains what is missing; every finished batch is written at once.

        Raises:
          InputError: The work folder or the cluster cannot be used.
          OutOfMemoryError: Not even one trial fits on a device.
          LostBatchError: A batch took down worker after worker.
          Stopped: The process was asked to end; what is done is kept.
        """
        with (
            only_one(self.options.workdir),
            connected(self.options) as ray,
            stoppable() as self._stop,
            self._workers(ray),
        ):
            self._run()

    @contextlib.contextmanager
    def _workers(self, ray: Any) -> Iterator[None]:
        """Starts the workers and waits for the first; ends them all."""
        workdir, size = self.options.workdir, self._size(ray)
        shutil.rmtree(workdir / LOCKS, ignore_errors=True)
        setup = Setup(
            token=uuid.uuid4().hex,
            study=study_digest(self.study),
            devices=size.devices,
            threads=count_cores(),
        )
        (workdir / TOKEN).write_text(setup.token)
        _log.info(
            "Ray: workers %d, each with %g CPUs%s",
            size.workers,
            size.cpus,
            " and a GPU" if size.gpus else "",
        )
        self._crew = Crew(ray, size, self.options, setup)
        try:
            for _ in range(min(size.workers, len(self.study.trials))):
                self._crew.hire()
            self._wait_for_one(size)
            yield
        finally:
            self._crew.end()
            shutil.rmtree(workdir / LOCKS, ignore_errors=True)
            (workdir / TOKEN).unlink(missing_ok=True)

    def _size(self, ray: Any) -> Size:
        counts = {
            record["machine"].get("count")
            for record in self._planner.records.values()
            if record["machine"].get("platform") == "cpu"
        }
        return size_workers(
            [node["Resources"] for node in ray.nodes() if node["Alive"]],
            wanted=self.options.ray_workers,
            local=self.options.ray_address is None,
            devices=jax.local_device_count(),
            recorded=counts.pop() if len(counts) == 1 else None,
        )

    def _wait_for_one(self, size: Size) -> None:
        told = time.monotonic()
        while not self._crew.ready():
            self._stop.check()
            self._collect()
            if time.monotonic() - told > _WAITING_SECONDS:
                told = time.monotonic()
                _log.warning(
                    "Ray: no worker has begun yet; each needs %g CPUs and %d GPUs, "
                    "which others may hold",
                    size.cpus,
                    size.gpus,
                )

    def _train(
        self,
        trials: tuple[spec.Trial, ...],
        done: set[str],
        bar: Any,
        pool: ThreadPoolExecutor,  # noqa: ARG002
    ) -> None:
        """Deals those of some trials that are not done."""
        self._wanted, self._done = trials, set(done)
        self._bar, self._finished = bar, bar.n
        for trial in trials:
            if trial.trial_id not in done:
                line = Line(trial.task, trial.fold, trial.program)
                self._unplanned.setdefault(trial.program, line)
        for name in list(self._unplanned):
            if self._planner.chosen(name) is not None:
                del self._unplanned[name]
                self._cut(name)
        while self._unplanned or len(self._queue) or self._crew.busy():
            if self._stop.asked is not None:
                self._halt(self._stop.asked)
            self._assign()
            self._collect()
            self._show()
        mine = {(trial.task, trial.fold) for trial in trials}
        for key in self.study.tasks:
            if key in mine:
                self._examples(key).finish()

    def _cut(self, name: str) -> None:
        """Cuts what is left of a program into batches, as a local run would."""
        plan, program = self._planner.chosen(name), self.study.programs[name]
        assert plan is not None, "a program is planned before it is cut"
        self._queue.drop(name)
        jobs = [hand.job for hand in self._crew.hands]
        left_out = self._done.union(*(j.ids for j in jobs if isinstance(j, Unit)))
        lines: dict[Line, list[spec.Trial]] = {}
        for trial in self._wanted:
            if trial.program == name:
                line = Line(trial.task, trial.fold, name)
                lines.setdefault(line, []).append(trial)
        for line, trials in lines.items():
            cuts = batches_of(trials, plan.trials, left_out)
            self._queue.put(line, [_batch(cut, program) for cut in cuts])

    def _assign(self) -> None:
        """Gives every idle worker something to do."""
        for hand in self._crew.idle():
            if self._unplanned:
                name = next(iter(self._unplanned))
                self._crew.plan(hand, self._unplanned.pop(name))
            elif unit := self._queue.take(hand.last, self._crew.ready()):
                record = self._planner.records[unit.line.program]
                self._crew.train(hand, unit, record)

    def _collect(self, *, replace: bool = True) -> None:
        """Waits a moment for calls to end, and takes what became of them."""
        for ended in self._crew.ended():
            if ended.result is None:
                self._deal_again(ended)
                if replace:
                    self._crew.hire()
            elif ended.job is None:
                self._welcome(ended)
            else:
                self._book(ended.result)
                self._take(ended.job, ended.result)

    def _welcome(self, ended: Ended) -> None:
        """Lets a worker that has made the study work."""
        self._losses.pop(_START, None)
        ended.hand.ready = True
        found = ended.result["machine"]
        self._device = self._device or found
        if found != self._device:
            _log.warning(
                "worker %d is another kind of machine than the first (%s, %s): results "
                "agree within the tolerance between machines",
                ended.hand.number,
                found,
                self._device,
            )

    def _take(self, job: Line | Unit, outcome: Outcome) -> None:
        """Takes a plan, or counts what of a unit is written and deals the rest."""
        if isinstance(job, Unit):
            left = self._count(job)
            if outcome.kind == "memory":
                self._adopt_smaller(job.line.program, outcome.record)
            elif left:
                self._queue.put(job.line, left, first=True)
        elif outcome.kind == "stopped":
            self._unplanned[job.program] = job
        else:
            # Also after memory ran out: the record holds a smaller plan then.
            self._planner.adopt(self.study.programs[job.program], outcome.record)
            self._write_experiment()
            self._cut(job.program)

    def _adopt_smaller(self, name: str, record: dict[str, Any]) -> None:
        """Cuts a program's trials anew where a plan took too much memory."""
        plan = self._planner.chosen(name)
        if plan is not None and plan.trials_per_device > record["trials_per_device"]:
            self._planner.adopt(self.study.programs[name], record)
            self._write_experiment()
        self._cut(name)

    def _count(self, unit: Unit) -> list[Batch]:
        """Counts the batches of a unit that are written; returns the others."""
        steps = self.study.programs[unit.line.program].training.steps
        left: list[Batch] = []
        for batch in unit.batches:
            if self._is_written(batch.name):
                self._done.update(batch.ids)
                self._finished += steps * len(batch.ids)
            else:
                left.append(batch)
        return left

    def _deal_again(self, ended: Ended) -> None:
        """Deals again what a lost worker had under way."""
        job = ended.job
        if isinstance(job, Line):
            self._unplanned[job.program] = job
        elif job is None:
            self._count_loss(_START, ended.reason)
        else:
            left = self._count(job)
            self._queue.put(job.line, left, first=True)
            self._watch(job.ids - {i for batch in left for i in batch.ids})
            if left:
                self._count_loss(left[0].name, ended.reason)

    def _count_loss(self, name: str, reason: str) -> None:
        self._losses[name] = self._losses.get(name, 0) + 1
        if self._losses[name] < _MOST_LOSSES:
            return
        if name == _START:
            raise InputError(f"--executor=ray: workers do not start ({reason})")
        raise LostBatchError(
            f"batch {name}: {_MOST_LOSSES} workers were lost while training it "
            f"({reason}); finished trials are kept"
        )

    def _watch(self, ids: set[str]) -> None:
        """Tells a watcher of finished trials whose worker could not."""
        if self._scalars is not None and ids:
            rows: Any = trials_of(self.store, ids)
            self._scalars.add(rows.to_dict("records"))

    def _book(self, outcome: Outcome) -> None:
        """Adds what a call took to this run's times."""
        self._accounts.steps += outcome.steps
        self._programs.hits += outcome.hits
        for name, seconds in outcome.spent.items():
            self._accounts.seconds[name] += seconds
        if self._scalars is not None:
            self._scalars.add(outcome.rows)
        if outcome.steps:
            self._write_compute()

    def _halt(self, number: int) -> None:
        """Lets every worker write a checkpoint, then ends the run.

        Raises:
          Stopped: Always.
        """
        self._crew.ask_to_stop(number)
        while self._crew.busy():
            self._collect(replace=False)
        self._stop.check()

    def _show(self) -> None:
        """Moves the progress bar, and passes on what workers say."""
        self._crew.listen()
        busy = self._crew.busy()
        steps = self._finished + sum(hand.steps for hand in busy)
        self._bar.update(steps - self._bar.n)
        self._bar.set_postfix_str(
            f"{len(self._done) / self._accounts.minutes:.1f} trials/min, "
            f"{len(busy)} of {len(self._crew.hands)} workers busy",
            refresh=False,
        )


def _batch(trials: list[spec.Trial], program: spec.Program) -> Batch:
    cost = sum(work(trial, program) for trial in trials)
    return Batch(part_name(trials), tuple(t.trial_id for t in trials), cost)


def make_session(
    study: Study, options: Options, team: Processes | None = None
) -> Session:
    """Returns what trains a study under the executor that the options name.

    Args:
      study: What to run.
      options: How.
      team: Processes that train it together; None is this one alone.

    Raises:
      InputError: As the sessions do.
    """
    if team is not None:
        return TeamSession(study, options, team)
    kind = RaySession if options.executor == "ray" else Session
    return kind(study, options)
