"""Scores read part by part: the arrays, tables and verdicts of the whole frame."""

import numpy as np
import pandas as pd
import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.results import (
    RESULTS,
    TRIALS,
    ListColumn,
    Store,
    read_trials_compactly,
    scores_of,
)
from slicebench.statistics import (
    best_allocation,
    case_means,
    case_scores,
    cell_table,
    contrast_overlaps,
    evaluate,
    overlap_matrix,
    rank_strategies,
    read_index,
    split_false_positives,
    strata_means,
    summarise_tables,
    variance_table,
)
from tests.made_up import write_made_up_run

PLACE = ("blobs", "all", "2d", "dice")


def split_by_seed(trials, results, rng):
    """Two folds with cases of their own, some of them shared and some scores gone."""
    trials = trials.assign(fold=trials["selection_seed"] % 2)
    results = results.merge(trials[["trial_id", "fold"]], on="trial_id")
    results = results.drop(columns="fold_x").rename(columns={"fold_y": "fold"})
    own = ~results["case"].str.endswith("_00") & (results["fold"] == 1)
    results.loc[own, "case"] = "a" + results.loc[own, "case"]
    # The truth of one case lacks a class: only false positives are counted there.
    lacks = results["case"].str.endswith("_01") & (results["class_name"] == "back")
    false = results[results["metric"] == "dice"].assign(metric="fp_ml")
    false["score"] = np.where(rng.random(len(false)) < 0.3, 0.0, rng.random(len(false)))
    gone = lacks | ((results["metric"] == "hd95") & (rng.random(len(results)) < 0.1))
    return trials, pd.concat([results[~gone], false], ignore_index=True)


