"""Ranks of many strategies, against SciPy, tables and hand-worked cases."""

import numpy as np
import pytest
import scipy.stats

from slicebench.statistics import (
    friedman,
    interquartile_mean,
    probability_of_improvement,
    rank_distribution,
    rank_strategies,
)
from slicebench.statistics._ranking import _cliques
from tests.statistics.tables import K_CENTER, RANDOM, tables

RNG = np.random.default_rng(0)


def test_friedman_is_scipys():
    for ties in (False, True):
        scores = RNG.normal(size=(4, 30)) + np.arange(4)[:, None] / 3
        scores = np.round(scores, 1) if ties else scores
        found = friedman(scores)
        expected = scipy.stats.friedmanchisquare(*scores)
        assert found.statistic == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue)


def test_ranks_and_critical_difference_of_demsars_table():
    """q = 2.569 for four classifiers: CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    found = friedman(RNG.normal(size=(4, 14)))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert sum(found.ranks) == pytest.approx(10)
    assert found.num_blocks == 14


def test_the_best_has_rank_one_and_cliques_hold_what_is_not_told_apart():
    noise = RNG.normal(size=(2, 60))
    scores = np.stack([noise[0], noise[0] + 5, noise[1] + 5, noise[1] - 5])
    found = friedman(scores)
    assert int(np.argmin(found.ranks)) in (1, 2)
    assert found.ranks[3] == 4.0
    assert {frozenset(clique) for clique in found.cliques} == {frozenset({1, 2})}


def test_overlapping_cliques_are_each_as_large_as_they_can_be():
    means = np.array([1.0, 1.8, 2.6, 4.0])
    assert _cliques(means, 1.0) == ((0, 1), (1, 2))
    assert _cliques(means, 2.0) == ((0, 1, 2), (2, 3))
    assert _cliques(means, 0.5) == ()
    assert _cliques(means[::-1], 9.0) == ((3, 2, 1, 0),)


def test_equal_strategies_are_not_told_apart():
    found = friedman(np.ones((3, 5)))
    assert (found.statistic, found.p) == (0.0, 1.0)
    assert found.ranks == (2.0, 2.0, 2.0)
    assert [sorted(clique) for clique in found.cliques] == [[0, 1, 2]]
    with pytest.raises(ValueError, match="2 x 2 are needed"):
        friedman(np.ones((1, 5)))


def distribution(scores, seed=0):
    rng = np.random.default_rng(seed)
    return rank_distribution([scores], resamples=500, generator=rng)


def test_rank_distributions_add_up_and_follow_the_evidence():
    scores = RNG.normal(size=(3, 6, 20))
    scores[1] += 9
    shares = distribution(scores)
    np.testing.assert_allclose(shares.sum(0), 1)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(shares[1], [1, 0, 0])
    assert 0 < shares[0, 1] < 1
    np.testing.assert_array_equal(shares, distribution(scores))


def test_equal_strategies_share_ranks():
    one = RNG.normal(size=(5, 7))
    shares = distribution(np.stack([one, one, one - 3]))
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_probability_of_improvement_is_mann_whitneys():
    a, b = RNG.normal(size=(8, 5)) + 0.5, RNG.normal(size=(6, 5))
    expected = [
        scipy.stats.mannwhitneyu(a[:, case], b[:, case]).statistic / 48
        for case in range(5)
    ]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(expected))
    assert probability_of_improvement(a, a) == pytest.approx(0.5)


def test_the_interquartile_mean_ignores_the_outer_quarters():
    values = np.array([[-99.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 99.0]])
    assert interquartile_mean(values) == 3.5


def test_folds_weigh_by_their_cases():
    better = RNG.normal(size=(2, 4, 30)) + np.array([0, 3])[:, None, None]
    worse = RNG.normal(size=(2, 4, 3)) - np.array([0, 3])[:, None, None]
    rng = np.random.default_rng(0)
    shares = rank_distribution([better, worse], resamples=200, generator=rng)
    np.testing.assert_array_equal(shares, [[0, 1], [1, 0]])


def test_strategies_that_differ_in_nothing_else_are_ranked():
    noise = RNG.normal(size=(4, 6)) / 100
    results, trials = tables(
        (RANDOM, 0.7 + noise),
        (K_CENTER, 0.6 + noise),
        ({"strategy": "central"}, 0.8 + noise),
        ({"strategy": "central", "budget": 16}, 0.9 + noise),
        ({"strategy": "all", "slices_per_volume": None, "budget": 99}, 0.9 + noise),
    )
    (found,) = rank_strategies(results, trials)
    assert found.place["budget"] == 8
    assert [arm["strategy"] for arm in found.arms] == ["central", "random", "k_center"]
    assert [arm["mean_rank"] for arm in found.arms] == [1, 2, 3]
    assert [arm["p_best"] for arm in found.arms] == [1, 0, 0]
    assert [arm["improvement"] for arm in found.arms] == [1, None, 0]
    assert found.arms[0]["mean"] == pytest.approx(0.8 + noise.mean())
    assert (found.num_seeds, found.num_cases) == (4, 6)
    assert found.test.num_blocks == 4


def test_copies_of_one_strategy_do_not_differ_by_the_luck_that_all_cases_share():
    """Seeds shift all cases together: with cases as blocks these would differ."""
    alarms = 0
    for number in range(60):
        rng = np.random.default_rng(number)
        results, trials = tables(
            *(
                ({"strategy": name}, luck + rng.normal(size=(10, 30)) / 100)
                for name in ("random", "again", "third")
                for luck in [rng.normal(size=(10, 1))]
            )
        )
        (found,) = rank_strategies(results, trials)
        alarms += found.test.p < 0.05
    assert alarms <= 8


def test_distances_rank_the_smallest_first():
    noise = RNG.normal(size=(3, 5)) / 100
    results, trials = tables(
        (RANDOM, 5 + noise),
        (K_CENTER, 7 + noise),
        ({"strategy": "central"}, 6 + noise),
        metric="hd95",
    )
    (found,) = rank_strategies(results, trials, metric="hd95")
    assert [arm["strategy"] for arm in found.arms] == ["random", "central", "k_center"]
    assert found.arms[0]["mean"] == pytest.approx(5 + noise.mean())
    assert rank_strategies(results, trials) == []


def test_two_strategies_or_no_common_seed_are_not_ranked():
    noise = RNG.normal(size=(3, 5))
    results, trials = tables((RANDOM, noise), (K_CENTER, noise))
    assert rank_strategies(results, trials) == []
