"""Reading a dataset folder in place: nnU-Net v2 raw, Decathlon or published."""

import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Iterable

from slicebench import errors, spec
from slicebench.data import _links, _metadata, formats, nifti, volumes
from slicebench.data._layout import CaseFiles, Layout
from slicebench.data.targets import LABEL_FOLDER
from slicebench.errors import shown

_log = logging.getLogger(__name__)
_MAX_PATH = 1000
"""Most characters of a path in dataset.json."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset folder: what it declares and which files it has.

    Attributes:
      name: Dataset name.
      folder: Where it lies.
      channels: Channel names in order.
      labels: Foreground class names and label values, by rising value.
      regions: Names of joined labels, for `--target_labels`.
      ignore: Value of nnU-Net's `ignore` label, if declared.
      slice_axis: Axis of the stored arrays that runs over slices.
      flip: Whether mirroring left to right keeps every class's meaning.
      attribution: Licence, citation and source.
      volumes: Cases by name.
    """

    name: str
    folder: pathlib.Path
    channels: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    regions: tuple[tuple[str, tuple[int, ...]], ...]
    ignore: int | None
    slice_axis: int
    flip: bool
    attribution: str
    volumes: tuple[volumes.Volume, ...]

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """Every file that the dataset is read from, declarations first."""
        declared = [self.folder / "dataset.json", self.folder / "groups.csv"]
        cases = [path for case in self.volumes for path in case.paths]
        return tuple(
            [path for path in declared if path.exists()]
            + [file for path in cases for file in formats.files_of(path)]
        )

    def relative(self, path: pathlib.Path) -> str:
        """Returns a file's path below the folder, for messages and records."""
        return path.relative_to(self.folder).as_posix()

    def source_digest(self, files: dict[str, str]) -> str:
        """Digest of everything that reaches the voxels of a prepared task.

        Args:
          files: SHA-256 of each file by its relative path.
        """
        cases = [
            [case.name, case.group]
            + [files[self.relative(path)] for path in case.paths]
            for case in self.volumes
        ]
        return spec.digest([self.channels, self.labels, self.slice_axis, cases], 64)


def read_dataset(folder: str | pathlib.Path, slice_axis: int | None = None) -> Dataset:
    """Reads what a dataset folder declares and which files it has.

    Voxels are not read; `slicebench.data.validate.validate_dataset` does that.

    Args:
      folder: Folder with `dataset.json`, `imagesTr` and `labelsTr`, or one of
        `published.LAYOUTS`.
      slice_axis: Axis of the stored arrays that runs over slices. None takes
        `slice_axis` of dataset.json, else the axis that is axial by affine.

    Raises:
      InputError: With every fault found.
    """
    dataset, faults = scan_dataset(folder, slice_axis)
    if faults:
        raise errors.gather(str(folder), faults)
    return dataset


def scan_dataset(
    folder: str | pathlib.Path,
    slice_axis: int | None = None,
    label_folder: str = LABEL_FOLDER,
) -> tuple[Dataset, list[str]]:
    """Like `read_dataset`, but returns the faults beside what is sound.

    Args:
      folder: See `read_dataset`.
      slice_axis: See `read_dataset`.
      label_folder: Another folder of labels beside `labelsTr` (nnU-Net only);
        dataset.json does not list its values, so that any from 0 to 255 may
        occur.

    Raises:
      InputError: Missing folder, unreadable `dataset.json`, neither that nor a
        published layout, or a slice axis that is none of 0, 1 and 2.
    """
    if slice_axis not in (None, 0, 1, 2):
        raise errors.InputError(
            f"--slice_axis={slice_axis}: allowed are 0, 1 and 2 (axis of the stored "
            "array), or nothing to take it from dataset.json or the affine"
        )
    folder = pathlib.Path(folder)
    metadata, faults = _metadata.parse_metadata(folder)
    if label_folder != LABEL_FOLDER:
        metadata = _relabelled(metadata, folder, label_folder)
    if isinstance(metadata.layout, Layout):
        files = metadata.layout.scan(folder, faults)
    elif metadata.layout == "nnunet":
        files = _scan_nnunet(folder, metadata, label_folder, faults)
    else:
        files = _scan_msd(folder, metadata, faults)
    faults += _links.faults(folder, files)
    names = {case.name for case in files}
    faults += [
        f"group given for unknown case {case}"
        for case in sorted(metadata.groups.keys() - names)
        if not faults
    ]
    if metadata.announced not in (None, len(files)) and not faults:
        _log.warning(
            "%s: dataset.json announces %d cases, found %d",
            folder,
            metadata.announced,
            len(files),
        )
    axis = metadata.slice_axis if slice_axis is None else slice_axis
    if axis is None:
        axis = _axis_by_affine(folder, files, faults)
    cases = [
        volumes.Volume(
            name=case.name,
            group=metadata.groups.get(case.name, case.group or case.name),
            image_paths=case.images,
            label_path=case.label,
            slice_axis=axis,
            overlay_paths=case.overlays,
        )
        for case in sorted(files)
    ]
    dataset = Dataset(
        name=metadata.name,
        folder=folder,
        channels=metadata.channels,
        labels=metadata.labels,
        regions=metadata.regions,
        ignore=metadata.ignore,
        slice_axis=axis,
        flip=metadata.flip,
        attribution=metadata.attribution,
        volumes=tuple(cases),
    )
    return dataset, faults


def _relabelled(
    metadata: _metadata.Metadata, folder: pathlib.Path, label_folder: str
) -> _metadata.Metadata:
    if metadata.layout != "nnunet" or not (folder / label_folder).is_dir():
        sets = [path.name for path in folder.glob(f"{LABEL_FOLDER}_*")]
        raise errors.InputError(
            f"{folder}: no folder {label_folder} of labels; there are "
            f"{', '.join(sorted([LABEL_FOLDER, *sets]))} (nnU-Net v2 raw only)"
        )
    return dataclasses.replace(metadata, labels=(), ignore=None)


