"""Files that carry a worklist into annotators' own tools.

How each tool counts and where it places a voxel was read in its sources:

- 3D Slicer: worlds are RAS millimetres; `JumpSlicesToLocation` takes such a point
  (vtkSlicerMarkupsLogic.h) and `RotateToAxes` lays a view into the stored slices of an
  oblique volume (vtkMRMLSliceNode.h). `Slicer --python-script` sets `__file__`
  (ctkAbstractPythonManager::executeFile). Stored indices i, j, k are those of the file,
  from 0, and the script compares them with the plan's at every jump.
- MITK: worlds are LPS millimetres; the image navigator counts from 0 along the
  image's own axis (QmitkImageNavigatorView.cpp). Task lists are experimental and
  have no place to jump to (MITKSegmentationTaskLists.md): each task says it in words.
- ITK-SNAP: the cursor counts voxels of the file from 1
  (GlobalUIModel::GetCursorPositionValueAndRange); label files hold one line a label
  (ColorLabelTable::SaveToFile).
"""

import colorsys
import json
from collections.abc import Sequence
from typing import Any

import jinja2
import nibabel as nib
import numpy as np

from slicebench.data.formats import read_header
from slicebench.data.volumes import Scan
from slicebench.planning.geometry import place
from slicebench.planning.plan import Plan
from slicebench.planning.worklist import Row

SEGMENTATIONS = "segmentations"
"""Where tools save, relative to the plan; `import` looks there."""
_GOLDEN = 0.61803398875
"""Steps of hue by the golden ratio stay apart for any number of classes."""


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the structures to outline; one without a name where none is named."""
    return tuple(classes) or ("class 1",)


def color(number: int) -> tuple[int, int, int]:
    """Returns red, green and blue (0 to 255) of a class, counted from 0."""
    red, green, blue = colorsys.hsv_to_rgb((number * _GOLDEN) % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def tool_files(plan: Plan, images: str, digest: str) -> dict[str, str]:
    """Returns the files by name.

    Args:
      plan: What is to be annotated.
      images: Folder of the images, absolute or relative to the plan's folder.
      digest: Names the plan.
    """
    names = class_names(plan.request.classes)
    return {
        "worklist_slicer.py": slicer_script(plan, images, digest),
        "worklist.mitktasklist.json": mitk_task_list(plan, images),
        "mitk_labels.json": mitk_labels(names),
        "itksnap_labels.txt": itksnap_labels(names),
    }


def itksnap_labels(classes: Sequence[str]) -> str:
    """Returns an ITK-SNAP label description file.

    Args:
      classes: Names for label values 1, 2, ...
    """
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for number, name in enumerate(classes):
        red, green, blue = color(number)
        # The format ends a name at a double quote and has no way to write one.
        plain = " ".join(name.replace('"', "'").split())
        lines.append(
            f'{number + 1:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{plain}"'
        )
    return "\n".join(lines) + "\n"


def mitk_labels(classes: Sequence[str]) -> str:
    """Returns MITK's label suggestions: names and colours, in order of the classes."""
    found = [
        {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*color(number))}
        for number, name in enumerate(classes)
    ]
    return json.dumps(found, indent=1) + "\n"


def mitk_task_list(plan: Plan, images: str) -> str:
    """Returns a segmentation task list for MITK: one task a case, test cases last.

    Args:
      plan: What is to be annotated.
      images: Folder of the images, absolute or relative to the plan's folder.
    """
    names = class_names(plan.request.classes)
    tasks = [
        {
            "Name": case["case"],
            "Description": _mitk_words(case),
            "Image": f"{images}/{case['file']}",
            "Result": f"{SEGMENTATIONS}/{case['case']}.nrrd",
        }
        for case in cases(plan)
    ]
    content = {
        "FileFormat": "MITK Segmentation Task List",
        "Version": 1,
        "Name": f"{plan.budget} slices of {len(plan.choices)} volumes",
        "Defaults": {
            "LabelName": names[0],
            "LabelNameSuggestions": "mitk_labels.json",
            "Dynamic": False,
        },
        "Tasks": tasks,
    }
    return json.dumps(content, indent=1) + "\n"


