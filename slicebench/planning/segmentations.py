"""Finished segmentations of one case, brought onto the image's grid.

NIfTI files lie on that grid as they are. NRRD files come from 3D Slicer (`.seg.nrrd`:
segments with name, layer and label value; a block smaller than the image where empty
borders were cropped; https://slicer.readthedocs.io, developer guide, Segmentations),
from MITK (label groups as JSON in the header, mitkMultiLabelSegmentationIO.cpp) or from
anything else (label values alone). Blocks are put in place by their affine, axes turned
by quarters and mirrored; nothing is ever interpolated.
"""

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from slicebench.data import formats, nifti, validate
from slicebench.data._metadata import FILE_ENDINGS
from slicebench.errors import InputError

ENDINGS = (*FILE_ENDINGS, ".seg.nrrd", ".nrrd")
MOST_LABEL = 254
"""Largest label value: one more is needed for what nobody annotated."""
_MITK = "org.mitk.multilabel.segmentation.labelgroups"
_INTERIM = ".interim"
"""MITK's mark of a result that is not accepted yet."""
_SIGNS = {
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}
"""Signs that lead from a NRRD space to right-anterior-superior."""


class Segment(NamedTuple):
    """One named structure of a file."""

    name: str
    layer: int
    value: int


def case_of(path: Path) -> str | None:
    """Returns the case that a file's name says; None where it is no segmentation."""
    ending = next((end for end in ENDINGS if path.name.endswith(end)), None)
    if ending is None or path.name.startswith("."):
        return None
    case = path.name.removesuffix(".gz").removesuffix(".nii")
    case = case.removesuffix(".nrrd").removesuffix(".seg")
    return None if case.endswith(_INTERIM) else case


def read(
    path: Path, image: Path, classes: Sequence[str], faults: list[str]
) -> Integer[np.ndarray, "first second third"] | None:
    """Reads one segmentation on its image's grid, in stored order.

    Args:
      path: NIfTI or NRRD file.
      image: First image file of the case.
      classes: Names for label values 1, 2, ...; segments are mapped by them.
      faults: Gets what is wrong.

    Returns:
      Label values; None where something is wrong.
    """
    try:
        shape, affine = formats.read_header(image)
    except nifti.READ_ERRORS as error:
        faults.append(f"{image}: {' '.join(str(error).split())}")
        return None
    if path.name.endswith(".nrrd"):
        try:
            return read_nrrd(path, shape[:3], affine, classes)
        except (ValueError, OSError) as error:
            faults.append(f"{path.name}: {' '.join(str(error).split())}")
            return None
    return _read_nifti(path, (image.name, tuple(shape[:3]), affine), faults)


def _read_nifti(
    path: Path, reference: validate.Reference, faults: list[str]
) -> Integer[np.ndarray, "first second third"] | None:
    found = validate.read_file(path, path.name, faults)
    if found is None:
        return None
    stored = found[1]
    if stored.array.ndim != 3:
        faults.append(
            f"{path.name}: {stored.array.shape[3]} channels; a segmentation has none"
        )
        return None
    before = len(faults)
    fault = _odd_values(stored.array)
    if fault:
        faults.append(f"{path.name}: {fault}")
    else:
        validate.check_geometry(path.name, *stored, reference, faults)
    return stored.array.astype(np.int64) if len(faults) == before else None


def _odd_values(array: np.ndarray) -> str | None:
    if np.isin(np.unique(array), range(MOST_LABEL + 1)).all():
        return None
    return f"label values are not integers from 0 to {MOST_LABEL}"


def read_nrrd(
    path: Path,
    shape: Sequence[int],
    affine: Float[np.ndarray, "4 4"],
    classes: Sequence[str],
) -> Integer[np.ndarray, "first second third"]:
    """Reads a NRRD segmentation and puts it onto an image's grid.

    Args:
      path: File of 3D Slicer, MITK or another program.
      shape: Stored shape of the image.
      affine: The image's map from indices to world mm (RAS+).
      classes: Names for label values 1, 2, ...; unused where the file has no names.

    Raises:
      InputError: pynrrd is not installed.
      ValueError: Not such a file, voxels that do not coincide with the image's,
        labels outside of it, segments without a class, or voxels of two classes.
      OSError: The file cannot be read.
    """
    layers, header = _load(path)
    placed_affine = _affine(header)
    segments = segments_of(header, len(layers))
    blocks: list[tuple[int, np.ndarray]] = []
    if segments is None:
        if len(layers) > 1:
            raise ValueError(f"{len(layers)} layers without names of segments")
        if fault := _odd_values(layers[0]):
            raise ValueError(fault)
        values = [int(value) for value in np.unique(layers[0]) if value]
        blocks = [(value, layers[0] == value) for value in values]
    else:
        for one in segments:
            block = layers[one.layer] == one.value
            if block.any():
                blocks.append((_class_value(one.name, classes), block))
    label = np.zeros(tuple(shape), np.int64)
    for value, block in blocks:
        stored = formats.Stored(block.astype(np.uint8), placed_affine)
        mask = formats.align(stored, tuple(shape), affine) > 0
        other = np.unique(label[mask & (label > 0) & (label != value)])
        if other.size:
            pair = " and ".join(_names(classes, [int(other[0]), value]))
            raise ValueError(
                f"voxels belong to both {pair}; a slice has one label each"
            )
        label[mask] = value
    return label


