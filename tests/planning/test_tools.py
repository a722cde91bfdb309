"""What annotators' tools are told, and where they would then be."""

import json
import sys
import types
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from slicebench.planning.costs import Costs
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.tools import (
    color,
    geometry_notes,
    itksnap_labels,
    mitk_labels,
)
from slicebench.planning.writing import write_plan
from tests.planning.scans import write_scan
from tests.planning.test_geometry import affine_of, rotated

SHAPE = (12, 10, 8)
GRIDS = {
    "plain": affine_of((0, 1, 2), (1, 1, 1)),
    "flipped": affine_of((0, 1, 2), (-1, 1, -1)),
    "permuted": affine_of((2, 0, 1), (1, -1, 1)),
    "turned": affine_of((1, 2, 0), (-1, -1, 1)),
    "oblique": rotated(rotated(affine_of((0, 1, 2), (1, -1, 1)), 17, 0), 9, 1),
    "oblique_permuted": rotated(affine_of((2, 1, 0), (1, 1, -1)), 25, 2),
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    for name, affine in GRIDS.items():
        write_scan(folder / "scans" / f"{name}.nii.gz", SHAPE, affine)
    request = Request(
        images=folder / "scans",
        budget=10,
        test_patients=1,
        slices_per_volume=2,
        classes=("left lung", "right lung"),
    )
    found = make_plan(request, (), Costs())
    write_plan(found, folder / "plan")
    return found, folder / "plan"


def rows_of(folder):
    return json.loads((folder / "worklist.json").read_text())["rows"]


def test_every_tool_gets_a_file(plan):
    _, folder = plan
    for name in (
        "worklist_slicer.py",
        "worklist.mitktasklist.json",
        "mitk_labels.json",
        "itksnap_labels.txt",
    ):
        assert (folder / name).read_text()


def test_mitk_tasks_name_slices_from_0_and_lps(plan):
    _, folder = plan
    content = json.loads((folder / "worklist.mitktasklist.json").read_text())
    assert content["FileFormat"] == "MITK Segmentation Task List"
    assert content["Version"] == 1
    assert content["Defaults"]["LabelName"] == "left lung"
    tasks = {task["Name"]: task for task in content["Tasks"]}
    assert len(tasks) == 6
    assert len({task["Result"] for task in content["Tasks"]}) == 6
    for row in rows_of(folder):
        words = tasks[row["case"]]["Description"]
        # From 0 and in LPS: both signs of what the plan holds in RAS are turned.
        lps = [row[f"{name}_lps_mm"] for name in "xyz"]
        part = "{} at ({:.1f}, {:.1f}, {:.1f})".format(
            row["slice_index"], *(round(value, 4) + 0.0 for value in lps)
        )
        assert part in words
        image: Any = nib.load(tasks[row["case"]]["Image"])
        assert image.shape == SHAPE
    test = [task for task in tasks.values() if "Test case" in task["Description"]]
    assert len(test) == 1
    suggestions = (folder / content["Defaults"]["LabelNameSuggestions"]).read_text()
    assert [one["name"] for one in json.loads(suggestions)] == [
        "left lung",
        "right lung",
    ]


def test_itk_snap_labels_have_the_values_that_come_back():
    text = itksnap_labels(['the "big"\n one', "other"])
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    fields = [line.split(maxsplit=7) for line in rows]
    assert [int(field[0]) for field in fields] == [0, 1, 2]
    assert [field[7] for field in fields] == [
        '"Clear Label"',
        "\"the 'big' one\"",
        '"other"',
    ]
    assert tuple(map(int, fields[1][1:4])) == color(0)
    assert all(field[4:7] == ["1", "1", "1"] for field in fields[1:])


def test_colors_of_neighbouring_classes_differ():
    found = np.array([color(number) for number in range(12)], float)
    gaps = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert gaps[~np.eye(12, dtype=bool)].min() > 20
    assert json.loads(mitk_labels(["a"]))[0]["color"].startswith("#")


# A stand-in for 3D Slicer: volumes with the geometry of their file, and a record of
# what was asked for. Which methods exist in Slicer was read in its sources.


class Node:
    def __init__(self, name):
        self.name = name
        self.segments: list[str] = []

    def GetSegmentation(self):  # noqa: N802 - Slicer's name
        return self

    def GetSegmentIdBySegmentName(self, name):  # noqa: N802
        return name if name in self.segments else ""

    def AddEmptySegment(self, _, name, rgb):  # noqa: N802
        assert len(rgb) == 3
        assert all(0 <= part <= 1 for part in rgb)
        self.segments.append(name)

    def CreateDefaultDisplayNodes(self):  # noqa: N802
        pass

    def SetReferenceImageGeometryParameterFromVolumeNode(self, volume):  # noqa: N802
        self.reference = volume


class Volume(Node):
    def __init__(self, name, affine):
        super().__init__(name)
        self.affine = affine

    def GetRASToIJKMatrix(self, matrix):  # noqa: N802
        matrix.values = np.linalg.inv(self.affine)

    def GetIJKToRASMatrix(self, matrix):  # noqa: N802
        matrix.values = self.affine


class Matrix:
    values = np.eye(4)

    def MultiplyPoint(self, point):  # noqa: N802
        return tuple(self.values @ point)


class View:
    def __init__(self):
        self.asked: list[str] = []
        self.normals: list[np.ndarray] = []

    def mrmlSliceNode(self):  # noqa: N802
        return self

    def RotateToAxes(self, matrix, axis):  # noqa: N802
        first, second = (matrix.values[:3, i] for i in range(3) if i != axis)
        self.normals.append(np.cross(first, second))

    def __getattr__(self, name):
        if not name.startswith("SetOrientationTo"):
            raise AttributeError(name)
        return lambda: self.asked.append(name)


class Widget:
    """Any Qt class: attributes are kept, calls do nothing."""

    Tool = 0

    def __init__(self, *_):
        self.signals: dict[str, Any] = {}

    def connect(self, signal, action):
        self.signals[signal] = action

    def __getattr__(self, _):
        return lambda *_: None


class Slicer:
    """The parts of the module `slicer` that the script uses."""

    def __init__(self, geometry):
        self.geometry = geometry
        self.errors: list[str] = []
        self.jumps: list[tuple[float, ...]] = []
        self.saved: list[str] = []
        self.removed: list[str] = []
        self.views = {name: View() for name in ("Red", "Green", "Yellow")}
        editor = Widget()
        editor.setSourceVolumeNode = lambda *_: None
        widget = types.SimpleNamespace(
            self=lambda: types.SimpleNamespace(editor=editor)
        )
        logic = types.SimpleNamespace(
            JumpSlicesToLocation=lambda *ras: self.jumps.append(ras)
        )
        self.modules = types.SimpleNamespace(
            segmenteditor=types.SimpleNamespace(widgetRepresentation=lambda: widget),
            markups=types.SimpleNamespace(logic=lambda: logic),
        )
        self.app = types.SimpleNamespace(
            layoutManager=lambda: types.SimpleNamespace(sliceWidget=self.views.get)
        )
        self.mrmlScene = types.SimpleNamespace(
            AddNewNodeByClass=lambda _, name: Node(name),
            RemoveNode=lambda node: self.removed.append(node.name),
        )
        self.util = types.SimpleNamespace(
            mainWindow=lambda: None,
            loadVolume=self.load,
            loadSegmentation=self.load_segmentation,
            saveNode=self.save,
            selectModule=lambda _: None,
            setSliceViewerLayers=lambda **_: None,
            errorDisplay=self.errors.append,
            showStatusMessage=lambda *_: None,
        )

    def load(self, path, properties):
        assert properties == {"singleFile": True}
        return Volume(path, self.geometry(path))

    def load_segmentation(self, path):
        self.errors.append(f"loaded {path}")
        return Node(path)

    def save(self, _, path):
        self.saved.append(path)
        return True


def run_script(folder, monkeypatch, geometry):
    fake = Slicer(geometry)
    monkeypatch.setitem(sys.modules, "slicer", fake)
    qt = types.SimpleNamespace(Qt=Widget)
    for name in ("QWidget", "QVBoxLayout", "QHBoxLayout", "QLabel", "QCheckBox"):
        setattr(qt, name, type(name, (Widget,), {}))
    qt.QPushButton = type("QPushButton", (Widget,), {})
    monkeypatch.setitem(sys.modules, "qt", qt)
    vtk = types.SimpleNamespace(vtkMatrix4x4=Matrix)
    monkeypatch.setitem(sys.modules, "vtk", vtk)
    script = folder / "worklist_slicer.py"
    spaces = {"__file__": str(script), "__name__": "__main__"}
    exec(compile(script.read_text(), str(script), "exec"), spaces)
    return fake, spaces["worklist"]


def nibabel_geometry(path):
    opened: Any = nib.load(path)
    return opened.affine


def simpleitk_geometry(path):
    """ITK's own reading of the file, as Slicer has it, from LPS to RAS."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(path)
    corners = np.vstack([np.zeros(3), np.eye(3)])
    world = np.array(
        [image.TransformContinuousIndexToPhysicalPoint(p) for p in corners.tolist()]
    )
    affine = np.eye(4)
    affine[:3, 3] = world[0]
    affine[:3, :3] = (world[1:] - world[0]).T
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("geometry", [nibabel_geometry, simpleitk_geometry])
def test_slicer_jumps_to_the_listed_slices_and_saves(
    plan, monkeypatch, geometry, tmp_path
):
    _, folder = plan
    fake, worklist = run_script(folder, monkeypatch, geometry)
    rows = rows_of(folder)
    for number, row in enumerate(rows):
        worklist.go(number)
        *ras, centred = fake.jumps[-1]
        assert centred is True
        ijk = apply_affine(np.linalg.inv(nibabel_geometry(worklist.volume.name)), ras)
        assert ijk[row["array_axis"]] == pytest.approx(row["slice_index"], abs=1e-3)
        assert row["case"] in worklist.words()
        assert f"slice {row['display_number']} of" in worklist.words()
    worklist.go(len(rows))  # the dense test case
    assert "outline all" in worklist.words()
    assert not fake.errors
    assert len(fake.saved) == 5
    assert all(path.endswith(".seg.nrrd") for path in fake.saved)
    assert worklist.segmentation.segments == ["left lung", "right lung"]
    used = {row["anatomical_axis"] for row in rows}
    asked = fake.views["Red"].asked
    assert asked.count("SetOrientationToAxial") == len(fake.jumps) == len(rows) + 1
    assert used == {"axial"}


@pytest.mark.parametrize(
    ("axis", "plane", "view"), [(0, "sagittal", "Yellow"), (1, "coronal", "Green")]
)
def test_slicer_turns_the_view_of_the_plane_to_the_slices(
    axis, plane, view, tmp_path, monkeypatch
):
    affine = rotated(affine_of((0, 1, 2), (1, -1, 1)), 30, 0)
    for name in "abc":
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", SHAPE, affine)
    request = Request(
        images=tmp_path / "scans",
        budget=3,
        test_patients=0,
        slices_per_volume=1,
        slice_axis=axis,
    )
    write_plan(make_plan(request, (), Costs()), tmp_path / "plan")
    fake, worklist = run_script(tmp_path / "plan", monkeypatch, nibabel_geometry)
    assert fake.views[view].asked == [f"SetOrientationTo{plane.capitalize()}"]
    normal = np.cross(*(affine[:3, i] for i in range(3) if i != axis))
    np.testing.assert_allclose(fake.views[view].normals[0], normal, rtol=1e-5)
    assert plane in worklist.words()
    assert not fake.errors


def test_slicer_refuses_a_scan_that_it_places_elsewhere(plan, monkeypatch):
    _, folder = plan

    def moved(path):
        affine = nibabel_geometry(path).copy()
        affine[:3, 3] += 4
        return affine

    fake, _ = run_script(folder, monkeypatch, moved)
    assert "do not annotate this case here" in fake.errors[0]


def test_ticks_of_slicer_are_a_state_that_import_takes(plan, monkeypatch):
    _, folder = plan
    _, worklist = run_script(folder, monkeypatch, nibabel_geometry)
    worklist.tick(True)
    assert worklist.ticked()
    state = json.loads((folder / "worklist_state.json").read_text())
    row = rows_of(folder)[0]
    assert state["done"] == [f"{row['case']}/{row['slice_index']}"]
    assert state["plan"] == json.loads((folder / "plan.json").read_text())["digest"]
    _, again = run_script(folder, monkeypatch, nibabel_geometry)
    assert again.ticked()
    again.tick(False)
    assert not again.ticked()
    (folder / "worklist_state.json").unlink()


def test_a_case_name_cannot_break_the_script(tmp_path):
    evil = 'a\'"""\\n{{ x }}'
    for name in (evil, "b", "c"):
        write_scan(tmp_path / "scans" / f"{name}.nii.gz")
    request = Request(
        images=tmp_path / "scans", budget=3, test_patients=0, slices_per_volume=1
    )
    write_plan(make_plan(request, (), Costs()), tmp_path / "plan")
    text = (tmp_path / "plan" / "worklist_slicer.py").read_text()
    code = compile(text, "worklist_slicer.py", "exec")
    payload = [c for c in code.co_consts if isinstance(c, str) and '"digest"' in c]
    assert evil in [case["case"] for case in json.loads(payload[0])["cases"]]


def test_scans_that_viewers_may_place_elsewhere_are_named(tmp_path):
    sheared = affine_of((0, 1, 2), (1, 1, 1))
    sheared[1, 2] = 1.0
    write_scan(tmp_path / "sheared.nii.gz", affine=sheared)
    write_scan(tmp_path / "plain.nii.gz")
    path = write_scan(tmp_path / "torn.nii.gz")
    torn: Any = nib.load(path)
    other = torn.affine.copy()
    other[:3, 3] += 30
    torn.header.set_qform(other, 2)
    torn.header.set_sform(torn.affine, 1)
    nib.save(nib.Nifti1Image(torn.get_fdata(), None, torn.header), path)
    request = Request(images=tmp_path, budget=3, test_patients=0, slices_per_volume=1)
    notes = "\n".join(geometry_notes(make_plan(request, (), Costs())))
    assert "sheared: its axes are not perpendicular" in notes
    assert "torn: its header holds two affines" in notes
    assert "plain" not in notes
