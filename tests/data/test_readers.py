"""What a dataset folder declares and which files it has."""

import json
import logging

import numpy as np
import pytest

from slicebench.data import dataset_name, read_dataset
from slicebench.errors import InputError
from tests.data import folders


def test_nnunet_folder(tmp_path):
    channels = {"0": "T1w", "1": "T2w"}
    labels = {"background": 0, "late": 7, "early": 3}
    folders.write_nnunet(tmp_path / "D", 3, channel_names=channels, labels=labels)
    (tmp_path / "D/imagesTr/._c00_0000.nii.gz").write_bytes(b"left by an archiver")
    dataset = read_dataset(tmp_path / "D")
    assert dataset.name == dataset_name(tmp_path / "D") == "D"
    assert dataset.channels == ("T1w", "T2w")
    assert dataset.labels == (("early", 3), ("late", 7))
    assert [case.name for case in dataset.volumes] == ["c00", "c01", "c02"]
    image = dataset.volumes[0].load_image()
    np.testing.assert_allclose(image[1] - image[0], 1000, atol=0.01)
    assert dataset.attribution == "Licence: CC0; Citation: Nobody (2020)"
    assert not dataset.flip


def test_msd_folder_with_channels_on_the_fourth_axis(tmp_path):
    folder = folders.write_msd(tmp_path, 3, channels=2, flip=True)
    folders.save(folder / "imagesTr/unlisted.nii.gz", np.zeros((2, 2, 2), np.uint8))
    dataset = read_dataset(folder)
    assert dataset.name == "Made_Up"
    assert dataset.channels == ("MRI 0", "MRI 1")
    assert dataset.labels == (("front", 1), ("back", 2))
    assert [case.name for case in dataset.volumes] == ["c00", "c01", "c02"]
    assert dataset.volumes[0].load_image().shape == (2, 5, 10, 12)
    assert dataset.flip


@pytest.mark.parametrize("source", ["json", "csv"])
def test_groups_name_the_patient(tmp_path, source):
    if source == "json":
        folders.write_nnunet(tmp_path, 3, groups={"c00": "p", "c02": "p"})
    else:
        folders.write_nnunet(tmp_path, 3)
        (tmp_path / "groups.csv").write_text("case,group\nc00,p\nc02, p\n")
    groups = [case.group for case in read_dataset(tmp_path).volumes]
    assert groups == ["p", "c01", "p"]


SAGITTAL = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


def test_slice_axis_flag_then_declaration_then_affine(tmp_path):
    plain = folders.write_nnunet(tmp_path / "plain", 2, affine=SAGITTAL)
    assert read_dataset(plain).slice_axis == 1
    declared = folders.write_nnunet(
        tmp_path / "declared", 2, affine=SAGITTAL, slice_axis=0
    )
    assert read_dataset(declared).slice_axis == 0
    assert read_dataset(declared, slice_axis=2).slice_axis == 2


def test_slice_axis_is_not_the_one_of_largest_spacing(tmp_path):
    affine = np.diag([5.0, 4.0, 2.5, 1.0])
    folders.write_nnunet(tmp_path, 2, affine=affine)
    assert read_dataset(tmp_path).slice_axis == 2


def test_cases_that_disagree_on_the_axial_axis(tmp_path):
    folders.write_nnunet(tmp_path, 2)
    image, label = folders.draw_case(1)
    folders.save(tmp_path / "imagesTr/c01_0000.nii.gz", image, SAGITTAL)
    folders.save(tmp_path / "labelsTr/c01.nii.gz", label, SAGITTAL)
    with pytest.raises(InputError, match=r"2 in c00, 1 in c01.*--slice_axis"):
        read_dataset(tmp_path)


def test_slice_axis_that_the_affine_leaves_open(tmp_path):
    half = np.sqrt(0.5)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[half, -half], [half, half]]
    folders.write_nnunet(tmp_path, 2, affine=affine)
    with pytest.raises(InputError, match=r"equally close to axial.*--slice_axis"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, slice_axis=0).slice_axis == 0


def test_a_different_number_of_cases_is_a_warning(tmp_path, caplog):
    folders.write_nnunet(tmp_path, 2)
    folders.write_json(tmp_path, numTraining=5)
    with caplog.at_level(logging.WARNING):
        read_dataset(tmp_path)
    assert "announces 5 cases, found 2" in caplog.text


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"absent: no such folder; .*nnU-Net"):
        read_dataset(tmp_path / "absent")


