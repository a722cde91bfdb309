"""Dense labels of Duke-Breast-Cancer-MRI (Lew et al. 2024; Saha et al. 2018).

The Cancer Imaging Archive publishes the scans as DICOM series and, as a
supplement, 3D Slicer segmentations of 100 patients: one file with the breast
and one with vessels and dense (fibroglandular) tissue, whose label values
differ between files and are named in their headers. The scan that was
annotated is the pre-contrast series; the archive's table
`Breast-Cancer-MRI-filepath_filename-mapping` says which that is. Layout, names
and the order of painting follow the code that the authors publish with the
data (mazurowski-lab/3D-Breast-FGT-and-Blood-Vessel-Segmentation).
"""

import csv
import pathlib
import re

import numpy as np
from jaxtyping import Float64, UInt8

from slicebench.data import nrrd
from slicebench.data._layout import CaseFiles, Layout

_IMAGES = ("Duke-Breast-Cancer-MRI", "*/Duke-Breast-Cancer-MRI")
_MASKS = ("Segmentation_Masks_NRRD", "*/Segmentation_Masks_NRRD")
_MASKS += ("*/*/Segmentation_Masks_NRRD",)
_MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping"
_PATIENT = re.compile(r"Breast_MRI_\d{3}")
_VALUES = {"breast": 1, "vessels": 2, "vessel": 2, "dense": 3, "fgt": 3}
"""Label value by segment name; where segments overlap, the larger one stays."""


def read_mask(
    path: pathlib.Path,
) -> tuple[UInt8[np.ndarray, "x y z"], Float64[np.ndarray, "4 4"]]:
    """Reads a segmentation with the values of this data set's labels.

    Raises:
      ValueError: Not a segmentation, or one of unknown segments.
      OSError: It cannot be read.
    """
    stored = nrrd.read_segments(path)
    alone = path.name.endswith("_Breast.seg.nrrd") and len(stored.segments) == 1
    label = np.zeros(stored.array.shape[1:], np.uint8, order="F")
    for name, layer, value in stored.segments:
        index = 1 if alone else _VALUES.get(name.strip().lower(), 0)
        if index == 0:
            raise ValueError(
                f"segment {name!r} is unknown; allowed: Breast, Vessels, Dense"
            )
        painted = (stored.array[layer] == value) & (label < index)
        label[painted] = index
    return label, stored.affine


def _root(folder: pathlib.Path, patterns: tuple[str, ...]) -> pathlib.Path | None:
    found = [p for name in patterns for p in sorted(folder.glob(name)) if p.is_dir()]
    return found[0] if found else None


def _matches(folder: pathlib.Path) -> bool:
    return _root(folder, _MASKS) is not None


def _scan(folder: pathlib.Path, faults: list[str]) -> list[CaseFiles]:
    """Pairs each annotated patient's pre-contrast series with its two masks."""
    images, masks = _root(folder, _IMAGES), _root(folder, _MASKS)
    if masks is None or images is None:
        faults.append(f"no folder {_IMAGES[0] if images is None else _MASKS[0]}")
        return []
    series = _mapping(folder, faults)
    cases: list[CaseFiles] = []
    patients = [p for p in sorted(masks.iterdir()) if _PATIENT.fullmatch(p.name)]
    if not patients:
        faults.append(f"{masks.relative_to(folder)} holds no folder Breast_MRI_NNN")
    for patient in patients:
        name = patient.name
        labels = [
            patient / f"Segmentation_{name}_{part}.seg.nrrd"
            for part in ("Breast", "Dense_and_Vessels")
        ]
        missing = [path for path in labels if not path.is_file()]
        faults += [f"{path.relative_to(folder)} is missing" for path in missing]
        image = _series(folder, images / name, series.get(name), faults)
        if image is not None and not missing:
            cases.append(CaseFiles(name, (image,), labels[0], (labels[1],), name))
    return cases


def _series(
    folder: pathlib.Path,
    patient: pathlib.Path,
    wanted: set[str] | None,
    faults: list[str],
) -> pathlib.Path | None:
    """The folder of a patient's pre-contrast series."""
    where = patient.relative_to(folder).as_posix()
    found = [path for path in sorted(patient.glob("*/*")) if path.is_dir()]
    chosen = [path for path in found if path.name in wanted] if wanted else found
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        faults.append(f"{where} holds no STUDY/SERIES folder of DICOM files")
    elif wanted is None:
        faults.append(
            f"{where} holds {len(found)} series and {_MAPPING}.csv does not say which "
            "is pre-contrast; save the archive's table of that name as CSV beside it"
        )
    elif not wanted:
        faults.append(
            f"{where}: {_MAPPING}.csv names no folder of its pre-contrast series"
        )
    else:
        faults.append(
            f"{where}: {len(chosen)} series are named {' or '.join(sorted(wanted))}, "
            f"which {_MAPPING}.csv gives as pre-contrast"
        )
    return None


def _mapping(folder: pathlib.Path, faults: list[str]) -> dict[str, set[str]]:
    """Names of each patient's pre-contrast series folder; empty without a table."""
    path = folder / f"{_MAPPING}.csv"
    if not path.is_file():
        return {}
    columns = ("original_path_and_filename", "descriptive_path", "classic_path")
    names: dict[str, set[str]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if columns[0] not in (table.fieldnames or ()):
                raise ValueError(f"no column {columns[0]}")
            for row in table:
                original = _parts(row[columns[0]])
                if len(original) < 3 or original[-2] != "pre":
                    continue
                given = [_parts(row.get(key)) for key in columns[1:]]
                found = {parts[-2] for parts in given if len(parts) > 1}
                names.setdefault(original[-3], set()).update(found)
    except (OSError, ValueError, csv.Error) as error:
        faults.append(f"{path.name}: cannot be read: {error}")
    return names


def _parts(path: str | None) -> list[str]:
    """Splits a path of the table, in which some slashes are there twice."""
    return [part.strip() for part in (path or "").split("/") if part.strip()]


DUKE_BREAST = Layout(
    name="Duke-Breast-Cancer-MRI",
    expects=(
        "Segmentation_Masks_NRRD/Breast_MRI_NNN/ and Duke-Breast-Cancer-MRI/"
        "Breast_MRI_NNN/ (Duke-Breast-Cancer-MRI, dense labels)"
    ),
    instructions=(
        "From https://doi.org/10.7937/TCIA.e3sv-re93 download the scans (DICOM; "
        "descriptive or classic folder names), the supplement with the 3D breast, "
        f"FGT and vessel segmentations, and the table {_MAPPING}.xlsx, saved as "
        ".csv. Give the folder that holds Duke-Breast-Cancer-MRI/Breast_MRI_NNN/"
        "STUDY/SERIES/*.dcm, Segmentation_Masks_NRRD/Breast_MRI_NNN/"
        "Segmentation_Breast_MRI_NNN_{Breast,Dense_and_Vessels}.seg.nrrd and the "
        "table. The pre-contrast series of the annotated patients are enough."
    ),
    channels=("T1w MRI",),
    labels=(("other breast tissue", 1), ("vessels", 2), ("FGT", 3)),
    regions=(("breast", (1, 2, 3)),),
    flip=True,
    attribution=(
        "Licence: CC BY-NC 4.0; Citation: Lew CO et al. A publicly available deep "
        "learning model and dataset for segmentation of breast, fibroglandular "
        "tissue, and vessels in breast MRI. Sci Rep 14:5383 (2024)"
    ),
    matches=_matches,
    scan=_scan,
)
"""The layout; tasks are `breast`, `FGT` and `vessels`."""
