import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from slicebench.statistics import (
    bootstrap_interval,
    estimate_mean,
    resample,
    studentised_interval,
    variance_components,
)
from slicebench.statistics._intervals import _weighted_squares, mean_squares

HAND = np.array([[0.0, 1.0, 5.0], [2.0, 3.0, 1.0]])


def crossed(rng, seeds, cases, sds, count=None):
    shape = (count or 1, seeds, cases)
    seed, case, residual = sds
    values = (
        seed * rng.normal(size=(shape[0], seeds, 1))
        + case * rng.normal(size=(shape[0], 1, cases))
        + residual * rng.normal(size=shape)
    )
    return values if count else values[0]


def test_mean_squares_by_hand():
    # Rows 2 and 2, columns 1, 2, 3, mean 2; residuals -1, -1, 2, 1, 1, -2.
    np.testing.assert_allclose(mean_squares(HAND), [0.0, 2.0, 6.0])


def test_mean_squares_are_those_of_the_analysis_of_variance():
    matrix = crossed(np.random.default_rng(0), 4, 6, (1, 2, 0.5))
    columns = {
        "y": matrix.ravel(),
        "s": np.repeat(np.arange(4), 6).astype(str),
        "c": np.tile(np.arange(6), 4).astype(str),
    }
    table = anova_lm(ols("y ~ s + c", pd.DataFrame(columns)).fit())
    np.testing.assert_allclose(mean_squares(matrix), table["mean_sq"].to_numpy())


def test_interval_by_hand():
    matrix = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 8.0]])
    seed, case, residual = mean_squares(matrix)
    variance = (seed + case - residual) / 6
    df = (6 * variance) ** 2 / (seed**2 / 1 + case**2 / 2 + residual**2 / 2)
    estimate = estimate_mean([matrix])
    assert estimate.mean == 3.0
    assert estimate.variance == pytest.approx(variance)
    assert estimate.df == pytest.approx(df)
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert estimate.interval(0.95) == pytest.approx((3 - half, 3 + half))


def test_negative_components_fall_back_to_the_larger_mean_square():
    estimate = estimate_mean([HAND])
    assert estimate.variance == pytest.approx(2.0 / 6)
    assert estimate.df == 1


@pytest.mark.parametrize("shape", [(7, 1), (1, 7)])
def test_one_case_or_one_seed_is_the_paired_t_test(shape):
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.3, 1, 7), rng.normal(size=7)
    reference = scipy.stats.ttest_rel(a, b)
    estimate = estimate_mean([(a - b).reshape(shape)])
    assert estimate.method == ("seeds only" if shape[1] == 1 else "cases only")
    assert estimate.df == 6
    interval = reference.confidence_interval(0.95)
    assert estimate.interval(0.95) == pytest.approx((interval.low, interval.high))
    two_sided = 2 * min(estimate.p_above(0), estimate.p_below(0))
    assert two_sided == pytest.approx(reference.pvalue)


def test_one_number_has_no_interval():
    estimate = estimate_mean([np.array([[1.0]])])
    assert estimate.mean == 1.0
    assert math.isnan(estimate.variance)


def test_no_spread_decides_by_sign():
    ones = estimate_mean([np.ones((3, 4))])
    assert ones.interval(0.95) == (1.0, 1.0)
    assert (ones.p_above(0), ones.p_below(0), ones.p_above(1)) == (0.0, 1.0, 0.5)


def test_seeds_and_cases_play_equal_parts():
    matrix = crossed(np.random.default_rng(2), 4, 9, (1, 1, 1))
    straight, turned = estimate_mean([matrix]), estimate_mean([matrix.T])
    assert straight.interval(0.9) == pytest.approx(turned.interval(0.9))


def test_folds_are_combined_by_cases():
    rng = np.random.default_rng(3)
    first, second = crossed(rng, 4, 10, (1, 1, 1)), crossed(rng, 4, 30, (1, 1, 1))
    parts = [estimate_mean([matrix]) for matrix in (first, second)]
    whole = estimate_mean([first, second])
    assert whole.mean == pytest.approx(0.25 * parts[0].mean + 0.75 * parts[1].mean)
    assert whole.variance == pytest.approx(
        0.25**2 * parts[0].variance + 0.75**2 * parts[1].variance
    )
    assert min(part.df for part in parts) <= whole.df
    assert whole.df <= sum(part.df for part in parts)
    assert (whole.num_seeds, whole.num_cases) == (8, 40)
    # The ends of the widest claim: no fold has any spread.
    assert estimate_mean([np.ones((2, 2)), np.ones((2, 2))]).variance == 0


@pytest.mark.parametrize(
    "sds", [(1, 1, 1), (1, 0.1, 0.5), (0.1, 1, 0.5), (0, 0, 1)], ids=str
)
@pytest.mark.parametrize("shape", [(5, 20), (10, 20)], ids=str)
def test_coverage_of_the_two_way_interval(shape, sds):
    matrices = crossed(np.random.default_rng(4), *shape, sds, count=1500)
    intervals = [estimate_mean([m]).interval(0.95) for m in matrices]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    # Three standard errors of a simulated share are 0.017 here.
    assert covered > 0.92
    if sds != (0, 0, 1):
        assert covered < 0.98


