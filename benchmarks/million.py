"""A million trials: what planning, ledger, status and report need.

    python -m benchmarks.million [--trials=1000000] [--scores=100] [--batch=1000]
        [--workdir=FOLDER] [--markdown=FILE]

The trials are those of `benchmarks/_million_grid.py`, with as many seeds as give at
least so many; their parts are made up. Planning, ledger, status and report are
processes of their own, whose processor time and largest resident memory are recorded.
Parts need about 15 bytes a score on disk, in a folder that is removed at the end (in
--workdir they stay, and are used again).
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._markdown import markdown

_FLAGS = flags.FlagValues()
_TRIALS = flags.DEFINE_integer(
    "trials", 1_000_000, "Trials, about.", lower_bound=1, flag_values=_FLAGS
)
_SCORES = flags.DEFINE_integer(
    "scores", 100, "Scores of a trial.", lower_bound=4, flag_values=_FLAGS
)
_BATCH = flags.DEFINE_integer(
    "batch", 1000, "Trials of a part.", lower_bound=1, flag_values=_FLAGS
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Keeps the parts.", flag_values=_FLAGS)
_MARKDOWN = flags.DEFINE_string(
    "markdown", None, "File for the table.", flag_values=_FLAGS
)
_STAGE = flags.DEFINE_enum(
    "stage",
    None,
    ["plan", "ledger", "status", "report"],
    "One stage alone, in this process.",
    flag_values=_FLAGS,
)

SHARES = 1000
_GRID = Path(__file__).with_name("_million_grid.py")
Found = Iterator[tuple[str, str]]
"""What was done, yielded after each part of a stage."""


def _options(workdir: Path, seeds: int) -> Any:
    from slicebench import runner

    return runner.Options(
        experiment=str(_GRID),
        workdir=workdir,
        smoke=True,
        overrides=runner.Overrides(num_seeds=seeds),
    )


def seeds_for(trials: int) -> int:
    """Returns how many seeds of every cell give at least so many trials."""
    from slicebench import runner

    few = runner.make_study(_options(Path("never-written"), 1)).trials
    cells = sum(trial.strategy != "all" for trial in few)
    return max(2, -(-(trials - len(few) + cells) // cells))


def _study(workdir: Path) -> tuple[Any, Any]:
    from slicebench import runner

    path = workdir / "seeds.json"
    if not path.exists():
        path.write_text(json.dumps(seeds_for(_TRIALS.value)))
    options = _options(workdir, json.loads(path.read_text()))
    return runner.make_study(options), options


def plan(workdir: Path) -> Found:
    """Resolves the experiment into trials, deals them, and makes up their parts."""
    from benchmarks._million_parts import write_parts
    from slicebench.results import write_json_atomic
    from slicebench.runner.options import Shard
    from slicebench.runner.record import describe
    from slicebench.runner.shards import share_of

    study, options = _study(workdir)
    ids = {trial.trial_id for trial in study.trials}
    yield "plan", f"{len(ids)} trials with their ids"
    mine = share_of(study.trials, study.programs, Shard(index=0, count=SHARES))
    yield "deal", f"{SHARES} shares, {len(mine)} trials in one"
    write_json_atomic(workdir / "experiment.json", describe(study, options, {}))
    if not (workdir / "trials").exists():
        write_parts(study, workdir, batch=_BATCH.value, scores=_SCORES.value)
    found = [*workdir.glob("*/part-*.parquet")]
    size = sum(path.stat().st_size for path in found)
    yield "make up", f"{len(found) // 2} parts, {size / 1e9:.2f} GB"


def ledger(workdir: Path) -> Found:
    """Looks for damage and reads which trials are done, as a session starts."""
    from slicebench.results import Store

    store = Store(workdir)
    store.clean()
    yield "look for damage", "every part opened"
    yield "ledger", f"{len(store.done())} trials done"


def status(workdir: Path) -> Found:
    """Plans, and says how far the folder is."""
    from slicebench.runner.status import status_text

    study, options = _study(workdir)
    yield "plan", "again"
    text = status_text(study, options).splitlines()[0]
    yield "status", text.rpartition(": ")[2]


def report(workdir: Path) -> Found:
    """Reads the scores, and rebuilds the report."""
    from slicebench.report import write_report

    size = write_report(workdir).stat().st_size
    yield "report", f"page of {size / 1e6:.2f} MB"


_STAGES: dict[str, Callable[[Path], Found]] = {
    "plan": plan,
    "ledger": ledger,
    "status": status,
    "report": report,
}


def run_stage(name: str, workdir: Path) -> Iterator[dict[str, Any]]:
    """Yields what each part of a stage has needed, this process's peak so far."""
    last = time.process_time(), time.perf_counter()
    for done, what in _STAGES[name](workdir):
        now = time.process_time(), time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        yield {
            "stage": done,
            "processor s": round(now[0] - last[0], 1),
            "wall s": round(now[1] - last[1], 1),
            "peak GB": round(peak / 1e9, 2),
            "of what": what,
        }
        last = now


def _measure(name: str, workdir: Path) -> list[dict[str, Any]]:
    given = [f"--{flag.name}={flag.value}" for flag in (_TRIALS, _SCORES, _BATCH)]
    command = [sys.executable, "-m", "benchmarks.million", *given]
    command += [f"--stage={name}", f"--workdir={workdir}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def measure(workdir: Path) -> pd.DataFrame:
    """Returns time and largest resident memory of every stage."""
    rows: list[dict[str, Any]] = []
    for name in _STAGES:
        found = _measure(name, workdir)
        print(*found, sep="\n", flush=True)
        # Of the second plan only what follows from it is new.
        rows += [row for row in found if row["of what"] != "again"]
    return pd.DataFrame(rows)


def main(_: list[str]) -> None:
    """Measures every stage, or runs one."""
    if _STAGE.value:
        for row in run_stage(_STAGE.value, Path(_WORKDIR.value or ".")):
            print("\n" + json.dumps(row), flush=True)
        return
    if _WORKDIR.value is not None:
        Path(_WORKDIR.value).mkdir(parents=True, exist_ok=True)
        table = measure(Path(_WORKDIR.value))
    else:
        with tempfile.TemporaryDirectory() as folder:
            table = measure(Path(folder))
    text = markdown(table)
    if _MARKDOWN.value:
        Path(_MARKDOWN.value).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
