import json

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.results import read_json, read_many, write_json_atomic
from slicebench.statistics import summarise, summarise_tables, write_summary
from tests.made_up import Truth, write_made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    truth = Truth(strategy_gain={"k_center": 0.02}, slope=0.03)
    write_made_up_run(folder, seeds=8, cases=12, diverged=1, truth=truth)
    return folder


@pytest.fixture(scope="module")
def summary(run):
    return summarise(run)


def test_a_made_up_truth_is_found(summary):
    entries = {entry["name"]: entry for entry in summary["contrasts"]}
    slope = entries["allocation slope at 16 slices"]
    assert slope["estimate"] == pytest.approx(0.03, abs=0.005)
    assert slope["verdict"] == "superior"
    first = entries["k_center against random, k = 1"]
    assert first["estimate"] == pytest.approx(0.02, abs=0.01)
    assert entries["k_center against random, k = 2"]["verdict"] == "exploratory"
    (margin,) = summary["margins"]
    assert margin["gain"] == pytest.approx(0.03, abs=0.01)
    assert slope["margin"] == margin["value"]
    assert {f["family"] for f in summary["families"]} == {
        "allocation blobs 2d",
        "strategies blobs 2d",
    }


def test_each_slope_has_its_best_allocations(summary):
    best = summary["best_allocations"]
    assert [entry["where"]["budget"] for entry in best] == [8, 16]
    for entry in best:
        assert entry["reason"] is None
        assert len(entry["allocations"]) == 3
        assert any(row["in_set"] for row in entry["allocations"])
    assert best[1]["allocations"][0]["slices_per_volume"] == 1


def test_sensitivity_lists_what_diverged_trials_change(summary):
    diverged, unseen = summary["sensitivity"]
    assert diverged["option"] == "drop_diverged"
    names = {entry["name"] for entry in diverged["contrasts"]}
    assert "allocation slope at 8 slices" in names
    assert "allocation slope at 16 slices" not in names
    assert {entry["reason"] for entry in diverged["contrasts"]} == {None}
    assert unseen == {"option": "drop_unseen", "contrasts": []}


def test_the_written_summary_is_the_same_bytes_again(run):
    written = write_summary(run)
    first = (run / "summary.json").read_bytes()
    assert read_json(run / "summary.json") == written
    write_summary(run)
    assert (run / "summary.json").read_bytes() == first
    assert written["schema_version"] == 1
    assert written["experiment"] == "made_up"


def test_a_run_without_results_is_inconclusive(tmp_path):
    experiment = write_made_up_run(tmp_path / "whole")
    write_json_atomic(tmp_path / "none" / "experiment.json", experiment)
    summary = summarise(tmp_path / "none")
    primary = [entry for entry in summary["contrasts"] if entry["primary"]]
    assert primary
    assert {entry["verdict"] for entry in primary} == {"inconclusive"}
    assert summary["best_allocations"] == []
    assert json.dumps(summary, allow_nan=False)


def test_a_slope_over_unlike_cells_has_no_best_allocation(tmp_path):
    experiment = write_made_up_run(tmp_path)
    experiment["contrasts"][0]["where"] = {"strategy": "random"}
    write_json_atomic(tmp_path / "experiment.json", experiment)
    first = summarise(tmp_path)["best_allocations"][0]
    assert first["allocations"] == []
    assert "cells differ in budget" in first["reason"]


def test_contrasts_come_with_other_tests_and_a_plan(summary):
    for entry in summary["contrasts"]:
        assert 0 < entry["p_sign_flip"] <= 1
        assert 0 < entry["p_wilcoxon"] <= 1
        assert set(entry["components"]) == {"sd_seed", "sd_case", "sd_residual"}
        enough = entry["seeds_needed"] is not None and entry["seeds_needed"] <= 8
        assert enough == (entry["resolvable"] <= entry["margin"])


def test_every_cell_has_its_components(summary):
    rows = summary["variance"]
    assert {row["metric"] for row in rows} == {"dice"}
    assert len(rows) == len(
        {(r["strategy"], r["budget"], r["num_volumes"]) for r in rows}
    )
    assert all(row["sd_case"] > 0 for row in rows)


def test_one_task_has_nothing_to_pool(summary):
    assert summary["pooled"] == []
    assert len(summary["strata_means"]) == len(summary["contrasts"])


def with_choices(folder, shares):
    """Returns an experiment of two tasks, its results, and trials with choices.

    Args:
      folder: Where the run is written.
      shares: Coverage of each task's trials.
    """
    experiment = write_made_up_run(folder, tasks=tuple(shares), seeds=5, cases=8)
    trials, results = read_many([folder])
    first = {"random": 0, "k_center": 1}
    trials["chosen_slices"] = [
        np.arange(row.budget) + first.get(row.strategy, 0)
        for row in trials.itertuples()
    ]
    trials["coverage"] = [shares[task] for task in trials["task"]]
    return experiment, results, trials


def test_strategies_are_pooled_where_something_is_left_to_choose(tmp_path):
    shares = {"blobs": 0.2, "rings": 0.5, "dense": 0.6}
    summary = summarise_tables(*with_choices(tmp_path, shares))
    by_name = {entry["name"]: entry for entry in summary["pooled"]}
    slope = by_name["allocation slope at 8 slices"]
    assert [m["task"] for m in slope["members"]] == list(shares)
    assert slope["low"] < 0.02 < slope["high"]
    strategies = by_name["k_center against random, k = 1"]
    assert [m["task"] for m in strategies["members"]] == ["blobs", "rings"]
    (left,) = strategies["left_out"][:1]
    assert left["task"] == "dense"
    assert {item["reason"] for item in strategies["left_out"]} == {
        "no stratum may be pooled",
        "coverage above 0.5: not pooled",
    }
    barred = [e["task"] for e in summary["contrasts"] if not e["poolable"]]
    assert set(barred) == {"dense"}
    assert json.dumps(summary, allow_nan=False)


def test_unknown_coverage_keeps_strategies_out(tmp_path):
    write_made_up_run(tmp_path, tasks=("blobs", "rings"))
    pooled = {entry["name"]: entry for entry in summarise(tmp_path)["pooled"]}
    assert pooled["allocation slope at 8 slices"]["num_tasks"] == 2
    strategies = pooled["k_center against random, k = 1"]
    assert (strategies["num_tasks"], strategies["estimate"]) == (0, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this version reads 1"),
        ({"schema_version": 1, "experiment": "x"}, "missing contrasts"),
    ],
)
def test_bad_experiment_files(tmp_path, content, message):
    write_json_atomic(tmp_path / "experiment.json", content)
    with pytest.raises(InputError, match=rf"experiment\.json: {message}"):
        summarise(tmp_path)
