"""Checked annotations as a BIDS derivative: segmentations and what was annotated.

BIDS 1.10, derivatives, imaging: discrete segmentations (`_dseg`) with a table of
labels, and masks. A slice without labels is background or nobody looked at it; the mask
`_desc-annotated_mask` tells these apart, so every segmentation has one.
"""

import importlib.metadata
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from slicebench.data import formats
from slicebench.errors import InputError
from slicebench.planning.bids import BidsName, parse_name
from slicebench.planning.importing import CaseState, Imported

VERSION = "1.10.0"
_README = """# {name}

Segmentations of annotated slices, one file a scan on the scan's own grid. The mask
`*_desc-annotated_mask.nii.gz` is 1 on slices that were annotated (all of them in test
cases); elsewhere 0 in the segmentation means that nobody looked. `dseg.tsv` names the
label values.
"""


def export_bids(imported: Imported, out: Path) -> list[str]:
    """Writes a BIDS derivative of all annotated slices.

    Scans from a BIDS dataset keep their entities; others are named after their patient,
    letters and digits only, and numbered as runs where a patient has several. The
    description in each JSON file has the case's name.

    Args:
      imported: Checked annotations.
      out: Folder to be made.

    Returns:
      What was written, in words.

    Raises:
      InputError: A folder that holds something, or no annotated slice.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"--export_bids={out}: holds something; give a new or empty folder"
        )
    cases = [case for case in imported.cases if case.done and case.label]
    if not cases:
        raise InputError("no annotated slice yet: nothing to export")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    places = _places(imported)
    for case in cases:
        _write_case(imported, case, partial / places[case.case])
    _write_json(partial / "dataset_description.json", _description(imported, out.name))
    (partial / "README.md").write_text(_README.format(name=out.name), encoding="utf-8")
    rows = enumerate(("background", *imported.classes))
    table = "".join(f"{value}\t{name}\n" for value, name in rows)
    (partial / "dseg.tsv").write_text(f"index\tname\n{table}", encoding="utf-8")
    if out.exists():
        out.rmdir()
    partial.replace(out)
    slices = sum(len(case.done) for case in cases)
    return [f"{len(cases)} segmentations with {slices} annotated slices (BIDS): {out}"]


def _description(imported: Imported, name: str) -> dict[str, Any]:
    content: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "slicebench",
                "Version": importlib.metadata.version("slicebench"),
                "Description": f"annotated slices of plan {imported.plan['digest']}",
            }
        ],
    }
    source = Path(imported.plan["images"]) / "dataset_description.json"
    if source.is_file():
        known = json.loads(source.read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.get("DatasetDOI"):
            content["SourceDatasets"] = [{"DOI": known["DatasetDOI"]}]
    return content


def _places(imported: Imported) -> dict[str, Path]:
    """Returns the path of each case without suffix, relative to the derivative."""
    entries = imported.plan["cases"]
    names = {e["case"]: parse_name(Path(e["files"][0])) for e in entries}
    kept = {case: _kept(name) for case, name in names.items() if name}
    if len(set(kept.values())) == len(entries):
        return kept
    labels: dict[str, str] = {}
    patients: dict[str, list[str]] = {}
    for entry in entries:
        patients.setdefault(str(entry["group"]), []).append(entry["case"])
    found: dict[str, Path] = {}
    for patient, cases in patients.items():
        label = _label(patient, labels)
        for number, case in enumerate(cases, start=1):
            run = f"_run-{number}" if len(cases) > 1 else ""
            found[case] = Path(f"sub-{label}", "anat", f"sub-{label}{run}")
    return found


def _kept(name: BidsName) -> Path:
    """Returns folder and entities of a source; its description is not that of ours."""
    entities = {k: v for k, v in name.entities.items() if k != "desc"}
    stem = "_".join(f"{key}-{value}" for key, value in entities.items())
    if name.path.parent.name:
        return name.path.parent / stem
    session = [f"ses-{entities['ses']}"] if "ses" in entities else []
    return Path(f"sub-{entities['sub']}", *session, "anat", stem)


def _label(patient: str, used: dict[str, str]) -> str:
    """Returns a name of letters and digits that no other patient has."""
    plain = re.sub(r"[^a-zA-Z0-9]", "", patient) or "case"
    label, number = plain, 1
    while used.setdefault(label, patient) != patient:
        number += 1
        label = f"{plain}x{number}"
    return label


def _write_case(imported: Imported, case: CaseState, place: Path) -> None:
    assert case.label is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    stored = formats.read(case.label)
    axis = imported.slice_axis(case.case)
    label = np.zeros(stored.array.shape, np.uint8)
    mask = np.zeros_like(label)
    ours, theirs = np.moveaxis(label, axis, 0), np.moveaxis(stored.array, axis, 0)
    done = list(case.done)
    ours[done] = theirs[done]
    np.moveaxis(mask, axis, 0)[done] = 1
    told: Mapping[str, Any] = {
        "Manual": True,
        "SpatialReference": "orig",
        "Description": f"{case.case}: {len(done)} annotated slices",
    }
    affine = formats.read_header(imported.image_paths(case.case)[0])[1]
    _save(label, affine, place.with_name(f"{place.name}_dseg"), told)
    roi = {
        "Type": "ROI",
        "SpatialReference": "orig",
        "Description": f"{case.case}: slices that were annotated",
    }
    _save(mask, affine, place.with_name(f"{place.name}_desc-annotated_mask"), roi)


def _save(
    array: np.ndarray, affine: np.ndarray, path: Path, told: Mapping[str, Any]
) -> None:
    image = nib.Nifti1Image(array, affine)  # pyright: ignore[reportPrivateImportUsage]
    image.header.set_xyzt_units("mm")
    nib.save(  # pyright: ignore[reportPrivateImportUsage]
        image, path.with_name(f"{path.name}.nii.gz")
    )
    _write_json(path.with_name(f"{path.name}.json"), told)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
