"""How far a work folder is, for --status: done, under way, failed, time left."""

import fcntl
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from slicebench import spec
from slicebench.remote import describe_holder
from slicebench.results import Store
from slicebench.runner.looks import looks_status
from slicebench.runner.options import Options
from slicebench.runner.shards import shared_trials
from slicebench.runner.study import Study

_SHOWN = 20
"""Failed trials that are named one by one."""


def status_text(study: Study, options: Options) -> str:
    """Returns how far a work folder is; nothing is written.

    The first line counts trials. Then, where there is something to tell: how far each
    unit of a study with looks is, which batches are under way, how long the rest takes
    at the rate of the trials that are done, and which trials failed, with the cause.
    """
    workdir = options.workdir
    trials: Any = Store(workdir).read_trials()
    mine = {trial.trial_id: trial for trial in shared_trials(study, options)}
    rows: list[dict[str, Any]] = trials.to_dict("records")
    done = [row for row in rows if row["trial_id"] in mine]
    left = [mine[name] for name in mine.keys() - {row["trial_id"] for row in done}]
    failed = [row for row in done if row["status"] != "ok"]
    if study.looks:
        counts = f"{len(done)} trials done, {len(mine)} at most"
    else:
        counts = f"{len(done)} of {len(mine)} trials done, {len(left)} to go"
    lines = [f"{options.place}: {counts}, {len(failed)} diverged"]
    if study.looks:
        lines += looks_status(study, workdir)
    holder = describe_holder(workdir)
    lines += [f"{holder}, holds {options.place}"] if holder else []
    lines += _under_way(workdir)
    if left and done and not study.looks:
        lines.append(_time_left(done, left))
    return "\n".join([*lines, *_failures(failed)])


def _under_way(workdir: Path) -> list[str]:
    """Whether a process runs there, and batches that are begun and not finished."""
    lines = [f"a process runs in {workdir}"] if is_running(workdir) else []
    for folder in sorted((workdir / "checkpoints").glob("batch-*")):
        steps = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        if steps:
            lines.append(
                f"under way: {folder.name}, last checkpoint at step {max(steps)}"
            )
    return lines


def is_running(workdir: Path) -> bool:
    """Returns whether another process holds the work folder."""
    try:
        with (workdir / ".lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _time_left(done: Sequence[dict[str, Any]], left: Sequence[spec.Trial]) -> str:
    """Time of the rest, each trial at the mean rate of its program's finished ones.

    Programs that have none yet take the rate of all.
    """
    seconds, steps = Counter[str](), Counter[str]()
    for row in done:
        for name in (row["program"], "all"):
            seconds[name] += row["seconds"]
            steps[name] += row["steps"]
    total = 0.0
    for trial in left:
        name = trial.program if trial.program in steps else "all"
        total += seconds[name] / steps[name] * trial.training.steps
    return f"time left: about {_in_words(total)} of one process at the rate so far"


def _in_words(seconds: float) -> str:
    """Rounds a duration for reading.

    >>> _in_words(20), _in_words(600), _in_words(7300)
    ('1 min', '10 min', '2.0 h')
    """
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(minutes, 1):.0f} min"


def _failures(failed: Sequence[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for row in failed[:_SHOWN]:
        where = f"{row['num_volumes']} x {_density(row['slices_per_volume'])}"
        rate = json.loads(row["training"])["learning_rate"]
        lines.append(
            f"failed: {row['trial_id']}: {row['task']} {row['dims']}, "
            f"{row['strategy']}, {where}, seed {row['selection_seed']}/"
            f"{row['training_seed']}: a loss or an update was not finite within "
            f"{row['steps']} steps (learning rate {rate:g})"
        )
    if len(failed) > _SHOWN:
        lines.append(f"failed: {len(failed) - _SHOWN} more")
    if failed:
        lines.append("--retry_failed trains failed trials again")
    return lines


def _density(slices: Any) -> str:
    return "all" if pd.isna(slices) else str(slices)
