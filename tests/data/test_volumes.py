"""Geometry and reading of single volumes."""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from slicebench.data import volumes
from tests.data import folders


def make_volume(tmp_path, array, label=None, affine=None, slice_axis=2):
    folders.save(tmp_path / "image.nii.gz", array, affine)
    label = np.zeros(array.shape[:3], np.uint8) if label is None else label
    folders.save(tmp_path / "label.nii.gz", label, affine)
    return volumes.Volume(
        name="case",
        group="case",
        image_paths=(tmp_path / "image.nii.gz",),
        label_path=tmp_path / "label.nii.gz",
        slice_axis=slice_axis,
    )


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_slice_axis_comes_first_and_the_others_keep_their_order(tmp_path, slice_axis):
    array = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    label = (array % 3).astype(np.uint8)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    volume = make_volume(tmp_path, array, label, affine, slice_axis)
    rest = [axis for axis in range(3) if axis != slice_axis]
    expected = array.transpose(slice_axis, *rest)
    np.testing.assert_array_equal(volume.load_image(), expected[None])
    np.testing.assert_array_equal(
        volume.load_label(), label.transpose(slice_axis, *rest)
    )
    assert volume.shape == expected.shape
    spacing = (1.0, 2.0, 3.0)
    assert volume.spacing == (spacing[slice_axis], spacing[rest[0]], spacing[rest[1]])
    np.testing.assert_array_equal(volume.affine, affine)


def test_four_axes_hold_channels_last(tmp_path):
    array = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    volume = make_volume(tmp_path, array)
    image = volume.load_image()
    assert image.shape == (2, 4, 2, 3)
    np.testing.assert_array_equal(image[1, 3], array[:, :, 3, 1])


def test_scaled_integers_are_read_in_their_unit(tmp_path):
    image = nib.Nifti1Image(np.full((2, 2, 2), 4, np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "image.nii.gz")
    volume = volumes.Volume(
        name="a",
        group="a",
        image_paths=(tmp_path / "image.nii.gz",),
        label_path=tmp_path / "none.nii.gz",
        slice_axis=2,
    )
    stored = np.asarray(nib.load(tmp_path / "image.nii.gz").dataobj)
    assert volume.load_image().dtype == np.float32
    np.testing.assert_array_equal(volume.load_image()[0], stored)


@pytest.mark.parametrize("permutation", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 4, 2), (1, 1, 9)])
def test_axial_axis_under_permutation_flip_and_spacing(permutation, signs, spacing):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs)[:, permutation] * np.array(spacing)
    assert volumes.axial_axis(affine) == permutation.index(2)


@pytest.mark.parametrize("degrees", [5, 20, 40])
def test_axial_axis_of_an_oblique_volume(degrees):
    affine = np.eye(4)
    turn = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([1, 7, 2])
    assert volumes.axial_axis(affine) == 2


def test_axial_axis_is_not_guessed_at_45_degrees():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("x", 45, degrees=True).as_matrix()
    assert volumes.axial_axis(affine) is None
