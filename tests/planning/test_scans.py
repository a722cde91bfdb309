"""Finding unlabelled scans, and saying what is wrong with them."""

import json

import nibabel as nib
import numpy as np
import pytest

from slicebench.data.scans import find_scans
from slicebench.errors import InputError
from tests.planning.scans import write_scan
from tests.planning.test_geometry import affine_of


def test_a_plain_folder_has_one_case_a_file(tmp_path):
    write_scan(tmp_path / "b.nii.gz")
    write_scan(tmp_path / "a_2019.nii")
    (tmp_path / "._b.nii.gz").write_bytes(b"a finder's leftover")
    (tmp_path / "notes.txt").write_text("x")
    found = find_scans(tmp_path)
    assert [scan.name for scan in found.scans] == ["a_2019", "b"]
    assert found.channels == ("image",)
    assert found.scans[1].shape == (8, 12, 10)
    np.testing.assert_allclose(found.scans[1].spacing, (3.0, 0.7, 1.1), rtol=1e-6)


def test_a_dataset_folder_gives_its_images_and_channels(tmp_path):
    for case in ("x", "y"):
        for channel in range(2):
            write_scan(tmp_path / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "labelsTr" / "x.nii.gz").write_bytes(b"never read")
    document = {"channel_names": {"0": "T1", "1": "CT"}, "slice_axis": 0}
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    for folder in (tmp_path, tmp_path / "imagesTr"):
        found = find_scans(folder)
        assert [scan.name for scan in found.scans] == ["x", "y"]
        assert found.channels == ("T1", "CT")
        assert found.scans[0].slice_axis == 0
        assert found.scans[0].load_image().shape == (2, 12, 10, 8)


def test_scans_of_different_orientation_each_have_their_own_axis(tmp_path):
    write_scan(tmp_path / "a.nii")
    write_scan(tmp_path / "b.nii", affine=affine_of((2, 0, 1), (1, 1, -1)))
    assert [scan.slice_axis for scan in find_scans(tmp_path).scans] == [2, 0]


def test_every_fault_is_named_at_once(tmp_path):
    write_scan(tmp_path / "a.nii")
    write_scan(tmp_path / "b.nii", shape=(4, 4, 4), channels=2)
    bad = np.ones((4, 4, 4), np.float32)
    bad[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(bad, np.eye(4)), tmp_path / "c.nii")
    nib.save(
        nib.Nifti1Image(np.ones((4, 4), np.float32), np.eye(4)), tmp_path / "d.nii"
    )
    (tmp_path / "e.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError) as caught:
        find_scans(tmp_path)
    text = str(caught.value)
    for part in (
        "b.nii: 2 channels",
        "c.nii: voxels",
        "d.nii: shape (4, 4)",
        "e.nii.gz",
    ):
        assert part in text
    assert "a.nii" not in text


def test_channels_of_a_case_must_lie_on_one_grid(tmp_path):
    write_scan(tmp_path / "x_0000.nii")
    write_scan(tmp_path / "x_0001.nii", shape=(12, 10, 9))
    with pytest.raises(InputError, match=r"x_0001\.nii: shape"):
        find_scans(tmp_path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.rmdir(), "no such folder"),
        (lambda _: None, "no scan"),
        (
            lambda folder: [write_scan(folder / n) for n in ("a.nii", "a.nii.gz")],
            "two files of case a",
        ),
    ],
)
def test_folders_that_hold_no_scans(tmp_path, prepare, message):
    folder = tmp_path / "scans"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(InputError, match=message):
        find_scans(folder)


def test_a_slice_axis_that_is_none(tmp_path):
    with pytest.raises(InputError, match="slice_axis=3"):
        find_scans(tmp_path, slice_axis=3)


def test_an_oblique_scan_between_two_planes_asks_for_its_axis(tmp_path):
    turned = np.array([[1, 0, 0], [0, 0.7071, -0.7071], [0, 0.7071, 0.7071]])
    affine = np.eye(4)
    affine[:3, :3] = turned
    write_scan(tmp_path / "a.nii", affine=affine)
    with pytest.raises(InputError, match=r"a\.nii.*--slice_axis"):
        find_scans(tmp_path)
    assert find_scans(tmp_path, slice_axis=1).scans[0].slice_axis == 1
