"""A run of several processes that are one program: `jax.distributed`.

The trial axis of a batch lies over the devices of all processes. Each process makes,
trains, predicts and scores the trials of its own devices; process 0 decides whatever
a clock, a signal or the file system has a say in, and alone writes rows and records.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.batches import Finished, ProgramWork, trial_row
from slicebench.runner.memory import OutOfMemoryError, is_out_of_memory
from slicebench.runner.options import Options
from slicebench.runner.processes import Processes, TeamStop
from slicebench.runner.progress import progress_bar
from slicebench.runner.record import Examples
from slicebench.runner.session import Session
from slicebench.runner.stopping import Stop, Stopped
from slicebench.runner.study import Study
from slicebench.runner.timing import Racer
from slicebench.training.checkpoints import BatchCheckpoints, Together
from slicebench.training.engine import Engine, Plan
from slicebench.training.step import TrialState

_log = logging.getLogger(__name__)

_TOKEN = ".team"
"""File of the work folder by which a process knows that it is process 0's."""
_TOKEN_SECONDS = 20.0


class TeamSession(Session):
    """One call of the command line in one of several processes.

    Args:
      study: What to run.
      options: How.
      team: All processes.

    Raises:
      InputError: As `Session` does.
    """

    def __init__(self, study: Study, options: Options, team: Processes):
        super().__init__(study, options)
        self._team = team

    def _only_one(self) -> contextlib.AbstractContextManager[None]:
        """Process 0 holds the work folder for all."""
        return super()._only_one() if self._team.leads else contextlib.nullcontext()

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[Stop]:
        with super()._stoppable() as stop:
            yield TeamStop(stop, self._team)

    def _open_bar(self) -> Any:
        return progress_bar(0, 0, shown=self._team.leads)

    def _begin(self) -> None:
        """Makes the work folder ready; the others wait until it is."""
        self._compare()
        self._share_folder()
        if self._team.leads:
            super()._begin()
        else:
            self._scalars = None
        self._planner.records = self._team.decide(lambda: self._planner.records)

    def _compare(self) -> None:
        """Finds a process that resolves the options otherwise.

        Raises:
          InputError: There is one.
        """
        ours = spec.digest([trial.trial_id for trial in self.study.trials])
        found = self._team.gather(ours)
        for index, other in enumerate(found or ()):
            if other != ours:
                raise InputError(
                    f"--process_id={index}: resolves the experiment otherwise than "
                    "process 0; every process needs the same slicebench, experiment "
                    "file, data and flags"
                )

    def _share_folder(self) -> None:
        """Finds a process that does not see the work folder of process 0.

        Raises:
          InputError: This is one.
        """
        path = self.options.workdir / _TOKEN
        token = self._team.decide(lambda: _write(path, uuid.uuid4().hex))
        end = time.monotonic() + _TOKEN_SECONDS
        while not _holds(path, token):
            if time.monotonic() > end:
                raise InputError(
                    f"--workdir={self.options.workdir}: process {self._team.index} "
                    "does not see the folder of process 0; several processes need "
                    "one on a file system that all of them share"
                )
            time.sleep(0.2)
        self._team.meet()
        if self._team.leads:
            path.unlink(missing_ok=True)

    def _finished_ids(self) -> set[str]:
        return set(self._team.decide(lambda: sorted(self.store.done())))

    def _choose(
        self, program: spec.Program, left: int, build: Callable[[Plan], Racer]
    ) -> tuple[Plan, Engine | None]:
        """Takes the plan of process 0; it must use every device.

        Raises:
          InputError: It does not.
        """

        def choose() -> dict[str, Any]:
            self._planner.choose(program, left, build)
            return self._planner.records[program.name]

        plan = self._planner.adopt(program, self._team.decide(choose))
        if plan.devices != jax.device_count():
            raise InputError(
                f"program {program.name}: its plan in the work folder uses "
                f"{plan.devices} of {jax.device_count()} devices; several processes "
                "need one that uses all: go on with one process, or in another folder"
            )
        return plan, None

    def _run_batch(
        self,
        compiled: ProgramWork,
        batch: list[spec.Trial],
        examples: Examples,
        bar: Any,
        pool: ThreadPoolExecutor,
    ) -> Callable[[], None]:
        """Trains a batch, see `Session`.

        Raises:
          OutOfMemoryError: The memory of a device of this process ran out.
        """
        try:
            return super()._run_batch(compiled, batch, examples, bar, pool)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                "the memory of a device ran out, and several processes do not go on "
                "with fewer trials a device; finished trials are kept: go on with one "
                "process, with --shard or with --executor=ray, which do"
            ) from error

    def _can_write_after(self, error: Exception) -> bool:
        """Only an agreed end is the same in all processes."""
        return isinstance(error, Stopped)

    def _checkpoints(self, batch: list[spec.Trial]) -> BatchCheckpoints:
        return TeamCheckpoints(super()._checkpoints(batch).folder, self._team)

    def _append(self, batch: list[spec.Trial], finished: Finished) -> None:
        """Brings a batch's rows to process 0, which writes them."""
        found = self._team.gather(_told(finished))
        if found is not None:
            super()._append(batch, _united(batch, found))

    def _examples(self, key: tuple[str, int]) -> Examples:
        """Every process writes what its trials predicted, process 0 joins them."""
        examples = super()._examples(key)
        if not self._team.leads:
            examples.finish = lambda: None
        return examples

    def _write_experiment(self) -> None:
        if self._team.leads:
            super()._write_experiment()

    def _write_compute(self) -> None:
        if self._team.leads:
            super()._write_compute()


