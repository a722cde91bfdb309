"""A folder of DICOM series as NIfTI scans, refused where a volume would be guessed.

highdicom reads and stacks: it is built on pydicom, applies rescaling, and knows the
standard's geometry. SimpleITK spreads a gap evenly over the stack with a warning alone
and stands a tilted stack upright without one (tried with the series of the tests),
pydicom leaves geometry to its user, and dicom2nifti checks as well but has no way to
multi-frame images later. The checks here come first, so that a refusal says what is
wrong and where. Voxels are copied, never resampled; of the header, geometry is kept.
"""

import csv
import dataclasses
import importlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float

from slicebench.errors import InputError, gather

FEWEST_SLICES = 3
_NEAR = 0.1
"""Voxels that a slice may lie off the even stack, along and across it."""
_TAGS = [
    "BitsAllocated",
    "Columns",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "Modality",
    "NumberOfFrames",
    "PatientID",
    "PixelSpacing",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
]
_ORIENTATION = 1e-3
_MAGIC = slice(128, 132)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """Scans made from DICOM.

    Attributes:
      folder: NIfTI files, `dataset.json` with the channel, `groups.csv` with patients.
      groups: Patient of each case, numbered; no identity is kept.
      skipped: What was left out, one line each.
    """

    folder: Path
    groups: dict[str, str]
    skipped: tuple[str, ...]


def holds_dicom(folder: Path) -> bool:
    """Whether a folder holds DICOM files and no NIfTI file."""
    if not folder.is_dir() or [*folder.glob("*.nii*"), *folder.glob("imagesTr")]:
        return False
    return any(_is_dicom(path) for path in sorted(folder.rglob("*")))


def _is_dicom(path: Path) -> bool:
    if not path.is_file() or path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC.stop)[_MAGIC] == b"DICM"


def convert(folder: Path, out: Path, *, series: str | None = None) -> Converted:
    """Converts every series of a folder, one case a series.

    A case is named after the first folder under `folder`, with the series number behind
    it where that folder holds several.

    Args:
      folder: Folder of series folders, or of the files of one or several series.
      out: Folder to be made.
      series: Only series whose description holds this text, in any case.

    Raises:
      InputError: highdicom is not installed, no usable series, several modalities, or
        with every fault: gaps, uneven spacing, several frames or time points, a tilted
        gantry, colour, pixels that cannot be decoded.
    """
    pydicom, highdicom = _libraries()
    found, skipped = _series(folder, series, pydicom)
    if not found:
        shown = f" whose description holds {series!r}" if series else ""
        raise InputError(f"{folder}: no DICOM series{shown} that could be a volume")
    modalities = sorted({str(heads[0].get("Modality", "")) for heads in found.values()})
    if len(modalities) > 1:
        raise InputError(
            f"{folder}: series of several modalities: {', '.join(modalities)}; give "
            "--series with a part of the description of those that are meant"
        )
    faults = [
        f"{case}: {fault}" for case, heads in found.items() for fault in _faults(heads)
    ]
    if faults:
        raise gather(str(folder), faults)
    out.mkdir(parents=True)
    for case, heads in found.items():
        try:
            array, affine = _read(heads, pydicom, highdicom)
        except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
            words = " ".join(str(error).split())
            raise InputError(f"{folder}: {case}: cannot be read: {words}") from error
        nib.save(  # pyright: ignore[reportPrivateImportUsage]
            nib.Nifti1Image(array, affine),  # pyright: ignore[reportPrivateImportUsage]
            # The channel keeps a number in a folder's name from being taken for one.
            out / f"{case}_0000.nii.gz",
        )
    groups = _patients(found)
    _write_declarations(out, modalities[0], groups)
    return Converted(folder=out, groups=groups, skipped=tuple(skipped))


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pydicom"), importlib.import_module("highdicom")
    except ImportError as error:
        raise InputError(
            "--images: reading DICOM needs highdicom; pip install 'slicebench[formats]'"
        ) from error


def _series(
    folder: Path, wanted: str | None, pydicom: Any
) -> tuple[dict[str, list[Any]], list[str]]:
    """Returns headers by case, and what is left out."""
    by_uid: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if _is_dicom(path):
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            if "Rows" in head:  # reports and the like have no image
                head.source = path
                by_uid.setdefault(str(head.get("SeriesInstanceUID", "")), []).append(
                    head
                )
    kept: list[list[Any]] = []
    skipped: list[str] = []
    for heads in by_uid.values():
        first = heads[0]
        text = str(first.get("SeriesDescription", ""))
        place = first.source.parent.relative_to(folder).as_posix()
        if wanted is not None and wanted.casefold() not in text.casefold():
            skipped.append(f"{place}: series {text!r} is not asked for")
        elif "LOCALIZER" in (first.get("ImageType") or ()):
            skipped.append(f"{place}: series {text!r} is a localizer")
        else:
            kept.append(heads)
    return _named(folder, kept), skipped


def _named(folder: Path, kept: Sequence[list[Any]]) -> dict[str, list[Any]]:
    """Names series by folder, and by series number where a folder holds several."""
    bases: list[str] = []
    for heads in kept:
        parts = heads[0].source.relative_to(folder).parts
        bases.append(_plain(parts[0]) if len(parts) > 1 else "series")
    found: dict[str, list[Any]] = {}
    for base, heads in sorted(zip(bases, kept, strict=True), key=_order):
        name = base
        if bases.count(base) > 1:
            name = f"{base}_{heads[0].get('SeriesNumber') or 0}"
        free, number = name, 2
        while free in found:
            free, number = f"{name}-{number}", number + 1
        found[free] = heads
    return found


