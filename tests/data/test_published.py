"""Data sets of the source study, by their published folder and file names."""

import numpy as np
import pytest

from slicebench.data import check, dataset_name, load_task, read_dataset, volumes
from slicebench.data.published import LAYOUTS
from slicebench.errors import InputError
from tests.data import folders, study_folders

WRITERS = {
    "lits17": study_folders.write_lits,
    "atlas_r2": study_folders.write_atlas,
    "duke_breast": study_folders.write_duke,
}
CLASSES = {
    "lits17": ("liver without tumour", "tumour"),
    "atlas_r2": ("stroke lesion",),
    "duke_breast": ("other breast tissue", "vessels", "FGT"),
}


def test_every_layout_is_covered():
    assert WRITERS.keys() == CLASSES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("name", LAYOUTS)
def test_check_and_load(tmp_path, name, capsys):
    folder = WRITERS[name](tmp_path / "D")
    assert check.main([str(folder)]) == 0
    assert "12 of 12 patients" in capsys.readouterr().out
    assert dataset_name(folder) == LAYOUTS[name].name
    task = load_task(folder, cache_dir=tmp_path / "cache")
    assert task.name == LAYOUTS[name].name
    assert task.classes == CLASSES[name]
    assert [len(side) for side in task.sides] == [3, 6, 3]
    assert "Citation: " in task.attribution
    for case in task.pool:
        assert case.depth == 5
        assert set(np.unique(case.label)) == set(range(len(task.classes) + 1))


def fault(folder):
    with pytest.raises(InputError) as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_folder_lists_what_was_looked_for(tmp_path):
    message = fault(tmp_path)
    for part in (
        "no dataset.json",
        "nnU-Net v2 raw or Medical Segmentation Decathlon",
        'volume-N.nii[.gz] and segmentation-N.nii[.gz], in the folder itself or in "T',
        "sub-rXXXsYYY/ses-1/anat/ below derivatives/ATLAS",
        "Segmentation_Masks_NRRD/Breast_MRI_NNN/",
    ):
        assert part in message


def test_folder_with_two_data_sets(tmp_path):
    study_folders.write_lits(tmp_path, 1)
    study_folders.write_atlas(tmp_path, 1)
    assert "looks like LiTS17 and ATLAS_R2.0; give a folder" in fault(tmp_path)


def test_dataset_json_goes_first(tmp_path):
    folders.write_nnunet(tmp_path, 2)
    study_folders.write_lits(tmp_path, 1)
    assert [case.name for case in read_dataset(tmp_path).volumes] == ["c00", "c01"]


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_lits_folders_and_endings(tmp_path, batches, ending):
    folder = study_folders.write_lits(tmp_path, 11, batches, ending)
    folders.save(folder / "test-volume-0.nii", np.zeros((2, 2, 2), np.int16))
    dataset = read_dataset(folder)
    assert [case.name for case in dataset.volumes][:3] == [
        f"volume-{number:03d}" for number in range(3)
    ]
    assert dataset.slice_axis == 2
    assert not dataset.flip  # the liver lies on one side
    image, label = folders.draw_case(10)
    np.testing.assert_array_equal(
        dataset.volumes[10].load_label(), np.moveaxis(label, 2, 0)
    )
    np.testing.assert_array_equal(
        dataset.volumes[10].load_image()[0], np.moveaxis(image.astype(np.int16), 2, 0)
    )


def test_lits_faults_are_gathered(tmp_path, caplog):
    folder = study_folders.write_lits(tmp_path, 4)
    (folder / "Training Batch 1/segmentation-0.nii").unlink()
    (folder / "Training Batch 2/volume-1.nii").unlink()
    image, _ = folders.draw_case(2)
    folders.save(folder / "Training Batch 2/volume-2.nii.gz", image)
    message = fault(folder)
    assert "segmentation-0.nii or .nii.gz is missing" in message
    assert "volume-1.nii or .nii.gz is missing" in message
    assert "volume-2 is there twice: Training Batch 1/volume-2.nii and" in message
    assert "2 of LiTS17's 131 labelled scans are there" in caplog.text


