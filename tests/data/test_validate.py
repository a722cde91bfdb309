"""Checks of every file and voxel of a dataset folder."""

import gzip
import hashlib

import nibabel as nib
import numpy as np
import pytest

from slicebench.data import validate_dataset
from slicebench.errors import InputError
from tests.data import folders

IMAGE, LABEL = "imagesTr/c01_0000.nii.gz", "labelsTr/c01.nii.gz"


def fault_after(folder, path=None, array=None, affine=None):
    """Replaces one file and returns the message that follows."""
    if path is not None:
        folders.save(folder / path, array, affine)
    with pytest.raises(InputError) as caught:
        validate_dataset(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    return folders.write_nnunet(tmp_path, 3)


def test_sound_folder_and_file_digests(folder):
    dataset, checked = validate_dataset(folder)
    assert len(dataset.volumes) == 3
    content = (folder / IMAGE).read_bytes()
    assert checked.files[IMAGE] == hashlib.sha256(content).hexdigest()
    assert len(checked.files) == 6
    assert len(set(checked.voxels.values())) == 3


def test_voxel_digest_ignores_number_type_and_compression(folder):
    image = folders.draw_case(1)[0].astype(np.uint8)
    folders.save(folder / "imagesTr/c00_0000.nii.gz", image)
    folders.save(folder / IMAGE, image.astype(np.float64))
    _, checked = validate_dataset(folder)
    assert checked.voxels["c00"] == checked.voxels["c01"] != checked.voxels["c02"]


def test_floating_label_that_holds_integers_is_accepted(folder):
    label = folders.draw_case(1)[1].astype(np.float32)
    folders.save(folder / LABEL, label)
    dataset, _ = validate_dataset(folder)
    np.testing.assert_array_equal(
        dataset.volumes[1].load_label(), np.moveaxis(label, 2, 0)
    )


def test_nifti2_and_uncompressed_files(tmp_path):
    folders.write_json(tmp_path, file_ending=".nii")
    image, label = folders.draw_case(0)
    (tmp_path / "imagesTr").mkdir()
    nib.save(nib.Nifti2Image(image, np.eye(4)), tmp_path / "imagesTr/a_0000.nii")
    folders.save(tmp_path / "labelsTr/a.nii", label)
    dataset, _ = validate_dataset(tmp_path)
    np.testing.assert_array_equal(
        dataset.volumes[0].load_image()[0], np.moveaxis(image, 2, 0)
    )


@pytest.mark.parametrize("path", [IMAGE, LABEL])
@pytest.mark.parametrize("keep", [20, -30, -4])
def test_truncated_gzip(folder, path, keep):
    content = (folder / path).read_bytes()
    (folder / path).write_bytes(content[: keep if keep > 0 else len(content) + keep])
    assert f"{path}: truncated or damaged gzip" in fault_after(folder)


def test_damaged_gzip(folder):
    content = bytearray((folder / IMAGE).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / IMAGE).write_bytes(content)
    assert f"{IMAGE}: truncated or damaged gzip" in fault_after(folder)


def test_not_gzip_at_all(folder):
    (folder / IMAGE).write_bytes(b"plain text")
    assert f"{IMAGE}: truncated or damaged gzip" in fault_after(folder)


@pytest.mark.parametrize("keep", [0, 100, 400])
def test_gzip_of_half_a_nifti(folder, keep):
    content = gzip.decompress((folder / IMAGE).read_bytes())
    (folder / IMAGE).write_bytes(gzip.compress(content[:keep]))
    assert f"{IMAGE}: not a sound NIfTI file" in fault_after(folder)


def test_shape_mismatch(folder):
    label = folders.draw_case(1)[1][:, :, :4]
    message = fault_after(folder, LABEL, label)
    assert f"{LABEL}: shape (10, 12, 4) differs from (10, 12, 5) of {IMAGE}" in message


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1, 1, 2.0, 1]),
        np.diag([-1, -1, 1.0, 1]),
        np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_affine_mismatch(folder, affine):
    message = fault_after(folder, LABEL, folders.draw_case(1)[1], affine)
    assert f"{LABEL}: affine differs from that of {IMAGE}" in message
    assert "allowed are 0.1 mm" in message


def test_affine_rounding_is_accepted(folder):
    affine = np.eye(4)
    affine[:3] += 1e-4
    folders.save(folder / LABEL, folders.draw_case(1)[1], affine)
    validate_dataset(folder)