def _scan_nnunet(
    folder: pathlib.Path,
    metadata: _metadata.Metadata,
    label_folder: str,
    faults: list[str],
) -> list[CaseFiles]:
    """Pairs `imagesTr/<case>_<channel>` with `labelsTr/<case>`."""
    ending = metadata.file_ending
    found: dict[str, dict[int, str]] = {}
    for name in _listing(folder, "imagesTr", ending, faults):
        match = re.fullmatch(r"(?s)(.+)_([0-9]{4})", name.removesuffix(ending))
        if match is None:
            faults.append(
                f"imagesTr/{name}: expected <case>_<channel>{ending} with a channel "
                "number of four digits"
            )
        else:
            found.setdefault(match[1], {})[int(match[2])] = name
    labels = _listing(folder, label_folder, ending, faults)
    labelled = {name.removesuffix(ending) for name in labels}
    wanted = range(max(len(metadata.channels), 1))
    faults += [
        f"{label_folder}/{case}{ending} has no image: expected "
        f"imagesTr/{case}_0000{ending}"
        for case in sorted(labelled - found.keys())
    ]
    complete: list[CaseFiles] = []
    for case, channels in sorted(found.items()):
        bad = len(faults)
        if case not in labelled:
            faults.append(
                f"imagesTr/{channels[min(channels)]} has no label: expected "
                f"{label_folder}/{case}{ending}"
            )
        faults += [
            f"imagesTr/{case}_{number:04d}{ending} is missing (channel "
            f"{metadata.channels[number]})"
            for number in wanted
            if number not in channels and metadata.channels
        ]
        faults += [
            f"imagesTr/{channels[number]}: channel {number} is not in `channel_names`"
            for number in sorted(channels)
            if number not in wanted and metadata.channels
        ]
        if len(faults) == bad and metadata.channels:
            images = [folder / "imagesTr" / channels[number] for number in wanted]
            label = folder / label_folder / f"{case}{ending}"
            complete.append(CaseFiles(case, tuple(images), label))
    return complete


def _listing(
    folder: pathlib.Path, part: str, ending: str, faults: list[str]
) -> list[str]:
    """Names of the files of one part; hidden files are left out."""
    if not (folder / part).is_dir():
        faults.append(f"no folder {part}")
        return []
    try:
        entries = [path.name for path in (folder / part).iterdir()]
    except OSError as error:
        faults.append(f"{part}: cannot be read: {error.strerror}")
        return []
    names = sorted(
        name for name in entries if name.endswith(ending) and not name.startswith(".")
    )
    if not names:
        faults.append(f"{part} holds no *{ending} file")
    return names


def _scan_msd(
    folder: pathlib.Path, metadata: _metadata.Metadata, faults: list[str]
) -> list[CaseFiles]:
    """Follows the `training` list; files that are not listed play no part."""
    complete: dict[str, CaseFiles] = {}
    used: set[str] = set()
    for entry in metadata.entries:
        bad = len(faults)
        paths: list[pathlib.Path] = []
        for kind, given in zip(("image", "label"), entry, strict=True):
            normal = pathlib.Path(os.path.normpath(given))
            if not given.isprintable() or len(given) > _MAX_PATH:
                faults.append(f"dataset.json: {kind} {shown(given)} is no file name")
            elif normal.is_absolute() or normal.parts[:1] == ("..",):
                faults.append(
                    f"dataset.json: {kind} {given} lies outside the dataset folder"
                )
            elif not given.endswith(_metadata.FILE_ENDINGS):
                faults.append(
                    f"dataset.json: {kind} {given} is not a NIfTI file; allowed "
                    f"endings are {', '.join(_metadata.FILE_ENDINGS)}"
                )
            elif not os.path.isfile(folder / normal):
                faults.append(f"{kind} {normal.as_posix()} is missing")
            elif normal.as_posix() in used:
                faults.append(f"dataset.json: {given} stands twice in `training`")
            used.add(normal.as_posix())
            paths.append(folder / normal)
        case = paths[0].name.removesuffix(".gz").removesuffix(".nii")
        if case in complete:
            faults.append(f"dataset.json: two `training` entries are named {case}")
        if len(faults) == bad:
            complete[case] = CaseFiles(case, (paths[0],), paths[1])
    return list(complete.values())


def _axis_by_affine(
    folder: pathlib.Path, files: Iterable[CaseFiles], faults: list[str]
) -> int:
    axes: dict[int | None, list[str]] = {}
    for case in files:
        try:
            _, affine = formats.read_header(case.images[0])
            axis = volumes.axial_axis(affine)
        except nifti.READ_ERRORS:
            continue  # validation reports the file with its reason
        axes.setdefault(axis, []).append(case.name)
    remedy = "give --slice_axis or `slice_axis` in dataset.json"
    if None in axes:
        faults.append(
            f"slice axis: two axes of {axes[None][0]} are equally close to axial by "
            f"its affine ({len(axes[None])} such cases); {remedy}"
        )
    elif len(axes) > 1:
        found = ", ".join(f"{axis} in {names[0]}" for axis, names in axes.items())
        faults.append(
            f"slice axis: the axial axis by affine differs between cases ({found}); "
            f"store all cases in one orientation, or {remedy}"
        )
    elif axes:
        axis = next(iter(axes))
        _log.info("%s: slices run along axis %s, axial by affine", folder, axis)
        return 2 if axis is None else axis
    return 2
