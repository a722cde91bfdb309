"""Damaged work folders, weights and plans."""

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
def _root() -> Path:
    """A finished run and a plan, made once a process."""
    kept = tempfile.TemporaryDirectory(prefix="slicebench-hostile-runs-")
    _KEPT.append(kept)
    root = Path(kept.name)
    made_up.write_made_up_run(root / "run", seeds=2, cases=3)
    return root


@functools.cache
def _planned() -> Path:
    from slicebench.planning.costs import Costs
    from slicebench.planning.plan import Request, make_plan
    from slicebench.planning.writing import write_plan
    from tests.planning import annotator

    scans = annotator.write_scans(_root() / "scans", cases=6)
    request = Request(images=scans, budget=8, test_patients=2, slices_per_volume=4)
    write_plan(make_plan(request, (), Costs()), _root() / "plan")
    annotator.annotate(_root() / "plan", _root() / "labels")
    return _root() / "plan"


def _run(change: Callable[[Path], Any], *flags: str) -> Make:
    """A copy of a finished run, changed, for the report."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(_root() / "run", folder / "run")
        change(folder / "run")
        return [f"--workdir={folder / 'run'}", *flags]

    return make


def _edit(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """One JSON file is read, changed and written."""

    def edit(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def _experiment(**changes: Any) -> Make:
    return _run(_edit("experiment.json", lambda content: content.update(changes)))


def _bytes(name: str, data: bytes) -> Make:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return _run(change)


def _part(folder: Path, table: str) -> Path:
    (path,) = (folder / table).glob("part-*.parquet")
    return path


def _rewrite(table: str, change: Callable[[Any], Any]) -> Make:
    """A part is read, changed and written."""

    def make(folder: Path) -> None:
        path = _part(folder, table)
        pq.write_table(change(pq.read_table(path)), path)

    return _run(make)


def _set(name: str, value: Any) -> Callable[[Any], Any]:
    """A column gets one value."""

    def change(table: Any) -> Any:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([value] * table.num_rows))

    return change


def _flip_page(folder: Path) -> None:
    """One bit of a page of scores: the file still opens."""
    path = _part(folder, "results")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def _pipe(folder: Path) -> None:
    path = _part(folder, "trials")
    path.unlink()
    os.mkfifo(path)


def _pickled_examples(folder: Path) -> None:
    (folder / "examples").mkdir()
    held = np.array([{"a": 1}], dtype=object)
    with (folder / "examples/blobs.npz").open("wb") as file:
        np.savez(file, allow_pickle=True, image=held)


def _cut_part(folder: Path) -> None:
    path = _part(folder, "results")
    os.truncate(path, path.stat().st_size // 2)


def _plan(change: Callable[[Path], Any], *flags: str) -> Make:
    """A copy of a plan, changed, for the import of its annotations."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(_planned(), folder / "plan")
        shutil.copytree(_root() / "labels", folder / "labels")
        change(folder / "plan")
        given = (f"--plan={folder / 'plan'}", f"--labels={folder / 'labels'}")
        return ["import", *given, *(flag.format(folder=folder) for flag in flags)]

    return make


def _state(content: Any) -> Make:
    def change(plan: Path) -> None:
        digest = json.loads((plan / "plan.json").read_text())["digest"]
        text = json.dumps({"plan": digest} | content)
        (plan / "worklist_state.json").write_text(text)

    return _plan(change)


def _scans(change: Callable[[Path], Any], *flags: str) -> Make:
    """A folder of scans to plan on."""

    def make(folder: Path) -> list[str]:
        _planned()
        shutil.copytree(_root() / "scans", folder / "scans")
        change(folder / "scans")
        out = (f"--out={folder / 'out'}", "--budget=4", "--test_patients=2")
        given = [flag.format(folder=folder) for flag in flags]
        return [f"--images={folder / 'scans'}", *out, *given]

    return make


def _evidence(change: Callable[[Path], Any]) -> Make:
    def make(folder: Path) -> list[str]:
        found = _scans(lambda _: None)(folder)
        (workdir,) = _run(change)(folder)
        return [*found, f"--evidence={workdir.removeprefix('--workdir=')}"]

    return make


def _weights(change: Callable[[Path], Any], *flags: str) -> Make:
    """A run with kept weights (of one letter each), for prediction."""

    def make(folder: Path) -> list[str]:
        (workdir,) = _run(lambda _: None)(folder)
        run = folder / "run"
        for row in pq.read_table(_part(run, "trials")).to_pylist():
            (run / "checkpoints/final" / row["trial_id"]).mkdir(parents=True)
        _edit("experiment.json", _as_real)(run)
        change(run)
        (folder / "scans").mkdir()
        where = (f"--images={folder / 'scans'}", f"--out={folder / 'out'}")
        weights = workdir.replace("--workdir", "--weights")
        return [weights, *where, *flags]

    return make


def _as_real(content: dict[str, Any]) -> None:
    fitted = {"grid": [32, 32], "spacing": [1.0, 1.0]}
    fitted["intensity"] = {"intensity": "z-score of each volume"}
    content["tasks"][0] |= {
        "synthetic": False,
        "spacing": [3.0, 1.0, 1.0],
        "provenance": {"preprocessing": fitted, "slice_axis": 2},
    }