def _order(named: tuple[str, list[Any]]) -> tuple[str, int, str]:
    base, heads = named
    return base, int(heads[0].get("SeriesNumber") or 0), str(heads[0].source)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-") or "case"


def _faults(heads: Sequence[Any]) -> list[str]:
    """Returns why a series is no volume; the first reason hides those that follow."""
    found = _image_faults(heads) or _header_faults(heads)
    if found:
        return found
    turns = np.array([head.ImageOrientationPatient for head in heads], float)
    if np.abs(turns - turns[0]).max() > _ORIENTATION:
        return ["images differ in orientation; a localizer or a radial scan?"]
    places = np.array([head.ImagePositionPatient for head in heads], float)
    steps = [float(step) for step in heads[0].PixelSpacing]
    return _stack_faults(turns[0], places, min(steps))


def _image_faults(heads: Sequence[Any]) -> list[str]:
    if any(int(head.get("NumberOfFrames") or 1) > 1 for head in heads):
        return ["multi-frame images; export the series as one file a slice"]
    if any(int(head.get("SamplesPerPixel") or 1) != 1 for head in heads):
        return ["colour images; a scan has one value a pixel"]
    if len(heads) < FEWEST_SLICES:
        return [f"{len(heads)} images; a volume has at least {FEWEST_SLICES}"]
    return []


def _header_faults(heads: Sequence[Any]) -> list[str]:
    needed = "FrameOfReferenceUID ImageOrientationPatient ImagePositionPatient"
    for name in (*needed.split(), "PixelSpacing"):
        without = sum(not head.get(name) for head in heads)
        if without:
            return [f"{without} of {len(heads)} images have no {name}"]
    for name in ("Rows", "Columns", "PixelSpacing", "FrameOfReferenceUID"):
        values = {str(head.get(name)) for head in heads}
        if len(values) > 1:
            return [f"images differ in {name}: {', '.join(sorted(values)[:3])}"]
    return []


def _stack_faults(
    turn: Float[np.ndarray, " 6"],
    places: Float[np.ndarray, "image 3"],
    pixel: float,
) -> list[str]:
    """Returns why positions do not form an even, upright stack.

    Args:
      turn: Directions of rising column and of rising row.
      places: Position of each image in mm.
      pixel: Smaller spacing in the plane, in mm.
    """
    normal = np.cross(turn[:3], turn[3:])
    order = np.argsort(places @ normal, kind="stable")
    places = places[order]
    along = places @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if usual <= 0 or gaps.min() < _NEAR * usual:
        same = int((gaps < _NEAR * max(usual, gaps.max())).sum())
        return [f"{same} images share a position with another: time points, echoes?"]
    across = places - places[0] - np.outer(along - along[0], normal)
    drift = np.linalg.norm(across[-1])
    if np.linalg.norm(across, axis=1).max() > _NEAR * pixel:
        angle = np.degrees(np.arctan2(drift, along[-1] - along[0]))
        return [
            f"slices are shifted against each other (gantry tilt of {angle:.1f} "
            "degrees); correct it with a tool made for it, such as dcm2niix"
        ]
    missing = np.rint(gaps / usual) - 1
    whole = np.abs(gaps / usual - np.rint(gaps / usual)).max() < _NEAR
    if whole and missing.sum() > 0:
        at = int(np.argmax(missing > 0))
        return [
            f"{int(missing.sum())} slices are missing, the first after position "
            f"{along[at]:.2f} mm of {along[0]:.2f} to {along[-1]:.2f}"
        ]
    even = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - even).max() > _NEAR * usual:
        return [f"uneven spacing, {gaps.min():.3f} to {gaps.max():.3f} mm"]
    return []


def _read(
    heads: Sequence[Any], pydicom: Any, highdicom: Any
) -> tuple[np.ndarray, Float[np.ndarray, "4 4"]]:
    """Returns columns x rows x slices, and the map from such indices to RAS mm."""
    volume = highdicom.get_volume_from_series(
        [pydicom.dcmread(head.source) for head in heads],
        apply_real_world_transform=False,
        apply_voi_transform=False,
        apply_presentation_lut=False,
        # Checked above, and more strictly.
        rtol=2 * _NEAR,
        perpendicular_tol=_ORIENTATION,
        orientation_tol=_ORIENTATION,
    )
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]
    array = np.ascontiguousarray(volume.array.transpose(2, 1, 0))
    whole = np.rint(array)
    limits = np.iinfo(np.int16)
    fits = limits.min <= whole.min() and whole.max() <= limits.max
    if fits and np.array_equal(array, whole):
        return whole.astype(np.int16), affine
    return array.astype(np.float32), affine


def _patients(found: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Numbers patients in order of their cases; without an id a case is a patient."""
    numbers: dict[str, str] = {}
    groups: dict[str, str] = {}
    for case, heads in found.items():
        identity = str(heads[0].get("PatientID") or "").strip()
        if not identity:
            groups[case] = case
            continue
        numbers.setdefault(identity, f"patient_{len(numbers) + 1:03d}")
        groups[case] = numbers[identity]
    return groups


def _write_declarations(out: Path, modality: str, groups: Mapping[str, str]) -> None:
    document = {"channel_names": {"0": modality or "image"}, "file_ending": ".nii.gz"}
    text = json.dumps(document, indent=1) + "\n"
    (out / "dataset.json").write_text(text, encoding="utf-8")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("case", "patient"), *groups.items()])
    (out / "groups.csv").write_text(stream.getvalue(), encoding="utf-8", newline="")
