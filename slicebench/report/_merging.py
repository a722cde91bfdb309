"""Several work folders of one experiment as one: shards, seeds, machines, tasks."""

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from slicebench import spec, statistics
from slicebench.errors import InputError
from slicebench.report import _compatible, _reading
from slicebench.results import (
    Store,
    read_json,
    read_trials_compactly,
    scores_of,
    stream_scores,
    write_json_atomic,
)

_MARK = "merged_from"
"""Field of experiment.json that tells a merged folder from one that was run."""

_OWN = ("trials", "results", "examples")


class _Source(NamedTuple):
    """One of the folders: what it planned and what it has."""

    folder: Path
    experiment: dict[str, Any]
    trials: set[str]
    compute: dict[str, Any]
    looks: dict[str, Any]


def merge(workdirs: Sequence[Path], out: Path, *, images: bool = True) -> None:
    """Writes a work folder that holds what several others hold.

    A trial that two folders hold with the same scores is kept once.

    Args:
      workdirs: Work folders of one experiment, finished or not.
      out: Folder to be made; one that an earlier merge made is replaced.
      images: Whether example pictures are taken along.

    Raises:
      InputError: A folder is no run, the folders do not fit together (the message
        names which and in what), or `out` holds something else.
    """
    _check_target(workdirs, out)
    sources = [_read(folder) for folder in workdirs]
    _compatible.check([(s.folder, s.experiment) for s in sources])
    _refuse_conflicts(sources)
    _refuse_shared_looks(sources)
    for name in _OWN:
        shutil.rmtree(out / name, ignore_errors=True)
    write_json_atomic(out / "experiment.json", _experiment(sources))
    write_json_atomic(out / "compute.json", _compute(sources))
    _copy_parts(sources, out)
    _copy_looks(sources, out)
    if images:
        _copy_examples(sources, out)


def _check_target(workdirs: Sequence[Path], out: Path) -> None:
    if any(out.resolve() == folder.resolve() for folder in workdirs):
        raise InputError(f"--out={out}: is one of the work folders; give another")
    if not out.exists() or not any(out.iterdir()):
        return
    path = out / "experiment.json"
    if not path.is_file() or _MARK not in read_json(path):
        raise InputError(
            f"--out={out}: is not empty and holds no merged report; give a folder "
            "that is new, empty, or was made by --out before"
        )


def _read(folder: Path) -> _Source:
    experiment = _reading.read_experiment(folder)
    store = Store(folder)
    trials = read_trials_compactly(store)["trial_id"]
    for _ in stream_scores(store):
        pass  # Damage is told before anything is written.
    return _Source(
        folder,
        experiment,
        set(trials),
        _read_if_there(folder / "compute.json"),
        _read_if_there(folder / statistics.LOOKS_FILE),
    )


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _refuse_conflicts(sources: Sequence[_Source]) -> None:
    """Raises InputError where a trial has other scores in another folder."""
    for one, other in itertools.combinations(sources, 2):
        common = one.trials & other.trials
        if not common:
            continue
        sides = [scores_of(Store(source.folder), common) for source in (one, other)]
        if not sides[0].equals(sides[1]):
            differ = next(name for name in sorted(common) if _differs(name, *sides))
            raise InputError(
                f"{one.folder} and {other.folder} hold trial {differ} with different "
                "scores: it was trained twice, on unlike machines or versions; leave "
                "one of the folders out, or run other shards or seeds in it"
            )


def _differs(trial: str, *scores: pd.DataFrame) -> bool:
    one, other = (
        cast(pd.DataFrame, side.loc[side["trial_id"] == trial]).reset_index(drop=True)
        for side in scores
    )
    return not one.equals(other)


def _copy_parts(sources: Sequence[_Source], out: Path) -> None:
    """Copies every part; of a trial that is there already nothing is copied."""
    known: set[str] = set()
    for number, source in enumerate(sources):
        for path in sorted((source.folder / "trials").glob("part-*.parquet")):
            trials: Any = pq.read_table(path)
            ids = trials.column("trial_id").to_pylist()
            fresh = [name for name in ids if name not in known]
            known.update(fresh)
            if not fresh:
                continue
            name = f"part-{number:03d}-{path.stem.removeprefix('part-')}.parquet"
            # As in a run, the trials part is the mark of completion: it comes last.
            for kind in ("results", "trials"):
                target = out / kind / name
                target.parent.mkdir(parents=True, exist_ok=True)
                origin = source.folder / kind / path.name
                if len(fresh) == len(ids):
                    shutil.copyfile(origin, target)
                else:
                    _copy_some(origin, target, fresh)


def _copy_some(origin: Path, target: Path, trials: Sequence[str]) -> None:
    table: Any = pq.read_table(origin)
    wanted = set(trials)
    rows = [name in wanted for name in table.column("trial_id").to_pylist()]
    pq.write_table(table.filter(pa.array(rows)), target, compression="zstd")


