"""Random lines, fields and shapes of the phantoms against their formulas."""

import numpy as np
import pytest

from slicebench.data.phantom_fields import Patient, cap, cover, ellipse, paint


def patient(seed=0, *, depth=16, size=48, share=0.3, length=2.0):
    return Patient(
        np.random.default_rng(seed),
        depth=depth,
        grid=(size, size),
        slice_ratio=1.5,
        patient_share=share,
        correlation_length=length,
    )


@pytest.mark.parametrize(("share", "length"), [(0.0, 2.0), (0.3, 2.0), (0.6, 3.0)])
def test_fields_have_the_stated_variance_and_correlation_along_depth(share, length):
    stack = np.array(
        [patient(s, share=share, length=length).field(0.05) for s in range(40)]
    )
    assert float(stack.var()) == pytest.approx(1, abs=0.08)
    for lag in (1, 2, 4):
        pairs = (stack[:, lag:] * stack[:, :-lag]).mean() / (stack**2).mean()
        expected = share + (1 - share) * np.exp(-(lag**2) / (2 * length**2))
        assert pairs == pytest.approx(expected, abs=0.05)


def test_fields_have_the_stated_correlation_in_the_plane():
    length = 0.15
    stack = np.array([patient(s).field(length) for s in range(40)])
    for lag in (2, 4, 6):
        distance = lag * patient().pixel
        expected = np.exp(-(distance**2) / (2 * length**2))
        for axis in (2, 3):
            ahead = np.take(stack, range(lag, 48), axis)
            behind = np.take(stack, range(48 - lag), axis)
            measured = (ahead * behind).mean() / (stack**2).mean()
            assert measured == pytest.approx(expected, abs=0.06)


def test_lines_have_the_stated_spread_and_correlation():
    lines = np.array([patient(s, share=0.4).line(0.5).ravel() for s in range(3000)])
    assert lines.std() == pytest.approx(0.5, rel=0.05)
    pairs = (lines[:, 1:] * lines[:, :-1]).mean() / (lines**2).mean()
    assert pairs == pytest.approx(0.4 + 0.6 * np.exp(-1 / 8), abs=0.04)


def test_a_length_of_zero_gives_independent_slices():
    stack = np.array([patient(s, share=0.0, length=0.0).field(0.1) for s in range(30)])
    assert abs(float((stack[:, 1:] * stack[:, :-1]).mean())) < 0.06


def test_noise_keeps_its_spread_whatever_the_grain():
    for share in (0.0, 0.5):
        noise = patient(size=64).grain(2.0, share)
        assert float(noise.std()) == pytest.approx(2.0, rel=0.02)


def test_numbers_are_cut_and_positions_shift():
    p = patient()
    numbers = np.array([p.number(1.0) for _ in range(4000)])
    assert np.abs(numbers).max() == 2.5
    assert numbers.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(p.along(0.0), p.z)


def test_an_ellipse_covers_its_area_and_rotates():
    p = patient(size=96)
    level = ellipse(p, (0.1, -0.2), (0.5, 0.3))
    pixels = cover(level, p.pixel).sum(axis=(1, 2)) * p.pixel**2
    np.testing.assert_allclose(pixels, np.pi * 0.15, rtol=0.03)
    turned = ellipse(p, (0.0, 0.0), (0.5, 0.3), np.pi / 2)
    upright = ellipse(p, (0.0, 0.0), (0.3, 0.5))
    np.testing.assert_allclose(turned, upright, atol=1e-4)


def test_an_ellipse_of_no_size_is_empty():
    p = patient()
    assert not (ellipse(p, (0.0, 0.0), (np.zeros((16, 1, 1)), 0.2)) < 0).any()


def test_a_ball_closes_at_its_ends():
    ends = cap(np.array([-1.0, 0.0, 0.6, 1.5]), 0.0, 1.0)
    np.testing.assert_allclose(ends, [0, 1, 0.8, 0])


def test_paint_blends_in_place():
    image = np.array([[[0.0, 2.0, 4.0]]])
    paint(image, np.array([[[0.0, 0.5, 1.0]]]), 6.0)
    np.testing.assert_allclose(image, [[[0, 4, 6]]])
