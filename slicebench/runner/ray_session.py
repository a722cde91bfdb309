"""A run on a Ray cluster: the driver deals batches, workers train and write them.

Execution is at least once, rows are there exactly once: what a lost worker had under
way is dealt again, a part is named by the digest of its trials and appears by one
rename, and a batch that is there already is left out.
"""

import contextlib
import dataclasses
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.dispatch import Batch, Line, Queue, Unit
from slicebench.runner.locks import only_one
from slicebench.runner.options import Options
from slicebench.runner.plans import count_cores
from slicebench.runner.ray_cluster import (
    Size,
    absolute,
    check_executor,
    connected,
    size_workers,
)
from slicebench.runner.ray_worker import (
    LOCKS,
    TOKEN,
    Outcome,
    Setup,
    Worker,
    study_digest,
)
from slicebench.runner.session import Session, batches_of, part_name
from slicebench.runner.shards import work
from slicebench.runner.stopping import stoppable
from slicebench.runner.study import Study

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_MOST_LOSSES = 5
"""Workers that a batch may take down before it is taken to be the cause."""

_WAITING_SECONDS = 60.0
"""Time between two lines that say that no worker has found a place yet."""

_START = "start"


class LostBatchError(RuntimeError):
    """A batch whose workers are lost again and again."""


