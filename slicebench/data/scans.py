"""Unlabelled scans in a folder: what may be annotated, before anything is.

A folder of NIfTI files, named `<case>_<channel>` with four digits as in nnU-Net or one
file a case; or a dataset folder with `imagesTr`. Labels that lie beside are not read.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from slicebench.data import formats, validate, volumes
from slicebench.data._metadata import FILE_ENDINGS, load_json
from slicebench.errors import InputError, gather, shown

_THREADS = 2
_NUMBERED = re.compile(r"(?s)(.+)_([0-9]{4})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanFolder:
    """Scans of one kind.

    Attributes:
      folder: Where the files lie.
      channels: Channel names; `CT` is windowed in Hounsfield units, all else scaled
        volume by volume.
      scans: Cases by name.
    """

    folder: pathlib.Path
    channels: tuple[str, ...]
    scans: tuple[volumes.Scan, ...]


def find_scans(
    folder: str | pathlib.Path,
    *,
    slice_axis: int | None = None,
    channels: Sequence[str] | None = None,
) -> ScanFolder:
    """Finds and checks every scan of a folder.

    Args:
      folder: Folder of NIfTI files, or dataset folder with `imagesTr`.
      slice_axis: Axis of the stored arrays that runs over slices; None takes
        `slice_axis` of dataset.json, else the axis that is axial by affine.
      channels: Channel names; None takes those of dataset.json in the folder or the
        one above, else `image`.

    Raises:
      InputError: No folder, no scan, or with every fault found.
    """
    folder = pathlib.Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; give one that holds NIfTI scans")
    if slice_axis not in (None, 0, 1, 2):
        raise InputError(f"--slice_axis={slice_axis}: allowed are 0, 1 and 2")
    images = folder / "imagesTr" if (folder / "imagesTr").is_dir() else folder
    declared = _declared(images)
    files = _files(images)
    names = tuple(channels or ()) or _channel_names(declared, files)
    if slice_axis is None and declared.get("slice_axis") in (0, 1, 2):
        slice_axis = int(str(declared["slice_axis"]))
    faults = [
        f"{case}: {len(paths)} files, but {len(names)} channels: {', '.join(names)}"
        for case, paths in files.items()
        if len(paths) not in (1, len(names))
    ]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        checked = list(
            pool.map(lambda paths: _check(images, paths, len(names)), files.values())
        )
    faults += [fault for found in checked for fault in found]
    if faults:
        raise gather(str(images), faults)
    scans = [
        volumes.Scan(
            name=case,
            group=case,
            image_paths=paths,
            slice_axis=_axis(paths[0]) if slice_axis is None else slice_axis,
        )
        for case, paths in files.items()
    ]
    return ScanFolder(folder=images, channels=names, scans=tuple(scans))


def _declared(images: pathlib.Path) -> dict[str, object]:
    """Returns the dataset.json of the folder or the one above, if any."""
    for folder in (images, images.parent):
        if (folder / "dataset.json").is_file():
            return load_json(folder)
    return {}


def _channel_names(
    declared: dict[str, object], files: dict[str, tuple[pathlib.Path, ...]]
) -> tuple[str, ...]:
    given = declared.get("channel_names") or declared.get("modality")
    if isinstance(given, dict) and given:
        names = tuple(str(name) for name in given.values())
        if not all(name.isprintable() for name in names):
            raise InputError(
                f"dataset.json: channel names {shown(names)}; a name is a "
                "text of printable characters"
            )
        return names
    most = max(len(paths) for paths in files.values())
    return ("image",) if most == 1 else tuple(f"image {n}" for n in range(most))


def _files(images: pathlib.Path) -> dict[str, tuple[pathlib.Path, ...]]:
    """Groups image files by case, in order of their names.

    Names count as numbered only if all are: `visit_2019.nii` beside `a.nii` is a case.
    """
    try:
        entries = sorted(images.iterdir())
    except OSError as error:
        raise InputError(f"{images}: cannot be read: {error.strerror}") from None
    found = [
        path
        for path in entries
        if path.name.endswith(FILE_ENDINGS) and not path.name.startswith(".")
    ]
    if not found:
        raise InputError(
            f"{images}: no scans; files ending in {' or '.join(FILE_ENDINGS)}"
        )
    stems = [path.name.removesuffix(".gz").removesuffix(".nii") for path in found]
    matches = [_NUMBERED.fullmatch(stem) for stem in stems]
    numbered = all(match is not None for match in matches) and any(
        match[2] == "0000" for match in matches if match
    )
    odd = [fault for stem in stems for fault in validate.name_faults(stem)]
    if odd:
        raise gather(str(images), odd)
    files: dict[str, list[pathlib.Path]] = {}
    for path, stem, match in zip(found, stems, matches, strict=True):
        case = match[1] if numbered and match else stem
        files.setdefault(case, []).append(path)
    twice = [case for case, paths in files.items() if len(paths) > 1 and not numbered]
    if twice:
        raise InputError(f"{images}: two files of case {twice[0]}")
    return {case: tuple(paths) for case, paths in files.items()}


def _axis(path: pathlib.Path) -> int:
    """Returns the axis that is axial by affine; scans may differ in it."""
    axis = volumes.axial_axis(formats.read_header(path)[1])
    if axis is None:
        raise InputError(
            f"{path}: two axes are equally close to axial by its affine; give "
            "--slice_axis"
        )
    return axis


def _check(
    images: pathlib.Path, paths: Sequence[pathlib.Path], channels: int
) -> list[str]:
    """Reads every file of one case; returns what is wrong."""
    faults: list[str] = []
    reference: validate.Reference | None = None
    found = 0
    for path in paths:
        name = path.relative_to(images).as_posix()
        read = validate.read_file(path, name, faults)
        if read is None:
            continue
        array, affine = read[1]
        found += array.shape[3] if array.ndim == 4 else 1
        if not np.isfinite(array).all():
            faults.append(f"{name}: voxels are NaN or infinite")
        if reference is None:
            reference = name, array.shape[:3], affine
        else:
            validate.check_geometry(name, array, affine, reference, faults)
    if not faults and found != channels:
        faults.append(f"{paths[0].name}: {found} channels instead of {channels}")
    return faults