class TeamCheckpoints(BatchCheckpoints):
    """Checkpoints that every process writes its part of.

    They are those of one process: it goes on from them, and the other way round.

    Args:
      folder: Folder of this batch alone.
      team: All processes.
    """

    def __init__(self, folder: Path, team: Processes):
        super().__init__(folder)
        self._team = team

    def save(self, state: TrialState, step: int) -> None:
        """Writes a checkpoint, see `BatchCheckpoints`."""
        # Orbax waits five minutes for a process that is late, which may be too short.
        self._team.meet()
        writers = Together(
            primary_host=0,
            active_processes=set(range(self._team.count)),
            barrier_sync_key_prefix=f"{self.folder.name}-{step}",
        )
        self.write(state, step, writers)
        if self._team.leads:
            self.drop_old()

    def restore(self, target: TrialState) -> TrialState | None:
        """Returns the newest checkpoint that all processes can read."""
        me = self._team.index
        alone = Together(primary_host=me, active_processes={me})
        for step in self._team.decide(lambda: self.steps()[::-1]):
            state = self.read(target, step, alone)
            if self._team.all_agree(state is not None):
                return state
            if self._team.leads:
                self.set_aside(step)
        return None

    def remove(self) -> None:
        """Deletes every checkpoint of the batch."""
        if self._team.leads:
            super().remove()


def _told(finished: Finished) -> dict[str, Any]:
    """What process 0 cannot know of a batch's trials."""
    return {
        "trials": [
            {k: v for k, v in row.items() if k not in spec.Trial.__dataclass_fields__}
            for row in finished.trials
        ],
        "scores": finished.scores,
    }


def _united(batch: list[spec.Trial], found: list[dict[str, Any]]) -> Finished:
    """Puts the rows of all processes into the order of the batch's trials."""
    told = [row for part in found for row in part["trials"]]
    trials = [trial_row(trial) | row for trial, row in zip(batch, told, strict=True)]
    scores = [row for part in found for row in part["scores"]]
    return Finished(trials=trials, scores=scores, predictions={})


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return text


def _holds(path: Path, text: str) -> bool:
    with contextlib.suppress(OSError):
        return path.read_text() == text
    return False