def _names(classes: Sequence[str], values: Sequence[int]) -> list[str]:
    return [
        classes[value - 1] if value <= len(classes) else f"label {value}"
        for value in values
    ]


def _class_value(name: str, classes: Sequence[str]) -> int:
    """Returns the label value of a segment's name; case and outer blanks are free."""
    plain = [one.strip().casefold() for one in classes]
    given = name.strip().casefold()
    if plain.count(given) != 1:
        known = ", ".join(classes[:_SHOWN]) + ", ..." * (len(classes) > _SHOWN)
        raise ValueError(f"segment {name!r} is none of the classes: {known}")
    return plain.index(given) + 1


_SHOWN = 12


def _load(path: Path) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Returns integers, layer first, and the header."""
    try:
        nrrd = importlib.import_module("nrrd")
    except ImportError as error:
        raise InputError(
            f"{path.name}: reading NRRD needs pynrrd; pip install 'slicebench[formats]'"
        ) from error
    try:
        array, header = nrrd.read(str(path))
    except (nrrd.NRRDError, KeyError, IndexError, EOFError) as error:
        raise ValueError(f"not a sound NRRD file: {error}") from error
    if header.get("Segmentation_SourceRepresentation", "").startswith("Fractional"):
        raise ValueError("holds a fractional labelmap; save it as a binary labelmap")
    if array.dtype.kind not in "iu":
        raise ValueError(f"voxels are {array.dtype}; a segmentation holds integers")
    rows = _directions(header, array.ndim)
    lists = [axis for axis, row in enumerate(rows) if np.isnan(row).all()]
    if array.ndim - len(lists) != 3 or len(lists) > 1:
        raise ValueError(f"{array.ndim} axes, {len(lists)} of them without a direction")
    layers = np.moveaxis(array, lists[0], 0) if lists else array[None]
    return layers, header


def _directions(header: Mapping[str, Any], axes: int) -> Float[np.ndarray, "axis 3"]:
    """Returns the direction of each axis, a row each; NaN where it has none."""
    given = header.get("space directions")
    if given is None:
        raise ValueError("the header has no `space directions`")
    rows = [np.full(3, np.nan) if row is None else np.asarray(row) for row in given]
    if len(rows) != axes or any(row.shape != (3,) for row in rows):
        raise ValueError(f"`space directions` do not fit {axes} axes in space")
    return np.stack(rows).astype(np.float64)


def _affine(header: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    """Returns the map from indices of a layer to world mm (RAS+)."""
    space = str(header.get("space", "")).lower()
    if space not in _SIGNS:
        raise ValueError(f"`space` is {space!r}; allowed: {', '.join(_SIGNS)}")
    rows = _directions(header, int(header["dimension"]))
    signs = np.array(_SIGNS[space])
    affine = np.eye(4)
    affine[:3, :3] = rows[~np.isnan(rows).all(axis=1)].T * signs[:, None]
    affine[:3, 3] = np.asarray(header.get("space origin", np.full(3, np.nan))) * signs
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise ValueError("the header does not say where the voxels are")
    return affine


def segments_of(header: Mapping[str, Any], layers: int) -> tuple[Segment, ...] | None:
    """Returns the named structures of a header; None where it names none.

    Files of 3D Slicer before 4.11 have neither layer nor label value: one layer a
    segment, value 1.

    Raises:
      ValueError: A structure in a layer that the file does not have.
    """
    if _MITK in header:
        groups = enumerate(json.loads(header[_MITK]) or [])
        found = [
            Segment(str(label.get("name", "")), layer, int(label["value"]))
            for layer, group in groups
            for label in (group or {}).get("labels", [])
        ]
    else:
        numbers = sorted(
            int(match[1]) for key in header if (match := _SEGMENT.fullmatch(str(key)))
        )
        found = [
            Segment(
                str(header[f"Segment{number}_Name"]),
                int(header.get(f"Segment{number}_Layer", number if layers > 1 else 0)),
                int(header.get(f"Segment{number}_LabelValue", 1)),
            )
            for number in numbers
        ]
        if not found:
            return None
    for one in found:
        if not 0 <= one.layer < layers:
            raise ValueError(
                f"segment {one.name!r} is in layer {one.layer} of {layers}"
            )
    return tuple(found)


_SEGMENT = re.compile(r"Segment(\d+)_Name")
