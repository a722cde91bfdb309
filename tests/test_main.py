"""Bad input ends with exit status 2, one clear line and nothing written."""

import json
import pathlib
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests import command
from tests.data import folders

IMAGE, LABEL = "imagesTr/c01_0000.nii.gz", "labelsTr/c01.nii.gz"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return folders.write_nnunet(tmp_path_factory.mktemp("sound") / "Made", 12)


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "Made")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The current folder, in which a default work folder would be made."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fails(*arguments, words):
    """Runs a command that must fail, with all words in its one line."""
    here = pathlib.Path.cwd()
    before = contents(here.parent)
    outcome = command.run(*arguments)
    assert outcome.status == 2, outcome.err
    assert len(outcome.errors) == 1, outcome.err
    assert outcome.err.splitlines()[-1] == outcome.errors[0]
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in outcome.errors[0]
    assert contents(here.parent) == before
    assert list(here.iterdir()) == []
    return outcome.errors[0]


def fails_on(folder, *flags, words):
    return fails(f"--data={folder}", "--smoke", *flags, words=words)


def test_missing_data_folder(tmp_path):
    fails_on(tmp_path / "absent", words=[str(tmp_path / "absent")])


def test_a_file_in_place_of_a_data_folder(folder):
    path = folder / "dataset.json"
    fails_on(path, words=[str(path)])


def test_folder_without_dataset_json(folder):
    (folder / "dataset.json").unlink()
    fails_on(folder, words=[str(folder), "dataset.json"])


def test_dataset_json_that_is_no_json(folder):
    (folder / "dataset.json").write_text("{")
    fails_on(folder, words=[str(folder), "dataset.json"])


def test_image_without_label(folder):
    (folder / LABEL).unlink()
    fails_on(folder, words=[str(folder), "c01"])


def test_shape_mismatch(folder):
    folders.save(folder / LABEL, folders.draw_case(1)[1][:, :, :4])
    fails_on(folder, words=[LABEL, "shape (10, 12, 4)", "(10, 12, 5)"])


def test_affine_mismatch(folder):
    folders.save(folder / LABEL, folders.draw_case(1)[1], np.diag([1, 1, 3.0, 1]))
    fails_on(folder, words=[LABEL, "affine differs", "allowed are"])


