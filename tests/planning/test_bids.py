"""BIDS datasets: scans in, derivatives out."""

import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.planning.bids import find_bids, holds_bids, parse_name, read_filter
from slicebench.planning.bids_export import export_bids
from slicebench.planning.costs import Costs
from slicebench.planning.importing import read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.rounds import read_plan
from slicebench.planning.writing import write_plan
from tests.planning import annotator

VALIDATOR = "bids-validator-deno"


def write_dataset(folder, subjects=6, suffixes=("T1w",), sessions=("01", "02")):
    for subject in range(subjects):
        for session in sessions:
            for suffix in suffixes:
                name = f"sub-{subject:02d}_ses-{session}_{suffix}.nii.gz"
                place = folder / f"sub-{subject:02d}" / f"ses-{session}" / "anat" / name
                annotator.save(annotator.image_of(subject), place)
    about = {"Name": "made", "BIDSVersion": "1.10.0", "DatasetDOI": "doi:10.0/x"}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    (folder / "derivatives" / "sub-00").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("bids"))


@pytest.fixture(scope="module")
def plan(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("plans") / "plan"
    request = Request(
        images=dataset,
        budget=8,
        slices_per_volume=2,
        test_patients=1,
        classes=("ball",),
    )
    write_plan(make_plan(request, (), Costs()), out)
    return out


def truth(case):
    return annotator.truth_of(int(case[4:6]))


@pytest.fixture(scope="module")
def derivative(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("back")
    annotator.annotate(plan, folder / "labels", truth)
    imported = read_labels(plan, folder / "labels", empty_is_done=True)
    words = export_bids(imported, folder / "derived")
    assert "annotated slices (BIDS)" in words[0]
    return folder / "derived"


def test_scans_are_named_like_their_files_and_grouped_by_participant(dataset):
    found = find_bids(dataset, {})
    assert found.channels == ("T1w",)
    assert len(found.scans) == 12
    first = found.scans[0]
    assert (first.name, first.group) == ("sub-00_ses-01_T1w", "sub-00")
    path = "sub-00/ses-01/anat/sub-00_ses-01_T1w.nii.gz"
    assert first.image_paths == (dataset / path,)
    np.testing.assert_array_equal(
        first.load_image()[0].shape, np.moveaxis(annotator.image_of(0), 2, 0).shape
    )


def test_a_plan_keeps_participants_on_one_side_and_knows_the_files(plan, dataset):
    content = read_plan(plan)
    sides = {}
    for entry in content["cases"]:
        sides.setdefault(entry["group"], set()).add(entry["side"])
        assert (dataset / entry["files"][0]).is_file()
    assert all(len(side) == 1 for side in sides.values())
    assert sum(entry["side"] == "test" for entry in content["cases"]) == 2
    for row in content["rows"]:
        assert row["file"].startswith(f"{row['case'][:6]}/ses-")


def test_a_further_round_finds_the_same_scans(plan, dataset):
    request = Request(images=dataset, budget=4, slices_per_volume=2, exclude=(plan,))
    again = make_plan(request, (), Costs())
    before = {(r["case"], r["slice_index"]) for r in read_plan(plan)["rows"]}
    assert not before & {(row.case, row.slice_index) for row in again.rows}


def test_several_kinds_are_asked_for_or_joined(tmp_path):
    folder = write_dataset(tmp_path / "two", 3, ("T1w", "FLAIR"), ("01",))
    with pytest.raises(InputError, match=r"FLAIR \(3\), T1w \(3\).*suffix=FLAIR"):
        find_bids(folder, {})
    one = find_bids(folder, {"suffix": "T1w"})
    assert {scan.name for scan in one.scans} == {
        f"sub-0{n}_ses-01_T1w" for n in (0, 1, 2)
    }
    both = find_bids(folder, {"suffix": "T1w+FLAIR"})
    assert both.channels == ("T1w", "FLAIR")
    assert [path.name for path in both.scans[0].image_paths] == [
        "sub-00_ses-01_T1w.nii.gz",
        "sub-00_ses-01_FLAIR.nii.gz",
    ]
    assert both.scans[0].load_image().shape[0] == 2
    (folder / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz").unlink()
    with pytest.raises(InputError, match="sub-01_ses-01: 0 files of FLAIR"):
        find_bids(folder, {"suffix": "T1w+FLAIR"})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"suffix": "T2w"}, "no T2w .* there are T1w"),
        ({"datatype": "pet"}, "no images in pet; folders of images: anat"),
        ({"acq": "x"}, "no images in anat with acq=x"),
    ],
)
def test_filters_that_nothing_fits_are_told(dataset, wanted, message):
    with pytest.raises(InputError, match=message):
        find_bids(dataset, wanted)


def test_filters_choose_by_entity(dataset):
    assert len(find_bids(dataset, {"ses": "02"}).scans) == 6


