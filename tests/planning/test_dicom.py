"""DICOM folders as scans: made-up series, in every grid, whole and broken."""

import csv
import json
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from slicebench.data.scans import find_scans
from slicebench.errors import InputError
from slicebench.planning import dicom
from slicebench.planning.dicom import convert, holds_dicom
from tests.planning.test_plan import run

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

UID = "1.2.826.0.1.3680043.8.498."
COLUMNS, ROWS, SLICES = 6, 5, 8


def turn(degrees, axis):
    matrix = np.eye(3)
    first, second = (i for i in range(3) if i != axis)
    angle = np.radians(degrees)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


GRIDS = {
    "axial": np.eye(3),
    "axial_downwards": np.diag([1.0, -1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": turn(20, 0) @ turn(-11, 1),
}
"""Directions (LPS) of rising column, rising row and slice, a column each."""


def write_series(
    folder,
    *,
    number=1,
    directions=GRIDS["axial"],
    patient="Doe^John",
    places=None,
    shift=(0.0, 0.0, 0.0),
    slope=2.0,
    description="thorax",
    seed=0,
    **changes,
):
    """Writes a series in mixed order; returns values by slice, row and column."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 900, (SLICES, ROWS, COLUMNS))
    steps = np.arange(SLICES) * 2.5 if places is None else places
    origin = np.array([-31.5, 12.25, 100.0])
    for index in np.random.default_rng(1).permutation(len(steps)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{UID}{number}.{seed}.{index + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        image = pydicom.dataset.Dataset()
        image.file_meta = meta
        image.SOPClassUID = meta.MediaStorageSOPClassUID
        image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        image.SeriesInstanceUID = f"{UID}{number}.{seed}"
        image.StudyInstanceUID = f"{UID}99"
        image.FrameOfReferenceUID = f"{UID}77"
        image.PatientID, image.PatientName = patient, patient
        image.Modality, image.SeriesNumber = "CT", number
        image.SeriesDescription = description
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        position = origin + directions[:, 2] * steps[index]
        position = position + index * np.array(shift)
        image.ImagePositionPatient = [f"{x:.6f}" for x in position]
        image.ImageOrientationPatient = [
            f"{x:.9f}" for x in directions[:, :2].T.ravel()
        ]
        image.PixelSpacing = [0.75, 0.5]
        image.Rows, image.Columns, image.SamplesPerPixel = ROWS, COLUMNS, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelRepresentation = 0
        image.RescaleSlope, image.RescaleIntercept = slope, -1024
        image.RescaleType = "HU"
        image.PixelData = values[index].astype("<u2").tobytes()
        for name, value in changes.items():
            setattr(image, name, value)
        image.save_as(folder / f"im{index * 7 % 50:03d}", enforce_file_format=True)
    return values * slope - 1024


@pytest.mark.parametrize("grid", GRIDS)
def test_every_voxel_keeps_its_value_and_place(grid, tmp_path):
    turned = GRIDS[grid]
    values = write_series(tmp_path / "in" / "a", directions=turned)
    convert(tmp_path / "in", tmp_path / "out")
    stored: Any = nib.load(tmp_path / "out" / "a_0000.nii.gz")
    array = np.asarray(stored.dataobj)
    assert array.shape == (COLUMNS, ROWS, SLICES)
    origin = np.array([-31.5, 12.25, 100.0])
    for slice_, row, column in np.ndindex(SLICES, ROWS, COLUMNS):
        lps = origin + turned @ [0.5 * column, 0.75 * row, 2.5 * slice_]
        index = apply_affine(np.linalg.inv(stored.affine), lps * [-1, -1, 1])
        np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
        at = tuple(np.rint(index).astype(int))
        assert array[at] == values[slice_, row, column]


def test_simpleitk_sees_the_same(tmp_path):
    """An independent reader places the same values at the same points."""
    sitk = pytest.importorskip("SimpleITK")
    write_series(tmp_path / "in" / "a", directions=GRIDS["oblique"])
    convert(tmp_path / "in", tmp_path / "out")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "in" / "a"))
    theirs = sitk.ReadImage(names)
    ours = sitk.ReadImage(str(tmp_path / "out" / "a_0000.nii.gz"))
    for index in np.ndindex(COLUMNS, ROWS, SLICES):
        point = theirs.TransformIndexToPhysicalPoint(index)
        at = ours.TransformPhysicalPointToIndex(point)
        assert ours[at] == theirs[index]
        back = ours.TransformIndexToPhysicalPoint(at)
        np.testing.assert_allclose(back, point, atol=1e-3)


def test_folders_are_cases_and_patients_stay_together(tmp_path):
    write_series(tmp_path / "in" / "case_0000", seed=1)
    write_series(tmp_path / "in" / "case_0001" / "ct", seed=2, patient="Roe^Jane")
    write_series(tmp_path / "in" / "case_0002", seed=3, number=4)
    write_series(tmp_path / "in" / "case_0002" / "more", seed=4, number=11)
    scout = {"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"]}
    write_series(tmp_path / "in" / "scout", seed=5, **scout)
    (tmp_path / "in" / "notes.txt").write_text("x")
    assert holds_dicom(tmp_path / "in")
    found = convert(tmp_path / "in", tmp_path / "out")
    assert found.groups == {
        "case_0000": "patient_001",
        "case_0001": "patient_002",
        "case_0002_4": "patient_001",
        "case_0002_11": "patient_001",
    }
    assert len(found.skipped) == 1
    assert "localizer" in found.skipped[0]
    scans = find_scans(found.folder)
    assert sorted(scan.name for scan in scans.scans) == sorted(found.groups)
    assert scans.channels == ("CT",)
    with (found.folder / "groups.csv").open(newline="") as file:
        assert {row["case"]: row["patient"] for row in csv.DictReader(file)} == (
            found.groups
        )
    # Who it was is nowhere in what is written.
    for path in found.folder.iterdir():
        content = nib.load(path).header.binaryblock if ".nii" in path.name else b""
        assert b"Doe" not in content + path.read_bytes()


def test_a_flat_folder_holds_several_series(tmp_path):
    for number in (1, 2):
        write_series(tmp_path / str(number), seed=number, number=number)
        for path in (tmp_path / str(number)).iterdir():
            path.rename(tmp_path / f"{number}{path.name}")
        (tmp_path / str(number)).rmdir()
    found = convert(tmp_path, tmp_path / "out")
    assert list(found.groups) == ["series_1", "series_2"]


def test_series_are_picked_by_description(tmp_path):
    write_series(tmp_path / "in" / "a", description="T2 ax", Modality="MR")
    write_series(tmp_path / "in" / "b", seed=1, description="low dose")
    with pytest.raises(InputError, match=r"modalities: CT, MR.*--series"):
        convert(tmp_path / "in", tmp_path / "out")
    found = convert(tmp_path / "in", tmp_path / "out", series="t2")
    assert list(found.groups) == ["a"]
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "MR"}
    with pytest.raises(InputError, match="description holds 'flair'"):
        convert(tmp_path / "in", tmp_path / "none", series="flair")


def test_fractions_stay_fractions(tmp_path):
    values = write_series(tmp_path / "in" / "a", slope=0.3)
    convert(tmp_path / "in", tmp_path / "out")
    stored: Any = nib.load(tmp_path / "out" / "a_0000.nii.gz")
    assert stored.get_data_dtype() == np.float32
    np.testing.assert_allclose(
        sorted(np.asarray(stored.dataobj).ravel()), sorted(values.ravel()), rtol=1e-6
    )


EVEN = np.arange(SLICES) * 2.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"places": np.delete(np.arange(9) * 2.5, 4)}, r"1 slices are missing, .*107"),
        ({"places": EVEN + 0.6 * (np.arange(SLICES) % 2)}, "uneven spacing, 1.900 to"),
        ({"places": np.repeat(EVEN[:4], 2)}, "4 images share a position"),
        ({"shift": (0.0, 0.5, 0.0)}, "gantry tilt of 11.3 degrees"),
        ({"places": EVEN[:2]}, "2 images; a volume has at least 3"),
        ({"NumberOfFrames": 4}, "multi-frame"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"ImagePositionPatient": None}, "8 of 8 images have no ImagePositionPatient"),
    ],
)
def test_what_is_no_even_stack_is_refused(changes, message, tmp_path):
    write_series(tmp_path / "in" / "good", seed=1)
    write_series(tmp_path / "in" / "bad", **changes)
    with pytest.raises(InputError, match=message) as caught:
        convert(tmp_path / "in", tmp_path / "out")
    assert "bad" in str(caught.value)
    assert "good" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_slices_of_other_size_or_direction_are_refused(tmp_path):
    write_series(tmp_path / "in" / "a")
    path = next(iter((tmp_path / "in" / "a").iterdir()))
    image = pydicom.dcmread(path)
    image.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    image.save_as(path)
    with pytest.raises(InputError, match="differ in orientation"):
        convert(tmp_path / "in", tmp_path / "out")
    image.PixelSpacing = [1, 1]
    image.save_as(path)
    with pytest.raises(InputError, match="differ in PixelSpacing"):
        convert(tmp_path / "in", tmp_path / "out")


def test_pixels_that_cannot_be_decoded_are_named(tmp_path):
    write_series(tmp_path / "in" / "a", PixelData=b"\0" * 8)
    with pytest.raises(InputError, match="a: cannot be read"):
        convert(tmp_path / "in", tmp_path / "out")


def test_nifti_folders_are_no_dicom(tmp_path):
    assert not holds_dicom(tmp_path / "none")
    write_series(tmp_path / "a")
    nib.save(
        nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "x.nii"
    )
    assert not holds_dicom(tmp_path)


def test_a_plan_from_dicom_holds_its_scans(tmp_path, monkeypatch, capsys):
    """Planned twice: the second round converts anew and finds the same bytes."""
    for number in range(8):
        write_series(
            tmp_path / "in" / f"scan {number}",
            seed=number,
            number=number,
            patient=f"id{number // 2}",
            directions=GRIDS["oblique"],
        )
    out = tmp_path / "plan"
    flags = (f"--images={tmp_path / 'in'}", "--test_patients=1", "--budget=3")
    status, printed = run(monkeypatch, capsys, *flags, f"--out={out}")
    assert not status, printed.err
    plan = json.loads((out / "plan.json").read_text())
    assert plan["images"] == str(out / "images")
    assert plan["channels"] == ["CT"]
    groups = {entry["case"]: entry["group"] for entry in plan["cases"]}
    assert groups["scan_2"] == groups["scan_3"] == "patient_002"
    assert sum(entry["side"] == "test" for entry in plan["cases"]) == 2
    for row in plan["rows"]:
        stored: Any = nib.load(out / "images" / row["file"])
        index = apply_affine(
            np.linalg.inv(stored.affine), [row[f"{name}_ras_mm"] for name in "xyz"]
        )
        assert index[row["array_axis"]] == pytest.approx(row["slice_index"], abs=1e-3)
    tasks = json.loads((out / "worklist.mitktasklist.json").read_text())["Tasks"]
    assert all((out / task["Image"]).is_file() for task in tasks)
    more = (f"--out={tmp_path / 'more'}", f"--exclude={out}")
    status, printed = run(monkeypatch, capsys, *flags, *more)
    assert not status, printed.err
    assert "round 2" in printed.out
    bad = write_series(tmp_path / "in" / "tilted", shift=(0, 1, 0))
    assert bad.size
    status, printed = run(monkeypatch, capsys, *flags, f"--out={tmp_path / 'bad'}")
    assert status == 2
    assert "tilted: slices are shifted" in printed.err
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in", "plan", "more"}


def test_without_highdicom_the_message_says_what_to_install(tmp_path, monkeypatch):
    def gone(_):
        raise ImportError

    monkeypatch.setattr(dicom.importlib, "import_module", gone)
    with pytest.raises(InputError, match="pip install"):
        convert(tmp_path, tmp_path / "out")
