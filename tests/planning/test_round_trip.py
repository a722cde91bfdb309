"""From scans to a worklist, back, and on to label maps, as a user goes."""

import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from slicebench.data import read_dataset
from slicebench.planning import __main__ as planning
from slicebench.predict import __main__ as predict
from slicebench.results import read_json
from tests import command
from tests.data import folders
from tests.planning import annotator

ROOT = pathlib.Path(__file__).parents[2]
OPENKBP = "Dataset505_OpenKBPHeadNeckCT"
NNUNET = "nnUNetv2_plan_and_preprocess"


def here(module, *arguments):
    """Runs a command in this process; returns its output."""
    called = {"planning": planning, "predict": predict}[module]
    called.FLAGS.unparse_flags()
    for name in called.FLAGS:
        called.FLAGS[name].unparse()
    out = io.StringIO()
    with contextlib.redirect_stdout(out), command.quiet_logging():
        called.main(called.FLAGS([module, *map(str, arguments)]))
    return out.getvalue()


def elsewhere(module, *arguments):
    """Runs a command as typed; returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", f"slicebench.{module}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ
        | {
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2 "
            + command.QUICK_TO_COMPILE
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def go_round(call, folder, images, *, plan_flags, train_flags, truth):
    """Plans, annotates, imports, exports, trains and predicts the test cases."""
    plan, labels, run = folder / "plan", folder / "labels", folder / "run"
    out = folder / "Dataset501_Made"
    call("planning", f"--images={images}", f"--out={plan}", *plan_flags)
    annotator.annotate(plan, labels, truth)
    back = (f"--plan={plan}", f"--labels={labels}", "--empty_is_done")
    words = call("planning", "import", *back, f"--export={out}")
    trained = call("planning", "train", *back, f"--out={run}", *train_flags)
    held = folder / "held_out"
    held.mkdir()
    record = annotator.record(plan)
    tests = [e["case"] for e in record["cases"] if e["side"] == "test"]
    for entry in record["cases"]:
        if entry["side"] == "test":
            for name in entry["files"]:
                (held / name).symlink_to(f"{record['images']}/{name}")
    predicted = folder / "predicted"
    call("predict", f"--weights={run}", f"--images={held}", f"--out={predicted}")
    return words, trained, tests


def test_from_scans_to_label_maps(tmp_path):
    scans = annotator.write_scans(tmp_path / "scans", cases=8)
    words, trained, tests = go_round(
        here,
        tmp_path,
        scans,
        plan_flags=(
            "--budget=15",
            "--test_patients=2",
            "--slices_per_volume=5",
            "--classes=ball",
        ),
        train_flags=(
            "--seeds=2",
            "--steps=150",
            "--learning_rate=0.01",
            *annotator.SMALL,
        ),
        truth=lambda case: annotator.truth_of(int(case[-2:])),
    )
    assert words.startswith("15 of 15 slices, 3 of 3 cases done")
    assert len(read_dataset(tmp_path / "Dataset501_Made").volumes) == 3
    assert "2 networks trained, 0 diverged" in trained
    scored = read_json(tmp_path / "run" / "evaluation.json")["scores"][0]
    found = []
    for case in tests:
        image = nib.load(tmp_path / "predicted" / f"{case}.nii.gz")
        np.testing.assert_array_equal(image.affine, annotator.AFFINE)
        assert image.get_data_dtype() == np.uint8
        label = np.asarray(image.dataobj)
        found.append(dice(label == 1, annotator.truth_of(int(case[-2:])) == 1))
    # The structure is bright: whatever learns at all finds it, and two networks
    # together find it about as well as each alone.
    assert min(found) > 0.7
    assert np.mean(found) == pytest.approx(scored["mean"], abs=0.1)


def classes_of(data):
    declared = read_json(data / "dataset.json")["labels"]
    return [name for name, value in declared.items() if value]


def truth_in(data):
    """Returns what reads the true label map of a case."""

    def read(case):
        stored = annotator.read(data / "labelsTr" / f"{case}.nii.gz")
        return stored.astype(np.uint8)

    return read


@pytest.mark.slow
@pytest.mark.data
def test_real_scans_go_the_whole_way(tmp_path):
    """OpenKBP's CT: labels serve the played annotator and the scores alone."""
    data = folders.real_folder(OPENKBP)
    classes = classes_of(data)
    words, trained, tests = go_round(
        elsewhere,
        tmp_path,
        data,
        plan_flags=(
            "--budget=48",
            "--test_patients=4",
            "--slices_per_volume=4",
            f"--classes={','.join(classes)}",
        ),
        train_flags=("--seeds=2", "--steps=30", "--width=8", "--depth=3", "--batch=8"),
        truth=truth_in(data),
    )
    assert words.startswith("48 of 48 slices")
    assert len(read_dataset(tmp_path / "Dataset501_Made").volumes) == 12
    assert "2 networks trained, 0 diverged" in trained
    assert "on 4 test cases, 2 networks" in trained
    for case in tests:
        image = nib.load(tmp_path / "predicted" / f"{case}.nii.gz")
        source = nib.load(data / "imagesTr" / f"{case}_0000.nii.gz")
        np.testing.assert_array_equal(image.affine, source.affine)
        assert image.shape == source.shape
        assert np.asarray(image.dataobj).max() <= len(classes)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(shutil.which(NNUNET) is None, reason="no nnU-Net")
def test_nnunet_plans_on_what_came_back_from_real_scans(tmp_path):
    """nnU-Net itself, as a user calls it: integrity, fingerprint and its own plan."""
    data = folders.real_folder(OPENKBP)
    plan, labels, raw = tmp_path / "plan", tmp_path / "labels", tmp_path / "raw"
    elsewhere(
        "planning",
        f"--images={data / 'imagesTr'}",
        f"--out={plan}",
        "--budget=24",
        "--test_patients=2",
        "--slices_per_volume=2",
        "--classes=" + ",".join(classes_of(data)),
    )
    annotator.annotate(plan, labels, truth_in(data))
    out = raw / "Dataset501_Made"
    back = (f"--plan={plan}", f"--labels={labels}", "--empty_is_done")
    words = elsewhere("planning", "import", *back, f"--export={out}")
    assert words.startswith("24 of 24 slices, 12 of 12 cases done")
    paths = {"nnUNet_raw": raw, "nnUNet_preprocessed": tmp_path / "preprocessed"}
    paths["nnUNet_results"] = tmp_path / "results"
    done = subprocess.run(
        [NNUNET, "-d", "501", "--verify_dataset_integrity", "--no_pp", "-np", "2"],
        env=os.environ | {name: str(path) for name, path in paths.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verify_dataset_integrity Done" in done.stdout
    made = paths["nnUNet_preprocessed"] / "Dataset501_Made"
    assert (made / "nnUNetPlans.json").is_file()
    shown = read_json(made / "dataset_fingerprint.json")
    assert len(shown["spacings"]) == 12
