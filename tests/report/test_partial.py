"""Unusual runs: stopped, tiny, and input that cannot be used."""

import dataclasses
import subprocess
import sys

import absl.flags
import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.report import (
    __main__,
    _build,
    _estimates,
    _gaps,
    _methods,
    _overview,
    _reading,
    write_report,
)
from slicebench.results import Store, read_json
from tests.report import runs
from tests.report.test_page import Page


def _command(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slicebench.report", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stopped_run_says_what_is_missing(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL, seeds=4)
    planned = read_json(tmp_path / "experiment.json")["num_trials"]
    runs.drop_trials(tmp_path, keep=planned - 3)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert f"Partial results: 3 of {planned} planned trials" in text
    assert sum(int(row["missing"]) for row in runs.read_table(tmp_path, "missing")) == 3


def test_seeds_of_later_looks_count(tmp_path):
    """A task that is looked at for longer has more seeds than every task was asked."""
    runs.write_run(tmp_path, **runs.SMALL, seeds=12, cases=3)
    runs.change_experiment(tmp_path, num_seeds=3, looks={"blobs": [3, 12]})
    run = _reading.read_run(tmp_path)
    assert run.most_seeds == 12
    numbers = _estimates.estimate(run)
    text = " ".join(_methods.methods(run, numbers.summary).paragraphs)
    assert "repeated under up to 12 seeds." in text
    assert "looked at after 3 and 12 seeds" in text
    assert _build._warnings(run, _overview.run_counts(run, 1)) == []
    bare = dataclasses.replace(run, trials=run.trials.head(0))
    assert bare.most_seeds == 3


def _in_folds(workdir, folds: int) -> None:
    """Spreads the seeds of a run over folds in turn, as the runner does."""
    store = Store(workdir)
    trials = store.read_trials()
    trials["fold"] = trials["selection_seed"] % folds
    runs.rewrite(workdir, trials, store.read_results())
    task = read_json(workdir / "experiment.json")["tasks"][0]
    runs.change_experiment(
        workdir, tasks=[{**task, "fold": fold} for fold in range(folds)]
    )


def test_seeds_that_are_spread_over_folds_are_not_missing(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL, seeds=4, cases=3)
    _in_folds(tmp_path, 2)
    run = _reading.read_run(tmp_path)
    assert _gaps.missing_trials(run).rows == []
    store = Store(tmp_path)
    trials, results = store.read_trials(), store.read_results()
    gone = trials["selection_seed"].eq(3) & trials["slices_per_volume"].eq(2)
    assert gone.sum() == 1
    kept = results["trial_id"].isin(trials.loc[~gone, "trial_id"])
    runs.rewrite(tmp_path, trials.loc[~gone], results.loc[kept])
    (row,) = _gaps.missing_trials(_reading.read_run(tmp_path)).frame.to_dict("records")
    assert (row["finished"], row["missing"]) == (3, 1)
    assert "slices per volume 2" in row["cell"]


def test_a_network_on_all_labels_that_is_missing_is_named(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL, ceiling_seeds=2, cases=3)
    runs.change_experiment(tmp_path, ceiling_seeds=2)
    planned = read_json(tmp_path / "experiment.json")["num_trials"]
    runs.drop_trials(tmp_path, keep=planned - 1)
    (row,) = _gaps.missing_trials(_reading.read_run(tmp_path)).frame.to_dict("records")
    assert "strategy all" in row["cell"]
    assert (row["finished"], row["missing"]) == (1, 1)


def test_a_run_without_any_result_still_reports(tmp_path):
    runs.write_run(tmp_path)
    runs.drop_trials(tmp_path, keep=0)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "No trial has finished yet" in text
    assert "no estimate (no finished trials" in text


def test_one_cell_one_class_one_seed(tmp_path):
    runs.write_run(
        tmp_path,
        budgets=(8,),
        slices_per_volume=(2,),
        strategies=("random",),
        seeds=1,
        cases=1,
        ceiling_seeds=1,
    )
    text = write_report(tmp_path).read_text(encoding="utf-8")
    cells = [
        row for row in runs.read_table(tmp_path, "cells") if row["strategy"] == "random"
    ]
    assert [row["metric"] for row in cells] == ["dice", "hd95", "nsd"]
    assert cells[0]["low"] == ""
    assert "nan" not in Page(text).prose.lower().split()


def test_a_run_without_ceiling_draws_none(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL, ceiling_seeds=0)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert runs.read_table(tmp_path, "ceilings") == []
    assert "all labels 0" not in text


def test_everything_diverged(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL, diverged=99)
    write_report(tmp_path)
    cells = runs.read_table(tmp_path, "cells")
    assert {row["share_diverged"] for row in cells} == {"1.0"}
    assert {row["estimate"] for row in cells if row["metric"] == "dice"} == {"0.0"}


def test_command_prints_verdicts_and_where_the_report_is(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL)
    done = _command(f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    contrasts = read_json(tmp_path / "summary.json")["contrasts"]
    assert len(lines) == len(contrasts) + 1
    assert lines[0].startswith("blobs, 2D, 8 slices, random: each halving")
    assert lines[-1] == str(tmp_path / "report.html")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workdir=/no/such/folder"], "no such folder"),
        ([], "--workdir: not given"),
        (["--wurkdir=x"], "wurkdir"),
        (["--workdir=x", "y"], "unexpected argument 'y'"),
    ],
)
def test_bad_flags_give_one_line_and_status_2(flags, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report", *flags])
    with pytest.raises(SystemExit) as ended:
        __main__.run()
    absl.flags.FLAGS.unparse_flags()
    __main__.FLAGS.unparse_flags()
    __main__.FLAGS["workdir"].value = None
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_folder_that_is_no_run(tmp_path):
    done = _command(f"--workdir={tmp_path}")
    assert done.returncode == 2
    assert "holds no experiment.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_experiment_is_an_input_error(tmp_path, content):
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(InputError, match=r"experiment\.json"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04broken"])
def test_damaged_examples_are_an_input_error(tmp_path, content):
    runs.write_run(tmp_path, **runs.SMALL)
    (tmp_path / "examples" / "blobs.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"blobs\.npz"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_examples_that_do_not_fit_together_are_an_input_error(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL)
    path = tmp_path / "examples" / "blobs.npz"
    with np.load(path) as stored:
        arrays = {**stored, "truth": stored["truth"][:1]}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"truth has shape \(1, 16, 24\), expected"):
        write_report(tmp_path)


def test_the_report_needs_no_jax():
    code = (
        "import sys, slicebench.report; "
        "print([m for m in ('jax', 'flax', 'optax', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
