"""An annotator does the worklist; what comes back is checked and exported."""

import json
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from slicebench.data import read_dataset
from slicebench.errors import InputError
from slicebench.planning.costs import Costs
from slicebench.planning.exporting import export_nnunet
from slicebench.planning.importing import progress_lines, read_labels, to_json
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.writing import write_plan
from tests.planning.scans import AFFINE, write_folder

SHAPE = (12, 10, 8)


def truth_of(case):
    """Two classes on slices 1 to 6, another place in every case."""
    number = int(case.removeprefix("case_"))
    label = np.zeros(SHAPE, np.uint8)
    label[2 + number % 3 : 8, 3:6, 1:7] = 1
    label[2:5, 6:9, 1:7] = 2
    return label


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("way_back")
    scans = write_folder(folder / "scans", cases=14)
    request = Request(
        images=scans,
        budget=14,
        test_patients=2,
        slices_per_volume=2,
        strategy="central",
        classes=("left", "right"),
    )
    write_plan(make_plan(request, (), Costs()), folder / "plan")
    return folder / "plan"


def record(plan):
    return json.loads((plan / "plan.json").read_text())


def annotate(plan, labels, *, change=None, affine=AFFINE):
    """Writes the truth of exactly the listed slices, and dense test cases."""
    labels.mkdir()
    made = {e["case"]: truth_of(e["case"]) for e in record(plan)["cases"]}
    planned = {}
    for row in record(plan)["rows"]:
        planned.setdefault(row["case"], []).append(row["slice_index"])
    for entry in record(plan)["cases"]:
        case = entry["case"]
        label = made[case]
        if entry["side"] == "pool":
            if case not in planned:
                continue
            sparse = np.zeros_like(label)
            sparse[:, :, planned[case]] = label[:, :, planned[case]]
            label = sparse
        if change:
            label = change(case, label)
        nib.save(nib.Nifti1Image(label, affine), labels / f"{case}.nii.gz")
    return planned


def test_every_listed_slice_comes_back(plan, tmp_path):
    planned = annotate(plan, tmp_path / "labels")
    found = read_labels(plan, tmp_path / "labels")
    assert found.classes == ("left", "right")
    pool = {case.case: case for case in found.cases if case.side == "pool"}
    assert {name: sorted(rows) for name, rows in planned.items()} == {
        name: list(case.done) for name, case in pool.items()
    }
    assert not any(case.open or case.outside for case in found.cases)
    words = progress_lines(found)
    assert words[0] == "14 of 14 slices, 7 of 7 cases done"
    assert words[1] == "16 of 16 test slices, 2 of 2 cases done"
    assert len(words) == 2


def test_forgotten_slices_and_cases_are_named_and_unplanned_ones_not_used(
    plan, tmp_path
):
    rows = record(plan)["rows"]
    first, slice_ = rows[0]["case"], rows[0]["slice_index"]

    def change(case, label):
        label = label.copy()
        if case == first:
            label[:, :, slice_] = 0
            label[3, 3, 0] = 2
        return label

    annotate(plan, tmp_path / "labels", change=change)
    last = rows[-1]["case"]
    (tmp_path / "labels" / f"{last}.nii.gz").unlink()
    found = read_labels(plan, tmp_path / "labels")
    state = {case.case: case for case in found.cases}
    assert state[first].open == (slice_,)
    assert state[first].outside == (0,)
    assert state[last].label is None
    assert state[last].open == state[last].planned
    words = progress_lines(found)
    assert f"{first}: nothing on slices {slice_ + 1} (counted from 1)" in words
    assert f"{first}: not used, as not planned: slices 1" in words
    assert f"{last}: no segmentation" in words
    again = json.loads(to_json(found))
    assert sum(len(case["open"]) for case in again["cases"]) == 3


def test_ticks_tell_empty_slices_from_forgotten_ones(plan, tmp_path):
    rows = record(plan)["rows"]
    annotate(plan, tmp_path / "labels", change=lambda _, label: 0 * label)
    state = tmp_path / "worklist_state.json"
    ticks = [f"{row['case']}/{row['slice_index']}" for row in rows[:3]]
    state.write_text(json.dumps({"plan": record(plan)["digest"], "done": ticks}))
    found = read_labels(plan, tmp_path / "labels", state=state)
    assert sum(len(c.empty) for c in found.cases if c.side == "pool") == 3
    assert sum(len(c.open) for c in found.cases) == len(rows) - 3
    found = read_labels(plan, tmp_path / "labels", empty_is_done=True)
    assert not any(case.open for case in found.cases)
    state.write_text(json.dumps({"plan": "other", "done": []}))
    with pytest.raises(InputError, match="state of plan other"):
        read_labels(plan, tmp_path / "labels", state=state)


