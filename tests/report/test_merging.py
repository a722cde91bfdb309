"""Several work folders as one report, and what may not be merged."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from slicebench import report
from slicebench.errors import InputError
from slicebench.results import Store, read_json, write_json_atomic
from tests.report import runs

SMALL = {**runs.SMALL, "slices_per_volume": (1, 2), "cases": 3}


def _shards(folder: Path, count: int = 2) -> list[Path]:
    """Writes one run, dealt out to several folders as --shard does."""
    runs.write_run(folder / "whole", **SMALL)
    store = Store(folder / "whole")
    trials, results = store.read_trials(), store.read_results()
    made = []
    for number in range(count):
        shard = runs.write_run(folder / f"shard_{number}", **SMALL)
        mine = trials.iloc[number::count]
        kept = results["trial_id"].isin(mine["trial_id"])
        runs.rewrite(shard, mine, results.loc[kept])
        made.append(shard)
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[Path]:
    return _shards(tmp_path_factory.mktemp("shards"))


def _estimates(workdir: Path) -> list[dict]:
    names = ("name", "task", "estimate", "low", "high", "verdict", "num_seeds")
    contrasts = read_json(workdir / "summary.json")["contrasts"]
    return [{name: contrast[name] for name in names} for contrast in contrasts]


def test_shards_together_are_the_whole_run(shards, tmp_path):
    whole = shards[0].parent / "whole"
    report.write_report(whole)
    report.merge(shards, tmp_path / "out")
    page = report.write_report(tmp_path / "out").read_text(encoding="utf-8")
    assert _estimates(tmp_path / "out") == _estimates(whole)
    assert "Partial results" not in page
    for name in ("trials", "results"):
        sides = [getattr(Store(f), f"read_{name}")() for f in (whole, tmp_path / "out")]
        pd.testing.assert_frame_equal(*sides)
    folders = [row["folder"] for row in runs.read_table(tmp_path / "out", "merged")]
    assert folders == [str(shard) for shard in shards]
    used = read_json(tmp_path / "out" / "compute.json")
    assert used["wall_seconds"] == 2 * runs.COMPUTE["wall_seconds"]


def test_one_shard_says_what_is_missing(shards, tmp_path):
    report.merge(shards[:1], tmp_path / "out")
    page = report.write_report(tmp_path / "out").read_text(encoding="utf-8")
    planned = read_json(shards[0] / "experiment.json")["num_trials"]
    left = planned - len(Store(shards[0]).read_trials())
    assert left > 0
    assert f"Partial results: {left} of {planned} planned trials" in page


def test_merging_again_replaces_and_gives_the_same_bytes(shards, tmp_path):
    def everything() -> dict[str, bytes]:
        report.merge(shards, tmp_path / "out")
        report.write_report(tmp_path / "out")
        paths = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
        return {p.name: p.read_bytes() for p in paths}

    assert everything() == everything()


def test_a_trial_in_two_folders_counts_once(shards, tmp_path):
    whole = shards[0].parent / "whole"
    report.merge([shards[0], whole], tmp_path / "out")
    ids = Store(tmp_path / "out").read_trials()["trial_id"]
    assert sorted(ids) == sorted(Store(whole).read_trials()["trial_id"])


def test_unlike_scores_of_one_trial_are_refused(shards, tmp_path):
    other = runs.write_run(tmp_path / "other", **SMALL, rng_seed=1)
    with pytest.raises(InputError, match=r"hold trial [0-9a-f]+ with different scores"):
        report.merge([shards[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_tasks_have_verdicts_of_their_own(tmp_path):
    folders = [
        runs.write_run(tmp_path / task, tasks=(task,), **SMALL)
        for task in ("blobs", "tubes")
    ]
    report.merge(folders, tmp_path / "out")
    page = report.write_report(tmp_path / "out").read_text(encoding="utf-8")
    assert [c["task"] for c in _estimates(tmp_path / "out")] == ["blobs", "tubes"]
    for task in ("blobs", "tubes"):
        assert f"<h3>{task}, 2D" in page
    planned = [read_json(f / "experiment.json")["num_trials"] for f in folders]
    assert read_json(tmp_path / "out" / "experiment.json")["num_trials"] == sum(planned)
    assert runs.read_table(tmp_path / "out", "missing") == []


def _look_by_look(folder: Path, task: str, state: str) -> Path:
    """Makes a run of one task one that was looked at once."""
    runs.write_run(folder, tasks=(task,), **SMALL)
    (contrast,) = (
        c for c in read_json(folder / "experiment.json")["contrasts"] if c["primary"]
    )
    names = ("name", "family", "claim", "task", "target", "dims", "metric")
    look = {name: contrast[name] for name in names}
    look |= dict.fromkeys(("low", "high", "low90", "high90", "margin", "reason"))
    look |= {"estimate": 0.1, "verdict": "superior", "state": state}
    look |= {"claim_holds": True}
    unit = {"task": task, "dims": "2d", "seeds": [3, 6], "looks_taken": 1}
    content = {
        "schema_version": 1,
        "units": [{**unit, "state": state}],
        "looks": [{"look": 1, "seeds": 3, "contrasts": [look]}],
        "state": state,
    }
    write_json_atomic(folder / "looks.json", content)
    runs.change_experiment(folder, looks={task: [3, 6]})
    return folder


def test_looks_of_other_tasks_stand_side_by_side(tmp_path):
    folders = [
        _look_by_look(tmp_path / "blobs", "blobs", "decided"),
        _look_by_look(tmp_path / "tubes", "tubes", "case-limited"),
    ]
    report.merge(folders, tmp_path / "out")
    page = report.write_report(tmp_path / "out").read_text(encoding="utf-8")
    looks = read_json(tmp_path / "out" / "looks.json")
    assert [unit["task"] for unit in looks["units"]] == ["blobs", "tubes"]
    assert looks["state"] == "case-limited"
    assert read_json(tmp_path / "out" / "experiment.json")["looks"] == {
        "blobs": [3, 6],
        "tubes": [3, 6],
    }
    for place, state in (("blobs", "decided"), ("tubes", "case-limited")):
        assert f"{place}, 2D: after 3 of at most 6 seeds, {state}" in page
    rows = runs.read_table(tmp_path / "out", "looks")
    assert [(row["task"], row["state"]) for row in rows] == [
        ("blobs", "decided"),
        ("tubes", "case-limited"),
    ]
    assert {c["verdict"] for c in _estimates(tmp_path / "out")} == {"superior"}


def test_trials_are_never_added_to_a_task_that_was_looked_at(tmp_path, shards):
    looked = _look_by_look(tmp_path / "looked", "blobs", "decided")
    with pytest.raises(InputError, match="was run look by look"):
        report.merge([looked, shards[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_seeds_of_another_folder_are_added(tmp_path):
    first = runs.write_run(tmp_path / "first", **{**SMALL, "seeds": 2})
    more = runs.write_run(tmp_path / "more", **{**SMALL, "seeds": 4}, rng_seed=2)
    store = Store(more)
    trials, results = store.read_trials(), store.read_results()
    later = trials["selection_seed"] >= 2
    kept = results["trial_id"].isin(trials.loc[later, "trial_id"])
    runs.rewrite(more, trials.loc[later], results.loc[kept])
    report.merge([first, more], tmp_path / "out")
    report.write_report(tmp_path / "out")
    assert {c["num_seeds"] for c in _estimates(tmp_path / "out")} == {4}
    assert read_json(tmp_path / "out" / "experiment.json")["num_seeds"] == 4


def _change_program(experiment: dict) -> dict:
    (program,) = experiment["programs"]
    training = {**program["training"], "steps": 999}
    return {"programs": [{**program, "training": training}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: {"experiment": "other"}, "experiment: made_up against other"),
        (
            lambda e: {"tasks": [{**e["tasks"][0], "context": "abc"}]},
            "data, split or preprocessing of task blobs: made up against abc",
        ),
        (
            lambda e: {"tasks": [{**e["tasks"][0], "target": "rim", "context": "a"}]},
            "against rim (two targets of the same patients are no two tasks)",
        ),
        (
            lambda e: {"axes": {"blobs": {**e["axes"]["blobs"], "budgets": [99]}}},
            "budgets of task blobs: [8] against [99]",
        ),
        (_change_program, "training, steps: 100 against 999"),
        (
            lambda e: {"contrasts": e["contrasts"][:0]},
            'planned contrasts: ["allocation slope at 8 slices"] against []',
        ),
        (
            lambda _: {"nsd_tolerance_mm": {"blobs": 1.0}},
            "nsd_tolerance_mm of task blobs: 2.0 against 1.0",
        ),
        (
            lambda e: {"tasks": [*e["tasks"], {**e["tasks"][0], "name": "more"}]},
            'tasks: ["blobs"] against ["blobs","more"]',
        ),
    ],
)
def test_incompatible_folders_are_refused_by_name(tmp_path, change, said):
    folders = [runs.write_run(tmp_path / name, **SMALL) for name in ("one", "two")]
    experiment = read_json(folders[1] / "experiment.json")
    runs.change_experiment(folders[1], **change(experiment))
    with pytest.raises(InputError) as caught:
        report.merge(folders, tmp_path / "out")
    assert str(caught.value).startswith(f"{folders[0]} and {folders[1]} cannot be")
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_is_no_merged_report_is_never_overwritten(shards, tmp_path):
    for target in (shards[0], shards[0].parent / "whole"):
        with pytest.raises(InputError, match="--out="):
            report.merge(shards, target)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no merged report"):
        report.merge(shards, tmp_path)


_CODE = """
import sys
from slicebench.report import __main__
try:
    __main__.run()
