"""From a folder to a prepared task, and the cache between."""

import json
import logging
import os
import time

import nibabel as nib
import numpy as np
import pytest

from slicebench.data import check, load_task, loading, preprocess, validate
from slicebench.data.volumes import axial_axis
from slicebench.errors import InputError
from tests.data import folders


def case_bytes(task):
    return [
        (
            case.name,
            case.group,
            case.image.tobytes(),
            case.label.tobytes(),
            case.native_label.tobytes(),
            case.spacing,
            [matrix.tobytes() for matrix in case.to_native],
        )
        for side in task.sides
        for case in side
    ]


@pytest.fixture
def folder(tmp_path):
    return folders.write_nnunet(tmp_path / "Made", 12)


@pytest.fixture
def load(tmp_path, folder):
    def run(**flags):
        return load_task(folder, cache_dir=tmp_path / "cache", **flags)

    return run


def forbid(*_args, **_kwargs):
    raise AssertionError("must not be called")


def test_task(load):
    task = load()
    assert (task.name, task.target, task.fold) == ("Made", "all", 0)
    assert task.classes == ("front", "back")
    assert task.channels == ("T1w MRI",)
    assert task.grid == (16, 16)
    assert [len(side) for side in task.sides] == [3, 6, 3]
    assert task.attribution == "Licence: CC0; Citation: Nobody (2020)"
    assert not task.synthetic
    assert not task.flip
    case = task.pool[0]
    image, label = folders.draw_case(int(case.name[1:]))
    assert case.image.shape == (5, 16, 16, 1)
    assert case.image.dtype == np.float32
    np.testing.assert_array_equal(case.native_label, np.moveaxis(label, 2, 0))
    np.testing.assert_array_equal(case.label[:, 3:13, 2:14], case.native_label)
    scaled = np.moveaxis((image - image.mean()) / image.std(), 2, 0)
    np.testing.assert_allclose(case.image[:, 3:13, 2:14, 0], scaled, atol=1e-5)
    assert json.loads(json.dumps(task.provenance)) == task.provenance
    assert task.provenance["slice_axis"] == 2


def test_msd_task_with_two_channels(tmp_path):
    folder = folders.write_msd(tmp_path / "M", 12, channels=2, flip=True)
    task = load_task(folder, cache_dir=tmp_path / "cache")
    assert task.pool[0].image.shape == (5, 16, 16, 2)
    assert task.attribution == "Licence and source not stated in dataset.json"


def test_second_run_reads_equal_bytes_and_makes_nothing(load, monkeypatch):
    first = load()
    monkeypatch.setattr(validate, "validate_dataset", forbid)
    monkeypatch.setattr(preprocess, "fit", forbid)
    monkeypatch.setattr(preprocess, "prepare_case", forbid)
    second = load()
    assert case_bytes(first) == case_bytes(second)
    assert first.provenance == second.provenance
    assert first.context == second.context


def test_cache_folder_from_the_environment(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("SLICEBENCH_CACHE", str(tmp_path / "elsewhere"))
    load_task(folder)
    assert list((tmp_path / "elsewhere/tasks").iterdir())


def test_cache_folder_that_cannot_be_written(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: the cache folder cannot be written"):
        load_task(folder, cache_dir=tmp_path / "file")


@pytest.mark.parametrize(
    "flags",
    [
        {"target_labels": "front"},
        {"split_seed": 1},
        {"fold": 1},
        {"max_size": 8, "multiple": 8},
        {"slice_axis": 1},
    ],
)
def test_every_setting_makes_another_task(load, flags):
    first, second = load(), load(**flags)
    assert case_bytes(first) != case_bytes(second)
    assert first.context != second.context
    assert case_bytes(load()) == case_bytes(first)


def test_changed_file_is_validated_and_prepared_again(load, folder):
    first = load()
    name = first.pool[0].name
    path = folder / f"imagesTr/{name}_0000.nii.gz"
    folders.save(path, folders.draw_case(99)[0])
    second = load()
    assert second.context != first.context
    assert (second.pool[0].image != first.pool[0].image).any()
    image = folders.draw_case(99)[0]
    image[0, 0, 0] = np.nan
    folders.save(path, image)
    with pytest.raises(InputError, match="1 voxels are NaN"):
        load()


@pytest.mark.parametrize("harm", ["flip a bit", "truncate", "no record", "bad record"])
def test_damaged_cache_is_made_again(load, tmp_path, caplog, harm):
    first = load()
    entry = next((tmp_path / "cache/tasks").iterdir())
    if harm in ("flip a bit", "truncate"):
        path = max(entry.rglob("*array_record*"), key=lambda path: path.stat().st_size)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if harm == "flip a bit" else content[:100])
    elif harm == "no record":
        (entry / "task.json").unlink()
    else:
        (entry / "task.json").write_text("[]")
    with caplog.at_level(logging.WARNING):
        second = load()
    assert "damaged cache entry is made again" in caplog.text
    assert case_bytes(first) == case_bytes(second)
    caplog.clear()
    load()
    assert "damaged cache" not in caplog.text


def test_damaged_index_is_made_again(load, tmp_path, caplog):
    first = load()
    (index,) = (tmp_path / "cache/index").iterdir()
    index.write_text("{")
    with caplog.at_level(logging.WARNING):
        assert case_bytes(load()) == case_bytes(first)
    assert "damaged index" in caplog.text


def test_interrupted_writing_leaves_no_entry(load, tmp_path, monkeypatch):
    real = preprocess.prepare_case
    calls = []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(preprocess, "prepare_case", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert not list((tmp_path / "cache/tasks").iterdir())
    monkeypatch.undo()
    assert len(load().pool) == 6


def test_abandoned_entries_are_removed(load, tmp_path):
    old, new = (tmp_path / f"cache/tasks/{n}.incomplete-x" for n in ("old", "new"))
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, time.time() - 3 * 24 * 3600))
    load()
    assert not old.exists()
    assert new.exists()