def _mitk_words(case: dict[str, Any]) -> str:
    """Says where the slices are in MITK's own numbers: from 0, and LPS millimetres."""
    if not case["slices"]:
        return f"Test case: outline all {case['num_slices']} slices."
    places = "; ".join(
        "{} at ({:.1f}, {:.1f}, {:.1f})".format(
            one["index"], -one["ras"][0] + 0.0, -one["ras"][1] + 0.0, one["ras"][2]
        )
        for one in case["slices"]
    )
    return (
        f"Outline only these {case['plane']} slices, counted from 0 to "
        f"{case['num_slices'] - 1} as in the image navigator, with the crosshair in "
        f"mm: {places}."
    )


def slicer_script(plan: Plan, images: str, digest: str) -> str:
    """Returns a Python script for 3D Slicer that needs no file but the scans.

    Args:
      plan: What is to be annotated.
      images: Folder of the images, absolute or relative to the plan's folder.
      digest: Names the plan; the script takes no other plan's folder for its own.
    """
    names = class_names(plan.request.classes)
    payload = {
        "digest": digest,
        "images": images,
        "earlier": [str(one.folder) for one in plan.earlier],
        "classes": [
            [name, [round(part / 255, 4) for part in color(number)]]
            for number, name in enumerate(names)
        ],
        "cases": cases(plan),
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slicebench.planning"),
        autoescape=False,  # Python, not HTML; what goes in is one literal
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    text = json.dumps(payload, ensure_ascii=True, separators=(",", ":"))
    template = environment.get_template("worklist_slicer.py.j2")
    return template.render(payload=repr(text))


def geometry_notes(plan: Plan) -> list[str]:
    """Says which scans other viewers may place differently, one line a scan.

    ITK, which the three tools read NIfTI with, has no sheared grids; and where a header
    holds two affines (sform, qform) that differ, readers choose between them by rules
    of their own (nibabel: sform first).
    """
    found: list[str] = []
    for scan in (*(choice.scan for choice in plan.choices), *plan.test):
        steps = scan.affine[:3, :3]
        cosines = (steps / np.linalg.norm(steps, axis=0)).T
        if np.abs(cosines @ cosines.T - np.eye(3)).max() > _SHEAR:
            found.append(
                f"{scan.name}: its axes are not perpendicular (gantry tilt); 3D "
                "Slicer, MITK and ITK-SNAP cannot show it as it is stored"
            )
        elif _two_affines(scan):
            found.append(
                f"{scan.name}: its header holds two affines that differ (sform, "
                "qform); other viewers may place it by the other one"
            )
    return found


_SHEAR = 1e-3
_APART = 0.1
"""Voxels between the places of a corner that count as a difference."""


def _two_affines(scan: Scan) -> bool:
    stored: Any = nib.load(  # pyright: ignore[reportPrivateImportUsage]
        scan.image_paths[0]
    )
    header: Any = stored.header
    affines = [header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]]
    if affines[0] is None or affines[1] is None:
        return False
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(stored.shape[:3]) - 1)
    moved = np.linalg.solve(affines[0], affines[1])
    off = corners @ moved[:3, :3].T + moved[:3, 3] - corners
    return bool(np.abs(off).max() > _APART)


def cases(plan: Plan) -> list[dict[str, Any]]:
    """Returns what tools need of every case, the worklist's first, then test cases."""
    by_case: dict[str, list[Row]] = {}
    for row in plan.rows:
        by_case.setdefault(row.case, []).append(row)
    chosen = [_case(plan, c.scan, by_case[c.scan.name]) for c in plan.choices]
    return chosen + [_case(plan, scan, ()) for scan in plan.test]


def _case(plan: Plan, scan: Scan, rows: Sequence[Row]) -> dict[str, Any]:
    shape, affine = read_header(scan.image_paths[0])
    where = place(affine, shape[:3], scan.slice_axis, 0)
    folder = plan.folder.folder
    return {
        "case": scan.name,
        "file": scan.image_paths[0].relative_to(folder).as_posix(),
        "axis": scan.slice_axis,
        "plane": where.plane,
        "num_slices": shape[scan.slice_axis],
        "slices": [
            {
                "rank": row.rank,
                "index": row.slice_index,
                "ras": [row.x_ras_mm, row.y_ras_mm, row.z_ras_mm],
            }
            for row in rows
        ],
    }