def test_channel_of_another_shape(tmp_path):
    folders.write_nnunet(tmp_path, 2, channel_names={"0": "a", "1": "b"})
    array = np.zeros((4, 4, 4), np.float32)
    message = fault_after(tmp_path, "imagesTr/c01_0001.nii.gz", array)
    assert "imagesTr/c01_0001.nii.gz: shape (4, 4, 4) differs" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_image_that_is_not_finite(folder, value):
    image = folders.draw_case(1)[0]
    image[3, 4, 1:3] = value
    message = fault_after(folder, IMAGE, image)
    assert f"{IMAGE}: 2 voxels are NaN or infinite" in message


def test_image_beyond_single_precision(folder):
    image = folders.draw_case(1, dtype=np.float64)[0]
    image[0, 0, 0] = 1e300
    assert "1 voxels are NaN or infinite" in fault_after(folder, IMAGE, image)


@pytest.mark.parametrize("value", [1.5, np.nan])
def test_label_values_that_are_not_integers(folder, value):
    label = folders.draw_case(1)[1].astype(np.float32)
    label[0, 0, 0] = value
    message = fault_after(folder, LABEL, label)
    assert f"{LABEL}: label values are not integers: {value:g}" in message


@pytest.mark.parametrize("value", [5, -1])
def test_label_values_that_are_not_listed(folder, value):
    label = folders.draw_case(1)[1].astype(np.int16)
    label[0, 0, 0] = value
    message = fault_after(folder, LABEL, label)
    assert f"label values {value} are not listed; dataset.json lists 0, 1, 2" in message


def test_ignore_label(folder):
    labels = {"background": 0, "front": 1, "back": 2, "ignore": 3}
    folders.write_json(folder, labels=labels)
    dataset, _ = validate_dataset(folder)
    assert dataset.labels == (("front", 1), ("back", 2))
    label = folders.draw_case(1)[1]
    label[0, 0, 0] = 3
    assert "labelled `ignore` (3)" in fault_after(folder, LABEL, label)


@pytest.mark.parametrize(
    ("path", "array", "message"),
    [
        (IMAGE, np.zeros((10, 12), np.float32), "shape (10, 12); expected 3 axes"),
        (IMAGE, np.zeros((10, 12, 5), np.complex64), "voxels of type complex64"),
        (LABEL, np.zeros((10, 12, 5, 2), np.uint8), "label has 2 channels, not 1"),
        (IMAGE, np.zeros((10, 12, 5, 2), np.float32), "2 channels, dataset.json lists"),
    ],
)
def test_form_of_the_array(folder, path, array, message):
    assert message in fault_after(folder, path, array)


def test_label_with_a_trailing_axis_of_one(folder):
    folders.save(folder / LABEL, folders.draw_case(1)[1][..., None])
    dataset, _ = validate_dataset(folder)
    assert dataset.volumes[1].load_label().shape == (5, 10, 12)


def test_affine_that_is_not_finite(folder):
    stored = nib.load(folder / IMAGE)
    content = bytearray(gzip.decompress((folder / IMAGE).read_bytes()))
    content[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    assert int(stored.header["sform_code"]) > 0
    (folder / IMAGE).write_bytes(gzip.compress(bytes(content)))
    folders.write_json(folder, slice_axis=2)
    assert f"{IMAGE}: affine is not finite" in fault_after(folder)


def test_msd_channels_against_the_declaration(tmp_path):
    folders.write_msd(tmp_path, 2, channels=2, modality={"0": "MRI"})
    message = fault_after(tmp_path)
    assert "imagesTr/c00.nii.gz: holds 2 channels, dataset.json lists 1" in message


def test_faults_of_files_and_voxels_stand_in_one_message(folder):
    (folder / "labelsTr/c00.nii.gz").unlink()
    image = folders.draw_case(1)[0]
    image[0, 0, 0] = np.nan
    folders.save(folder / IMAGE, image)
    label = folders.draw_case(2)[1]
    label[0, 0, 0] = 9
    message = fault_after(folder, "labelsTr/c02.nii.gz", label)
    for clause in ("c00_0000.nii.gz has no label", "NaN", "values 9 are not listed"):
        assert clause in message


def test_fewer_patients_than_the_split_needs(folder):
    with pytest.raises(InputError, match="3 usable patients; the split needs 9"):
        validate_dataset(folder, min_patients=9)


@pytest.mark.parametrize(("lost", "told"), [("", False), ("1", True), ("012", False)])
def test_cases_that_lost_their_voxel_size_are_told(tmp_path, caplog, lost, told):
    folder = folders.write_nnunet(tmp_path, 3, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
    for number in lost:
        for name in (IMAGE, LABEL):
            path = folder / name.replace("c01", f"c0{number}")
            folders.save(path, np.asarray(nib.load(path).dataobj), np.eye(4))
    validate_dataset(folder)
    assert ("the affine of 1 of 3 cases is the identity (c01)" in caplog.text) == told
    assert ("identity" in caplog.text) == told
