"""Damaged weights, plans, states of work and evidence."""

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.hostile.kind import Kind, Make
from tests.hostile.runs import cut_part, edit, part_of, root, run_with

_JSON = "experiment.json"


@functools.cache
def _planned() -> Path:
    from slicebench.planning.costs import Costs
    from slicebench.planning.plan import Request, make_plan
    from slicebench.planning.writing import write_plan
    from tests.planning import annotator

    scans = annotator.write_scans(root() / "scans", cases=6)
    request = Request(images=scans, budget=8, test_patients=2, slices_per_volume=4)
    write_plan(make_plan(request, (), Costs()), root() / "plan")
    annotator.annotate(root() / "plan", root() / "labels")
    return root() / "plan"


def _plan(change: Callable[[Path], Any], *flags: str) -> Make:
    """A copy of a plan, changed, for the import of its annotations."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(_planned(), folder / "plan")
        shutil.copytree(root() / "labels", folder / "labels")
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
        shutil.copytree(root() / "scans", folder / "scans")
        change(folder / "scans")
        out = (f"--out={folder / 'out'}", "--budget=4", "--test_patients=2")
        given = [flag.format(folder=folder) for flag in flags]
        return [f"--images={folder / 'scans'}", *out, *given]

    return make


def _evidence(change: Callable[[Path], Any]) -> Make:
    def make(folder: Path) -> list[str]:
        found = _scans(lambda _: None)(folder)
        (workdir,) = run_with(change)(folder)
        return [*found, f"--evidence={workdir.removeprefix('--workdir=')}"]

    return make


def _weights(change: Callable[[Path], Any], *flags: str) -> Make:
    """A run with kept weights (of one letter each), for prediction."""

    def make(folder: Path) -> list[str]:
        (workdir,) = run_with(lambda _: None)(folder)
        run = folder / "run"
        for row in pq.read_table(part_of(run, "trials")).to_pylist():
            (run / "checkpoints/final" / row["trial_id"]).mkdir(parents=True)
        edit("experiment.json", _as_real)(run)
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


KINDS = (
    Kind(
        "no weights",
        "a run without kept weights",
        lambda folder: [
            f"--weights={root() / 'run'}",
            f"--images={folder}",
            f"--out={folder / 'o'}",
        ],
        ("no finished network has kept weights", "--keep_weights"),
        "predict",
    ),
    Kind(
        "weights of a run without programs",
        "experiment.json lacks them",
        _weights(edit(_JSON, lambda content: content.pop("programs"))),
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
        _weights(edit(_JSON, lambda c: c["programs"][0].pop("training"))),
        ("program2d cannot be read",),
        "predict",
    ),
    Kind(
        "weights of a task that is gone",
        "experiment.json lists another",
        _weights(edit(_JSON, lambda c: c["tasks"][0].update(name="x"))),
        ("task blobs is not there",),
        "predict",
    ),
    Kind(
        "weights of a task without spacing",
        "a damaged record",
        _weights(edit(_JSON, lambda c: c["tasks"][0].pop("spacing"))),
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
        _plan(edit("plan.json", lambda c: c.update(schema_version=99))),
        ("schema_version 99", "this version reads 1"),
        "planning",
    ),
    Kind(
        "plan without rows",
        "a key is missing",
        _plan(edit("plan.json", lambda c: c.pop("rows"))),
        ("rows is missing",),
        "planning",
    ),
    Kind(
        "plan with rows of another type",
        "texts",
        _plan(edit("plan.json", lambda c: c.update(rows=["a"]))),
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
        _evidence(cut_part),
        ("results/part-",),
        "planning",
    ),
)
