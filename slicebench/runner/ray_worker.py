"""What runs in a Ray worker: the study, and the batches that the driver deals.

A worker makes the study from the same options as the driver, sees the same work
folder and writes parts and checkpoints there itself: no array and no row of scores
travels through Ray. It lives for the whole run and keeps its compiled programs.
"""

import collections
import contextlib
import dataclasses
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax
import threadpoolctl

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.batches import ProgramWork
from slicebench.runner.compiled import compiled_programs
from slicebench.runner.dispatch import Line, Unit
from slicebench.runner.locks import held, open_as_worker
from slicebench.runner.memory import is_out_of_memory
from slicebench.runner.options import Options
from slicebench.runner.plan_cache import machine
from slicebench.runner.plans import count_cores
from slicebench.runner.record import Examples
from slicebench.runner.session import Session, part_name
from slicebench.runner.stopping import Stopped
from slicebench.runner.study import Study, make_study

LOCKS = "locks"
"""Folder of the locks of batches in the work folder."""

TOKEN = ".driver"
"""File of the work folder by which a worker knows that it is the driver's."""

_TOKEN_SECONDS = 10.0
_HOST_DEVICES = re.compile(r"--xla_force_host_platform_device_count=\S+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker has to know beside the options.

    Attributes:
      token: Content of the file `TOKEN`.
      study: `study_digest` of the driver's study.
      devices: CPU devices to be made; None where the worker has an accelerator.
      threads: Threads of the driver's machine for linear algebra.
    """

    token: str
    study: str
    devices: int | None
    threads: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a call.

    Attributes:
      kind: `done`, `stopped` on request, or `memory` that ran out.
      record: Plan of the program as in experiment.json; after `memory` a smaller one.
      spent: Seconds by part.
      steps: Trial-steps done.
      hits: Programs that were read instead of compiled.
      rows: Finished trials as in the store, for whoever watches the run.
    """

    kind: Literal["done", "stopped", "memory"]
    record: dict[str, Any]
    spent: dict[str, float]
    steps: int
    hits: int
    rows: list[dict[str, Any]]


def study_digest(study: Study) -> str:
    """Returns what two processes compare that resolve the same options."""
    return spec.digest([trial.trial_id for trial in study.trials])


class Worker:
    """One worker; two calls at a time, one of them `progress` or `stop`.

    Args:
      options: The driver's, with absolute paths.
      setup: What else it has to know.
    """

    def __init__(self, options: Options, setup: Setup):
        self._options, self._setup = options, setup
        self._logs: collections.deque[tuple[int, str]] = collections.deque()
        self._session: RemoteSession | None = None
        self._asked: int | None = None
        self._keep = contextlib.ExitStack()

    def ready(self) -> dict[str, Any]:
        """Makes the study.

        Returns:
          `machine`: the machine as `plan_cache.machine` tells it.

        Raises:
          InputError: This node does not see the work folder, or resolves the options
            otherwise than the driver.
        """
        setup, workdir = self._setup, self._options.workdir
        _refuse_other_folder(workdir, setup.token)
        self._keep.enter_context(open_as_worker(workdir))
        _use_devices(setup.devices)
        self._keep.enter_context(threadpoolctl.threadpool_limits(setup.threads))
        _keep_logs(self._logs)
        study = make_study(self._options)
        if study_digest(study) != setup.study:
            raise InputError(
                f"node {os.uname().nodename}: resolves the experiment otherwise than "
                "the driver; every node needs the same slicebench, experiment file "
                "and data"
            )
        session = RemoteSession(study, self._options)
        session.use_programs(self._keep.enter_context(compiled_programs()))
        self._session = session
        return {"machine": machine()}

    def plan(self, line: Line) -> Outcome:
        """Chooses the plan of a line's program, timing some where that is asked for."""
        return self._do(lambda session: session.plan(line), line.program)

    def train(self, unit: Unit, record: Mapping[str, Any]) -> Outcome:
        """Trains batches under a plan and writes their parts."""
        return self._do(
            lambda session: session.train(unit, dict(record)), unit.line.program
        )

    def _do(self, call: Callable[["RemoteSession"], None], program: str) -> Outcome:
        session = self._session
        assert session is not None, "ready() comes first"
        session.begin(self._asked)
        kind: Literal["done", "stopped", "memory"] = "done"
        try:
            call(session)
        except Stopped:
            kind = "stopped"
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            kind = "memory"
        if kind == "memory":
            # Outside the handler: the error's frames hold arrays of the batch.
            session.shrink(program)
        return session.outcome(kind, program)

    def progress(self) -> tuple[int, list[tuple[int, str]]]:
        """Returns trial-steps of the call under way, and log lines since last time."""
        steps = 0 if self._session is None else self._session.counter.n
        lines = [self._logs.popleft() for _ in range(len(self._logs))]
        return steps, lines

    def stop(self, number: int) -> None:
        """Ends the call under way after a checkpoint."""
        self._asked = number
        if self._session is not None:
            self._session.ask_to_stop(number)


def _refuse_other_folder(workdir: Path, token: str) -> None:
    """Demands that this node sees the driver's work folder.

    Raises:
      InputError: It does not, even after a network file system's delay.
    """
    end = time.monotonic() + _TOKEN_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if (workdir / TOKEN).read_text() == token:
                return
        if time.monotonic() > end:
            raise InputError(
                f"--workdir={workdir}: node {os.uname().nodename} does not see this "
                "folder; --executor=ray needs one on a file system that all nodes share"
            )
        time.sleep(0.2)


def _use_devices(devices: int | None) -> None:
    """Makes as many CPU devices as the driver would; an accelerator is left alone."""
    if devices is None:
        return
    jax.config.update("jax_platforms", "cpu")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = _HOST_DEVICES.sub("", flags)
    jax.config.update("jax_num_cpu_devices", devices)


def _keep_logs(lines: collections.deque[tuple[int, str]]) -> None:
    """Keeps this package's log lines for the driver instead of writing them."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelno, self.format(record)))

    logger = logging.getLogger("slicebench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [Keep()]


class Counter:
    """Counts steps where a local run has a progress bar.

    Attributes:
      n: Trial-steps.
    """

    def __init__(self) -> None:
        self.n = 0

    def update(self, steps: int) -> None:
        """Adds steps."""
        self.n += steps

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Shows nothing."""


class Rows:
    """Keeps finished trials where a local run writes scalars."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, trials: Iterable[Mapping[str, Any]]) -> None:
        """Keeps trials."""
        self.found += map(dict, trials)


class RemoteSession(Session):
    """A session that trains what it is told and leaves the whole to the driver."""

    def __init__(self, study: Study, options: Options):
        super().__init__(study, dataclasses.replace(options, tensorboard=False))
        self._trials = {trial.trial_id: trial for trial in study.trials}
        self._pool = ThreadPoolExecutor(max_workers=count_cores() + 1)
        self._watched = options.tensorboard
        self.counter = Counter()
        self._hits = 0

    def use_programs(self, programs: Any) -> None:
        """Keeps compiled programs there from now on."""
        self._programs = programs

    def begin(self, asked: int | None) -> None:
        """Counts anew: a call begins."""
        self.counter = Counter()
        self._accounts.clear()
        self._hits = self._programs.hits
        self._scalars = Rows() if self._watched else None
        if asked is not None:
            self.ask_to_stop(asked)

    def ask_to_stop(self, number: int) -> None:
        """Lets the call under way end after a checkpoint."""
        self._stop.asked = signal.Signals(number)

    def outcome(
        self, kind: Literal["done", "stopped", "memory"], program: str
    ) -> Outcome:
        """Returns what the call has done."""
        return Outcome(
            kind=kind,
            record=self._planner.records.get(program, {}),
            spent=dict(self._accounts.seconds),
            steps=self._accounts.steps,
            hits=self._programs.hits - self._hits,
            rows=self._scalars.found if isinstance(self._scalars, Rows) else [],
        )

    def plan(self, line: Line) -> None:
        """Chooses a program's plan and puts a task on the devices."""
        self._stop.check()
        work, _ = self._open((line.task, line.fold), {line.program})
        mine = [t for t in self.study.trials if t.program == line.program]
        self._compile(line.program, mine, work, set())

    def train(self, unit: Unit, record: dict[str, Any]) -> None:
        """Trains batches under the driver's plan."""
        line = unit.line
        plan = self._planner.adopt(self.study.programs[line.program], record)
        self._compiled = {
            key: work
            for key, work in self._compiled.items()
            if key[0] != line.program or key[1] == plan
        }
        work, examples = self._open((line.task, line.fold), {line.program})
        batches = [[self._trials[i] for i in batch.ids] for batch in unit.batches]
        compiled = self._compile(line.program, batches[0], work, set())
        try:
            self._run_batches(compiled, batches, examples, self.counter, self._pool)
        except RuntimeError as error:
            if is_out_of_memory(error):
                for batch in batches:
                    self._checkpoints(batch).remove()
            raise

    def shrink(self, program: str) -> None:
        """Halves a program's plan after memory ran out."""
        self._compiled = {k: w for k, w in self._compiled.items() if k[0] != program}
        known = self.study.programs[program]
        choice = self._planner.known(known)
        assert choice is not None, "the call began with a plan"
        self._planner.shrink(known, choice.plan)

    def _run_batch(
        self,
        compiled: ProgramWork,
        batch: list[spec.Trial],
        examples: Examples,
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> Callable[[], None]:
        """Trains a batch under its lock; one that is there meanwhile is left out."""
        name = part_name(batch)
        lock = self.options.workdir / LOCKS / name
        with contextlib.ExitStack() as stack:
            stack.enter_context(held(lock, self._stop.check))
            if self._is_written(name):
                bar.update(sum(trial.training.steps for trial in batch))
                return lambda: None
            finish = super()._run_batch(compiled, batch, examples, bar, pool)
            kept = stack.pop_all()

        def write() -> None:
            with kept:
                finish()

        return write

    def _write_experiment(self) -> None:
        """Leaves experiment.json to the driver."""

    def _write_compute(self) -> None:
        """Leaves compute.json to the driver."""
