import json

import pytest

from slicebench.errors import InputError
from slicebench.results import read_json, write_json_atomic
from slicebench.statistics import summarise, write_summary
from tests.made_up import Truth, write_made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    truth = Truth(strategy_gain={"k_center": 0.02}, slope=0.03)
    write_made_up_run(folder, seeds=8, cases=12, diverged=1, truth=truth)
    return folder


def test_a_made_up_truth_is_found(run):
    summary = summarise(run)
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


def test_each_slope_has_its_best_allocations(run):
    best = summarise(run)["best_allocations"]
    assert [entry["where"]["budget"] for entry in best] == [8, 16]
    for entry in best:
        assert entry["reason"] is None
        assert len(entry["allocations"]) == 3
        assert any(row["in_set"] for row in entry["allocations"])
    assert best[1]["allocations"][0]["slices_per_volume"] == 1


def test_sensitivity_lists_what_diverged_trials_change(run):
    diverged, unseen = summarise(run)["sensitivity"]
    assert diverged["option"] == "drop_diverged"
    names = {entry["name"] for entry in diverged["contrasts"]}
    assert "allocation slope at 8 slices" in names
    assert "allocation slope at 16 slices" not in names
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
