"""Damaged work folders."""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests import made_up
from tests.hostile.kind import Kind, Make

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def root() -> Path:
    """A finished run and a plan, made once a process."""
    kept = tempfile.TemporaryDirectory(prefix="slicebench-hostile-runs-")
    _KEPT.append(kept)
    root = Path(kept.name)
    made_up.write_made_up_run(root / "run", seeds=2, cases=3)
    return root


def run_with(change: Callable[[Path], Any], *flags: str) -> Make:
    """A copy of a finished run, changed, for the report."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(root() / "run", folder / "run")
        change(folder / "run")
        return [f"--workdir={folder / 'run'}", *flags]

    return make


def edit(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """One JSON file is read, changed and written."""

    def edit(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def _experiment(**changes: Any) -> Make:
    return run_with(edit("experiment.json", lambda content: content.update(changes)))


def _bytes(name: str, data: bytes) -> Make:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return run_with(change)


def part_of(folder: Path, table: str) -> Path:
    (path,) = (folder / table).glob("part-*.parquet")
    return path


def _rewrite(table: str, change: Callable[[Any], Any]) -> Make:
    """A part is read, changed and written."""

    def make(folder: Path) -> None:
        path = part_of(folder, table)
        pq.write_table(change(pq.read_table(path)), path)

    return run_with(make)


def _set(name: str, value: Any) -> Callable[[Any], Any]:
    """A column gets one value."""

    def change(table: Any) -> Any:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([value] * table.num_rows))

    return change


def _flip_page(folder: Path) -> None:
    """One bit of a page of scores: the file still opens."""
    path = part_of(folder, "results")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def _pipe(folder: Path) -> None:
    path = part_of(folder, "trials")
    path.unlink()
    os.mkfifo(path)


def _pickled_examples(folder: Path) -> None:
    (folder / "examples").mkdir()
    held = np.array([{"a": 1}], dtype=object)
    with (folder / "examples/blobs.npz").open("wb") as file:
        np.savez(file, allow_pickle=True, image=held)


def cut_part(folder: Path) -> None:
    path = part_of(folder, "results")
    os.truncate(path, path.stat().st_size // 2)


_JSON = "experiment.json"

KINDS = (
    Kind(
        "no run",
        "an empty work folder",
        lambda f: [f"--workdir={f}"],
        (_JSON,),
        "report",
    ),
    Kind(
        "run that is not there",
        "a work folder with a name of 5,000 letters",
        lambda folder: [f"--workdir={folder / ('n' * 5000)}"],
        ("no such folder",),
        "report",
    ),
    Kind("experiment.json empty", "0 bytes", _bytes(_JSON, b""), (_JSON,), "report"),
    Kind(
        "experiment.json nested",
        "a million lists in each other",
        _bytes(_JSON, b"[" * 1_000_000),
        (_JSON, "nested"),
        "report",
    ),
    Kind(
        "experiment.json a list",
        "a list",
        _bytes(_JSON, b"[1]"),
        (_JSON, "list"),
        "report",
    ),
    Kind(
        "experiment.json not UTF-8",
        "byte 0xFF",
        _bytes(_JSON, b'{"a": "\xff"}'),
        (_JSON, "utf-8"),
        "report",
    ),
    Kind(
        "tasks of another type",
        "numbers where tasks should be",
        _experiment(tasks=[1, 2]),
        ("tasks[0]: 1 where an object is needed",),
        "report",
    ),
    Kind(
        "no tasks",
        "an empty list",
        _experiment(tasks=[]),
        (_JSON, "lists no task"),
        "report",
    ),
    Kind(
        "contrast without a task",
        "a name and nothing else",
        _experiment(contrasts=[{"name": "a"}]),
        ("contrasts[0].task is missing",),
        "report",
    ),
    Kind(
        "number of trials a text",
        "wrong type",
        _experiment(num_trials="many"),
        ("num_trials: 'many' where a whole number is needed",),
        "report",
    ),
    Kind(
        "run of a newer version",
        "schema_version 99",
        _experiment(schema_version=99),
        ("schema_version 99", "this version reads 1"),
        "report",
    ),
    Kind("part cut", "half a file", run_with(cut_part), ("results/part-",), "report"),
    Kind(
        "part empty",
        "0 bytes",
        run_with(lambda f: os.truncate(part_of(f, "trials"), 0)),
        ("trials/part-", "not a readable Parquet file"),
        "report",
    ),
    Kind(
        "part a pipe",
        "a named pipe",
        run_with(_pipe),
        ("trials/part-", "ordinary"),
        "report",
    ),
    Kind(
        "bit of a part",
        "one bit of a page",
        run_with(_flip_page),
        ("results/part-",),
        "report",
    ),
    Kind(
        "half of a batch gone",
        "scores are missing",
        run_with(lambda folder: part_of(folder, "results").unlink()),
        ("results/part-", "missing"),
        "report",
    ),
    Kind(
        "part of a newer schema",
        "schema 99",
        _rewrite(
            "trials", lambda t: t.replace_schema_metadata({"slicebench_schema": "99"})
        ),
        ("results schema 99", "this version reads"),
        "report",
    ),
    Kind(
        "part of a stranger",
        "a Parquet file without a schema number",
        _rewrite("trials", lambda t: t.replace_schema_metadata(None)),
        ("results schema none",),
        "report",
    ),
    Kind(
        "part without a column",
        "no status",
        _rewrite("trials", lambda t: t.drop_columns(["status"])),
        ("columns missing: status",),
        "report",
    ),
    Kind(
        "column of another type",
        "budgets as texts",
        _rewrite("trials", _set("budget", "eight")),
        ("column budget holds", "expected int64"),
        "report",
    ),
    Kind(
        "score NaN",
        "scores that are no numbers",
        _rewrite("results", _set("score", np.nan)),
        ("results/part-",),
        "report",
    ),
    Kind(
        "score infinite",
        "scores beyond numbers",
        _rewrite("results", _set("score", np.inf)),
        ("scores are NaN or infinite",),
        "report",
    ),
    Kind(
        "unknown status",
        "a status that no run writes",
        _rewrite("trials", _set("status", "fine")),
        ("status 'fine'; allowed are ok, diverged",),
        "report",
    ),
    Kind(
        "network not JSON",
        "a text",
        _rewrite("trials", _set("network", "wide")),
        ("column network holds 'wide'",),
        "report",
    ),
    Kind(
        "examples pickled",
        "an .npz file with a pickled object",
        run_with(_pickled_examples),
        ("blobs.npz", "not a file of examples"),
        "report",
    ),
    Kind(
        "compute.json a text",
        "wrong type",
        _bytes("compute.json", b'{"wall_seconds": "long"}'),
        ("wall_seconds: 'long' where a number is needed",),
        "report",
    ),
)
