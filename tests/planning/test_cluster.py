"""Correlation along depth and what it makes of slices."""

import numpy as np
import pytest

from slicebench.planning.cluster import (
    best_slices,
    depth_correlation,
    effective_slices,
    kish,
    residuals,
)

PATIENT, NEAR = 0.4, 0.7
"""Share of the variance between volumes; correlation of the rest per slice."""


def volumes(number, depth=20, *, columns=6, seed=0):
    """Patient effect plus an autoregression along depth, on a common ramp."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        rest = np.empty((depth, columns))
        rest[0] = rng.normal(size=columns)
        for at in range(1, depth):
            fresh = rng.normal(size=columns)
            rest[at] = NEAR * rest[at - 1] + np.sqrt(1 - NEAR**2) * fresh
        level = np.sqrt(PATIENT) * rng.normal(size=columns)
        ramp = 5 * np.linspace(-1, 1, depth)[:, None]
        made.append(level + np.sqrt(1 - PATIENT) * rest + ramp)
    return made


def truth(lags):
    return PATIENT + (1 - PATIENT) * NEAR ** np.asarray(lags, float)


def test_the_correlation_is_found_again():
    found = depth_correlation(volumes(300), [2.5] * 300)
    np.testing.assert_allclose(found.distances, 2.5 * np.arange(20))
    np.testing.assert_allclose(found.values[:12], truth(np.arange(12)), atol=0.05)
    lags = np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    pairs = truth(lags[~np.eye(20, dtype=bool)]).mean()
    assert found.icc == pytest.approx(pairs, abs=0.05)


def test_the_interval_holds_the_truth():
    inside = []
    for seed in range(30):
        found = depth_correlation(volumes(60, seed=seed), [1.0] * 60, seed=seed)
        real = truth(np.arange(1, 6))
        inside.append((found.low[1:6] <= real) & (real <= found.high[1:6]))
    assert np.mean(inside) > 0.85


def test_what_all_volumes_share_is_no_correlation():
    """Without removing the ramp every slice of a volume would look like itself."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(-3, 3, 15)[:, None]
    noise = [ramp + rng.normal(size=(15, 4)) for _ in range(200)]
    found = depth_correlation(noise, [1.0] * 200)
    np.testing.assert_allclose(found.values[1:10], 0, atol=0.06)
    assert abs(np.mean([rows.mean() for rows in residuals(noise)])) < 1e-3


def test_volumes_of_other_spacing_are_compared_by_mm():
    """Every second slice of half of the volumes is left out."""
    dense = volumes(400, depth=21)
    mixed = [rows[::2] if n % 4 == 0 else rows for n, rows in enumerate(dense)]
    spacing = [2.0 if n % 4 == 0 else 1.0 for n in range(400)]
    found = depth_correlation(mixed, spacing)
    np.testing.assert_allclose(found.at(np.array([2.0, 4.0])), truth([2, 4]), atol=0.06)


def test_effective_slices_by_hand():
    found = depth_correlation(volumes(300), [1.0] * 300)
    # Two slices at correlation r are worth 2 / (1 + r).
    expected = 2 / (1 + float(found.at(np.array(3.0))))
    assert effective_slices([4.0, 7.0], found) == pytest.approx(expected)
    assert effective_slices([4.0], found) == pytest.approx(1.0)
    near, far = (
        effective_slices([0, 1, 2, 3], found),
        effective_slices([0, 5, 10, 15], found),
    )
    assert 1 < near < far < 4


@pytest.mark.parametrize(("icc", "expected"), [(0.0, 4.0), (1.0, 1.0), (1 / 3, 2.0)])
def test_kish(icc, expected):
    assert kish(4, icc) == pytest.approx(expected)


def test_the_best_number_of_slices_is_where_a_grid_finds_it():
    """Variance of the mean at a fixed cost, minimised by trying every k."""
    icc, depth = 0.3, 40
    for ratio in (0.5, 2.0, 10.0, 40.0):
        cost = np.array([(ratio + k) * (icc + (1 - icc) / k) for k in range(1, depth)])
        best = 1 + int(cost.argmin())
        assert abs(best_slices(ratio, icc, depth) - best) <= 0.5 + 1e-9


def test_dense_where_volumes_do_not_differ_and_one_where_opening_is_free():
    assert best_slices(1.0, 0.0, 30) == 30
    assert best_slices(1.0, -0.1, 30) == 30
    assert best_slices(0.0, 0.5, 30) == 1
    assert best_slices(1e9, 0.5, 30) == 30


@pytest.mark.parametrize("features", [volumes(2), [np.ones((1, 3))] * 4])
def test_too_little_to_tell(features):
    with pytest.raises(ValueError, match="three with two slices"):
        depth_correlation(features, [1.0] * len(features))


def test_constant_scans_have_no_correlation():
    found = depth_correlation([np.ones((5, 2))] * 4, [1.0] * 4)
    assert found.icc == 0
    assert np.isfinite(found.values).all()