def append(store, name, trials, results):
    rows = trials.astype(object).where(trials.notna(), None)[list(TRIALS.names)]
    scores = results.astype(object).where(results.notna(), None)[list(RESULTS.names)]
    store.append(name, rows.to_dict("records"), scores.to_dict("records"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds in three parts, with choices, curves and lacking scores."""
    rng = np.random.default_rng(4)
    axes = {"budgets": (8,), "strategies": ("random", "k_center", "fixed_interval")}
    made = tmp_path_factory.mktemp("made")
    experiment = write_made_up_run(
        made, classes=("front", "back"), seeds=4, cases=4, diverged=1, **axes
    )
    store = Store(made)
    trials, results = split_by_seed(store.read_trials(), store.read_results(), rng)
    chosen = [
        None if row == "all" else np.sort(rng.choice(99, 8, replace=False)).tolist()
        for row in trials["strategy"]
    ]
    trials["chosen_slices"] = pd.Series(chosen, dtype=object)
    trials["coverage"] = 0.25
    folder = tmp_path_factory.mktemp("run")
    order = rng.permutation(len(trials))
    for number, rows in enumerate(np.array_split(order, 3)):
        part = trials.iloc[np.sort(rows)]
        mine = results[results["trial_id"].isin(part["trial_id"])]
        append(Store(folder), f"p{number}", part, mine)
    return Store(folder), experiment


@pytest.fixture(scope="module")
def frames(run):
    store, _ = run
    return split_false_positives(store.read_results()), store.read_trials()


@pytest.fixture(scope="module")
def index(run):
    return read_index(run[0])


def test_trials_are_those_of_the_store(run, index):
    whole, compact = run[0].read_trials(), index.trials
    assert list(compact.columns) == list(whole.columns)
    for name in set(whole.columns) - {"chosen_slices", "loss_curve"}:
        assert compact[name].astype(object).equals(whole[name].astype(object)), name
    lists = ListColumn(compact["chosen_slices"])
    stored = [() if row is None else tuple(row) for row in whole["chosen_slices"]]
    assert [tuple(lists[n]) for n in range(len(whole))] == stored
    assert lists.filled.tolist() == [bool(row) for row in stored]


def test_every_score_is_where_the_frame_has_it(frames, index):
    results, trials = frames
    found = {
        place: int(np.isfinite(s.values[s.at]).sum()) for place, s in index.items()
    }
    keys = ["task", "target", "dims", "metric"]
    assert found == results.groupby(keys).size().to_dict()
    assert {place[3] for place in index} == {
        *("dice", "nsd", "hd95", "fp_ml", "fp_rate", "fp_ml_slices")
    }
    everything = np.ones(len(trials), bool)
    for place in index:
        tidy = case_scores(index, place, everything)
        expected = results[results["metric"] == place[3]]
        assert tidy["score"].sum() == pytest.approx(expected["score"].sum())
        names = ["class_name", "case"]
        assert tidy.groupby(names).size().equals(expected.groupby(names).size())
    assert index.cases == set(results["case"])


@pytest.mark.parametrize("by_class", [False, True])
def test_cells_are_equal_to_the_last_bit(frames, index, by_class):
    whole = cell_table(*frames, by_class=by_class)
    found = cell_table(index, index.trials, by_class=by_class)
    pd.testing.assert_frame_equal(
        found.astype(object), whole.astype(object), check_exact=True
    )


def test_contrasts_and_all_else_are_equal(run, frames, index):
    contrasts = run[1]["contrasts"]
    options = {"margins": {}, "resamples": 20}
    for drop in ({}, {"drop_diverged": True}, {"drop_unseen": True}):
        assert evaluate(contrasts, index, index.trials, **options, **drop) == evaluate(
            contrasts, *frames, **options, **drop
        )
    assert variance_table(index, index.trials) == variance_table(*frames)
    assert str(rank_strategies(index, index.trials)) == str(rank_strategies(*frames))
    barred = [None] * len(contrasts)
    assert strata_means(contrasts, index, index.trials, poolable=barred) == (
        strata_means(contrasts, *frames, poolable=barred)
    )
    where = {"strategy": "random", "budget": 8}
    assert best_allocation(index, index.trials, where=where) == best_allocation(
        *frames, where=where
    )


def test_summaries_are_equal(run, index):
    store, experiment = run
    whole = summarise_tables(experiment, store.read_results(), store.read_trials())
    found = summarise_tables(experiment, index, index.trials)
    assert spec.canonical_json(found) == spec.canonical_json(whole)


def test_overlaps_are_equal(run, frames, index):
    contrasts = run[1]["contrasts"]
    found = contrast_overlaps(contrasts, index.trials)
    assert found == contrast_overlaps(contrasts, frames[1])
    assert sum(row["num_pairs"] for row in found)
    pd.testing.assert_frame_equal(
        overlap_matrix(index.trials), overlap_matrix(frames[1]), check_exact=True
    )


def test_scores_of_some_trials(frames, index):
    results, trials = frames
    some = trials.iloc[::3]
    part = index.among(index.trials.iloc[::3])
    kept = results[results["trial_id"].isin(some["trial_id"])]
    pd.testing.assert_frame_equal(
        cell_table(part, part.trials).astype(object),
        cell_table(kept, some).astype(object),
        check_exact=True,
    )
    assert index.among(index.trials) is index
    third = np.arange(len(trials)) % 3 == 0
    pd.testing.assert_frame_equal(
        cell_table(index.where(third), index.trials), cell_table(part, part.trials)
    )
    assert not index.among(index.trials.iloc[:0])


def test_means_of_cases_are_those_of_pandas(frames, index):
    results, trials = frames
    swept = (trials["strategy"] != "all").to_numpy(bool)
    dice = results[results["metric"] == "dice"]
    dice = dice[dice["trial_id"].isin(trials.loc[swept, "trial_id"])]
    expected = dice.groupby(["class_name", "case"])["score"].mean()
    found = case_means(index, PLACE, swept)
    assert found.to_dict() == expected.to_dict()
    tidy = case_scores(index, PLACE, swept).groupby(["class_name", "case"])["score"]
    assert (
        tidy.std().to_dict()
        == dice.groupby(["class_name", "case"])["score"].std().to_dict()
    )


def test_sums_of_many_trials_lose_nothing(tmp_path):
    write_made_up_run(tmp_path, seeds=60, cases=2, budgets=(8,))
    store = Store(tmp_path)
    index, results = read_index(store), store.read_results()
    found = case_means(index, PLACE, np.ones(len(index.trials), bool))
    dice = results[results["metric"] == "dice"].groupby(["class_name", "case"])
    assert found.to_dict() == dice["score"].mean().to_dict()


def test_no_scores_of_a_metric_give_no_rows(index):
    nothing = np.ones(len(index.trials), bool)
    place = ("blobs", "all", "3d", "dice")
    assert case_scores(index, place, nothing).empty
    assert case_means(index, place, nothing).empty


def test_scores_of_named_trials(run):
    store, _ = run
    whole = store.read_results()
    some = set(whole["trial_id"].unique()[:3])
    mine = whole[whole["trial_id"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores_of(store, some), mine)


def made(folder):
    write_made_up_run(folder, seeds=1, cases=2, budgets=(8,), strategies=("random",))
    store = Store(folder)
    return store, store.read_trials(), store.read_results()


def test_a_score_that_is_there_twice_is_refused(tmp_path):
    store, trials, results = made(tmp_path)
    other = trials.assign(trial_id=["x" + name for name in trials["trial_id"]])
    append(store, "again", other, results.assign(trial_id="x" + results["trial_id"]))
    path = tmp_path / "results" / "part-again.parquet"
    (first,) = set((tmp_path / "results").glob("*.parquet")) - {path}
    path.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="is there twice"):
        read_index(store)


def test_a_trial_that_is_there_twice_is_refused(tmp_path):
    store, trials, results = made(tmp_path)
    append(store, "again", trials, results)
    with pytest.raises(InputError, match="is there twice"):
        read_trials_compactly(store)


def test_scores_of_an_unknown_trial_are_refused(tmp_path):
    store, trials, results = made(tmp_path)
    (path,) = (tmp_path / "trials").iterdir()
    path.unlink()
    name = path.stem.removeprefix("part-")
    first = trials["trial_id"].iloc[0]
    mask = results["trial_id"] == first
    append(store, "one", trials.iloc[:1], results[mask])
    (tmp_path / "results" / "part-one.parquet").write_bytes(
        (tmp_path / "results" / f"part-{name}.parquet").read_bytes()
    )
    with pytest.raises(InputError, match=r"part-one.*has no row in trials/"):
        read_index(store)


def test_a_missing_part_is_told(tmp_path):
    store, _, _ = made(tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    path.unlink()
    with pytest.raises(InputError, match="missing, though"):
        read_index(store)


def test_a_score_that_is_not_finite_is_told(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    store, _, _ = made(tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    table = pq.read_table(path)
    scores = table.column("score").to_numpy().copy()
    scores[1] = np.nan
    place = table.column_names.index("score")
    field = table.schema.field("score")
    pq.write_table(table.set_column(place, field, pa.array(scores)), path)
    with pytest.raises(InputError, match="1 scores are NaN or infinite"):
        read_index(store)


def test_an_empty_folder_has_no_scores(tmp_path):
    index = read_index(Store(tmp_path))
    assert not index
    assert len(index.trials) == 0
    assert cell_table(index, index.trials).empty


@pytest.mark.parametrize(
    "rows", [[[1, 2], None, [], [3]], [np.array([1, 2]), float("nan"), (), [3]]]
)
def test_lists_however_stored(rows):
    column = ListColumn(pd.Series(rows, dtype=object))
    assert [column[n].tolist() for n in range(4)] == [[1, 2], [], [], [3]]
    assert column.filled.tolist() == [True, False, False, True]
