"""Checked annotations as an nnU-Net v2 raw dataset with an ignore label."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from slicebench.data import formats
from slicebench.errors import InputError
from slicebench.planning.importing import CaseState, Imported

_NAME = re.compile(r"Dataset\d{3}_[A-Za-z0-9_-]+")
_FOLDS = 5
_FEWEST_FOLDS = 2


def export_nnunet(imported: Imported, out: Path) -> list[str]:
    """Writes a dataset that nnU-Net v2 trains on sparse annotations as they are.

    Slices that are not annotated hold the label `ignore`, one above the classes
    (nnU-Net v2, partial annotations). Images and labels are written as `.nii.gz`;
    cases without an annotated slice are left out; the dense test set goes to `imagesTs`
    and `labelsTs`, as far as it is finished.

    Args:
      imported: Checked annotations.
      out: Folder to be made, named `DatasetXXX_Name`.

    Returns:
      What was written, in words.

    Raises:
      InputError: A name that nnU-Net does not take, a folder that holds something, or
        no annotated slice.
    """
    if not _NAME.fullmatch(out.name):
        raise InputError(f"--out={out}: nnU-Net needs a name such as Dataset501_Liver")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out}: holds files; give a new or empty folder")
    training = [c for c in imported.cases if c.side == "pool" and c.done]
    if not training:
        raise InputError("no annotated slice yet: nothing to export")
    test = [c for c in imported.cases if c.side == "test" and not c.open]
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for case in training:
        _write_case(imported, case, partial, "Tr")
    for case in test:
        _write_case(imported, case, partial, "Ts")
    _write_json(partial / "dataset.json", _dataset(imported, len(training)))
    _write_json(partial / "splits_final.json", _splits(imported, training))
    if out.exists():
        out.rmdir()
    partial.replace(out)
    slices = sum(len(case.done) for case in training)
    return [
        f"{len(training)} training cases with {slices} annotated slices, label "
        f"{len(imported.classes) + 1} is ignored",
        f"{len(test)} finished test cases",
    ]


def _write_case(imported: Imported, case: CaseState, out: Path, part: str) -> None:
    for folder in (f"images{part}", f"labels{part}"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    paths = imported.image_paths(case.case)
    channels = len(imported.plan["channels"])
    if len(paths) == channels:
        for number, path in enumerate(paths):
            target = out / f"images{part}" / f"{case.case}_{number:04d}.nii.gz"
            _copy(path, target)
    else:
        stored: Any = nib.load(paths[0])  # pyright: ignore[reportPrivateImportUsage]
        for number in range(channels):
            one = stored.slicer[..., number]
            nib.save(  # pyright: ignore[reportPrivateImportUsage]
                one, out / f"images{part}" / f"{case.case}_{number:04d}.nii.gz"
            )
    label = _sparse_label(imported, case)
    affine = formats.read_header(paths[0])[1]
    nib.save(  # pyright: ignore[reportPrivateImportUsage]
        nib.Nifti1Image(label, affine),  # pyright: ignore[reportPrivateImportUsage]
        out / f"labels{part}" / f"{case.case}.nii.gz",
    )


def _copy(path: Path, target: Path) -> None:
    if path.name.endswith(".gz"):
        shutil.copyfile(path, target)
        return
    stored: Any = nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    nib.save(stored, target)  # pyright: ignore[reportPrivateImportUsage]


def _sparse_label(imported: Imported, case: CaseState) -> np.ndarray:
    """Returns the labels of done slices; everything else holds the ignore label."""
    if case.label is None:
        raise InputError(f"{case.case}: no segmentation")
    stored = formats.read(case.label).array
    axis = imported.slice_axis(case.case)
    label = np.full(stored.shape, len(imported.classes) + 1, np.uint8)
    ours, theirs = np.moveaxis(label, axis, 0), np.moveaxis(stored, axis, 0)
    ours[list(case.done)] = theirs[list(case.done)]
    return label


def _dataset(imported: Imported, cases: int) -> dict[str, Any]:
    names = enumerate(imported.classes, start=1)
    labels = {"background": 0, **{name: value for value, name in names}}
    channels = enumerate(imported.plan["channels"])
    return {
        "channel_names": {str(number): name for number, name in channels},
        "labels": {**labels, "ignore": len(imported.classes) + 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }


def _splits(imported: Imported, training: list[CaseState]) -> list[dict[str, Any]]:
    """Returns folds of training cases in which a patient stays on one side."""
    group = {entry["case"]: entry["group"] for entry in imported.plan["cases"]}
    patients = sorted({group[case.case] for case in training})
    folds = min(_FOLDS, len(patients))
    if folds < _FEWEST_FOLDS:
        raise InputError(
            f"{len(patients)} annotated patients: at least {_FEWEST_FOLDS} are "
            "needed to split them"
        )
    place = {patient: number % folds for number, patient in enumerate(patients)}
    return [
        {
            "train": [c.case for c in training if place[group[c.case]] != fold],
            "val": [c.case for c in training if place[group[c.case]] == fold],
        }
        for fold in range(folds)
    ]


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
