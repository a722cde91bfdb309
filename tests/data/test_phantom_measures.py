"""Measures of slices and patients, on data whose answer is known."""

import os
from pathlib import Path

import numpy as np
import pytest

from slicebench.data import phantom_measures as pm
from slicebench.errors import InputError


def random_volumes(share, *, volumes=400, slices=10, features=6, seed=0):
    rng = np.random.default_rng(seed)
    between = rng.standard_normal((volumes, 1, features)) * np.sqrt(share)
    within = rng.standard_normal((volumes, slices, features)) * np.sqrt(1 - share)
    return list(between + within)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_share_and_correlation_of_exchangeable_slices(share):
    features = random_volumes(share)
    assert pm.between_patient_share(features) == pytest.approx(share, abs=0.03)
    for lag in (1, 0.5):
        measured = pm.slice_correlation(features, lag)
        assert measured == pytest.approx(share, abs=0.04)


def test_correlation_of_an_autoregression_falls_with_the_lag():
    rng = np.random.default_rng(1)
    walk = rng.standard_normal((500, 12, 3))
    for index in range(1, 12):
        walk[:, index] = 0.7 * walk[:, index - 1] + np.sqrt(0.51) * walk[:, index]
    for lag in (1, 2, 3):
        measured = pm.slice_correlation(list(walk), lag)
        assert measured == pytest.approx(0.7**lag, abs=0.03)


def test_share_equals_the_anova_by_hand():
    features = random_volumes(0.4, volumes=7, slices=5, features=1, seed=3)
    values = np.array(pm.without_position(features))[..., 0]
    means = values.mean(axis=1)
    between = 5 * np.sum((means - values.mean()) ** 2) / 6
    within = np.sum((values - means[:, None]) ** 2) / (7 * 4)
    expected = (between - within) / (between + 4 * within)
    assert pm.between_patient_share(features) == pytest.approx(expected)


def test_share_with_unequal_sizes_is_unbiased():
    rng = np.random.default_rng(5)
    features = random_volumes(0.5, volumes=600, slices=16, seed=4)
    cut = [volume[: rng.integers(4, 17)] for volume in features]
    assert pm.between_patient_share(cut) == pytest.approx(0.5, abs=0.04)


def test_a_shared_position_effect_is_removed():
    features = random_volumes(0.3)
    ramp = np.linspace(-9, 9, 10)[:, None]
    shifted = [volume + ramp for volume in features]
    assert pm.between_patient_share(shifted) == pytest.approx(
        pm.between_patient_share(features)
    )


def test_volumes_without_variance_have_no_correlation():
    same = [np.ones((4, 2))] * 3
    assert pm.between_patient_share(same) == 0
    assert pm.slice_correlation(same, 1) == 0


def test_features_are_block_means():
    image = np.arange(2 * 16 * 8, dtype=float).reshape(2, 16, 8)
    expected = image.reshape(2, 4, 4, 4, 2).mean(axis=(2, 4)).reshape(2, 16)
    np.testing.assert_allclose(pm.slice_features(image, 4), expected)
    odd = np.full((1, 7, 5), 3.0)
    np.testing.assert_allclose(pm.slice_features(odd, 4), 3.0)


def test_z_score():
    image = np.random.default_rng(0).normal(7, 3, (4, 5, 6))
    scaled = pm.z_score(image)
    assert scaled.dtype == np.float32
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-6)
    assert float(scaled.std()) == pytest.approx(1, abs=1e-6)
    assert not pm.z_score(np.full((2, 2, 2), 5.0)).any()


def test_measures_of_two_boxes():
    masks = [np.zeros((4, 10, 10), bool) for _ in range(3)]
    masks[0][1:3, 2:4, 2:6] = True  # 16 voxels around row 2.5, column 3.5
    masks[1][1:3, 4:6, 2:8] = True  # 24 voxels around row 4.5, column 4.5
    images = [mask * 2.0 for mask in masks]
    result = pm.measure(images, masks)
    assert result.cases == 3
    assert result.slices == 4
    assert result.empty_cases == pytest.approx(1 / 3)
    assert result.foreground_slices == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert result.volume_cv == pytest.approx(4 / 20)
    assert result.centroid_spread == pytest.approx(np.sqrt((0.1**2 + 0.05**2) / 2))
    assert result.neighbour_overlap == 1
    assert result.contrast == pytest.approx(2)
    assert result.contrast_spread == pytest.approx(0)


def test_foreground_everywhere_has_no_contrast_and_one_slice_no_neighbour():
    masks = [np.ones((2, 4, 4), bool)] * 2
    assert pm.measure([np.ones((2, 4, 4))] * 2, masks).contrast == 0
    thin = [np.zeros((2, 4, 4), bool) for _ in range(2)]
    for mask in thin:
        mask[0, 1, 1] = True
    assert pm.measure([np.ones((2, 4, 4))] * 2, thin).neighbour_overlap == 0


def test_bad_input_is_named():
    slices = [np.ones((3, 4, 4))] * 2
    with pytest.raises(InputError, match="2 images and 1 masks"):
        pm.measure(slices, [np.ones((3, 4, 4), bool)])
    with pytest.raises(InputError, match="no foreground"):
        pm.measure(slices, [np.zeros((3, 4, 4), bool)] * 2)
    with pytest.raises(InputError, match="lag 5"):
        pm.slice_correlation([np.ones((3, 2))], 5)
    with pytest.raises(InputError, match="1 volumes with 3 slices"):
        pm.between_patient_share([np.ones((3, 2))])


@pytest.mark.data
def test_the_real_task_measures_as_documented():
    default = Path(__file__).parents[2] / "../shared/data"
    folder = Path(os.environ.get("SLICEBENCH_DATA", default)) / "Dataset506_EMIDEC"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    from benchmarks import phantom_realism

    result = phantom_realism.measure_folder(f"{folder}:3+4")
    assert result.cases == 100
    assert result.empty_cases == pytest.approx(0.33)
    assert result.foreground_slices == pytest.approx(0.56, abs=0.005)
    assert result.patient_share == pytest.approx(0.47, abs=0.005)
