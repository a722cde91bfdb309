"""Files that a dataset folder should not hold, or may hold in odd form."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from slicebench.data import nifti, read_dataset, validate_dataset
from slicebench.errors import InputError
from tests.data import folders, study_folders

IMAGE, LABEL = "imagesTr/c01_0000.nii.gz", "labelsTr/c01.nii.gz"


@pytest.fixture
def folder(tmp_path):
    return folders.write_nnunet(tmp_path, 2, slice_axis=2)


def fault(folder):
    with pytest.raises(InputError) as caught:
        validate_dataset(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path, **fields):
    """Changes header fields of a stored file."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize("shape", [(10,), (10, 12), (10, 12, 5, 1, 2), (4,) * 6])
def test_number_of_axes(folder, shape):
    folders.save(folder / IMAGE, np.zeros(shape, np.float32))
    assert f"{IMAGE}: shape {shape}; expected 3 axes" in fault(folder)


def test_colour_image(folder):
    colour = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    folders.save(folder / IMAGE, np.zeros((10, 12, 5), colour))
    assert f"{IMAGE}: voxels of type" in fault(folder)


@pytest.mark.parametrize("path", [IMAGE, LABEL])
def test_big_endian_is_read(folder, path):
    array = folders.draw_case(1)[0 if path == IMAGE else 1].astype(np.int16)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(array, np.eye(4), header), folder / path)
    assert gzip.decompress((folder / path).read_bytes())[:4] == b"\0\0\1\x5c"
    dataset, _ = validate_dataset(folder)
    volume = dataset.volumes[1]
    loaded = volume.load_image()[0] if path == IMAGE else volume.load_label()
    np.testing.assert_array_equal(loaded, np.moveaxis(array, 2, 0))


def test_singular_affine(folder):
    edit(folder / IMAGE, srow_x=[0, 0, 0, 0], qform_code=0)
    assert f"{IMAGE}: affine is not finite and invertible" in fault(folder)


@pytest.mark.parametrize("size", [np.nan, np.inf])
def test_spacing_that_is_no_number(folder, size):
    edit(folder / IMAGE, pixdim=[1, 1, size, 1, 0, 0, 0, 0])
    assert f"{IMAGE}: not a sound NIfTI file: spacing (pixdim) 1, " in fault(folder)


def test_spacing_of_zero_that_the_affine_is_made_of(folder):
    edit(folder / IMAGE, pixdim=[1, 1, 0, 1, 0, 0, 0, 0], sform_code=0, qform_code=0)
    assert "spacing (pixdim) 1, 0, 1; expected three positive" in fault(folder)


def test_maps_with_other_spacing(folder):
    edit(folder / IMAGE, qform_code=2, pixdim=[1, 1, 1, 3, 0, 0, 0, 0])
    assert "spacing is 1 x 1 x 1 mm by its sform, 1 x 1 x 3 mm by" in fault(folder)


def test_maps_of_one_code_that_contradict_each_other(folder):
    edit(folder / IMAGE, qform_code=2, sform_code=2, quatern_d=1)
    assert "its sform and qform have one code (2) but place voxels" in fault(folder)


def test_maps_to_different_spaces_are_accepted(folder):
    for path in (IMAGE, LABEL):
        edit(folder / path, qform_code=1, sform_code=4, qoffset_x=50)
    validate_dataset(folder)


def test_gzip_bomb_is_not_unpacked(folder):
    content = gzip.decompress((folder / IMAGE).read_bytes())
    bomb = gzip.compress(content + bytes(1 << 26), compresslevel=1)
    (folder / IMAGE).write_bytes(bomb)
    assert f"{IMAGE}: unpacks to more than the 2752 bytes" in fault(folder)


def test_padding_behind_the_voxels_is_accepted(folder):
    content = gzip.decompress((folder / IMAGE).read_bytes())
    (folder / IMAGE).write_bytes(gzip.compress(content + bytes(1000)))
    validate_dataset(folder)


