"""The parts that methods are made of, against plain references."""

import numpy as np
import pytest
from scipy import ndimage

from slicebench.interpolation._distances import signed_distances
from slicebench.interpolation._morphological import count_dilations
from slicebench.interpolation._registration import find_motion, register, sample


def test_signed_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(3, 20, 24)), (0, 2, 2))
    plane = noise.argmax(axis=0).astype(np.uint8)
    pixel = (0.75, 1.5)
    found = signed_distances(plane, [1, 2], pixel)
    for ours, value in zip(found, (1, 2), strict=True):
        inside, outside = (
            ndimage.distance_transform_edt(mask, sampling=pixel)
            for mask in (plane == value, plane != value)
        )
        wanted = np.where(plane == value, inside - 0.375, 0.375 - outside)
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_dilations_are_counted_within_each_class():
    rng = np.random.default_rng(1)
    plane = (ndimage.gaussian_filter(rng.normal(size=(25, 25)), 2) > 0).astype(int)
    seeds = np.zeros_like(plane, bool)
    seeds[3, 3] = seeds[20, 18] = seeds[10, 12] = True
    wanted = np.where(seeds, 0, -1)
    cross, square = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool)
    reached = seeds.copy()
    for step in range(1, 200):
        grown = np.zeros_like(reached)
        for value in (0, 1):
            own = plane == value
            grown |= own & ndimage.binary_dilation(
                reached & own, cross if step % 2 else square
            )
        wanted[grown & ~reached] = step
        reached |= grown
    found = count_dilations(plane, seeds)
    np.testing.assert_array_equal(found[reached], wanted[reached])
    assert (found[~reached] > plane.size).all()


def make_pattern(shift=(0.0, 0.0), size=48):
    rows, columns = np.mgrid[:size, :size].astype(float)
    rows, columns = rows - shift[0], columns - shift[1]
    return np.sin(rows / 5) * np.cos(columns / 6) + np.sin((rows + columns) / 11)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -2.0), (-3.0, 1.0)])
def test_registration_finds_a_shift(shift):
    fixed, moving = make_pattern(shift), make_pattern()
    field = register(*(np.float32(p)[None, None] for p in (fixed, moving)))[0]
    inner = field[:, 10:-10, 10:-10]
    # A voxel of the moved pattern lies `shift` back in the pattern itself.
    np.testing.assert_allclose(inner.mean(axis=(1, 2)), np.negative(shift), atol=0.3)


def test_large_slices_are_registered_on_a_coarser_grid():
    fixed, moving = make_pattern((4.0, 0.0), 100), make_pattern(size=100)
    field = register(*(np.float32(p)[None, None] for p in (fixed, moving)))
    assert field.shape == (1, 2, 100, 100)
    assert field[0, 0, 20:-20, 20:-20].mean() == pytest.approx(-4, abs=0.5)


def test_sampling_is_bilinear_and_the_edge_goes_on():
    plane = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    field = np.zeros((1, 2, 3, 4), np.float32)
    field[0, 0, 0], field[0, 1, 2] = 0.5, 9.0
    found = sample(plane, field)[0, 0]
    np.testing.assert_allclose(found[0], [2, 3, 4, 5])
    np.testing.assert_allclose(found[1], plane[0, 0, 1])
    np.testing.assert_allclose(found[2], 11)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (3, 200)])
def test_odd_grids_and_flat_images_are_registered(size):
    image = np.ones((4, *size, 2))
    motion = find_motion(image)
    assert motion.up.shape == motion.down.shape == (3, 2, *size)
    np.testing.assert_array_equal(motion.up, 0)


def test_registration_is_kept_by_content():
    image = np.random.default_rng(2).normal(size=(3, 8, 8, 1))
    assert find_motion(image) is find_motion(image.copy())
    assert find_motion(image) is not find_motion(image + np.eye(8)[None, :, :, None])