def test_no_dataset_json(tmp_path):
    with pytest.raises(InputError, match=r"no dataset\.json"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"dataset\.json: not valid JSON"),
        ("[]", r"holds a list; expected an object"),
        ("{}", r"neither layout: expected `channel_names`.*given no keys"),
        ('{"dataset": {}}', r"`dataset` list of file paths is not supported"),
    ],
)
def test_unusable_dataset_json(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "`labels` must be an object"),
        ({"labels": {"background": 0}}, "no foreground class"),
        ({"labels": {"a": 1}}, "must list the background with value 0"),
        ({"labels": {"background": 0, "r": [1, 2]}}, r"'r' is a region \[1, 2\]"),
        ({"labels": {"background": 0, "a": 300}}, "300; allowed are integers from 0"),
        ({"labels": {"background": 0, "a": 1.5}}, r"'a' has value 1\.5"),
        ({"labels": {"background": 0, "a": True}}, "'a' has value True"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "value 1 is listed twice"),
        ({"labels": {"background": 0, "a": 1, "a ": 2}}, "two labels have the same"),
        ({"channel_names": {"1": "CT"}}, r"`channel_names` must map \"0\""),
        ({"file_ending": ".png"}, r"'\.png'; allowed are \.nii\.gz, \.nii"),
        ({"slice_axis": 3}, "`slice_axis` is 3; allowed are 0, 1 and 2"),
        ({"slice_axis": "2"}, "`slice_axis` is '2'"),
        ({"groups": ["c00"]}, "`groups` must map case names to patients"),
        ({"groups": {"c99": "p"}}, "group given for unknown case c99"),
    ],
)
def test_faults_of_declarations(tmp_path, change, message):
    folders.write_nnunet(tmp_path, 2)
    folders.write_json(tmp_path, **change)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,patient\nc00,p\n", "first line must be `case,group`"),
        ("case,group\nc00\n", "row 2 must be a case and its group"),
        ("case,group\nc00,p\nc00,q\n", "case c00 has two groups"),
        ("case,group\nc77,p\n", "unknown case c77"),
    ],
)
def test_faults_of_groups(tmp_path, text, message):
    folders.write_nnunet(tmp_path, 2)
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path)


def test_groups_in_two_places(tmp_path):
    folders.write_nnunet(tmp_path, 2, groups={"c00": "p"})
    (tmp_path / "groups.csv").write_text("case,group\nc00,p\n")
    with pytest.raises(InputError, match=r"in dataset\.json and in groups\.csv"):
        read_dataset(tmp_path)


def test_slice_axis_flag_out_of_range(tmp_path):
    with pytest.raises(InputError, match=r"--slice_axis=3: allowed are 0, 1 and 2"):
        read_dataset(tmp_path, slice_axis=3)


def test_faults_of_nnunet_files_are_gathered(tmp_path):
    channels = {"0": "T1w", "1": "T2w"}
    folders.write_nnunet(tmp_path, 5, channel_names=channels)
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    (labels / "c00.nii.gz").unlink()
    (images / "c01_0000.nii.gz").unlink()
    (images / "c01_0001.nii.gz").unlink()
    (images / "c02_0001.nii.gz").unlink()
    (images / "c03_0001.nii.gz").rename(images / "c03_0002.nii.gz")
    (images / "c04_0001.nii.gz").rename(images / "c04_T2.nii.gz")
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for clause in (
        "imagesTr/c00_0000.nii.gz has no label: expected labelsTr/c00.nii.gz",
        "labelsTr/c01.nii.gz has no image: expected imagesTr/c01_0000.nii.gz",
        "imagesTr/c02_0001.nii.gz is missing (channel T2w)",
        "imagesTr/c03_0002.nii.gz: channel 2 is not in `channel_names`",
        "imagesTr/c04_T2.nii.gz: expected <case>_<channel>.nii.gz",
    ):
        assert clause in message


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
def test_missing_and_empty_parts(tmp_path, part):
    folders.write_nnunet(tmp_path, 2)
    for path in (tmp_path / part).iterdir():
        path.unlink()
    with pytest.raises(InputError, match=rf"{part} holds no \*\.nii\.gz file"):
        read_dataset(tmp_path)
    (tmp_path / part).rmdir()
    with pytest.raises(InputError, match=f"no folder {part}"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image": "../c00.nii.gz"}, r"image \.\./c00\.nii\.gz lies outside"),
        ({"image": "imagesTr/../../c00.nii.gz"}, "lies outside the dataset folder"),
        ({"label": "/etc/c00.nii.gz"}, r"label /etc/c00\.nii\.gz lies outside"),
        ({"image": "imagesTr/c00.png"}, "is not a NIfTI file; allowed endings"),
        ({"image": "imagesTr/no.nii.gz"}, r"image imagesTr/no\.nii\.gz is missing"),
        ({"label": "labelsTr/no.nii.gz"}, r"label labelsTr/no\.nii\.gz is missing"),
        ({"image": "imagesTr/c01.nii.gz"}, "two `training` entries are named c01"),
        ({"image": None}, "entry 0 must have `image` and `label` paths"),
    ],
)
def test_faults_of_msd_entries(tmp_path, entry, message):
    folders.write_msd(tmp_path, 2)
    document = json.loads((tmp_path / "dataset.json").read_text())
    document["training"][0] |= entry
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path)


def test_msd_without_cases(tmp_path):
    folders.write_msd(tmp_path, 2, training=[])
    with pytest.raises(InputError, match="`training` must be a list of cases"):
        read_dataset(tmp_path)


def test_a_linked_file_lies_elsewhere_only_on_request(tmp_path, monkeypatch):
    folders.write_nnunet(tmp_path / "D", 2)
    path = tmp_path / "D/imagesTr/c00_0000.nii.gz"
    path.rename(tmp_path / "elsewhere.nii.gz")
    path.symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(InputError, match=r"c00_0000\.nii\.gz is a link that leads out"):
        read_dataset(tmp_path / "D")
    monkeypatch.setenv("SLICEBENCH_LINKS", "follow")
    assert len(read_dataset(tmp_path / "D").volumes) == 2