@pytest.mark.parametrize(
    ("flag", "values"), [("liver", ((1, 2),)), ("tumour", ((2,),)), ("1", ((1,),))]
)
def test_lits_tasks(tmp_path, flag, values):
    folder = study_folders.write_lits(tmp_path / "D", 9)
    task = load_task(folder, target_labels=flag, cache_dir=tmp_path / "cache")
    (found,) = task.provenance["labels"].values()
    assert (tuple(found),) == values
    assert task.target == {"1": "liver without tumour"}.get(flag, flag)


@pytest.mark.parametrize("root", [".", "derivatives/ATLAS", "Training/{cohort}"])
def test_atlas_roots(tmp_path, root):
    folder = study_folders.write_atlas(tmp_path, 5, root)
    (folder / "Testing/R001/sub-r001s900/ses-1/anat").mkdir(parents=True)
    dataset = read_dataset(folder)
    assert [case.name for case in dataset.volumes][3:] == [
        "sub-r001s003_ses-1",
        "sub-r002s004_ses-1",
    ]
    assert dataset.flip


def test_atlas_scan_and_mask_below_two_roots(tmp_path):
    folder = study_folders.write_atlas(tmp_path, 2)
    for mask in list(folder.rglob("*_mask.nii.gz")):
        below = mask.relative_to(folder / "derivatives/ATLAS")
        target = folder / "Training/R001" / below
        target.parent.mkdir(parents=True)
        mask.rename(target)
    assert len(read_dataset(folder).volumes) == 2


def test_atlas_sessions_of_one_subject_stay_together(tmp_path):
    folder = study_folders.write_atlas(tmp_path / "D", 12, sessions=(1, 2))
    task = load_task(folder, cache_dir=tmp_path / "cache")
    sides = [{case.group for case in side} for side in task.sides]
    assert sum(map(len, task.sides)) == 24
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12


def test_atlas_faults_are_gathered(tmp_path):
    folder = study_folders.write_atlas(tmp_path, 3)
    root = folder / "derivatives/ATLAS"
    space = "space-MNI152NLin2009aSym"
    stems = [
        root / f"sub-r001s00{i}/ses-1/anat/sub-r001s00{i}_ses-1_{space}"
        for i in range(2)
    ]
    (stems[0].with_name(stems[0].name + "_T1w.nii.gz")).unlink()
    mask = stems[1].with_name(stems[1].name + "_label-L_desc-T1lesion_mask.nii.gz")
    mask.unlink()
    (root / "sub-r009s001").mkdir()
    message = fault(folder)
    assert "anat/sub-r001s000_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz is m" in message
    assert f"derivatives/ATLAS/{mask.relative_to(root)} is missing" in message
    assert "derivatives/ATLAS/sub-r009s001: no folder ses-1" in message


@pytest.mark.parametrize("reverse", [False, True])
def test_duke_voxels_and_labels(tmp_path, reverse):
    folder = study_folders.write_duke(tmp_path, 3, reverse=reverse)
    dataset = read_dataset(folder)
    for number, volume in enumerate(dataset.volumes, start=1):
        image, label = study_folders.draw_duke(number)
        np.testing.assert_array_equal(volume.load_image()[0], np.moveaxis(image, 2, 0))
        np.testing.assert_array_equal(volume.load_label(), np.moveaxis(label, 2, 0))
        assert volume.spacing == pytest.approx((1.2, 0.7, 0.7))
        assert volume.affine[:3, 3] == pytest.approx((30.0, -20.0, -8.0))
    assert dataset.slice_axis == 2
    assert volumes.mirror_axis(dataset.volumes) == 1


@pytest.mark.parametrize("flag", ["breast", "FGT", "vessels"])
def test_duke_tasks(tmp_path, flag):
    folder = study_folders.write_duke(tmp_path / "D", 9)
    task = load_task(folder, target_labels=flag, cache_dir=tmp_path / "cache")
    values = {"breast": (1, 2, 3), "FGT": (3,), "vessels": (2,)}[flag]
    case = task.pool[0]
    _, label = study_folders.draw_duke(int(case.name[-3:]))
    expected = np.isin(np.moveaxis(label, 2, 0), values)
    np.testing.assert_array_equal(case.native_label, expected)