def test_header_that_announces_too_much(folder):
    edit(folder / IMAGE, dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    message = fault(folder)
    assert "its header announces" in message
    assert f"allowed are {nifti.MAX_BYTES}" in message


@pytest.mark.parametrize("value", [256, 300, 65535, -1, -255])
def test_label_values_that_would_wrap_around(folder, value):
    label = folders.draw_case(1)[1].astype(np.int32)
    label[0, 0, 0] = value
    folders.save(folder / LABEL, label)
    assert f"{LABEL}: label values {value:g} are not listed" in fault(folder)


@pytest.mark.parametrize("name", ["Müller 2", "患者", "a b", "x.y", "c_0001"])
def test_unusual_case_names(folder, name):
    image, label = folders.draw_case(7)
    folders.save(folder / f"imagesTr/{name}_0000.nii.gz", image)
    folders.save(folder / f"labelsTr/{name}.nii.gz", label)
    dataset, checked = validate_dataset(folder)
    assert name in [case.name for case in dataset.volumes]
    assert f"labelsTr/{name}.nii.gz" in checked.files


def test_link_that_leads_nowhere(folder):
    (folder / IMAGE).unlink()
    (folder / IMAGE).symlink_to(folder / "absent.nii.gz")
    assert f"{IMAGE}: cannot be read: No such file" in fault(folder)


def test_link_that_leads_to_itself(folder):
    (folder / LABEL).unlink()
    (folder / LABEL).symlink_to(folder / LABEL)
    assert f"{LABEL}: cannot be read: Too many levels" in fault(folder)


def test_folder_in_place_of_a_file(folder):
    (folder / LABEL).unlink()
    (folder / LABEL).mkdir()
    assert LABEL in fault(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(folder):
    (folder / IMAGE).chmod(0)
    assert f"{IMAGE}: cannot be read: Permission denied" in fault(folder)


@pytest.fixture
def duke(tmp_path):
    return study_folders.write_duke(tmp_path / "D", 1)


def duke_mask(folder):
    (path,) = folder.rglob("*_Dense_and_Vessels.seg.nrrd")
    return path


VALUES = {"Vessels": 1, "Dense": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoding": "bzip2"}, "`encoding` is 'bzip2'; allowed: raw, gzip"),
        ({"sizes": "10 12 6"}, "of the 720 bytes it announces"),
        ({"sizes": "9999 9999 9999"}, "announce 999700029999 bytes"),
        ({"type": "float"}, "NRRD `type` is 'float'; allowed"),
        ({"space": None}, "the NRRD header has no `space`"),
        ({"space": "scanner-xyz"}, "NRRD `space` is 'scanner-xyz'"),
        ({"space_origin": "(0,0,nan)"}, "expected three finite numbers"),
        (
            {"space_origin": "(-30.2,20.0,-8.0)"},
            "do not coincide with those of the image",
        ),
        ({"space_origin": "(-100.0,20.0,-8.0)"}, "labelled voxels lie outside"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "do not span 3 of its axes"),
        ({"data_file": "x.raw"}, "the voxels are in another file"),
    ],
)
def test_faults_of_segmentations(duke, changes, message):
    _, label = study_folders.draw_duke(1)
    vessels = np.where(label == 2, np.uint8(1), np.uint8(0))
    study_folders.write_nrrd(duke_mask(duke), vessels, VALUES, **changes)
    assert message in fault(duke)


def test_segmentation_of_unknown_segments(duke):
    _, label = study_folders.draw_duke(1)
    study_folders.write_nrrd(duke_mask(duke), label, {"Segment_1": 1})
    assert "segment 'Segment_1' is unknown; allowed: Breast, V" in fault(duke)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_layers_and_cropped_segmentations(duke, encoding):
    _, label = study_folders.draw_duke(1)
    part = np.where(label > 1, label - 1, 0).astype(np.uint8)
    used = [np.flatnonzero(part.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    crop = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in used)
    study_folders.write_nrrd(
        duke_mask(duke),
        part,
        VALUES,
        reverse=True,
        crop=crop,
        layers={"Vessels": 0, "Dense": 1},
        encoding=encoding,
    )
    dataset, _ = validate_dataset(duke)
    np.testing.assert_array_equal(
        dataset.volumes[0].load_label(), np.moveaxis(label, 2, 0)
    )


def pre_series(folder):
    (path,) = folder.rglob(study_folders.PRE)
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"drop": (2,)}, "slices are missing, repeated or unevenly spaced"),
        ({"drop": (1, 2, 3, 4)}, "holds 1 DICOM slices; expected two or more"),
        ({"syntax": "1.2.840.10008.1.2.4.70"}, "4.70 is compressed or big-endian"),
    ],
)
def test_faults_of_series(duke, how, message):
    series = pre_series(duke)
    for path in series.iterdir():
        path.unlink()
    study_folders.write_series(series, study_folders.draw_duke(1)[0], **how)
    assert message in fault(duke)


@pytest.mark.parametrize("keep", [10, 140, 300, -50])
def test_truncated_slice(duke, keep):
    path = sorted(pre_series(duke).iterdir())[2]
    path.write_bytes(path.read_bytes()[:keep])
    assert any(
        text in fault(duke)
        for text in ("not a DICOM file", "not a whole DICOM image", "fewer pixels")
    )


def test_series_without_value_types(duke):
    series = pre_series(duke)
    image, _ = study_folders.draw_duke(1)
    study_folders.write_series(series, image, explicit=False)
    (loaded,) = read_dataset(duke).volumes[0].load_image()
    np.testing.assert_array_equal(loaded, np.moveaxis(image, 2, 0))
