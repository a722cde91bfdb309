import numpy as np
import pandas as pd
import pytest

from slicebench.errors import InputError
from slicebench.statistics import (
    best_allocation,
    cell_table,
    estimate_mean,
    split_false_positives,
    unite_ceilings,
)
from tests.statistics.tables import K_CENTER, RANDOM, tables

SHAPE = (6, 10)


def noise(scale, seed=0):
    return scale * np.random.default_rng(seed).normal(size=SHAPE)


def test_a_cell_has_its_mean_interval_and_counts():
    values = 0.6 + noise(0.1)
    results, trials = tables((RANDOM, values), (K_CENTER, values + 0.1))
    trials.loc[trials["trial_id"] == results["trial_id"].iloc[0], "status"] = "diverged"
    table = cell_table(results, trials).set_index("strategy")
    row = table.loc["random"]
    low, high = estimate_mean([values]).interval(0.95)
    assert row["mean"] == pytest.approx(values.mean())
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["sd_seeds"] == pytest.approx(values.mean(1).std(ddof=1))
    assert (row["num_seeds"], row["num_cases"], row["num_trials"]) == (6, 10, 6)
    assert row["share_diverged"] == pytest.approx(1 / 6)
    assert row["steps"] == 100
    assert row["annotated_slices"] == 8
    assert table.loc["k_center", "share_diverged"] == 0


def test_distances_are_not_turned():
    results, trials = tables((RANDOM, np.full(SHAPE, 5.0)), metric="hd95")
    assert cell_table(results, trials)["mean"].tolist() == [5.0]


def test_classes_can_stand_apart():
    values = np.stack([0.5 + noise(0.1), 0.8 + noise(0.1, 1)], -1)
    values[:, 3:, 1] = np.nan
    frames = tables((RANDOM, values))
    whole = cell_table(*frames)
    assert whole["mean"].tolist() == pytest.approx(
        [(values[:, :, 0].mean() + values[:, :3, 1].mean()) / 2]
    )
    apart = cell_table(*frames, by_class=True).set_index("class_name")
    assert apart.loc["c0", "mean"] == pytest.approx(values[:, :, 0].mean())
    assert apart.loc["c1", "mean"] == pytest.approx(values[:, :3, 1].mean())
    assert apart.loc["c1", "num_cases"] == 3


def test_a_class_that_a_cell_lacks_has_no_row():
    both = np.stack([noise(1), noise(1, 1)], -1)
    one = np.where([True, False], both, np.nan)
    table = cell_table(*tables((RANDOM, both), (K_CENTER, one)), by_class=True)
    found = set(zip(table["strategy"], table["class_name"], strict=True))
    assert found == {("random", "c0"), ("random", "c1"), ("k_center", "c0")}


def test_trainings_of_other_length_are_other_cells():
    longer = {"training": '{"steps":200}', "steps": 200, "program": "q"}
    table = cell_table(*tables((RANDOM, noise(1)), (longer, noise(1))))
    assert table["steps"].tolist() == [100, 200]
    assert table["program"].tolist() == ["p", "q"]


def test_trials_that_never_saw_a_class_are_counted():
    unseen = '{"c0":{"slices":3,"volumes":1},"c1":{"slices":0,"volumes":0}}'
    results, trials = tables((RANDOM, noise(1)))
    trials.loc[:1, "foreground_by_class"] = unseen
    assert cell_table(results, trials)["share_class_unseen"].iloc[0] == 2 / 6


def test_one_score_has_no_interval_and_no_trials_no_rows():
    results, trials = tables((RANDOM, np.array([[0.5]])))
    row = cell_table(results, trials).iloc[0]
    assert row["mean"] == 0.5
    assert np.isnan([row["low"], row["high"], row["sd_seeds"]]).all()
    assert len(cell_table(results.iloc[:0], trials.iloc[:0])) == 0


