"""Real runs of `slicebench.main`, started by the benchmarks in a process apart."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

ONCE = ("compile", "planning")
"""Parts of the wall time that a run of any length pays once a program."""
_PATIENCE = 3600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
      workdir: Its work folder.
      compute: Content of compute.json: seconds by part, trial-steps.
      experiment: Content of experiment.json.
      process_seconds: Wall time of the whole command with imports, loading and
        report; None where the run was not started here.
    """

    workdir: Path
    compute: dict[str, Any]
    experiment: dict[str, Any]
    process_seconds: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each part of the wall time that the run tells apart."""
        return {
            name.removesuffix("_seconds"): float(value)
            for name, value in self.compute.items()
            if name.endswith("_seconds") and name != "wall_seconds"
        }

    @property
    def wall(self) -> float:
        """Seconds from the first batch's preparation to the last one written."""
        return float(self.compute["wall_seconds"])

    @property
    def once(self) -> float:
        """Seconds of the parts in `ONCE`."""
        return sum(self.parts.get(name, 0.0) for name in ONCE)

    def trials(self) -> pd.DataFrame:
        """Returns the table of trials."""
        return self._table("trials")

    def scores(self) -> pd.DataFrame:
        """Returns the table of scores."""
        return self._table("results")

    def _table(self, name: str) -> pd.DataFrame:
        parts = sorted((self.workdir / name).glob("part-*.parquet"))
        return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)


def read_run(workdir: Path, process_seconds: float | None = None) -> Run:
    """Reads a work folder.

    Raises:
      FileNotFoundError: The folder holds no finished run.
    """
    compute, experiment = (
        json.loads((workdir / f"{name}.json").read_text())
        for name in ("compute", "experiment")
    )
    return Run(
        workdir=workdir,
        compute=compute,
        experiment=experiment,
        process_seconds=process_seconds,
    )


def run_main(workdir: Path, arguments: Sequence[str]) -> Run:
    """Runs the command line in a fresh work folder and reads the outcome.

    Raises:
      RuntimeError: The command failed; the message holds its last lines.
    """
    command = [sys.executable, "-m", "slicebench.main", f"--workdir={workdir}"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-5:])
        raise RuntimeError(f"{' '.join(arguments)}: status {done.returncode}\n{last}")
    return read_run(workdir, seconds)


def write_rows(path: str | None, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows as JSON where a file is asked for."""
    if path:
        Path(path).write_text(json.dumps(list(rows), indent=1) + "\n")