def test_nothing_outside_the_pool_reaches_fitted_values(tmp_path):
    folder = folders.write_nnunet(tmp_path / "D", 12, channel_names={"0": "CT"})

    def load():
        return load_task(folder, cache_dir=tmp_path / "cache")

    first = load()
    for number, case in enumerate([*first.development, *first.test]):
        image = np.random.default_rng(number).normal(0, 9e4, (70, 70, 5))
        label = np.full((70, 70, 5), 1, np.uint8)
        label[:35] = 2
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        folders.save(folder / f"imagesTr/{case.name}_0000.nii.gz", image, affine)
        folders.save(folder / f"labelsTr/{case.name}.nii.gz", label, affine)
    for case in first.pool:
        label = np.random.default_rng(0).integers(0, 3, folders.SHAPE, np.uint8)
        folders.save(folder / f"labelsTr/{case.name}.nii.gz", label)
    second = load()
    assert [case.name for case in second.pool] == [case.name for case in first.pool]
    for before, after in zip(first.pool, second.pool, strict=True):
        np.testing.assert_array_equal(before.image, after.image)
    old, new = (task.provenance["preprocessing"] for task in (first, second))
    assert old.pop("shrunk") == {}
    assert new.pop("shrunk").keys() == {
        case.name for case in (*first.development, *first.test)
    }
    assert old == new
    assert old["intensity"]["CT"]["std"] > 0


def test_target_labels(load):
    task = load(target_labels="front+back")
    assert task.target == "front+back"
    assert task.classes == ("front+back",)
    assert task.provenance["labels"] == {"front+back": [1, 2]}
    assert set(np.unique(task.pool[0].label)) == {0, 1}
    with pytest.raises(InputError, match=r"--target_labels=liver: unknown"):
        load(target_labels="liver")


def test_user_split(load, tmp_path):
    names = [f"c{number:02d}" for number in range(12)]
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": names[:7], "val": names[7:]}]))
    task = load(splits_file=path)
    assert [case.name for case in task.test] == names[7:]
    assert task.provenance["split"]["by"] == "file"


def test_same_voxels_on_two_sides(load, folder):
    task = load()
    pool, test = task.pool[0].name, task.test[0].name
    stored = nib.load(folder / f"imagesTr/{pool}_0000.nii.gz")
    path = folder / f"imagesTr/{test}_0000.nii.gz"
    folders.save(path, stored.get_fdata())  # another number type, other bytes
    with pytest.raises(
        InputError, match=f"same image voxels.*{pool} .*{test}"
    ) as error:
        load()
    assert str(folder) in str(error.value)


def test_patients_stay_together(tmp_path):
    groups = {f"c{number:02d}": f"p{number // 2}" for number in range(20)}
    folder = folders.write_nnunet(tmp_path / "D", 20, groups=groups)
    task = load_task(folder, cache_dir=tmp_path / "cache")
    sides = [{case.group for case in side} for side in task.sides]
    assert sum(len(side) for side in sides) == len(set.union(*sides)) == 10


def test_too_few_cases(tmp_path):
    folder = folders.write_nnunet(tmp_path / "D", 8)
    with pytest.raises(InputError, match=r"D: 8 usable patients; .* needs 9 or more"):
        load_task(folder, cache_dir=tmp_path / "cache")


def test_fold_that_does_not_exist(load):
    with pytest.raises(InputError, match="fold 4 does not exist; allowed are 0 to 3"):
        load(fold=4)