def allocations(means, scale=0.01, metric="dice"):
    base = noise(0.05, seed=9)
    cells = [
        (
            {"slices_per_volume": k, "num_volumes": 8 // k},
            mean + base + noise(scale, k),
        )
        for k, mean in means.items()
    ]
    frames = tables(*cells, metric=metric)
    found = best_allocation(*frames, where={"budget": 8}, metric=metric)
    return {row["slices_per_volume"]: row for row in found}, found


def test_the_set_holds_what_cannot_be_told_from_the_best():
    rows, order = allocations({1: 0.7, 2: 0.7, 4: 0.5})
    assert [rows[k]["in_set"] for k in (1, 2, 4)] == [True, True, False]
    assert order[-1] is rows[4]
    means = [row["mean"] for row in order]
    assert means == sorted(means, reverse=True)
    assert rows[1]["low"] < rows[1]["mean"] < rows[1]["high"]


def test_a_clear_best_stands_alone_and_distances_are_turned():
    rows, order = allocations({1: 5.0, 2: 6.0}, metric="hd95")
    assert (rows[1]["in_set"], rows[2]["in_set"]) == (True, False)
    assert order[0] is rows[1]


def test_p_values_are_shared_among_the_rivals():
    means = {1: 0.61, 2: 0.6, 4: 0.6}
    rows, _ = allocations(means)
    base = noise(0.05, seed=9)
    values = {k: mean + base + noise(0.01, k) for k, mean in means.items()}
    smallest = min(
        estimate_mean([values[other] - values[2]]).p_above(0) for other in (1, 4)
    )
    assert rows[2]["p_best"] == pytest.approx(min(1.0, 2 * smallest))


def test_the_best_is_in_the_set_as_often_as_promised():
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(40):
        cells = []
        for k in (1, 2, 4, 8):
            seed = rng.normal(0, 0.01, (6, 1))
            values = 0.6 + seed + rng.normal(0, 0.02, SHAPE)
            cells.append(({"slices_per_volume": k, "num_volumes": 8 // k}, values))
        rows = best_allocation(*tables(*cells), where={"budget": 8})
        kept += next(r["in_set"] for r in rows if r["slices_per_volume"] == 1)
    # At least 0.95 promised with four equal cells: 38 expected.
    assert kept >= 34


def test_one_allocation_or_one_seed_excludes_nothing():
    rows, _ = allocations({1: 0.5})
    assert rows[1]["in_set"]
    cells = [
        ({"slices_per_volume": k, "num_volumes": 8 // k}, np.full((1, 9), mean))
        for k, mean in ((1, 0.9), (2, 0.1))
    ]
    rows = best_allocation(*tables(*cells), where={})
    assert all(row["in_set"] for row in rows)


@pytest.mark.parametrize(
    ("cells", "where", "why"),
    [
        ([RANDOM, K_CENTER], {}, "cells differ in strategy, features"),
        ([RANDOM, {"budget": 16, "num_volumes": 16}], {}, "cells differ in budget"),
        ([RANDOM, {"task": "other"}], {}, "2 task, target and dims"),
        ([RANDOM], {"budget": 9}, "0 task, target and dims"),
        ([RANDOM], {"colour": 9}, "no column 'colour'"),
    ],
)
def test_cells_that_are_not_allocations(cells, where, why):
    frames = tables(*[(cell, noise(1)) for cell in cells])
    with pytest.raises(InputError, match=why):
        best_allocation(*frames, where=where)


def test_the_ceiling_is_one_cell_over_folds_whose_pools_differ():
    rng = np.random.default_rng(0)
    whole = {"strategy": "all", "slices_per_volume": None}
    results, trials = tables(
        ({**whole, "budget": 495, "num_volumes": 70}, rng.random((1, 4))),
        ({**whole, "budget": 502, "num_volumes": 71, "fold": 1}, rng.random((1, 4))),
        ({"budget": 8}, rng.random((2, 4))),
    )
    united = unite_ceilings(trials)
    cells = cell_table(results, united)
    assert cells["budget"].tolist() == [8, 502]
    assert cells["num_volumes"].tolist() == [8, 71]
    assert cells["num_trials"].tolist() == [2, 2]
    assert trials["budget"].tolist() == [495, 502, 8, 8]
    sparse = trials[trials["strategy"] != "all"]
    assert unite_ceilings(sparse).equals(sparse)


def test_false_positives_of_absent_classes_stand_apart_from_those_on_empty_slices():
    rows = [
        ("t", "sick", "c", "dice", 0.8),
        ("t", "sick", "c", "fp_ml", 0.3),
        ("t", "well", "c", "fp_ml", 2.0),
        ("t", "fine", "c", "fp_ml", 0.0),
        ("t", "fine", "d", "dice", 0.7),
    ]
    columns = ["trial_id", "case", "class_name", "metric", "score"]
    found = split_false_positives(pd.DataFrame(rows, columns=columns))
    assert set(found.itertuples(index=False, name=None)) == {
        ("t", "sick", "c", "dice", 0.8),
        ("t", "sick", "c", "fp_ml_slices", 0.3),
        ("t", "well", "c", "fp_ml", 2.0),
        ("t", "well", "c", "fp_rate", 1.0),
        ("t", "fine", "c", "fp_ml", 0.0),
        ("t", "fine", "c", "fp_rate", 0.0),
        ("t", "fine", "d", "dice", 0.7),
    }


def test_what_trials_were_given_is_averaged_and_unknown_where_it_was_not_recorded():
    results, trials = tables(({}, np.ones((2, 3))))
    (row,) = cell_table(results, trials).to_dict("records")
    assert row["annotated_slices"] == 8
    assert np.isnan(row["interpolated_share"])
    trials = trials.assign(interpolated_share=[0.25, 0.75], extent_marks=[4, None])
    (row,) = cell_table(results, trials).to_dict("records")
    assert row["interpolated_share"] == 0.5
    assert row["extent_marks"] == 4