def test_the_export_holds_the_truth_on_listed_slices_and_ignore_elsewhere(
    plan, tmp_path
):
    planned = annotate(plan, tmp_path / "labels")
    out = tmp_path / "Dataset501_Made"
    words = export_nnunet(read_labels(plan, tmp_path / "labels"), out)
    assert words[0].startswith("7 training cases with 14 annotated slices, label 3")
    document = json.loads((out / "dataset.json").read_text())
    assert document["labels"] == {"background": 0, "left": 1, "right": 2, "ignore": 3}
    assert document["numTraining"] == 7
    for case, slices in planned.items():
        stored: Any = nib.load(out / "labelsTr" / f"{case}.nii.gz")
        label = np.asarray(stored.dataobj)
        np.testing.assert_allclose(stored.affine, AFFINE, atol=1e-5)
        rest = [number for number in range(8) if number not in slices]
        assert (label[:, :, rest] == 3).all()
        np.testing.assert_array_equal(label[:, :, slices], truth_of(case)[:, :, slices])
    tests = [e["case"] for e in record(plan)["cases"] if e["side"] == "test"]
    for case in tests:
        dense: Any = nib.load(out / "labelsTs" / f"{case}.nii.gz")
        label = np.asarray(dense.dataobj)
        np.testing.assert_array_equal(label, truth_of(case))
    # Our own reader takes the folder, and knows the ignore label.
    dataset = read_dataset(out)
    assert {case.name for case in dataset.volumes} == set(planned)
    assert dataset.ignore == 3
    folds = json.loads((out / "splits_final.json").read_text())
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(planned)
    assert not any(set(fold["train"]) & set(fold["val"]) for fold in folds)


@pytest.mark.parametrize("name", ["Liver", "Dataset1_x", "Dataset001_a b"])
def test_names_that_nnunet_does_not_take(plan, tmp_path, name):
    annotate(plan, tmp_path / "labels")
    with pytest.raises(InputError, match="Dataset501_Liver"):
        export_nnunet(read_labels(plan, tmp_path / "labels"), tmp_path / name)


def test_nothing_annotated_is_not_exported(plan, tmp_path):
    (tmp_path / "labels").mkdir()
    found = read_labels(plan, tmp_path / "labels")
    with pytest.raises(InputError, match="nothing to export"):
        export_nnunet(found, tmp_path / "Dataset501_Made")


def test_every_fault_of_what_came_back_is_named_at_once(plan, tmp_path):
    cases = [row["case"] for row in record(plan)["rows"]][::2]

    def change(case, label):
        if case == cases[0]:
            return np.where(label == 2, 7, label).astype(np.uint8)
        if case == cases[1]:
            return label.astype(np.float32) + 0.5
        if case == cases[2]:
            return label[:-1]
        return label

    labels = tmp_path / "labels"
    annotate(plan, labels, change=change)
    (labels / "stranger.nii.gz").write_bytes(b"")
    (labels / f"{cases[3]}.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError) as caught:
        read_labels(plan, labels)
    text = str(caught.value)
    for part in (
        f"{cases[0]}.nii.gz: label value 7, but 2 classes: left, right",
        f"{cases[1]}.nii.gz: label values are not integers",
        f"{cases[2]}.nii.gz: shape",
        f"{cases[3]}.nii.gz",
        "stranger.nii.gz: no case of the plan",
    ):
        assert part in text


def test_a_segmentation_of_another_place_is_refused(plan, tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 5
    annotate(plan, tmp_path / "labels", affine=moved)
    with pytest.raises(InputError, match="affine differs"):
        read_labels(plan, tmp_path / "labels")


@pytest.mark.slow
def test_nnunet_takes_the_export(plan, tmp_path):
    """Its own check of images, labels and geometry, where it is installed."""
    verify = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity"
    )
    annotate(plan, tmp_path / "labels")
    out = tmp_path / "Dataset501_Made"
    export_nnunet(read_labels(plan, tmp_path / "labels"), out)
    verify.verify_dataset_integrity(str(out), num_processes=2)
    broken = next((out / "labelsTr").iterdir())
    nib.save(nib.Nifti1Image(np.full(SHAPE, 9, np.uint8), AFFINE), broken)
    with pytest.raises((RuntimeError, AssertionError)):
        verify.verify_dataset_integrity(str(out), num_processes=2)
