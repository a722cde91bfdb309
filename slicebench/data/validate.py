"""Checks a whole dataset folder, voxels included, before anything trains.

Every file is read once; the same pass gives the SHA-256 of each file and a
digest of each case's image voxels, with which copies are found.
"""

import concurrent.futures
import dataclasses
import hashlib
import logging
import pathlib
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from slicebench import errors
from slicebench.data import formats, nifti, readers, targets, volumes

_log = logging.getLogger(__name__)

_THREADS = 2
_MAX_LABEL = 255
_MAX_SHIFT = 0.1
"""Largest distance between corners of image and label, in voxels."""
_MAX_NAME = 120
"""Most characters of a case or class name; file names are made of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """What the one pass over all voxels found out.

    Attributes:
      files: SHA-256 of each image and label file, by relative path.
      voxels: Digest of each case's image voxels, by case name; equal voxels
        stored in different number types have equal digests.
    """

    files: dict[str, str]
    voxels: dict[str, str]


Reference = tuple[str, tuple[int, ...], np.ndarray]
"""Name, shape and affine of a case's first image file."""


@dataclasses.dataclass
class _Case:
    """Findings on one case."""

    files: dict[str, str] = dataclasses.field(default_factory=dict)
    voxels: str = ""
    values: set[float] = dataclasses.field(default_factory=set)
    faults: list[str] = dataclasses.field(default_factory=list)
    unscaled: bool = False


def validate_dataset(
    folder: str | pathlib.Path,
    slice_axis: int | None = None,
    *,
    min_patients: int = 0,
    label_folder: str = targets.LABEL_FOLDER,
) -> tuple[readers.Dataset, Validation]:
    """Reads and checks a whole dataset folder.

    Args:
      folder: Dataset folder.
      slice_axis: See `readers.read_dataset`.
      min_patients: Fewest patients that the split needs.
      label_folder: See `readers.scan_dataset`.

    Raises:
      InputError: One line with every fault of declarations, files and voxels.
    """
    dataset, faults = readers.scan_dataset(folder, slice_axis, label_folder)
    patients = len({case.group for case in dataset.volumes})
    if patients < min_patients:
        faults.append(
            f"{patients} usable patients; the split needs {min_patients} or more"
        )
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        cases = list(pool.map(lambda case: _check_case(dataset, case), dataset.volumes))
    faults += [fault for case in cases for fault in case.faults]
    if faults:
        raise errors.gather(str(folder), faults)
    _warn_of_lost_sizes(dataset, cases)
    return dataset, Validation(
        files={path: value for case in cases for path, value in case.files.items()},
        voxels={
            volume.name: case.voxels
            for volume, case in zip(dataset.volumes, cases, strict=True)
        },
    )


def _warn_of_lost_sizes(dataset: readers.Dataset, cases: list[_Case]) -> None:
    """Tells of images whose header has lost voxel size and orientation."""
    lost = [
        volume.name
        for volume, case in zip(dataset.volumes, cases, strict=True)
        if case.unscaled
    ]
    if lost and len(lost) < len(cases):
        _log.warning(
            "%s: the affine of %d of %d cases is the identity (%s): if their voxels "
            "are not cubes of 1 mm, scores in mm and resampling are wrong for them",
            dataset.folder,
            len(lost),
            len(cases),
            ", ".join([*lost[:5], *(["..."] if len(lost) > 5 else [])]),
        )


def _check_case(dataset: readers.Dataset, volume: volumes.Volume) -> _Case:
    found = _Case()
    found.faults += name_faults(volume.name)
    voxels = hashlib.sha256()
    reference = None
    channels = 0
    for path in volume.image_paths:
        stored = _read(dataset, path, found)
        if stored is None:
            continue
        array, affine = stored
        name = dataset.relative(path)
        channels += array.shape[3] if array.ndim == 4 else 1
        found.values |= _check_image(name, array, found.faults, voxels)
        if reference is None:
            reference = name, array.shape[:3], affine
            found.unscaled = bool(np.array_equal(np.abs(affine[:3, :3]), np.eye(3)))
        else:
            check_geometry(name, array, affine, reference, found.faults)
    if not found.faults and channels != len(dataset.channels):
        found.faults.append(
            f"{dataset.relative(volume.image_paths[0])}: holds {channels} channels, "
            f"dataset.json lists {len(dataset.channels)}"
        )
    if not found.faults and len(found.values) == 1:
        found.faults.append(
            f"{dataset.relative(volume.image_paths[0])}: every voxel is "
            f"{found.values.pop():g}; nothing can be learnt from a constant image"
        )
    if volume.overlay_paths:
        _check_overlays(dataset, volume, reference, found)
    else:
        _check_own_label(dataset, volume.label_path, reference, found)
    found.voxels = voxels.hexdigest()
    return found


def _check_own_label(
    dataset: readers.Dataset,
    path: pathlib.Path,
    reference: Reference | None,
    found: _Case,
) -> None:
    """Checks the one label file of a case."""
    stored = _read(dataset, path, found)
    if stored is None:
        return
    name = dataset.relative(path)
    if stored.array.ndim == 4 and stored.array.shape[3] > 1:
        found.faults.append(
            f"{name}: label has {stored.array.shape[3]} channels, not 1"
        )
    else:
        _check_label(name, stored.array, dataset, found.faults)
    if reference is not None:
        check_geometry(name, *stored, reference, found.faults)