@dataclasses.dataclass(eq=False)
class Hand:
    """A worker as the driver sees it.

    Attributes:
      number: Its number, from 1.
      actor: Ray's handle.
      call: The call under way, if any.
      job: What it does: None before it is ready, a program's line to be planned, or
        batches.
      ready: Whether it has made the study.
      last: Line that it did before.
      steps: Trial-steps of the call under way.
      poll: Question about progress that is not yet answered.
    """

    number: int
    actor: Any
    call: Any = None
    job: Line | Unit | None = None
    ready: bool = False
    last: Line | None = None
    steps: int = 0
    poll: Any = None


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
        self._ray: Any = None
        self._size = Size(workers=0, cpus=0, gpus=0, devices=None)
        self._setup = Setup(token="", study="", devices=None, threads=1)
        self._hands: list[Hand] = []
        self._queue = Queue()
        self._unplanned: dict[str, Line] = {}
        self._losses: dict[str, int] = {}
        self._wanted: tuple[spec.Trial, ...] = ()
        self._done: set[str] = set()
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
            connected(self.options) as self._ray,
            stoppable() as self._stop,
            self._workers(),
        ):
            self._run()

    @contextlib.contextmanager
    def _workers(self) -> Iterator[None]:
        """Starts the workers and waits for the first; ends them all."""
        workdir = self.options.workdir
        shutil.rmtree(workdir / LOCKS, ignore_errors=True)
        token = uuid.uuid4().hex
        (workdir / TOKEN).write_text(token)
        self._size = self._plan_size()
        self._setup = Setup(
            token=token,
            study=study_digest(self.study),
            devices=self._size.devices,
            threads=count_cores(),
        )
        _log.info(
            "Ray: %d workers of %g CPUs%s",
            self._size.workers,
            self._size.cpus,
            " and 1 GPU" if self._size.gpus else "",
        )
        try:
            for _ in range(min(self._size.workers, len(self.study.trials))):
                self._hire()
            self._wait_for_one()
            yield
        finally:
            for hand in self._hands:
                self._ray.kill(hand.actor)
            shutil.rmtree(workdir / LOCKS, ignore_errors=True)
            (workdir / TOKEN).unlink(missing_ok=True)

    def _wait_for_one(self) -> None:
        told = time.monotonic()
        while not any(hand.ready for hand in self._hands):
            self._stop.check()
            self._collect()
            if time.monotonic() - told > _WAITING_SECONDS:
                told = time.monotonic()
                _log.warning(
                    "Ray: no worker has begun yet; each needs %g CPUs and %d GPUs, "
                    "which others may hold",
                    self._size.cpus,
                    self._size.gpus,
                )

    def _plan_size(self) -> Size:
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        counts = {
            record["machine"].get("count")
            for record in self._planner.records.values()
            if record["machine"].get("platform") == "cpu"
        }
        return size_workers(
            [node["Resources"] for node in nodes],
            wanted=self.options.ray_workers,
            local=self.options.ray_address is None,
            devices=jax.local_device_count(),
            recorded=counts.pop() if len(counts) == 1 else None,
        )

    def _hire(self) -> None:
        """Asks for one more worker; it comes when there is a place for it."""
        remote = self._ray.remote(
            num_cpus=self._size.cpus,
            num_gpus=self._size.gpus,
            # One call that works, one that asks or stops.
            max_concurrency=2,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(Worker)
        number = 1 + max((hand.number for hand in self._hands), default=0)
        hand = Hand(number, remote.remote(absolute(self.options), self._setup))
        hand.call = hand.actor.ready.remote()
        self._hands.append(hand)

    def _train(
        self,
        trials: tuple[spec.Trial, ...],
        done: set[str],
        bar: Any,
        pool: ThreadPoolExecutor,  # noqa: ARG002
    ) -> None:
        """Deals those of some trials that are not done."""
        self._wanted, self._done, self._bar = trials, set(done), bar
        for trial in trials:
            if trial.trial_id not in done:
                line = Line(trial.task, trial.fold, trial.program)
                self._unplanned.setdefault(trial.program, line)
        for name in list(self._unplanned):
            if self._planner.chosen(name) is not None:
                del self._unplanned[name]
                self._cut(name)
        while self._unplanned or len(self._queue) or self._busy():
            if self._stop.asked is not None:
                self._halt()
            self._assign()
            self._collect()
            self._show()
        for key in self.study.tasks:
            if any((trial.task, trial.fold) == key for trial in trials):
                self._examples(key).finish()

    def _busy(self) -> list[Hand]:
        return [hand for hand in self._hands if hand.job is not None]

    def _cut(self, name: str) -> None:
        """Cuts what is left of a program into batches, as a local run would."""
        plan = self._planner.chosen(name)
        assert plan is not None, "a program is planned before it is cut"
        self._queue.drop(name)
        under_way = [
            hand.job.ids for hand in self._busy() if isinstance(hand.job, Unit)
        ]
        left_out = self._done.union(*under_way)
        program = self.study.programs[name]
        lines: dict[Line, list[spec.Trial]] = {}
        for trial in self._wanted:
            if trial.program == name:
                line = Line(trial.task, trial.fold, name)
                lines.setdefault(line, []).append(trial)
        for line, trials in lines.items():
            cuts = batches_of(trials, plan.trials, left_out)
            self._queue.put(
                line,
                [
                    Batch(
                        part_name(cut),
                        tuple(trial.trial_id for trial in cut),
                        sum(work(trial, program) for trial in cut),
                    )
                    for cut in cuts
                ],
            )

    def _assign(self) -> None:
        """Gives every idle worker something to do."""
        count = sum(hand.ready for hand in self._hands)
        for hand in self._hands:
            if not hand.ready or hand.job is not None:
                continue
            if self._unplanned:
                name = next(iter(self._unplanned))
                hand.job = self._unplanned.pop(name)
                hand.call = hand.actor.plan.remote(hand.job)
            elif unit := self._queue.take(hand.last, count):
                record = self._planner.records[unit.line.program]
                hand.job, hand.last = unit, unit.line
                hand.call = hand.actor.train.remote(unit, record)

    def _collect(self, *, replace: bool = True) -> None:
        """Waits a moment for calls to end, and takes their outcomes."""
        calls = {hand.call: hand for hand in self._hands if hand.call is not None}
        if not calls:
            return
        ended, _ = self._ray.wait(list(calls), timeout=_POLL_SECONDS)
        for call in ended:
            self._take(calls[call], replace=replace)

    def _take(self, hand: Hand, *, replace: bool) -> None:
        errors = self._ray.exceptions
        try:
            outcome = self._ray.get(hand.call)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise
        except errors.RayError as error:
            self._lose(hand, error, replace=replace)
            return
        hand.call, job = None, hand.job
        hand.job, hand.steps = None, 0
        if job is None:
            self._welcome(hand, outcome["machine"])
            return
        self._book(outcome)
        if isinstance(job, Line):
            if outcome.kind == "done":
                self._planner.adopt(self.study.programs[job.program], outcome.record)
                self._write_experiment()
                self._cut(job.program)
            else:
                self._unplanned[job.program] = job
            return
        left = self._finish(job)
        if outcome.kind == "memory":
            self._adopt_smaller(job.line.program, outcome.record)
        elif left:
            self._queue.put(job.line, left, first=True)

    def _adopt_smaller(self, name: str, record: dict[str, Any]) -> None:
        """Cuts a program's trials anew where a plan took too much memory."""
        plan = self._planner.chosen(name)
        if plan is not None and plan.trials_per_device > record["trials_per_device"]:
            self._planner.adopt(self.study.programs[name], record)
            self._write_experiment()
        self._cut(name)

    def _welcome(self, hand: Hand, found: dict[str, Any]) -> None:
        hand.ready = True
        self._losses.pop(_START, None)
        if self._device is None:
            self._device = found
        if found != self._device:
            _log.warning(
                "worker %d is another kind of machine than the first (%s, %s): results "
                "agree within the tolerance between machines",
                hand.number,
                found,
                self._device,
            )

    def _finish(self, unit: Unit) -> list[Batch]:
        """Counts the batches of a unit that are written; returns the others."""
        folder = self.options.workdir / "trials"
        left: list[Batch] = []
        for batch in unit.batches:
            if (folder / f"part-{batch.name}.parquet").exists():
                self._done.update(batch.ids)
            else:
                left.append(batch)
        return left

    def _lose(self, hand: Hand, error: Exception, *, replace: bool) -> None:
        """Deals again what a lost worker had under way, and replaces the worker."""
        self._hands.remove(hand)
        with contextlib.suppress(self._ray.exceptions.RayError):
            # It may be alive behind a broken line.
            self._ray.kill(hand.actor)
        reason = str(error).strip().splitlines()[-1]
        if hand.job is None and not hand.ready:
            self._count_loss(_START, f"workers do not start ({error})")
        _log.warning("worker %d is lost (%s)", hand.number, reason)
        if isinstance(hand.job, Line):
            self._unplanned[hand.job.program] = hand.job
        elif hand.job is not None:
            before = set(self._done)
            left = self._finish(hand.job)
            if left:
                self._count_loss(left[0].name, f"batch {left[0].name} ({reason})")
            self._queue.put(hand.job.line, left, first=True)
            self._watch_lost(self._done - before)
        if replace:
            self._hire()

    def _count_loss(self, name: str, text: str) -> None:
        self._losses[name] = self._losses.get(name, 0) + 1
        if self._losses[name] >= _MOST_LOSSES:
            if name == _START:
                raise InputError(f"--executor=ray: {text}")
            raise LostBatchError(
                f"{text}: {_MOST_LOSSES} workers were lost while training it; finished "
                "trials are kept"
            )

    def _watch_lost(self, ids: set[str]) -> None:
        """Tells a watcher of trials whose worker could not."""
        if self._scalars is None or not ids:
            return
        trials: Any = self.store.read_trials()
        self._scalars.add(
            cast(Any, trials[trials["trial_id"].isin(ids)]).to_dict("records")
        )

    def _book(self, outcome: Outcome) -> None:
        """Adds what a call took to this run's times."""
        self._steps += outcome.steps
        self._programs.hits += outcome.hits
        for name, seconds in outcome.spent.items():
            self._spent[name] += seconds
        if self._scalars is not None:
            self._scalars.add(outcome.rows)
        if outcome.steps:
            self._write_compute()

    def _halt(self) -> None:
        """Lets every worker write a checkpoint, then ends the run.

        Raises:
          Stopped: Always.
        """
        for hand in self._busy():
            hand.actor.stop.remote(self._stop.asked)
        while self._busy():
            self._collect(replace=False)
        self._stop.check()

    def _show(self) -> None:
        """Moves the progress bar, and passes on what workers say."""
        for hand in self._hands:
            if hand.poll is not None:
                ended, _ = self._ray.wait([hand.poll], timeout=0)
                if not ended:
                    continue
                with contextlib.suppress(self._ray.exceptions.RayError):
                    hand.steps, lines = self._ray.get(hand.poll)
                    for level, line in lines:
                        _log.log(level, "worker %d: %s", hand.number, line)
            hand.poll = hand.actor.progress.remote() if hand.job is not None else None
        finished = sum(
            t.training.steps for t in self._asked.trials if t.trial_id in self._done
        )
        under_way = sum(hand.steps for hand in self._busy())
        minutes = (time.monotonic() - self._started) / 60
        self._bar.update(finished + under_way - self._bar.n)
        self._bar.set_postfix_str(
            f"{len(self._done) / minutes:.1f} trials/min, "
            f"{len(self._busy())} of {len(self._hands)} workers busy",
            refresh=False,
        )


def make_session(study: Study, options: Options) -> Session:
    """Returns what trains a study under the executor that the options name.

    Raises:
      InputError: As the sessions do.
    """
    kind = RaySession if options.executor == "ray" else Session
    return kind(study, options)