def _refuse_shared_looks(sources: Sequence[_Source]) -> None:
    """Raises InputError where trials would be added to a run made look by look."""
    for one, other in itertools.permutations(sources, 2):
        sides = [{t["name"] for t in s.experiment["tasks"]} for s in (one, other)]
        if one.looks and sides[0] & sides[1]:
            raise InputError(
                f"{one.folder} was run look by look (--stop_when_decided): the errors "
                f"of its verdicts hold for its own trials, those of {other.folder} "
                "cannot be added; report on each folder alone"
            )


def _copy_looks(sources: Sequence[_Source], out: Path) -> None:
    """Writes the looks of all folders, whose tasks differ, one after another."""
    found = [source.looks for source in sources if source.looks]
    (out / statistics.LOOKS_FILE).unlink(missing_ok=True)
    if found:
        states = [str(looks["state"]) for looks in found]
        merged = {
            **found[0],
            "units": [unit for looks in found for unit in looks.get("units", ())],
            "looks": [look for looks in found for look in looks["looks"]],
            "state": statistics.overall_state(states),
        }
        write_json_atomic(out / statistics.LOOKS_FILE, merged)


def _copy_examples(sources: Sequence[_Source], out: Path) -> None:
    for source in sources:
        for path in sorted((source.folder / "examples").glob("*.npz")):
            target = out / "examples" / path.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def _experiment(sources: Sequence[_Source]) -> dict[str, Any]:
    """Returns one experiment.json for all: unions, and where each part is from."""
    experiments = [source.experiment for source in sources]
    first = experiments[0]
    lists = ("tasks", "programs", "contrasts", "cells_left_out", "contrasts_dropped")
    tables = ("axes", "nsd_tolerance_mm")
    return {
        **first,
        **{name: _union(e.get(name, ()) for e in experiments) for name in lists},
        **{name: _joined(e.get(name) or {} for e in experiments) for name in tables},
        "command": "\n".join(dict.fromkeys(str(e["command"]) for e in experiments)),
        "num_seeds": max(int(e.get("num_seeds", 0)) for e in experiments),
        "seeds_by_task": _seeds_by_task(experiments),
        **_planned_looks(experiments),
        "num_trials": _planned(sources),
        "versions": _side_by_side(e.get("versions", {}) for e in experiments),
        "device": _side_by_side(e.get("device", {}) for e in experiments),
        "plan": _side_by_side(
            {"name": e.get("plan", {}).get("name", "not recorded")} for e in experiments
        ),
        _MARK: [
            {
                "folder": str(source.folder),
                "trials": len(source.trials),
                "planned": int(source.experiment["num_trials"]),
                "tasks": [task["name"] for task in source.experiment["tasks"]],
                "versions": source.experiment.get("versions", {}),
                "device": source.experiment.get("device", {}),
                "wall_seconds": source.compute.get("wall_seconds"),
            }
            for source in sources
        ],
    }


def _union(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """Returns every distinct entry, in order of appearance."""
    found = {spec.canonical_json(item): item for part in lists for item in part}
    return list(found.values())


def _joined(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for table in tables for key, value in table.items()}


def _side_by_side(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns each field; values that differ between folders stand side by side."""
    found: dict[str, list[Any]] = {}
    for table in tables:
        for key, value in table.items():
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {
        key: values[0] if len(values) == 1 else "; ".join(str(v) for v in values)
        for key, values in found.items()
    }


def _planned_looks(experiments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the seeds of planned looks by task, where a folder has any."""
    found = _joined(e.get("looks") or {} for e in experiments)
    return {"looks": found} if found else {}


def _seeds_by_task(experiments: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for experiment in experiments:
        for task in experiment["tasks"]:
            seeds = int(experiment.get("num_seeds", 0))
            found[task["name"]] = max(seeds, found.get(task["name"], 0))
    return found


def _planned(sources: Sequence[_Source]) -> int:
    """Returns how many trials were planned: folders of one set of tasks share them."""
    groups: dict[frozenset[str], int] = {}
    for source in sources:
        tasks = frozenset(str(task["name"]) for task in source.experiment["tasks"])
        planned = int(source.experiment["num_trials"])
        groups[tasks] = max(planned, groups.get(tasks, 0))
    finished = {name for source in sources for name in source.trials}
    return max(sum(groups.values()), len(finished))


def _compute(sources: Sequence[_Source]) -> dict[str, Any]:
    """Returns the sums of what the folders used."""
    total: dict[str, Any] = {}
    for source in sources:
        for key, value in source.compute.items():
            if isinstance(value, int | float):
                total[key] = total.get(key, 0) + value
    return total