@pytest.mark.parametrize("given", [["T1w"], ["suffix="], ["a=1", "a=2"], ["1=x"]])
def test_filters_that_are_none_are_refused(given):
    with pytest.raises(InputError, match="KEY=VALUE"):
        read_filter(given)


def test_other_folders_are_no_bids(tmp_path, dataset):
    assert holds_bids(dataset)
    assert not holds_bids(tmp_path)
    (tmp_path / "sub-01").mkdir()
    assert holds_bids(tmp_path)
    annotator.save(annotator.image_of(0), tmp_path / "sub-01.nii.gz")
    assert not holds_bids(tmp_path)
    request = Request(
        images=tmp_path, budget=2, test_patients=0, bids_filter=(("suffix", "T1w"),)
    )
    with pytest.raises(InputError, match="no BIDS dataset"):
        make_plan(request, (), Costs())


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "sub-01.txt", "sub-01_x_T1w.nii.gz", "ses-1_T1w.nii"]
)
def test_names_that_are_none_are_left_alone(tmp_path, name):
    assert parse_name(tmp_path / name) is None


def test_faults_name_the_dataset_and_dead_links_are_told(tmp_path):
    folder = write_dataset(tmp_path / "bad", 2, sessions=("01",))
    path = folder / "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=str(folder)) as caught:
        find_bids(folder, {})
    assert "sub-01_ses-01_T1w" in str(caught.value)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"sub-01_ses-01_T1w.nii.gz: its content"):
        find_bids(folder, {})


def test_the_derivative_holds_what_was_annotated_and_where(derivative, plan):
    content = read_plan(plan)
    rows = {}
    for row in content["rows"]:
        rows.setdefault(row["case"], []).append(row["slice_index"])
    assert len(list(derivative.rglob("*_dseg.nii.gz"))) == len(rows) + 2
    for entry in content["cases"]:
        case = entry["case"]
        if entry["side"] == "pool" and case not in rows:
            continue
        stem = case.removesuffix("_T1w")
        place = derivative / entry["files"][0]
        label = nib.load(place.with_name(f"{stem}_dseg.nii.gz"))
        mask = annotator.read(place.with_name(f"{stem}_desc-annotated_mask.nii.gz"))
        done = rows.get(case, list(range(8)))
        shown = np.flatnonzero(mask.any((0, 1)))
        assert shown.tolist() == sorted(done)
        assert mask[..., shown].all()
        np.testing.assert_array_equal(label.affine, annotator.AFFINE)
        np.testing.assert_array_equal(np.asarray(label.dataobj), truth(case) * mask)
    table = (derivative / "dseg.tsv").read_text()
    assert table == "index\tname\n0\tbackground\n1\tball\n"
    about = json.loads((derivative / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "slicebench"
    assert about["SourceDatasets"] == [{"DOI": "doi:10.0/x"}]


def test_scans_of_other_folders_get_names_that_bids_takes(tmp_path):
    scans = tmp_path / "scans"
    for number, name in enumerate(("a.b_c", "a-bc", "d", "e")):
        annotator.save(annotator.image_of(number), scans / f"{name}.nii.gz")
    groups = tmp_path / "groups.csv"
    groups.write_text("case,patient\na.b_c,a.bc\na-bc,a-bc\nd,d\ne,d\n")
    request = Request(
        images=scans,
        budget=4,
        slices_per_volume=1,
        test_patients=0,
        groups=f"{groups}:patient",
        classes=("ball",),
    )
    write_plan(make_plan(request, (), Costs()), tmp_path / "plan")
    annotator.annotate(
        tmp_path / "plan", tmp_path / "labels", lambda _: annotator.truth_of(1)
    )
    imported = read_labels(tmp_path / "plan", tmp_path / "labels", empty_is_done=True)
    export_bids(imported, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*_dseg.nii.gz")}
    assert {name.removesuffix("_dseg.nii.gz") for name in names} == {
        "sub-abc",
        "sub-abcx2",
        "sub-d_run-1",
        "sub-d_run-2",
    }
    with pytest.raises(InputError, match="new or empty"):
        export_bids(imported, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(VALIDATOR) is None, reason=f"no {VALIDATOR}")
def test_the_official_validator_takes_it(derivative, tmp_path):
    assert _errors(derivative) == []
    broken = shutil.copytree(derivative, tmp_path / "broken")
    first = next(broken.rglob("*_dseg.nii.gz"))
    first.rename(first.with_name("segmentation.nii.gz"))
    assert _errors(broken)


def _errors(folder):
    found = subprocess.run(
        [VALIDATOR, str(folder), "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    issues = json.loads(found.stdout)["issues"]["issues"]
    errors = [issue["code"] for issue in issues if issue["severity"] == "error"]
    assert (found.returncode != 0) == bool(errors)
    return errors
