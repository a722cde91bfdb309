import itertools

import numpy as np
import pytest
import scipy.stats

from slicebench.statistics import sign_flip, wilcoxon


def generator():
    return np.random.default_rng(0)


def one_case(*values):
    return [np.array(values, float)[:, None]]


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ((1, 2, 3), 2 / 8),
        ((-1, 2, 4), 4 / 8),
        ((3, -1), 1.0),
        ((1, -1), 1.0),
        ((0, 0, 0), 1.0),
        ((0.1, 0.2, 0.3, 0.6), 2 / 16),
        ((0.1, 0.2, -0.3), 1.0),
    ],
)
def test_sign_flips_by_hand(values, p):
    assert sign_flip(one_case(*values), generator=generator()) == p


def test_all_patterns_are_those_of_scipy():
    values = np.random.default_rng(1).normal(0.4, 1, (9, 5))
    reference = scipy.stats.permutation_test(
        (values.mean(1),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip([values], generator=generator()) == reference.pvalue


def test_random_patterns_come_close_to_all():
    values = np.random.default_rng(2).normal(0.4, 1, 14)
    signs = np.array(list(itertools.product((-1, 1), repeat=14)))
    exact = (abs(signs @ values) >= abs(values.sum()) - 1e-9).mean()
    found = sign_flip(one_case(*values), generator=generator())
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 1e4))
    again = sign_flip(one_case(*values), generator=generator())
    assert again == found


def test_random_patterns_count_the_observed_one():
    values = np.ones(40)
    assert sign_flip(one_case(*values), generator=generator()) == 1 / 10_001


def test_folds_weigh_by_their_cases():
    rng = np.random.default_rng(3)
    folds = [rng.normal(0.5, 1, (3, 8)), rng.normal(0.5, 1, (2, 4))]
    shares = np.concatenate([folds[0].mean(1) * 8 / 3, folds[1].mean(1) * 4 / 2]) / 12
    signs = np.array(list(itertools.product((-1, 1), repeat=5)))
    exact = (abs(signs @ shares) >= abs(shares.sum()) - 1e-9).mean()
    assert 0 < exact < 1
    assert sign_flip(folds, generator=generator()) == exact


def test_one_seed_has_nothing_to_flip():
    assert sign_flip(one_case(1.0), generator=generator()) is None
    assert wilcoxon(one_case(1.0), level=0.05) == (None, "one seed: nothing to rank")


def test_a_null_is_rejected_no_more_often_than_stated():
    rng = np.random.default_rng(4)
    values = rng.standard_t(3, size=(400, 8, 1))
    found = [sign_flip([matrix], generator=rng) for matrix in values]
    # 20 expected at 0.05 (the attainable level is 0.047); 34 has probability 0.001.
    assert 5 < np.sum(np.array(found) <= 0.05) < 34


def test_wilcoxon_is_scipys_on_means_of_seeds():
    values = np.random.default_rng(5).normal(0.5, 1, (10, 6))
    p, note = wilcoxon([values], level=0.05)
    assert p == scipy.stats.wilcoxon(values.mean(1)).pvalue
    assert note is None


@pytest.mark.parametrize(
    ("seeds", "level", "smallest"),
    [(5, 0.05, "0.0625"), (4, 0.05, "0.125"), (6, 0.05, None), (6, 0.025, "0.0312")],
)
def test_wilcoxon_says_when_seeds_are_too_few(seeds, level, smallest):
    p, note = wilcoxon(one_case(*range(1, seeds + 1)), level=level)
    assert p == 2.0 ** (1 - seeds)
    if smallest is None:
        assert note is None
    else:
        assert note == (
            f"{seeds} seeds: the smallest p that the test can give is {smallest}, "
            f"above {level}"
        )


def test_wilcoxon_leaves_equal_seeds_out():
    p, note = wilcoxon(one_case(0, 0, 1e-15, 1, 2, 3, -4), level=0.05)
    assert p == scipy.stats.wilcoxon([1, 2, 3, -4]).pvalue
    assert note.startswith("4 seeds")
    assert wilcoxon(one_case(0, 0, 0), level=0.05) == (None, "no seed differs")
    assert wilcoxon(one_case(0, 0, 1), level=0.05)[0] == 1.0
