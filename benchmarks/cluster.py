"""How a large study would run on a cluster: a simulation from measured costs.

    python -m benchmarks.cluster [--experiment=paper_grid] [--measured=FOLDER]
        [--markdown=FILE]

The trials are those of the experiment. Work is counted in FLOP of training steps;
how fast a worker does it is what a published run reached on 2 CPU cores
(`--measured`, its compute.json and programs), times a factor that is an assumption:
no GPU has been measured. Bytes of rows are those of that run; the time that the store
needs for a batch is measured on this machine's disk, each time this command runs.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from absl import app, flags

from benchmarks._cluster_model import Cluster, Costs, cut
from benchmarks._flags import parser
from benchmarks._markdown import markdown
from slicebench import runner, spec
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.runner.plans import step_flop
from slicebench.training.engine import count_parameters

WORKERS = (8, 64, 512)
FACTORS = (1, 20, 100)
BATCHES = (16, 4)
_BYTES = 12
"""Of a weight in a checkpoint: itself and two moments of AdamW, float32."""

_FLAGS = flags.FlagValues()
_EXPERIMENT = flags.DEFINE_string(
    "experiment", "paper_grid", "Name of the experiment.", flag_values=_FLAGS
)
_MEASURED = flags.DEFINE_string(
    "measured",
    "docs/results/hippocampus/strategies",
    "Folder of a published run.",
    flag_values=_FLAGS,
)
_MARKDOWN = flags.DEFINE_string(
    "markdown", None, "File for the table.", flag_values=_FLAGS
)


def measured_rate(folder: Path) -> tuple[float, float]:
    """Returns FLOP a second of a published run, and seconds per compiled program."""
    experiment, spent = (
        read_json(folder / f"{name}.json") for name in ("experiment", "compute")
    )
    (described,) = experiment["programs"]
    program = spec.Program(
        dims=described["dims"],
        network=spec.Network(**described["network"]),
        training=spec.Training(
            **{
                **described["training"],
                "augmentation": spec.Augmentation(
                    **described["training"]["augmentation"]
                ),
                "patch": tuple(described["training"]["patch"]),
            }
        ),
        grid=tuple(described["grid"]),
        channels=described["channels"],
        classes=described["classes"],
        slices=described["slices"],
    )
    rate = spent["trial_steps"] * step_flop(program) / spent["training_seconds"]
    return rate, spent["compile_seconds"] / spent["sessions"]


class Written(NamedTuple):
    """What a batch of 16 trials costs here.

    Attributes:
      rows_seconds: Making and writing its rows.
      sync_seconds: Writing and syncing two files of that size alone.
      size: Bytes of rows a trial.
    """

    rows_seconds: float
    sync_seconds: float
    size: float


def measured_store(folder: Path) -> Written:
    """Writes a batch of a published run anew, five times; medians."""
    store = Store(folder)
    frame: Any = store.read_trials()
    rows: list[dict[str, Any]] = [
        {
            name: value
            for name, value in row.items()
            if not (pd.api.types.is_scalar(value) and pd.isna(value))
        }
        for row in frame.head(16).to_dict("records")
    ]
    results: Any = store.read_results()
    scores = results[results["trial_id"].isin([row["trial_id"] for row in rows])]
    keys = ["trial_id", "case", "class_name", "metric", "score"]
    given = scores[keys].to_dict("records")
    with tempfile.TemporaryDirectory() as fresh:
        whole, syncs, sizes = list[float](), list[float](), list[int]()
        for count in range(5):
            start = time.perf_counter()
            Store(fresh).append(f"p{count}", rows, given)
            whole.append(time.perf_counter() - start)
            parts = list(Path(fresh).glob(f"*/part-p{count}.parquet"))
            sizes = [path.stat().st_size for path in parts]
            start = time.perf_counter()
            for number, size in enumerate(sizes):
                write_json_atomic(f"{fresh}/{number}.json", {"filler": "x" * size})
            syncs.append(time.perf_counter() - start)
    sync = statistics.median(syncs)
    return Written(statistics.median(whole) - sync, sync, sum(sizes) / len(rows))


def simulate(
    trials: list[tuple[str, float, int]],
    rate: float,
    compiling: float,
    written: Written,
) -> pd.DataFrame:
    """Returns one row a cluster, speed, size of batches and way of dealing."""
    rows: list[dict[str, Any]] = []
    for factor, workers, size in itertools.product(FACTORS, WORKERS, BATCHES):
        batches = cut(trials, size)
        costs = Costs(
            flop_per_second=rate * factor,
            compile_seconds=compiling,
            rows_seconds=written.rows_seconds * size / 16,
            commit_seconds=written.sync_seconds,
        )
        for shared in (True, False):
            cluster = Cluster(workers, costs)
            found = cluster.run(batches, shared_queue=shared)
            rows.append(
                {
                    "speed of a worker": f"{factor} x",
                    "workers": workers,
                    "trials a batch": size,
                    "batches": len(batches),
                    "dealt": "queue" if shared else "shares",
                    "makespan h": round(found.hours, 2),
                    "idle": f"{found.idle:.0%}",
                    "workers lost": found.losses,
                    "checkpoints MB/s": round(found.checkpoint_rate / 1e6, 1),
                    "store busy": f"{found.store_busy:.0%}",
                }
            )
    return pd.DataFrame(rows)


def main(_: list[str]) -> None:
    """Prints the table and what it rests on."""
    folder = Path(_MEASURED.value)
    rate, compiling = measured_rate(folder)
    written = measured_store(folder)
    start = time.perf_counter()
    study = runner.make_study(
        runner.Options(experiment=_EXPERIMENT.value, workdir=Path("never-written"))
    )
    planning = time.perf_counter() - start
    of = {
        name: (step_flop(program), _BYTES * count_parameters(program))
        for name, program in study.programs.items()
    }
    trials = [
        (
            trial.program,
            trial.training.steps * of[trial.program][0],
            of[trial.program][1],
        )
        for trial in study.trials
    ]
    total = sum(flop for _, flop, _ in trials)
    found = simulate(trials, rate, compiling, written)
    text = "\n".join(
        [
            f"{_EXPERIMENT.value}: {len(trials)} trials of {len(study.programs)} "
            f"programs, {total / 1e15:.0f} PFLOP of training; planned in "
            f"{planning:.0f} s here",
            f"a worker as measured: {rate / 1e9:.0f} GFLOP/s ({folder}), "
            f"{compiling:.0f} s to compile a program",
            f"rows of 16 trials: {written.rows_seconds * 1e3:.0f} ms to make, "
            f"{written.sync_seconds * 1e3:.0f} ms to sync here, "
            f"{written.size / 1e3:.1f} kB a trial, "
            f"{written.size * len(trials) / 1e6:.0f} MB in all",
            "",
            markdown(found),
        ]
    )
    if _MARKDOWN.value:
        Path(_MARKDOWN.value).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
