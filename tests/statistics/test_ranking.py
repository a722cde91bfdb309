"""Ranks of many strategies, against SciPy, tables and hand-worked cases."""

import numpy as np
import pytest
import scipy.stats

from slicebench.statistics import (
    friedman,
    interquartile_mean,
    probability_of_improvement,
    rank_distribution,
)
from slicebench.statistics._ranking import _cliques

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
    return rank_distribution(scores, resamples=500, generator=rng)


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