def test_truncated_gzip(folder):
    content = (folder / IMAGE).read_bytes()
    (folder / IMAGE).write_bytes(content[: len(content) // 2])
    fails_on(folder, words=[IMAGE, "truncated"])


def test_labels_that_are_no_integers(folder):
    folders.save(folder / LABEL, folders.draw_case(1)[1] * np.float32(0.5))
    fails_on(folder, words=[LABEL, "not integers", "0.5"])


def test_label_values_that_are_not_listed(folder):
    folders.save(folder / LABEL, folders.draw_case(1)[1] * 4)
    fails_on(folder, words=[LABEL, "4, 8 are not listed", "lists 0, 1, 2"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite(folder, value):
    image = folders.draw_case(1)[0]
    image[3, 3, 3] = value
    folders.save(folder / IMAGE, image)
    fails_on(folder, words=[IMAGE, "1 voxels are NaN or infinite"])


def test_several_faults_are_told_in_one_line(folder):
    (folder / LABEL).unlink()
    folders.save(folder / "labelsTr/c03.nii.gz", folders.draw_case(3)[1] * 4)
    fails_on(folder, words=["c01", "c03", "not listed"])


def test_a_fault_stops_a_dry_run_too(folder):
    (folder / LABEL).unlink()
    fails_on(folder, "--dry_run", words=["c01"])


def test_a_second_dataset_is_checked_before_the_first_trains(folder, tmp_path):
    fails_on(f"{folder},{tmp_path / 'absent'}", words=[str(tmp_path / "absent")])


def test_the_same_dataset_twice(folder):
    fails_on(f"{folder},{folder}", words=["--data", "Made"])


def test_too_few_patients(tmp_path):
    folder = folders.write_nnunet(tmp_path / "Few", 4)
    fails_on(folder, words=[str(folder), "4"])


def test_the_work_folder_may_not_be_a_file(folder):
    path = folder / "file"
    path.write_text("text")
    fails("--smoke", f"--workdir={path}", words=[str(path)])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--experiment=budget_swep"], ["budget_swep", "budget_sweep"]),
        (["--experiment=absent.py"], ["absent.py", "no such file"]),
        (["--strategies=best"], ["--strategies", "'best'", "k_center", "random"]),
        (["--strategies=random,random"], ["--strategies=random,random", "distinct"]),
        (["--volume_strategies=far"], ["--volume_strategies", "'far'", "random"]),
        (["--features=deep"], ["--features", "'deep'", "intensity"]),
        (["--scope=all"], ["--scope", "'all'", "pooled, within"]),
        (["--interpolations=cubic"], ["--interpolations", "'cubic'", "none"]),
        (["--dims=4d"], ["--dims", "'4d'", "2d"]),
        (["--tasks=heart"], ["--tasks", "'heart'", "phantom_organ"]),
        (["--budgets=abc"], ["--budgets=abc", "whole numbers"]),
        (["--budgets=4,0"], ["--budgets=4,0", "whole numbers"]),
        (["--slices_per_volume=-1"], ["--slices_per_volume=-1", "whole numbers"]),
        (["--steps=0"], ["--steps=0", "whole numbers"]),
        (["--steps=5,6"], ["--steps=5,6", "one value"]),
        (["--num_seeds=0"], ["--num_seeds=0", "1 or more"]),
        (["--num_seeds=two"], ["--num_seeds=two"]),
        (["--stop_when_decided", "--num_seeds=1"], ["--num_seeds=1", "2 or more"]),
        (
            ["--stop_when_decided", "--experiment=label_ceiling"],
            ["--stop_when_decided", "label_ceiling", "no primary contrast"],
        ),
        (["--ceiling_seeds=-1"], ["--ceiling_seeds=-1", "0 or more"]),
        (["--width=0"], ["--width=0", "1 or more"]),
        (["--batch=-2"], ["--batch=-2", "1 or more"]),
        (["--shard=3/2"], ["--shard=3/2", "I/N"]),
        (["--shard=1/900"], ["--shard=1/900", "at most as many"]),
        (["--steps_factors=0.5,2"], ["--steps_factors=0.5,2", "1 must be among"]),
        (["--steps_factors=1,-2"], ["--steps_factors=1,-2", "above 0 up to 100"]),
        (["--pseudo_weights=0.5,much"], ["--pseudo_weights=0.5,much", "up to 1"]),
        (["--pseudo_weights=2"], ["--pseudo_weights=2", "above 0 up to 1"]),
        (["--learning_rate=0"], ["--learning_rate=0", "above 0"]),
        (["--learning_rate=nan"], ["--learning_rate=nan", "above 0"]),
        (["--learning_rate=fast"], ["--learning_rate=fast"]),
        (["--dice_classes=some"], ["--dice_classes=some", "all, present"]),
        (["--depth=12"], ["depth 12", "divide"]),
        (["--field_of_view=100"], ["--field_of_view", "--data"]),
        (["--ct_window=0,100"], ["--ct_window", "--data"]),
        (["--feature_file=a.npz"], ["--feature_file=a.npz", "--features=file"]),
        (["--strata_file=a.csv"], ["--strata_file=a.csv", "=stratified"]),
        (
            ["--features=file", "--strategies=k_center"],
            ["--features=file", "--feature_file=FILE"],
        ),
        (["--volume_strategies=stratified"], ["stratified", "--strata_file=FILE"]),
        (["--plan=quick"], ["--plan=quick", "fixed"]),
        (["--smoke=perhaps"], ["--smoke=perhaps"]),
        (["--split_seed=-1"], ["--split_seed=-1", "non-negative"]),
        (["--checkpoint_seconds=-1"], ["--checkpoint_seconds=-1", "non-negative"]),
        (["--budgets=1000"], ["--budgets: 1000", "phantom_organ", "2 to 14 volumes"]),
        (["--budgets=7", "--slices_per_volume=2"], ["--budgets: 7", "do not divide"]),
        (["--slices_per_volume=99"], ["--slices_per_volume: 99", "allowed"]),
        (["--target_labels=1"], ["--target_labels", "--data"]),
        (["--splits_file=s.json"], ["--splits_file", "--data"]),
        (["--no_such_flag=1"], ["no_such_flag", "--budgets"]),
        (["--bugdets=1"], ["bugdets", "--budgets"]),
        (["stray"], ["'stray'", "--name=value"]),
        (
            ["--experiment=label_ceiling", "--ceiling_seeds=0"],
            ["nothing to train", "--ceiling_seeds"],
        ),
    ],
)
def test_bad_flags(flags, words):
    fails("--smoke", *flags, words=words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target_labels=kidney"], ["kidney", "front"]),
        (["--slice_axis=7"], ["7"]),
        (["--splits_file=absent.json"], ["absent.json"]),
        (["--tasks=phantom_organ"], ["--tasks", "--data"]),
        (["--max_size=0"], ["max_size", "0"]),
        (["--ct_window=0,100"], ["--ct_window", "CT"]),
        (["--ct_window=100,0"], ["--ct_window=100,0", "lower"]),
        (["--ct_window=nan,1"], ["--ct_window=nan,1", "lower"]),
        (["--ct_window=50"], ["--ct_window=50", "LOW,HIGH"]),
        (["--field_of_view=-1"], ["--field_of_view=-1", "above 0 mm"]),
        (
            ["--features=file", "--strategies=k_center", "--feature_file=absent.npz"],
            ["absent.npz"],
        ),
        (["--max_size=-16"], ["max_size", "-16"]),
        (["--budgets=1000"], ["--budgets: 1000", "Made", "2 to 6 volumes"]),
    ],
)
def test_bad_flags_beside_data(folder, flags, words):
    fails_on(folder, *flags, words=words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_experiment(:", ["cannot be run"]),
        ("x = 1 / 0", ["cannot be run", "division by zero"]),
        ("def get_experiment():\n    return 1", ["get_experiment"]),
        ("def get_experiment(*, smoke):\n    return 1", ["returned int"]),
    ],
)
def test_an_experiment_file_that_cannot_be_used(folder, text, words):
    path = folder / "mine.py"
    path.write_text(text)
    fails(f"--experiment={path}", words=[str(path), *words])


def test_a_dry_run_on_real_files_writes_nothing(folder):
    here = pathlib.Path.cwd()
    outcome = command.run(f"--data={folder}", "--smoke", "--dry_run")
    assert outcome.status == 0, outcome.err
    assert "task Made (real), fold 0: 3 development, 6 pool, 3 test" in outcome.out
    assert list(here.iterdir()) == []


def test_status_of_nothing_writes_nothing(folder):
    outcome = command.run("--smoke", "--status")
    assert outcome.status == 0
    assert "0 of 5 trials done" in outcome.out
    assert list(pathlib.Path.cwd().iterdir()) == []


def test_floating_labels_that_hold_integers_are_accepted(folder):
    label = nib.load(folder / LABEL)
    folders.save(folder / LABEL, np.asarray(label.dataobj).astype(np.float32))
    assert command.run(f"--data={folder}", "--smoke", "--dry_run").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no_such_flag=1"], "no_such_flag"),
        pytest.param(["--data=absent"], "absent", marks=pytest.mark.slow),
    ],
)
def test_a_process_of_its_own_ends_alike(tmp_path, arguments, words):
    workdir = tmp_path / "work"
    outcome = command.finish(command.start(*arguments, f"--workdir={workdir}"))
    assert outcome.status == 2
    assert len(outcome.errors) == 1
    assert words in outcome.errors[0]
    assert outcome.out == ""
    assert not workdir.exists()


def test_real_files_are_trained_and_scored_on_their_own_grid(folder, tmp_path):
    workdir = tmp_path / "work"
    outcome = command.run(f"--data={folder}", "--smoke", f"--workdir={workdir}")
    assert outcome.status == 0, outcome.err
    record = json.loads((workdir / "experiment.json").read_text())
    (task,) = record["tasks"]
    assert (task["name"], task["synthetic"]) == ("Made", False)
    assert task["classes"] == ["front", "back"]
    assert "synthetic" not in outcome.out
    assert (workdir / "report.html").exists()