def _gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


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
    Kind("part cut", "half a file", _run(_cut_part), ("results/part-",), "report"),
    Kind(
        "part empty",
        "0 bytes",
        _run(lambda f: os.truncate(_part(f, "trials"), 0)),
        ("trials/part-", "not a readable Parquet file"),
        "report",
    ),
    Kind(
        "part a pipe",
        "a named pipe",
        _run(_pipe),
        ("trials/part-", "ordinary"),
        "report",
    ),
    Kind(
        "bit of a part",
        "one bit of a page",
        _run(_flip_page),
        ("results/part-",),
        "report",
    ),
    Kind(
        "half of a batch gone",
        "scores are missing",
        _run(lambda folder: _part(folder, "results").unlink()),
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
        _run(_pickled_examples),
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
    Kind(
        "no weights",
        "a run without kept weights",
        lambda folder: [
            f"--weights={_root() / 'run'}",
            f"--images={folder}",
            f"--out={folder / 'o'}",
        ],
        ("no finished network has kept weights", "--keep_weights"),
        "predict",
    ),
    Kind(
        "weights of a run without programs",
        "experiment.json lacks them",
        _weights(_edit(_JSON, lambda content: content.pop("programs"))),
        ("programs is missing",),
        "predict",
    ),
    Kind(
        "weights of another program",
        "its record was changed",
        _weights(lambda _: None),
        ("program2d", "record was changed"),
        "predict",
    ),
    Kind(
        "weights of a program without training",
        "a damaged record",
        _weights(_edit(_JSON, lambda c: c["programs"][0].pop("training"))),
        ("program2d cannot be read",),
        "predict",
    ),
    Kind(
        "weights of a task that is gone",
        "experiment.json lists another",
        _weights(_edit(_JSON, lambda c: c["tasks"][0].update(name="x"))),
        ("task blobs is not there",),
        "predict",
    ),
    Kind(
        "weights of a task without spacing",
        "a damaged record",
        _weights(_edit(_JSON, lambda c: c["tasks"][0].pop("spacing"))),
        ("spacing is missing",),
        "predict",
    ),
    Kind(
        "unknown trial",
        "an id that is not there",
        _weights(lambda _: None, "--trial=zzz"),
        ("--trial=zzz: 0 networks",),
        "predict",
    ),
    Kind(
        "plan gone",
        "no plan.json",
        _plan(_gone("plan.json")),
        ("plan.json",),
        "planning",
    ),
    Kind(
        "plan not JSON",
        "text",
        _plan(lambda plan: (plan / "plan.json").write_text("{")),
        ("plan.json: not JSON",),
        "planning",
    ),
    Kind(
        "plan of a newer version",
        "schema_version 99",
        _plan(_edit("plan.json", lambda c: c.update(schema_version=99))),
        ("schema_version 99", "this version reads 1"),
        "planning",
    ),
    Kind(
        "plan without rows",
        "a key is missing",
        _plan(_edit("plan.json", lambda c: c.pop("rows"))),
        ("rows is missing",),
        "planning",
    ),
    Kind(
        "plan with rows of another type",
        "texts",
        _plan(_edit("plan.json", lambda c: c.update(rows=["a"]))),
        ("rows[0]: 'a' where an object is needed",),
        "planning",
    ),
    Kind(
        "state of another plan",
        "another digest",
        _state({"plan": "other"}),
        ("state of plan other",),
        "planning",
    ),
    Kind(
        "state of numbers",
        "wrong type",
        _state({"done": [5]}),
        ("done[0]: 5",),
        "planning",
    ),
    Kind(
        "state without a slice",
        "a case alone",
        _state({"done": ["case_01"]}),
        ("is not <case>/<slice>",),
        "planning",
    ),
    Kind(
        "segmentation of a stranger",
        "a case that is not planned",
        _plan(
            lambda plan: (plan.parent / "labels/zebra.nii.gz").write_bytes(b"x"),
        ),
        ("zebra.nii.gz: no case of the plan",),
        "planning",
    ),
    Kind(
        "segmentation not NIfTI",
        "text",
        _plan(
            lambda plan: next((plan.parent / "labels").glob("*.gz")).write_bytes(b"x")
        ),
        ("gzip",),
        "planning",
    ),
    Kind(
        "scan not NIfTI",
        "text",
        _scans(lambda scans: (scans / "case_01.nii.gz").write_bytes(b"x")),
        ("case_01.nii.gz", "gzip"),
        "planning",
    ),
    Kind(
        "scan a pipe",
        "a named pipe",
        _scans(lambda scans: os.mkfifo(scans / "case_99.nii.gz")),
        ("case_99.nii.gz", "pipe"),
        "planning",
    ),
    Kind(
        "evidence of no run",
        "an experiment.json that is text",
        _evidence(lambda run: (run / _JSON).write_text("x")),
        (_JSON, "not JSON"),
        "planning",
    ),
    Kind(
        "evidence with a damaged part",
        "half a file",
        _evidence(_cut_part),
        ("results/part-",),
        "planning",
    ),
)