except SystemExit as ended:
    code = ended.code
names = ("jax", "flax", "optax", "orbax", "tensorflow")
print([name for name in names if name in sys.modules])
sys.exit(code)
"""


def test_the_command_merges_without_jax(shards, tmp_path):
    flags = [f"--workdir={shards[0]},{shards[1]}", f"--out={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *flags, "--no_images"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (None, 0), done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert str(tmp_path / "out" / "report.html") in done.stdout


def test_several_folders_need_a_place_for_their_report(shards):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "slicebench.report",
            f"--workdir={shards[0]},{shards[1]}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "give --out=DIR" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _command(*flags):
    return subprocess.run(
        [sys.executable, "-m", "slicebench.report", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def test_shares_of_a_work_folder_are_united(shards, tmp_path):
    for number, shard in enumerate(shards):
        shutil.copytree(shard, tmp_path / f"shard-{number}-of-{len(shards)}")
    (tmp_path / "shard-notes-of-mine").mkdir()
    done = _command(f"--workdir={tmp_path}", "--no_images")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(str(tmp_path / "all" / "report.html"))
    united = Store(tmp_path / "all").done()
    assert united == set.union(*(Store(shard).done() for shard in shards))


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["shard-0-of-3", "shard-2-of-3"], "of 3 shares these are missing: 1"),
        (["shard-0-of-2", "shard-0-of-3"], "shares of 2 and of 3"),
        ([], "experiment.json"),
    ],
)
def test_incomplete_shares_are_named(tmp_path, there, said):
    for name in there:
        (tmp_path / name).mkdir()
    done = _command(f"--workdir={tmp_path}")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "all").exists()
