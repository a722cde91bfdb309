"""How much faster several processes are than one: shares of one study.

    python -m benchmarks.workers [--workers=1,2,4] [--rounds=2] [--markdown=FILE]

A study of the embedded phantom is trained by 1, 2 and 4 processes (`--shard=I/N`), each
held to one core; more processes than cores share them. Counts alternate within a
round. Start-up, compilation and report are told apart: what is compared is trials an
hour between the first step of the first process and the last row of the last.
Efficiency is throughput over that of one process times what the cores allow.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._machine import announce
from benchmarks._markdown import markdown
from slicebench.results import Store, read_json

_STUDY = (
    "--experiment=allocation",
    "--tasks=phantom_organ",
    "--budgets=24",
    "--slices_per_volume=1,2,4",
    "--num_seeds=8",
    "--ceiling_seeds=0",
    "--plan=fixed",
)
_LIMIT = 1800.0

_FLAGS = flags.FlagValues()
_WORKERS = flags.DEFINE_list(
    "workers", ["1", "2", "4"], "Numbers of processes.", flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 2, "How often each.", lower_bound=1, flag_values=_FLAGS
)
_MARKDOWN = flags.DEFINE_string(
    "markdown", None, "File for the table.", flag_values=_FLAGS
)


def train(workdir: Path, count: int) -> dict[str, Any]:
    """Trains all shares side by side, each on a core of its own as far as they go.

    Returns:
      Trials, seconds of the slowest share's training and scoring, and of the whole.

    Raises:
      RuntimeError: A share failed.
    """
    cores = sorted(os.sched_getaffinity(0))
    start = time.monotonic()
    processes = [
        subprocess.Popen(
            [
                *("taskset", "--cpu-list", str(cores[index % len(cores)])),
                *(sys.executable, "-m", "slicebench.main", *_STUDY),
                f"--workdir={workdir}",
                f"--shard={index}/{count}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index in range(count)
    ]
    statuses = [process.wait(_LIMIT) for process in processes]
    whole = time.monotonic() - start
    if any(statuses):
        raise RuntimeError(f"{count} shares ended with {statuses}")
    shares = [workdir / f"shard-{index}-of-{count}" for index in range(count)]
    spent = [read_json(share / "compute.json") for share in shares]
    return {
        "trials": sum(len(Store(share).done()) for share in shares),
        "training": max(one["training_seconds"] for one in spent),
        "whole": whole,
    }


def table(found: dict[int, list[dict[str, Any]]]) -> pd.DataFrame:
    """Returns one row a number of processes: the best round of each."""
    cores = len(os.sched_getaffinity(0))
    rows: list[dict[str, Any]] = []
    for count, rounds in found.items():
        rate = max(one["trials"] / one["training"] * 3600 for one in rounds)
        alone = rows[0]["trials an hour"] if rows else rate
        rows.append(
            {
                "processes": count,
                "cores": min(count, cores),
                "trials an hour": round(rate),
                "times one process": round(rate / alone, 2),
                "efficiency": f"{rate / alone / min(count, cores):.0%}",
                "whole command s": round(min(one["whole"] for one in rounds)),
            }
        )
    return pd.DataFrame(rows)


def main(_: list[str]) -> None:
    """Measures and prints the table."""
    device, load = announce()
    counts = [int(count) for count in _WORKERS.value]
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for _round in range(_ROUNDS.value):
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                found[count].append(train(Path(folder), count))
            print(count, found[count][-1], file=sys.stderr)
    text = f"{device}, load {load}\n\n{markdown(table(found))}"
    if _MARKDOWN.value:
        Path(_MARKDOWN.value).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