def _check_overlays(
    dataset: readers.Dataset,
    volume: volumes.Volume,
    reference: Reference | None,
    found: _Case,
) -> None:
    """Checks label files that are moved onto the image's grid."""
    for path in (volume.label_path, *volume.overlay_paths):
        stored = _read(dataset, path, found)
        if stored is None or reference is None:
            continue
        try:
            array = formats.align(stored, *reference[1:])
        except ValueError as error:
            found.faults.append(f"{dataset.relative(path)}: {error} {reference[0]}")
        else:
            _check_label(dataset.relative(path), array, dataset, found.faults)


def _read(
    dataset: readers.Dataset, path: pathlib.Path, found: _Case
) -> formats.Stored | None:
    """Reads a file whole; returns stored array and affine, or notes a fault."""
    name = dataset.relative(path)
    read = read_file(path, name, found.faults)
    if read is None:
        return None
    found.files[name] = read[0]
    return read[1]


def read_file(
    path: pathlib.Path, name: str, faults: list[str]
) -> tuple[str, formats.Stored] | None:
    """Reads any file whole; returns digest and content, or notes a fault.

    Args:
      path: NIfTI file, DICOM folder or segmentation.
      name: What messages call it.
      faults: Gains a clause where the file is not sound.
    """
    try:
        digest, stored = formats.read_checked(path)
    except OSError as error:
        faults.append(f"{name}: cannot be read: {error.strerror or error}")
        return None
    except nifti.READ_ERRORS as error:
        faults.append(f"{name}: {' '.join(str(error).split())}")
        return None
    fault = _form_fault(*stored)
    if fault:
        faults.append(f"{name}: {fault}")
        return None
    return digest, stored


def _form_fault(array: np.ndarray, affine: np.ndarray) -> str | None:
    """Returns what is wrong with axes, number type or affine, if anything."""
    if array.ndim not in (3, 4) or 0 in array.shape:
        return f"shape {array.shape}; expected 3 axes, or 4 with channels last"
    if array.dtype.kind not in "biuf":
        kind = "colours" if array.dtype.names else str(array.dtype)
        return f"voxels of type {kind}; expected integers or floats"
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        return "affine is not finite and invertible"
    sizes = voxel_sizes(affine)
    low, high = nifti.SPACING
    if sizes.min() < low or sizes.max() > high:
        return (
            f"spacing is {' x '.join(f'{size:.4g}' for size in sizes)} mm; allowed are "
            f"{low:g} to {high:g} mm"
        )
    return None


def name_faults(name: str) -> list[str]:
    """Says why a case name cannot stand in tables, pages and file names."""
    if name.isprintable() and len(name) <= _MAX_NAME:
        return []
    return [
        f"case {errors.shown(name)}: a name has at most {_MAX_NAME} characters, all of "
        "them printable Unicode"
    ]


def _check_image(
    name: str, array: np.ndarray, faults: list[str], voxels: Any
) -> set[float]:
    """Looks for NaN and infinity, and feeds the voxel digest.

    Returns:
      Lowest and highest value of each channel.
    """
    ends: set[float] = set()
    for channel in volumes.split_channels(array):
        with np.errstate(over="ignore"):
            # Transposed, NIfTI's column-major voxels are already contiguous;
            # adding 0 makes -0 and 0 equal.
            plain = np.ascontiguousarray(channel.T, np.float32) + np.float32(0)
        bad = plain.size - np.count_nonzero(np.isfinite(plain))
        if bad:
            faults.append(f"{name}: {bad} voxels are NaN or infinite")
        else:
            ends |= {float(plain.min()), float(plain.max())}
        voxels.update(repr(plain.shape).encode())
        voxels.update(plain.data)
    return ends


def _check_label(
    name: str, array: np.ndarray, dataset: readers.Dataset, faults: list[str]
) -> None:
    values = np.unique(array)
    if values.dtype.kind == "f":
        broken = values[~np.isfinite(values) | (values != np.rint(values))]
        if broken.size:
            faults.append(f"{name}: label values are not integers: {_few(broken)}")
            return
    allowed = {0, *(value for _, value in dataset.labels)}
    if not dataset.labels:  # another label folder, whose values are not listed
        allowed = set(range(_MAX_LABEL + 1))
    given = {int(value) for value in values}
    if dataset.ignore is not None and dataset.ignore in given:
        faults.append(
            f"{name}: has voxels labelled `ignore` ({dataset.ignore}); every slice "
            "must be labelled densely"
        )
        given -= {dataset.ignore}
    if given - allowed:
        lists = "allowed are" if dataset.regions else "dataset.json lists"
        faults.append(
            f"{name}: label values {_few(sorted(given - allowed))} are not listed; "
            f"{lists} {_few(sorted(allowed), 12)}"
        )


def check_geometry(
    name: str,
    array: np.ndarray,
    affine: np.ndarray,
    reference: Reference,
    faults: list[str],
) -> None:
    """Compares shape and place in the world with the first image file."""
    other, shape, other_affine = reference
    if array.shape[:3] != shape:
        faults.append(
            f"{name}: shape {array.shape[:3]} differs from {shape} of {other}"
        )
        return
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape) - 1)
    corners = np.c_[corners, np.ones(8)]
    shift = np.linalg.norm((corners @ (affine - other_affine).T)[:, :3], axis=1).max()
    spacing = voxel_sizes(other_affine).min()
    same = np.linalg.norm((affine - other_affine)[:3, :3], axis=0)
    if shift > _MAX_SHIFT * spacing or (same > _MAX_SHIFT * spacing).any():
        faults.append(
            f"{name}: affine differs from that of {other}: corners are up to "
            f"{shift:.3g} mm apart, allowed are {_MAX_SHIFT * spacing:.3g} mm"
        )


def _few(values: Any, limit: int = 5) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:limit])
    return f"{shown}, ..." if len(values) > limit else shown
