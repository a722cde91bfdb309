"""Overlap of choices: hand-worked cases, and chance against simulation."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slicebench import statistics
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables

STRATEGY = contrast(where={"budget": 8, "num_volumes": 8})
Chosen = dict[int, list[int]]


def _trials(*cells: tuple[dict[str, Any], Chosen, float | None]) -> pd.DataFrame:
    """Makes trials of cells given as factors, slices by selection seed, coverage."""
    parts = []
    for factors, chosen, coverage in cells:
        scores = np.zeros((len(chosen), 1))
        _, trials = tables((factors, scores), seeds=list(chosen))
        trials["chosen_slices"] = [np.array(rows, np.int32) for rows in chosen.values()]
        parts.append(trials.assign(coverage=coverage))
    return pd.concat(parts, ignore_index=True)


def _one(trials: pd.DataFrame, planned: dict[str, Any] = STRATEGY) -> dict[str, Any]:
    (found,) = statistics.contrast_overlaps([planned], trials)
    json.dumps(found, allow_nan=False)
    return found


def test_jaccard_of_two_seeds_by_hand():
    trials = _trials(
        (K_CENTER, {0: [0, 1, 2], 1: [4, 5, 6]}, 0.25),
        (RANDOM, {0: [2, 3, 4], 1: [4, 5, 6]}, 0.25),
    )
    found = _one(trials)
    # Seed 0: one slice of five in common; seed 1: all three.
    assert found["jaccard"] == pytest.approx((1 / 5 + 1) / 2)
    assert (found["lowest"], found["highest"]) == (1 / 5, 1.0)
    assert found["num_pairs"] == 2
    assert found["expected_jaccard"] == pytest.approx(0.25 / 1.75)
    assert (found["coverage_a"], found["coverage_b"]) == (0.25, 0.25)
    assert (found["identical"], found["poolable"]) == (False, True)
    assert found["reason"] is None
    assert found["a"] == {"strategy": "k_center"}


def test_pairs_are_those_of_one_fold_and_selection_seed():
    fold = {"fold": 1}
    trials = _trials(
        (K_CENTER, {0: [0, 1], 1: [0, 1], 2: [0, 1]}, 0.1),
        (RANDOM, {0: [0, 1], 3: [0, 1]}, 0.1),
        ({**K_CENTER, **fold}, {0: [0, 1]}, 0.1),
        ({**RANDOM, **fold}, {0: [2, 3]}, 0.1),
    )
    found = _one(trials)
    assert found["num_pairs"] == 2
    assert (found["lowest"], found["highest"], found["jaccard"]) == (0.0, 1.0, 0.5)


def test_training_seeds_share_their_choice():
    trials = _trials((K_CENTER, {0: [0, 1]}, 0.1), (RANDOM, {0: [1, 2]}, 0.1))
    again = trials.assign(training_seed=7, trial_id=trials["trial_id"] + "x")
    found = _one(pd.concat([trials, again], ignore_index=True))
    assert found["num_pairs"] == 1
    assert found["jaccard"] == pytest.approx(1 / 3)


def test_identical_choices_compare_nothing_and_are_not_pooled():
    same: Chosen = {0: [0, 1], 1: [3, 5]}
    found = _one(_trials((K_CENTER, same, 0.1), (RANDOM, same, 0.1)))
    assert found["identical"] is True
    assert found["poolable"] is False
    assert found["reason"] == "identical choices: the contrast compares nothing"


@pytest.mark.parametrize(
    ("coverage", "poolable", "reason"),
    [
        (0.5, True, None),
        (0.51, False, "coverage above 0.5: not pooled"),
        (None, None, None),
    ],
)
def test_half_a_volume_is_the_most_that_is_pooled(coverage, poolable, reason):
    sides = (K_CENTER, {0: [0, 1]}, 0.25), (RANDOM, {0: [1, 2]}, coverage)
    found = _one(_trials(*sides))
    assert found["poolable"] is poolable
    assert found["reason"] == reason
    assert (found["expected_jaccard"] is None) == (coverage is None)


def test_a_dense_cell_is_not_hidden_by_a_sparse_one():
    both = {"slices_per_volume": [1, 4]}
    dense = {"slices_per_volume": 4, "num_volumes": 2}
    trials = _trials(
        (K_CENTER, {0: [0, 1, 2, 3]}, 0.1),
        (RANDOM, {0: [0, 1, 2, 3]}, 0.1),
        ({**K_CENTER, **dense}, {0: [0, 1, 2, 3]}, 0.8),
        ({**RANDOM, **dense}, {0: [2, 3, 4, 5]}, 0.8),
    )
    found = _one(trials, contrast(where=both))
    # Cells are paired by their allocation: 4 of 4 in common, then 2 of 6.
    assert found["num_pairs"] == 2
    assert found["jaccard"] == pytest.approx((1 + 2 / 6) / 2)
    assert found["coverage_a"] == pytest.approx(0.45)
    assert found["poolable"] is False


def test_only_contrasts_of_choices_are_taken():
    planned = [
        contrast(kind="slope", a={}, b={}),
        contrast(a={"interpolation": "linear"}, b={"interpolation": "none"}),
        contrast(name="scopes", a={"scope": "pooled"}, b={"scope": "within"}),
        contrast(name="features", a={"features": "x"}, b={"features": "y"}),
        contrast(
            name="volumes",
            a={"volume_strategy": "k_center"},
            b={"volume_strategy": "random"},
        ),
    ]
    trials = _trials((RANDOM, {0: [0]}, 0.1))
    found = statistics.contrast_overlaps(planned, trials)
    assert [entry["name"] for entry in found] == ["scopes", "features", "volumes"]
    assert found[0]["reason"] == "no finished trials on side a"
    assert [entry["num_pairs"] for entry in found] == [0, 0, 0]


def test_chance_is_not_stated_where_volumes_differ():
    by_center = {"volume_strategy": "k_center", "features": "intensity"}
    planned = contrast(
        where={"budget": 8},
        a={"volume_strategy": "k_center", "features": "intensity"},
        b={"volume_strategy": "random", "features": "none"},
    )
    trials = _trials((by_center, {0: [0, 1]}, 0.1), (RANDOM, {0: [1, 9]}, 0.1))
    found = _one(trials, planned)
    assert found["jaccard"] == pytest.approx(1 / 3)
    assert found["expected_jaccard"] is None
    assert found["poolable"] is True


@pytest.mark.parametrize("column", ["missing", "null"])
def test_older_results_have_nothing_to_compare(column):
    _, trials = tables((K_CENTER, np.zeros((2, 1))), (RANDOM, np.zeros((2, 1))))
    if column == "null":
        trials = trials.assign(chosen_slices=None, coverage=math.nan)
    found = _one(trials)
    assert (found["jaccard"], found["num_pairs"]) == (None, 0)
    assert found["reason"] == "no chosen slices are recorded"
    matrix = statistics.overlap_matrix(trials)
    assert len(matrix) == 0
    assert "expected_jaccard" in matrix


def test_seeds_that_are_not_shared_are_said_so():
    trials = _trials((K_CENTER, {0: [0]}, 0.1), (RANDOM, {1: [0]}, 0.1))
    assert _one(trials)["reason"] == "the cells share no selection seed"


def test_matrix_by_hand():
    other = {"strategy": "central"}
    more = {"budget": 16, "num_volumes": 8, "slices_per_volume": 2}
    trials = _trials(
        (K_CENTER, {0: [0, 1], 1: [2, 3]}, 0.2),
        (RANDOM, {0: [1, 2], 1: [2, 3]}, 0.2),
        (other, {0: [8, 9]}, 0.2),
        ({**RANDOM, **more}, {0: [0, 1]}, 0.4),
        ({**other, **more}, {0: [0, 1]}, 0.4),
    )
    matrix = statistics.overlap_matrix(trials)
    pairs = list(zip(matrix["strategy_a"], matrix["strategy_b"], strict=True))
    assert pairs == [
        ("central", "k_center"),
        ("central", "random"),
        ("k_center", "random"),
        ("central", "random"),
    ]
    assert matrix["jaccard"].tolist() == pytest.approx([0, 0, (1 / 3 + 1) / 2, 1])
    assert matrix["num_pairs"].tolist() == [1, 1, 2, 1]
    assert matrix["budget"].tolist() == [8, 8, 8, 16]
    assert matrix["slices_per_volume"].tolist() == [1, 1, 1, 2]
    assert matrix["coverage_a"].tolist() == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert matrix["expected_jaccard"].tolist() == pytest.approx(
        [0.2 / 1.8] * 3 + [0.4 / 1.6]
    )
    assert matrix["features_a"].tolist() == ["none", "none", "intensity", "none"]


def test_matrix_pairs_scopes_and_passes_over_what_does_not_choose():
    pooled = {"scope": "pooled", "slices_per_volume": None}
    filled = {"interpolation": "linear", "pseudo_weight": 0.5}
    trials = _trials(
        (RANDOM, {0: [0, 1]}, 0.2),
        ({**RANDOM, **filled}, {0: [0, 1]}, 0.2),
        (pooled, {0: [1, 2]}, 0.2),
    )
    matrix = statistics.overlap_matrix(trials)
    assert matrix[["scope_a", "scope_b"]].to_numpy().tolist() == [["pooled", "within"]]
    assert matrix["jaccard"].tolist() == pytest.approx([1 / 3])
    assert matrix["slices_per_volume"].tolist() == [1]


@pytest.mark.parametrize(
    ("quotas", "depths"),
    [((2, 2), [10] * 12), ((6, 6), [10] * 12), ((2, 6), [10] * 12), ((2, 2), [8, 12])],
)
def test_expected_overlap_agrees_with_drawing(quotas, depths):
    rng = np.random.default_rng(5)
    depths = depths if len(depths) > 2 else depths * 6
    found = []
    for _ in range(500):
        one, other = (
            {
                (volume, row)
                for volume, depth in enumerate(depths)
                for row in rng.choice(depth, quota, replace=False).tolist()
            }
            for quota in quotas
        )
        found.append(len(one & other) / len(one | other))
    shares = [float(np.mean([quota / d for d in depths])) for quota in quotas]
    expected = statistics.expected_jaccard(*shares)
    assert expected == pytest.approx(np.mean(found), abs=0.008)
    assert abs(expected - shares[0]) > 0.02