def test_check_prints_a_summary(folder, capsys):
    assert check.main([str(folder)]) == 0
    text = capsys.readouterr().out
    for part in (
        "12 of 12 patients",
        "front (1), back (2)",
        "slice axis  2",
        "5 x 10 x 12 (depth, height, width)",
        "1 x 1 x 1 mm",
        "development 3, pool 6, test 3 (fold 0 of 4)",
    ):
        assert part in text


def test_check_prints_faults_and_gives_status_2(folder, capsys):
    (folder / "labelsTr/c00.nii.gz").unlink()
    assert check.main([str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "c00_0000.nii.gz has no label" in captured.err
    assert captured.err.count("\n") == 1


WIDTH = np.array([[0, -2, 0, 0], [2, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
SLICES = np.array([[0, 0, 2, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("affine", "axis", "flip"),
    [(np.eye(4), 1, True), (WIDTH, 2, True), (SLICES, None, False)],
)
def test_mirroring_follows_the_affine(tmp_path, affine, axis, flip):
    folder = folders.write_nnunet(
        tmp_path / "D", 9, affine=affine, flip=True, slice_axis=2
    )
    task = load_task(folder, cache_dir=tmp_path / "cache")
    assert (task.mirror_axis, task.flip) == (axis, flip)


def test_no_mirroring_where_cases_differ(tmp_path):
    folder = folders.write_nnunet(tmp_path / "D", 9, affine=WIDTH, flip=True)
    image, label = folders.draw_case(3)
    folders.save(folder / "imagesTr/c03_0000.nii.gz", image)
    folders.save(folder / "labelsTr/c03.nii.gz", label)
    task = load_task(folder, cache_dir=tmp_path / "cache")
    assert task.mirror_axis is None
    assert not task.flip


def test_another_label_folder(tmp_path):
    folder = folders.write_nnunet(tmp_path / "D", 9)
    for number in range(9):
        label = folders.draw_case(number)[1]
        label = np.where(label == 1, np.uint8(9), np.uint8(0))
        folders.save(folder / f"labelsTr_PTV/c{number:02d}.nii.gz", label)

    def load(labels):
        return load_task(folder, target_labels=labels, cache_dir=tmp_path / "cache")

    task = load("PTV (planning target)=labelsTr_PTV/9")
    assert task.classes == ("PTV (planning target)",)
    other = load("front")
    assert other.context != task.context
    for mine, theirs in zip(task.pool, other.pool, strict=True):
        assert mine.name == theirs.name
        np.testing.assert_array_equal(mine.label, theirs.label)
    with pytest.raises(InputError, match=r"no folder labelsTr_X .*labelsTr_PTV"):
        load("labelsTr_X/1")
    (folder / "labelsTr_PTV/c00.nii.gz").unlink()
    with pytest.raises(InputError, match=r"expected labelsTr_PTV/c00\.nii\.gz"):
        load("labelsTr_PTV/9")


def test_check_prepares_a_target(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SLICEBENCH_CACHE", str(tmp_path / "cache"))
    assert check.main([str(folder), "--target_labels=x=front"]) == 0
    text = capsys.readouterr().out
    for part in ("grid        16 x 16", "5-5 slices, 60 in all", "x: in 12 cases"):
        assert part in text
    assert check.main([str(folder), "--target_labels=liver"]) == 2


@pytest.mark.data
def test_hippocampus(tmp_path):
    folder = folders.real_folder("Dataset004_Hippocampus")
    start = time.perf_counter()
    task = load_task(folder, cache_dir=tmp_path)
    assert [len(side) for side in task.sides] == [26, 156, 78]
    assert task.grid == (48, 64)
    assert task.classes == ("anterior", "posterior")
    assert task.provenance["preprocessing"]["spacing"] == [1.0, 1.0]
    assert task.info.min_slices >= 24
    for case in task.test:
        scale = case.image[case.image != 0].std()
        assert 0.9 < scale < 1.1  # uint8 and float32 scans are on one scale now
        rows, columns = case.to_native
        native = rows @ case.label.astype(np.float32) @ columns.T
        np.testing.assert_array_equal(native, case.native_label)
    assert time.perf_counter() - start < 60


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "spacing", "axis"),
    [
        ("Dataset505_OpenKBPHeadNeckCT", (2.5, 3.0), 2),
        ("Dataset506_EMIDEC", (10, 10), 2),
    ],
)
def test_slice_axis_by_affine_agrees_with_the_declared_one(name, spacing, axis):
    folder = folders.real_folder(name)
    dataset, _ = loading.checked_dataset(folder, None, 0, None)
    assert dataset.slice_axis == axis
    for volume in dataset.volumes:
        assert spacing[0] <= round(volume.spacing[0], 3) <= spacing[1]
        assert axial_axis(volume.affine) == axis
