"""Fetches a run from a place: to go on with it, or to read it."""

import hashlib
import json
import logging
import re
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from slicebench.remote._layout import (
    REPORT,
    TABLES,
    WEIGHTS,
    checkpoint_of,
    is_part,
    mark_of,
)
from slicebench.remote._lease import LEASE_FILE
from slicebench.remote._mirror import Mirror
from slicebench.remote._packing import unpack
from slicebench.remote._parallel import in_parallel
from slicebench.remote._place import Place

_log = logging.getLogger(__name__)

_SHARE = re.compile(r"(shard-\d+-of-\d+)/")
_DAMAGE = (ValueError, OSError, tarfile.TarError)


def fetch_run(mirror: Mirror) -> None:
    """Fetches what a run needs to go on; what only this folder has is kept.

    Rows that never reached the place are kept if their trials were not trained
    elsewhere since; parts that were taken out elsewhere are taken out here.

    Args:
      mirror: Of a place whose lease this process holds.

    Raises:
      RemoteError: The place cannot be read.
    """
    mirror.place.remove_half_files()
    there = mirror.place.names()
    trials = [name for name in there if is_part(name, "trials")]
    _drop_parts_taken_out(mirror, trials)
    _fetch_parts(mirror, [n for n in trials if not _has(mirror, n)], there)
    _set_superseded_aside(mirror, trials)
    _fetch_tables(mirror, [name for name in there if name in TABLES])
    others = [n for n in there if n.split("/")[0] in ("examples", "features")]
    _fetch_missing(mirror, others)
    _stand_in_for_folders(mirror, there)
    mirror.checkpoints = {name for name in there if checkpoint_of(name)}
    _fetch_checkpoints(mirror)
    mirror.keep_state()


def _has(mirror: Mirror, name: str) -> bool:
    return name in mirror.agreed and (mirror.folder / name).exists()


def _scores_of(trials: str) -> str:
    return f"results/{trials.removeprefix('trials/')}"


def _drop_parts_taken_out(mirror: Mirror, trials: Collection[str]) -> None:
    for name in [n for n in mirror.agreed if is_part(n, "trials")]:
        if name not in trials:
            _set_aside(mirror.folder / name)
            del mirror.agreed[name]
    for name in trials:
        if _has(mirror, name):
            mirror.note(name)
            mirror.note(_scores_of(name))


def _fetch_parts(mirror: Mirror, trials: Sequence[str], there: Collection[str]) -> None:
    """Fetches parts; scores without trials come along, so that they are cleaned up."""
    finished = {_scores_of(name) for name in trials}
    orphans = {n for n in there if is_part(n, "results")} - mirror.known.keys()
    for names in (sorted(orphans | finished), trials):
        in_parallel(lambda name: mirror.place.get(name, mirror.folder / name), names)
        for name in names:
            mirror.note(name)


def _set_superseded_aside(mirror: Mirror, trials: Sequence[str]) -> None:
    """Sets rows aside that never reached the place, where it has those trials."""
    paths = sorted((mirror.folder / "trials").glob("part-*.parquet"))
    own = [path for path in paths if f"trials/{path.name}" not in trials]
    if not own:
        return
    ids = {name for trial in trials for name in _ids(mirror.folder / trial)}
    for path in own:
        if ids.isdisjoint(_ids(path)):
            continue
        _log.warning("%s: set aside, its trials were trained elsewhere since", path)
        _set_aside(path)


def _set_aside(trials: Path) -> None:
    for half in (trials, trials.parents[1] / "results" / trials.name):
        if half.exists():
            half.rename(half.with_name(f"superseded-{half.name}"))


def _ids(path: Path) -> list[str]:
    try:
        table: Any = pq.read_table(path, columns=["trial_id"])
    except (ValueError, OSError):
        return []  # Damaged: the store sets it aside.
    return table.column("trial_id").to_pylist()


def _fetch_tables(mirror: Mirror, names: Sequence[str]) -> None:
    """Fetches JSON files, unless only this folder has changed since."""
    for name in names:
        content, path = mirror.place.read(name), mirror.folder / name
        if content is None:
            continue
        same = mirror.agreed.get(name) == hashlib.sha256(content).hexdigest()
        if not (same and path.exists()):
            mirror.place.get(name, path)
            mirror.note(name)


def _fetch_missing(mirror: Mirror, names: Sequence[str]) -> None:
    missing = [name for name in names if not (mirror.folder / name).exists()]
    in_parallel(lambda name: mirror.place.get(name, mirror.folder / name), missing)
    for name in missing:
        mirror.note(name)


