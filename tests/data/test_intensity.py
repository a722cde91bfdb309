"""Intensity normalisation."""

import numpy as np
import pytest

from slicebench.data import intensity


@pytest.mark.parametrize(
    "name", ["CT", "ct", "abdominal CT", "CBCT", "PET/CT", "CTA", "CT (HU)"]
)
def test_names_of_ct(name):
    assert intensity.is_ct(name)


@pytest.mark.parametrize("name", ["SPECT", "T1w MRI", "contrast", "LGE MRI (8 bit)"])
def test_names_of_other_images(name):
    assert not intensity.is_ct(name)


def make_ct(offset, seed=0):
    """Half air, half soft tissue, in HU + offset."""
    rng = np.random.default_rng(seed)
    image = rng.normal(50, 100, (4, 40, 40))
    image[:, :20] = -1000 + rng.normal(0, 5, (4, 20, 40))
    return (image + offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0, 1024])
def test_window_is_that_of_the_body(offset):
    volumes = [make_ct(offset, seed) for seed in range(3)]
    window = intensity.fit_window(lambda: iter(volumes))
    body = np.concatenate([volume[:, 20:].ravel() for volume in volumes])
    low, high = np.percentile(body, [0.5, 99.5])
    np.testing.assert_allclose([window.low, window.high], [low, high], atol=2)
    clipped = np.clip(body, low, high)
    np.testing.assert_allclose(window.mean, clipped.mean(), atol=0.5)
    np.testing.assert_allclose(window.std, clipped.std(), atol=0.5)
    assert -990 + offset < window.body < -200 + offset


def test_a_given_window_replaces_the_percentiles_alone():
    volumes = [make_ct(1024, seed) for seed in range(3)]
    window = intensity.fit_window(lambda: iter(volumes), (1000.0, 1150.0))
    found = intensity.fit_window(lambda: iter(volumes))
    body = np.concatenate([volume[:, 20:].ravel() for volume in volumes])
    clipped = np.clip(body, 1000, 1150)
    assert (window.low, window.high, window.body) == (1000.0, 1150.0, found.body)
    np.testing.assert_allclose(window.mean, clipped.mean(), atol=0.5)
    np.testing.assert_allclose(window.std, clipped.std(), atol=0.5)


def test_window_without_air_takes_every_voxel():
    image = np.random.default_rng(0).normal(50, 20, (8, 80, 80)).astype(np.float32)
    window = intensity.fit_window(lambda: [image])
    assert window.body == pytest.approx(image.min())
    np.testing.assert_allclose(
        [window.low, window.high], np.percentile(image, [0.5, 99.5]), atol=0.5
    )


def test_ct_is_clipped_and_scaled():
    window = intensity.Window(0.0, 100.0, 50.0, 25.0, -500.0)
    channel = np.array([[[-10.0, 0, 75, 1000]]], np.float32)
    np.testing.assert_array_equal(
        intensity.normalise(channel, window), [[[-2, -2, 1, 2]]]
    )


def test_other_images_are_scaled_by_themselves():
    channel = np.random.default_rng(0).uniform(10, 20, (3, 4, 5)).astype(np.float32)
    scaled = intensity.normalise(channel, None)
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose(
        scaled, intensity.normalise(channel * 100 + 7, None), atol=1e-4
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 12345.678])
def test_constant_images_become_zeros(value):
    channel = np.full((3, 17, 19), value, np.float32)
    assert not intensity.normalise(channel, None).any()
    window = intensity.fit_window(lambda: [channel])
    assert not intensity.normalise(channel, window).any()