def test_variance_components_are_found_again():
    matrix = crossed(np.random.default_rng(5), 200, 300, (2.0, 1.0, 0.5))
    found = variance_components(matrix)
    assert found.sd_seed == pytest.approx(2.0, rel=0.15)
    assert found.sd_case == pytest.approx(1.0, rel=0.15)
    assert found.sd_residual == pytest.approx(0.5, rel=0.02)
    with pytest.raises(ValueError, match="1 seeds x 3 cases"):
        variance_components(matrix[:1, :3])


def slow_bootstrap(matrix, generator, resamples):
    means = []
    for _ in range(resamples):
        rows = generator.integers(len(matrix), size=len(matrix))
        columns = generator.integers(matrix.shape[1], size=matrix.shape[1])
        means.append(matrix[rows][:, columns].mean())
    return np.quantile(means, [0.025, 0.975])


def test_bootstrap_agrees_with_drawing_rows_and_columns():
    matrix = crossed(np.random.default_rng(6), 8, 12, (1, 1, 0.5))
    fast = bootstrap_interval(
        [matrix], level=0.95, resamples=8000, generator=np.random.default_rng(7)
    )
    slow = slow_bootstrap(matrix, np.random.default_rng(8), 8000)
    np.testing.assert_allclose(fast, slow, atol=0.06)


def test_bootstrap_is_seeded_and_splits_into_folds():
    matrix = crossed(np.random.default_rng(6), 8, 12, (1, 1, 0.5))

    def interval(folds, seed):
        generator = np.random.default_rng(seed)
        return bootstrap_interval(
            folds, level=0.95, resamples=4000, generator=generator
        )

    assert interval([matrix], 0) == interval([matrix], 0)
    assert interval([matrix], 0) != interval([matrix], 1)
    one, two = interval([matrix], 0), interval([matrix, matrix], 0)
    assert (two[1] - two[0]) / (one[1] - one[0]) == pytest.approx(0.5**0.5, abs=0.05)


def test_weighted_squares_are_those_of_the_repeated_matrix():
    rng = np.random.default_rng(3)
    matrix = crossed(rng, 5, 7, (1, 2, 0.5))
    by_seed = rng.multinomial(5, [0.2] * 5, 6)
    by_case = rng.multinomial(7, [1 / 7] * 7, 6)
    squares = _weighted_squares(matrix, by_seed.astype(float), by_case.astype(float))
    for index in range(6):
        rows = np.repeat(np.arange(5), by_seed[index])
        columns = np.repeat(np.arange(7), by_case[index])
        repeated = matrix[rows][:, columns]
        np.testing.assert_allclose(squares[:, index], mean_squares(repeated))


def test_both_bootstraps_read_the_same_resamples():
    matrix = crossed(np.random.default_rng(4), 6, 9, (1, 2, 0.5))
    rng = np.random.default_rng
    drawn = resample([matrix], 500, rng(5))
    settings = {"level": 0.9, "resamples": 500}
    assert drawn.percentile(0.9) == bootstrap_interval(
        [matrix], **settings, generator=rng(5)
    )
    assert drawn.studentised(estimate_mean([matrix]), 0.9) == studentised_interval(
        [matrix], **settings, generator=rng(5)
    )
    assert drawn.means.mean() == pytest.approx(matrix.mean(), abs=0.2)
    without = resample([matrix], 500, rng(5), variances=False)
    np.testing.assert_array_equal(without.means, drawn.means)
    assert not without.variances.any()
    assert drawn.variances.all()


def studentised(folds, seed=0, level=0.95):
    rng = np.random.default_rng(seed)
    return studentised_interval(folds, level=level, resamples=2000, generator=rng)


def test_the_studentised_interval_shifts_with_the_data_and_repeats():
    matrix = crossed(np.random.default_rng(1), 12, 25, (0.02, 0.01, 0.03))
    low, high = studentised([matrix])
    assert low < matrix.mean() < high
    np.testing.assert_allclose(studentised([matrix + 1]), [low + 1, high + 1])
    assert studentised([matrix]) == (low, high)
    narrow = studentised([matrix], level=0.8)
    assert low < narrow[0] < narrow[1] < high


def test_the_studentised_interval_is_near_the_t_interval_of_normal_data():
    ratios = []
    for seed in range(20):
        matrix = crossed(np.random.default_rng(seed), 20, 40, (0.02, 0.01, 0.03))
        low, high = studentised([matrix[:, :15], matrix[:, 15:]], seed)
        ours = estimate_mean([matrix[:, :15], matrix[:, 15:]]).interval(0.95)
        ratios.append((high - low) / (ours[1] - ours[0]))
    assert 0.85 < np.mean(ratios) < 1.15


def test_without_spread_the_studentised_interval_is_the_mean():
    assert studentised([np.full((3, 4), 0.5)]) == (0.5, 0.5)
