"""How far a work folder is, for --status: done, under way, failed, time left."""

import fcntl
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slicebench import spec
from slicebench.remote import describe_holder
from slicebench.results import Store, read_progress, trials_of
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
    store = Store(workdir)
    mine = {trial.trial_id: trial for trial in shared_trials(study, options)}
    trials: Any = read_progress(store)
    # Much faster than `isin`, which hashes every text anew.
    names: list[str] = trials["trial_id"].to_list()
    done = trials[np.array([name in mine for name in names], dtype=bool)]
    left = [mine[name] for name in mine.keys() - set(names)]
    failed = sorted(done.loc[done["status"] != "ok", "trial_id"])
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
    if left and len(done) and not study.looks:
        lines.append(_time_left(done, left))
    return "\n".join([*lines, *_failures(store, failed)])


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


def _time_left(done: pd.DataFrame, left: Sequence[spec.Trial]) -> str:
    """Time of the rest, each trial at the mean rate of its program's finished ones.

    Programs that have none yet take the rate of all.
    """
    spent: Any = done[["seconds", "steps"]]
    programs: Any = spent.groupby(done["program"], observed=True).sum()
    rates: dict[str, float] = (programs["seconds"] / programs["steps"]).to_dict()
    everywhere: float = spent["seconds"].sum() / spent["steps"].sum()
    to_come = Counter[str]()
    for trial in left:
        to_come[trial.program] += trial.training.steps
    total = sum(rates.get(name, everywhere) * to_come[name] for name in to_come)
    return f"time left: about {_in_words(total)} of one process at the rate so far"


def _in_words(seconds: float) -> str:
    """Rounds a duration for reading.

    >>> _in_words(20), _in_words(600), _in_words(7300)
    ('1 min', '10 min', '2.0 h')
    """
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(minutes, 1):.0f} min"


def _failures(store: Store, failed: Sequence[str]) -> list[str]:
    """Lines on trials that failed, the first of them with their settings."""
    lines: list[str] = []
    shown: Any = trials_of(store, failed[:_SHOWN]) if failed else pd.DataFrame()
    for row in shown.to_dict("records"):
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