def _stand_in_for_folders(mirror: Mirror, there: Collection[str]) -> None:
    """Makes empty folders for weights and scalars: they tell what need not be made."""
    for name in there:
        if not name.startswith((f"{WEIGHTS}/", "tensorboard/")):
            continue
        folder = mirror.folder / name.rpartition("/")[0]
        folder.mkdir(parents=True, exist_ok=True)
        if name.startswith(WEIGHTS):
            top = f"{WEIGHTS}/{name.split('/')[2]}"
            if not any(p.is_file() for p in (mirror.folder / top).rglob("*")):
                mirror.weights.add((top, mark_of(mirror.folder / top)))


def _fetch_checkpoints(mirror: Mirror) -> None:
    """Fetches the newest complete checkpoint of every batch that is not finished."""
    found = [item for name in mirror.checkpoints if (item := checkpoint_of(name))]
    for batch in sorted({batch for batch, _, _ in found}):
        part = batch.removeprefix("batch-")
        if (mirror.folder / f"trials/part-{part}.parquet").exists():
            continue
        steps = {
            step for other, step, kind in found if (other, kind) == (batch, "json")
        }
        for step in sorted(steps, reverse=True):
            if _fetch_checkpoint(mirror, f"checkpoints/{batch}/{step}"):
                break
            # Incomplete: deleted with the next push.
            mirror.checkpoints |= {f"checkpoints/{batch}/{step}.tar"}


def _fetch_checkpoint(mirror: Mirror, name: str) -> bool:
    folder = mirror.folder / name
    if folder.is_dir():
        return True
    archive = mirror.folder / ".download.tar"
    try:
        record = json.loads(mirror.place.read(f"{name}.json") or b"null")
        if not isinstance(record, dict):
            raise ValueError("its mark is damaged")
        if not mirror.place.get(f"{name}.tar", archive):
            raise ValueError("it is not there")
        unpack(archive, record, folder)
    except _DAMAGE as error:
        url = mirror.place.url
        _log.warning("checkpoint %s of %s is not used: %s", name, url, error)
        return False
    finally:
        archive.unlink(missing_ok=True)
    return True


def fetch_for_reading(
    place: Place, folder: Path, *, parts: bool = True, pictures: bool = False
) -> None:
    """Makes a copy that can be read as a work folder; shares become folders in it.

    Args:
      place: A run, or what several shares of one lie in.
      folder: To be filled.
      parts: Whether trials and scores are fetched.
      pictures: Whether example pictures are fetched.

    Raises:
      RemoteError: The place cannot be read.
    """
    there = place.names()
    shares = {match[1] for name in there if (match := _SHARE.match(name))}
    if "experiment.json" in there or not shares:
        _fetch_copy(place, folder, there, parts=parts, pictures=pictures)
        return
    for share in sorted(shares):
        inner = [n.removeprefix(f"{share}/") for n in there if _is_in(n, share)]
        _fetch_copy(
            place.at(share), folder / share, inner, parts=parts, pictures=pictures
        )


def _is_in(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/")


def _fetch_copy(
    place: Place, folder: Path, there: Sequence[str], *, parts: bool, pictures: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in there if n in (*TABLES, LEASE_FILE) or _is_in(n, "features")]
    if parts:
        trials = [name for name in there if is_part(name, "trials")]
        # A part that came after the list was made: its scores were there before it.
        wanted += [*trials, *map(_scores_of, trials)]
    if pictures:
        wanted += [n for n in there if re.fullmatch(r"examples/[^/]+\.npz", n)]
    in_parallel(lambda name: place.get(name, folder / name), wanted)
    for name in there:
        found = checkpoint_of(name)
        if found and found[2] == "json":
            batch, step, _ = found
            (folder / "checkpoints" / batch / str(step)).mkdir(
                parents=True, exist_ok=True
            )


def replace_run(place: Place, folder: Path, *, merged: bool) -> None:
    """Writes a report, and what it was made from if that was merged, to a place.

    Args:
      place: Where to; rows of an earlier merge there are replaced.
      folder: Local work folder with its report.
      merged: Whether the rows belong to it.

    Raises:
      RemoteError: The place cannot be written.
    """
    rows = ("trials", "results", "examples")
    wanted = (*REPORT, *((*rows, *TABLES) if merged else ()))
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in paths]
    here = [name for name in names if name.split("/")[0] in wanted]
    if merged:
        old = [n for n in place.names() if n.split("/")[0] in rows and n not in here]
        place.remove(sorted(old, reverse=True))
    trials = {name for name in here if is_part(name, "trials")}
    for some in (sorted({*here} - trials), sorted(trials)):
        in_parallel(lambda name: place.put(folder / name, name), some)
