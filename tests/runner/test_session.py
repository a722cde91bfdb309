"""Whole runs of shipped experiments in smoke mode, in this process."""

import json

import jax
import numpy as np
import pandas as pd
import pytest

from slicebench import results
from slicebench.runner import Options, Overrides, Session, batches, make_study
from slicebench.training import engine
from tests import command

KEYS = ["trial_id", "case", "class_name", "metric"]
SMOKE = ("--experiment=budget_sweep", "--smoke")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished sweep, what it said and how often a step was made to compile."""
    workdir = tmp_path_factory.mktemp("sweep") / "work"
    made = []
    original = engine.make_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            engine, "make_step", lambda *given: made.append(1) or original(*given)
        )
        outcome = command.run(*SMOKE, f"--workdir={workdir}", "--keep_weights")
    return workdir, outcome, len(made)


def read(workdir):
    return {
        path.relative_to(workdir).as_posix(): path.read_bytes()
        for folder in ("results", "trials")
        for path in sorted((workdir / folder).iterdir())
    }


def test_a_sweep_ends_with_verdicts_and_a_report(finished):
    workdir, outcome, _ = finished
    assert outcome.status == 0, outcome.err
    assert outcome.errors == []
    assert "synthetic: expected by construction" in outcome.out
    assert f"report: {workdir / 'report.html'}" in outcome.out
    assert (workdir / "report.html").stat().st_size > 10_000
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["experiment"] == "budget_sweep"
    kinds = {item["name"] for item in summary["contrasts"]}
    assert "1 against 2 slices per volume (budget 4)" in kinds


def test_cells_and_seeds_share_one_compiled_step(finished):
    assert finished[2] == 1


def test_every_trial_case_class_and_metric_has_one_row(finished):
    store = results.Store(finished[0])
    trials, scores = store.read_trials(), store.read_results()
    assert len(trials) == trials["trial_id"].nunique() == 5
    assert (trials["status"] == "ok").all()
    assert (trials["annotated_slices"] == trials["budget"]).all()
    assert set(trials["slices_per_volume"].dropna()) == {1, 2}
    per_trial = scores.groupby("trial_id").size()
    assert (per_trial == scores["metric"].nunique() * 4).all()
    assert not scores.duplicated(KEYS).any()
    assert scores["case"].nunique() == 4
    assert scores[scores["metric"] == "dice"]["score"].between(0, 1).all()


def test_seeds_are_paired_over_cells(finished):
    trials = results.Store(finished[0]).read_trials()
    for _, cell in trials.dropna(subset=["slices_per_volume"]).groupby(
        "slices_per_volume"
    ):
        assert sorted(cell["training_seed"]) == [0, 1]
        assert (cell["training_seed"] == cell["selection_seed"]).all()


def test_no_checkpoint_is_left_but_the_weights_that_were_asked_for(finished):
    workdir = finished[0]
    (kept,) = (workdir / "checkpoints").iterdir()
    assert kept.name == "final"
    ids = set(results.Store(workdir).read_trials()["trial_id"])
    assert {path.name for path in kept.iterdir()} == ids


def test_times_of_compilation_and_training_are_told_apart(finished):
    compute = json.loads((finished[0] / "compute.json").read_text())
    assert compute["trial_steps"] == 5 * 12
    assert compute["compile_seconds"] > 0
    assert compute["training_seconds"] > 0
    parts = [compute[f"{n}_seconds"] for n in ("compile", "training", "evaluation")]
    assert sum(parts) <= compute["wall_seconds"] * 1.01


def test_the_same_command_again_changes_no_row(finished):
    workdir, _, _ = finished
    before, spent = read(workdir), (workdir / "compute.json").read_bytes()
    outcome = command.run(*SMOKE, f"--workdir={workdir}", report=False)
    assert outcome.status == 0
    assert "5 of 5 trials are there already" in outcome.err
    assert read(workdir) == before
    assert (workdir / "compute.json").read_bytes() == spent


def test_status_counts_the_finished_trials(finished):
    outcome = command.run(*SMOKE, f"--workdir={finished[0]}", "--status")
    assert "5 of 5 trials done, 0 to go, 0 diverged" in outcome.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--experiment=label_ceiling"], "holds results of experiment 'budget_sweep'"),
        (["--split_seed=4"], "prepared otherwise"),
        (["--steps=11"], "trained otherwise there (steps 12 there, 11 now)"),
    ],
)
def test_a_folder_of_another_study_is_refused_and_kept(finished, flags, words):
    workdir = finished[0]
    before = read(workdir)
    outcome = command.run(*SMOKE, f"--workdir={workdir}", *flags)
    assert outcome.status == 2
    assert len(outcome.errors) == 1
    assert words in outcome.errors[0]
    assert "another --workdir" in outcome.errors[0]
    assert read(workdir) == before


def train(workdir, experiment="budget_sweep", **overrides):
    """A run without its report."""
    options = Options(
        experiment=str(experiment),
        workdir=workdir,
        smoke=True,
        overrides=Overrides(**overrides),
    )
    Session(make_study(options), options).run()
    return results.Store(workdir)


def rows(scores):
    return scores.sort_values(KEYS, ignore_index=True)


def test_more_seeds_add_rows_and_keep_the_old_ones(finished, tmp_path):
    """A run of one seed, then of two, ends with the rows of two at once."""
    train(tmp_path / "work", num_seeds=1)
    store = train(tmp_path / "work", num_seeds=2)
    pd.testing.assert_frame_equal(
        rows(store.read_results()), rows(results.Store(finished[0]).read_results())
    )


def test_the_ceiling_runs_end_to_end(tmp_path):
    workdir = tmp_path / "work"
    outcome = command.run(
        "--experiment=label_ceiling", "--smoke", f"--workdir={workdir}"
    )
    assert outcome.status == 0, outcome.err
    trials = results.Store(workdir).read_trials()
    assert set(trials["strategy"]) == {"all"}
    assert len(trials) == 2
    assert (workdir / "report.html").exists()


class Poisoned(engine.Engine):
    """First weights of seed 1 are not finite."""

    def init(self, weight_seeds):
        state = super().init(weight_seeds)
        factors = np.where(np.array(weight_seeds) == 1, np.inf, 1).astype(np.float32)
        params = jax.tree.map(
            lambda leaf: leaf * factors.reshape(-1, *[1] * (leaf.ndim - 1)),
            state.params,
        )
        return state._replace(params=jax.device_put(params, self.split))


def test_a_diverged_trial_is_recorded_and_the_others_go_on(
    finished, tmp_path, monkeypatch
):
    monkeypatch.setattr(batches, "Engine", Poisoned)
    store = train(tmp_path / "work")
    trials, scores = store.read_trials(), store.read_results()
    diverged = trials["training_seed"] == 1
    assert diverged.sum() == 2
    assert trials["status"].tolist() == [
        "diverged" if bad else "ok" for bad in diverged
    ]
    lost = scores["trial_id"].isin(trials[diverged]["trial_id"])
    assert (scores[lost & (scores["metric"] == "dice")]["score"] == 0).all()
    assert (scores[lost]["status"] == "diverged").all()
    sound = results.Store(finished[0]).read_results()
    sound = sound[sound["trial_id"].isin(trials[~diverged]["trial_id"])]
    pd.testing.assert_frame_equal(rows(scores[~lost]), rows(sound))


def test_failed_trials_are_listed_and_trained_again_on_request(
    finished, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(batches, "Engine", Poisoned)
        store = train(tmp_path / "work")
    failed = store.read_trials().query("status == 'diverged'")["trial_id"]
    asked = (*SMOKE, f"--workdir={tmp_path / 'work'}")
    told = command.run(*asked, "--status").out
    assert "5 of 5 trials done, 0 to go, 2 diverged" in told
    assert all(f"failed: {name}: " in told for name in failed)
    assert "not finite within 12 steps" in told
    assert "--retry_failed" in told

    outcome = command.run(*asked, "--retry_failed", report=False)
    assert outcome.status == 0, outcome.err
    assert set(store.read_trials()["status"]) == {"ok"}
    pd.testing.assert_frame_equal(
        rows(store.read_results()), rows(results.Store(finished[0]).read_results())
    )
    kept = list((tmp_path / "work" / "trials").glob("retried-part-*.parquet"))
    assert kept
    assert "failed: " not in command.run(*asked, "--status").out
