"""Intensity features: area averages, principal components, reproducibility."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from slicebench.errors import InputError
from slicebench.selection import FEATURES
from slicebench.selection._intensity import area_average

every_feature = pytest.mark.parametrize(
    "name", [name for name, entry in FEATURES.items() if entry.source == "images"]
)


def make_images(depths=(5, 8), grid=(30, 26), channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(depth, *grid, channels)) for depth in depths]


@every_feature
def test_one_row_a_slice_and_equal_columns(name):
    features = FEATURES[name].extract(make_images((5, 8, 1)))
    assert [len(rows) for rows in features] == [5, 8, 1]
    assert len({rows.shape[1] for rows in features}) == 1
    assert all(np.isfinite(rows).all() for rows in features)


@every_feature
def test_equal_images_give_equal_bytes(name):
    first = FEATURES[name].extract(make_images())
    second = FEATURES[name].extract(make_images())
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]


@every_feature
@pytest.mark.parametrize("grid", [(1, 1), (7, 40), (12, 12), (24, 36)])
def test_equal_slices_get_equal_features(name, grid):
    (image,) = make_images((6,), grid)
    image = np.concatenate([image, image[::-1], image[:2]])
    (rows,) = FEATURES[name].extract([image])
    np.testing.assert_array_equal(rows[:6], rows[6:12][::-1])
    np.testing.assert_array_equal(rows[:2], rows[12:])


@every_feature
@pytest.mark.parametrize("depths", [(1,), (4, 3)])
def test_images_without_any_variance(name, depths):
    images = [np.full((depth, 20, 20, 1), 3.0) for depth in depths]
    features = FEATURES[name].extract(images)
    assert [len(rows) for rows in features] == list(depths)
    assert all(np.isfinite(rows).all() for rows in features)


def test_area_average_of_whole_blocks_is_their_mean():
    line = np.arange(24.0)
    expected = line.reshape(12, 2).mean(axis=1)
    np.testing.assert_allclose(area_average(24, 12) @ line, expected)


@pytest.mark.parametrize(("size", "cells"), [(1, 1), (13, 12), (50, 12), (100, 7)])
def test_area_average_keeps_constants_and_the_mean(size, cells):
    matrix = area_average(size, cells)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    np.testing.assert_allclose(matrix.sum(axis=0), cells / size)


def test_components_equal_a_plain_computation():
    images = make_images((20, 25), (24, 36), channels=1)
    rows = np.concatenate(images)[..., 0].reshape(45, 12, 2, 12, 3).mean(axis=(2, 4))
    rows = rows.reshape(45, 144)
    centred = rows - rows.mean(axis=0)
    _, singular, loadings = np.linalg.svd(centred, full_matrices=False)
    ours = np.concatenate(FEATURES["intensity"].extract(images))
    assert ours.shape == (45, 32)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=0), singular[:32], rtol=1e-5)
    signs = np.sign(loadings[np.arange(32), np.abs(loadings[:32]).argmax(axis=1)])
    np.testing.assert_allclose(ours, centred @ (loadings[:32].T * signs), atol=2e-6)


def test_scikit_learn_orients_components_by_their_largest_loading():
    rows = np.random.default_rng(5).normal(size=(40, 9))
    loadings = PCA(9, svd_solver="full").fit(rows).components_
    assert (loadings[np.arange(9), np.abs(loadings).argmax(axis=1)] > 0).all()


def test_number_of_components_is_limited_by_slices_and_pixels():
    assert FEATURES["intensity"].extract(make_images((3, 2)))[0].shape[1] == 5
    small = make_images((30, 30), (2, 2), channels=1)
    assert FEATURES["intensity"].extract(small)[0].shape[1] == 4


def test_all_channels_count():
    images = make_images((6, 6), channels=2)
    changed = [image * np.array([1.0, -1.0]) for image in images]
    shuffled = [image[..., :1].repeat(2, axis=3) for image in images]
    extract = FEATURES["intensity"].extract
    ours = np.concatenate(extract(images))
    np.testing.assert_allclose(
        np.abs(np.concatenate(extract(changed))), np.abs(ours), atol=2e-6
    )
    assert not np.allclose(np.abs(np.concatenate(extract(shuffled))), np.abs(ours))


def test_images_of_different_grids_are_refused():
    images = [np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 9, 1))]
    with pytest.raises(InputError, match=r"\(8, 8, 1\), \(8, 9, 1\).*one grid"):
        FEATURES["intensity"].extract(images)