def test_duke_table_chooses_by_classic_names_too(tmp_path):
    folder = study_folders.write_duke(tmp_path, 2)
    for path in list(folder.glob("Duke-Breast-Cancer-MRI/*/*/*")):
        phase = "pre" if path.name == study_folders.PRE else "post_1"
        path.rename(path.with_name(f"1.3.7.{phase}"))
    image, _ = study_folders.draw_duke(1)
    (loaded,) = read_dataset(folder).volumes[0].load_image()
    np.testing.assert_array_equal(loaded, np.moveaxis(image, 2, 0))


def test_duke_needs_the_table_only_where_there_is_a_choice(tmp_path):
    folder = study_folders.write_duke(tmp_path, 2, mapping=False)
    message = fault(folder)
    assert "Breast_MRI_001 holds 2 series and Breast-Cancer-MRI-filepath" in message
    for path in folder.glob(f"Duke-Breast-Cancer-MRI/*/*/{study_folders.POST}"):
        path.rename(folder / f"elsewhere-{path.parent.parent.name}")
    assert len(read_dataset(folder).volumes) == 2


def test_duke_faults_are_gathered(tmp_path):
    folder = study_folders.write_duke(tmp_path, 4)
    masks = folder / study_folders.MASKS
    name = "Breast_MRI_001/Segmentation_Breast_MRI_001_Breast.seg.nrrd"
    (masks / name).unlink()
    scans = folder / "Duke-Breast-Cancer-MRI"
    (scans / "Breast_MRI_002").rename(folder / "elsewhere")
    (study,) = (scans / "Breast_MRI_003").iterdir()
    (study / study_folders.PRE).rename(study / "renamed")
    message = fault(folder)
    assert f"Segmentation_Masks_NRRD/{name} is missing" in message
    assert "Breast_MRI_002 holds no STUDY/SERIES folder of DICOM files" in message
    assert "Breast_MRI_003: 0 series are named 1.3.7.pre or ax dyn pre-93877" in message


def test_a_patient_that_the_table_names_no_series_of_is_told(tmp_path):
    folder = study_folders.write_duke(tmp_path, 2)
    path = folder / study_folders.MAPPING
    head, *rows = path.read_text().splitlines()
    emptied = [
        f"{row.split(',')[0]},," if "Breast_MRI_002" in row else row for row in rows
    ]
    path.write_text("\n".join([head, *emptied]) + "\n")
    message = fault(folder)
    assert "Breast_MRI_002: Breast-Cancer-MRI-filepath" in message
    assert "names no folder of its pre-contrast series" in message
    assert "Breast_MRI_001" not in message


def test_duke_without_scans(tmp_path):
    (tmp_path / study_folders.MASKS).mkdir()
    assert "no folder Duke-Breast-Cancer-MRI" in fault(tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_tfds_builder(tmp_path, name):
    tfds = pytest.importorskip("tensorflow_datasets")
    from slicebench.data import study_builders

    folder = WRITERS[name](tmp_path / "D", 2)
    builder = tfds.builder(name, data_dir=tmp_path / "T", file_format="array_record")
    assert builder.LAYOUT is LAYOUTS[name]
    assert isinstance(builder, study_builders.StudyBuilder)
    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    records = {r["name"].decode(): r for r in builder.as_data_source(split="train")}
    volumes = read_dataset(folder).volumes
    assert records.keys() == {volume.name for volume in volumes}
    for volume in volumes:
        record = records[volume.name]
        np.testing.assert_array_equal(record["image"], volume.load_image())
        np.testing.assert_array_equal(record["label"], volume.load_label())
        np.testing.assert_array_equal(record["affine"], volume.affine)
        assert record["group"].decode() == volume.group


def test_tfds_builder_says_what_is_missing(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    from slicebench.data import study_builders

    builder = study_builders.AtlasR2(data_dir=tmp_path / "T")
    assert "data use agreement" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    folder = study_folders.write_lits(tmp_path / "D", 2)
    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
    with pytest.raises(InputError, match=r"looks like LiTS17; expected sub-rXXX"):
        builder.download_and_prepare(download_config=config, file_format="array_record")
