"""One run of the command line that can be disturbed and begun again."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd

from slicebench.results import Store

_COMMAND = (
    "--experiment=budget_sweep",
    "--smoke",
    "--plan=fixed",
    "--budgets=4,8",
    "--slices_per_volume=1,2",
    "--num_seeds=2",
    "--ceiling_seeds=1",
    "--steps=60",
    "--checkpoint_seconds=0",
)
_TIMES = ("seconds",)
_LIMIT = 300.0
_POLL = 0.02


class Run:
    """A work folder of its own, and processes that train in it.

    Attributes:
      workdir: The folder.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slicebench-faults-"))
        self.workdir = self._folder / "run"
        self.log = self._folder / "log"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(
        self,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        prepare: Callable[[], None] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts the command; what it says goes to `log`, emptied before.

        Args:
          flags: Further flags.
          environment: Further variables.
          prepare: Called in the new process before the command.
        """
        words = [sys.executable, "-m", "slicebench.main", *_COMMAND]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*words, f"--workdir={self.workdir}", *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                preexec_fn=prepare,  # noqa: PLW1509 (no threads here)
            )

    def said(self) -> str:
        """Returns what the last process has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def last_line(self) -> str:
        """Returns the last line that is not the progress bar."""
        lines = self.said().replace("\r", "\n").splitlines()
        told = [line.strip() for line in lines if line.strip() and "step/s" not in line]
        return told[-1] if told else ""

    def finish(self) -> None:
        """Runs the command to its end.

        Raises:
          RuntimeError: It fails or does not end.
        """
        status = self.wait(self.start())
        if status != 0:
            raise RuntimeError(f"status {status}: {self.last_line()}")

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Returns the exit status; a process that hangs is killed and counts as -9."""
        try:
            return process.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def wait_for(
        self,
        process: subprocess.Popen[bytes],
        what: str,
        fits: Callable[[Path], bool] = Path.exists,
    ) -> None:
        """Waits until a file of a pattern is in the work folder.

        Args:
          process: Writes it.
          what: The pattern.
          fits: Further condition on the file.

        Raises:
          RuntimeError: The process ended first.
        """
        while not any(map(fits, self.workdir.glob(what))):
            if process.poll() is not None:
                raise RuntimeError(f"ended before {what}: {self.last_line()}")
            time.sleep(_POLL)

    def kill_after(self, seconds: float) -> str | None:
        """Starts the command and kills it.

        Returns:
          The phase it was in; None where it ended before.

        Raises:
          RuntimeError: It ended by itself, but not well.
        """
        process = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process.wait(seconds) != 0:
                raise RuntimeError(f"status {process.returncode}: {self.last_line()}")
            return None
        process.kill()
        process.wait()
        return self._phase()

    def _phase(self) -> str:
        """Tells the phase by what has been said and written."""
        said = self.said()
        if "program " not in said:
            return "start and planning"
        if "compiled training" not in said:
            return "selection and compilation"
        if (self.workdir / "tables").exists() or "100%" in said:
            return "report"
        return "training, checkpoints, scoring and writing"

    def rows(self) -> pd.DataFrame:
        """Returns all that was measured, in a fixed order; times apart."""
        store = Store(self.workdir)
        trials = store.read_trials().drop(columns=list(_TIMES))
        for name in ("chosen_slices", "loss_curve"):
            trials[name] = [None if v is None else str(list(v)) for v in trials[name]]
        merged = store.read_results().merge(
            trials, on="trial_id", suffixes=("", "_trial"), validate="many_to_one"
        )
        columns = ["trial_id", "case", "class_name", "metric"]
        return merged.sort_values(columns, ignore_index=True)

    def same(self, whole: pd.DataFrame) -> bool:
        """Whether the rows are those of another run, bit for bit."""
        return self.rows().equals(whole)
