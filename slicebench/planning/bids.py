"""Scans in a BIDS dataset: which files are meant, and whose they are.

Brain Imaging Data Structure 1.10 (https://bids-specification.readthedocs.io):
`sub-<label>[/ses-<label>]/<datatype>/<entities>_<suffix>.nii.gz`. Names are all that is
read here, which takes a few lines; pybids would bring a database for it. What is
written (`slicebench.planning.bids_export`) is checked by the official validator.
"""

import collections
import dataclasses
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from slicebench.data.scans import ScanFolder, find_scans
from slicebench.errors import InputError, gather

_SUBJECT = re.compile(r"sub-[a-zA-Z0-9]+")
_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_ENDINGS = (".nii.gz", ".nii")
_DATATYPE = "anat"
_SUFFIX = "suffix"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BidsName:
    """A file name, taken apart.

    Attributes:
      path: The file.
      entities: Entities in order, such as `sub` and `ses`.
      suffix: What is imaged, such as `T1w`.
      datatype: Folder that it lies in, such as `anat`.
      ending: `.nii.gz` or `.nii`.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    datatype: str
    ending: str

    @property
    def stem(self) -> str:
        """The name without suffix and ending."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())


def parse_name(path: Path) -> BidsName | None:
    """Takes a file name apart; None where it is no BIDS image.

    >>> parse_name(Path("sub-01/anat/sub-01_acq-x_T1w.nii.gz")).suffix
    'T1w'
    """
    ending = next((end for end in _ENDINGS if path.name.endswith(end)), None)
    if ending is None:
        return None
    *parts, suffix = path.name.removesuffix(ending).split("_")
    matches = [_ENTITY.fullmatch(part) for part in parts]
    entities = {match[1]: match[2] for match in matches if match}
    if len(entities) < len(parts) or "sub" not in entities or not suffix.isalnum():
        return None
    return BidsName(
        path=path,
        entities=entities,
        suffix=suffix,
        datatype=path.parent.name,
        ending=ending,
    )


def holds_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS dataset: it has folders of subjects, and no scans."""
    if not folder.is_dir() or (folder / "imagesTr").is_dir():
        return False
    entries = list(folder.iterdir())
    loose = any(entry.name.endswith(_ENDINGS) for entry in entries)
    return not loose and any(_is_subject(entry) for entry in entries)


def _is_subject(entry: Path) -> bool:
    return _SUBJECT.fullmatch(entry.name) is not None and entry.is_dir()


def read_filter(given: Sequence[str]) -> dict[str, str]:
    """Reads `--bids_filter`: `suffix=T1w`, `datatype=pet` or an entity, `acq=mprage`.

    Raises:
      InputError: Something else.
    """
    found: dict[str, str] = {}
    for part in given:
        key, equals, value = part.partition("=")
        if not equals or not key.isalpha() or not value or key in found:
            raise InputError(
                f"--bids_filter={','.join(given)}: allowed is KEY=VALUE, once a key: "
                "suffix, datatype or an entity such as ses, acq and run"
            )
        found[key] = value
    return found


def find_bids(
    folder: Path,
    wanted: Mapping[str, str],
    *,
    slice_axis: int | None = None,
    channels: Sequence[str] | None = None,
) -> ScanFolder:
    """Finds and checks the scans of a BIDS dataset; a participant is a patient.

    Files under `derivatives` and `sourcedata` are left alone.

    Args:
      folder: The dataset.
      wanted: Of `read_filter`; several suffixes joined by `+` are the channels of a
        scan.
      slice_axis: As for `find_scans`.
      channels: Channel names; None takes the suffixes.

    Returns:
      Scans named like their files, without the ending.

    Raises:
      InputError: No such scan, several kinds of them, or with every fault found.
    """
    suffixes = tuple(wanted.get(_SUFFIX, "").split("+")) if _SUFFIX in wanted else ()
    names = _names(folder, {k: v for k, v in wanted.items() if k != _SUFFIX})
    kinds = collections.Counter(name.suffix for name in names)
    if not suffixes and len(kinds) > 1:
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
        raise InputError(
            f"{folder}: images of several kinds: {listed}; choose one with "
            f"--bids_filter=suffix={min(kinds)}, or join those that are channels of "
            "one scan with +"
        )
    suffixes = suffixes or tuple(kinds)
    missing = [suffix for suffix in suffixes if suffix not in kinds]
    if missing:
        raise InputError(
            f"--bids_filter=suffix={'+'.join(suffixes)}: no {missing[0]} in {folder}; "
            f"there are {', '.join(sorted(kinds))}"
        )
    cases = _cases(folder, names, suffixes)
    found = _checked(folder, cases, slice_axis, tuple(channels or suffixes))
    scans = tuple(
        dataclasses.replace(
            scan,
            image_paths=tuple(name.path for name in cases[scan.name]),
            group=f"sub-{cases[scan.name][0].entities['sub']}",
        )
        for scan in found.scans
    )
    return ScanFolder(folder=folder, channels=found.channels, scans=scans)


def _names(folder: Path, wanted: Mapping[str, str]) -> list[BidsName]:
    """Returns images that fit the filter, in order of their paths."""
    datatype = wanted.get("datatype", _DATATYPE)
    entities = {key: value for key, value in wanted.items() if key != "datatype"}
    subjects = sorted(entry for entry in folder.iterdir() if _is_subject(entry))
    paths = sorted(
        path
        for subject in subjects
        for pattern in ("*/*", "ses-*/*/*")
        for path in subject.glob(pattern)
    )
    names = [name for path in paths if (name := parse_name(path))]
    kept = [name for name in names if name.datatype == datatype]
    fitting = [
        name
        for name in kept
        if all(name.entities.get(key) == value for key, value in entities.items())
    ]
    if fitting:
        return fitting
    there = ", ".join(sorted({name.datatype for name in names})) or "none"
    given = "".join(f" with {key}={value}" for key, value in entities.items())
    raise InputError(
        f"{folder}: no images in {datatype}{given}; folders of images: {there} "
        "(--bids_filter=datatype=...)"
    )


def _cases(
    folder: Path, names: Sequence[BidsName], suffixes: Sequence[str]
) -> dict[str, list[BidsName]]:
    """Returns the files of each case: one, or one a suffix, in order."""
    if len(suffixes) == 1:
        return {
            f"{name.stem}_{name.suffix}": [name]
            for name in names
            if name.suffix == suffixes[0]
        }
    found: dict[str, dict[str, list[BidsName]]] = {}
    for name in names:
        keys = {k: v for k, v in name.entities.items() if k in ("sub", "ses")}
        case = "_".join(f"{key}-{value}" for key, value in keys.items())
        found.setdefault(case, {}).setdefault(name.suffix, []).append(name)
    faults = [
        f"{case}: {len(parts.get(suffix, ()))} files of {suffix}, one is needed"
        for case, parts in found.items()
        for suffix in suffixes
        if len(parts.get(suffix, ())) != 1
    ]
    if faults:
        raise gather(f"{folder} (--bids_filter can narrow it)", faults)
    return {
        case: [parts[suffix][0] for suffix in suffixes] for case, parts in found.items()
    }


def _checked(
    folder: Path,
    cases: Mapping[str, Sequence[BidsName]],
    slice_axis: int | None,
    channels: tuple[str, ...],
) -> ScanFolder:
    """Reads every file through links that are named as in a plain folder."""
    gone = [
        str(name.path.relative_to(folder))
        for names in cases.values()
        for name in names
        if not name.path.exists()
    ]
    if gone:
        raise gather(
            str(folder),
            [f"{name}: its content is not here (a dead link)" for name in gone],
        )
    with tempfile.TemporaryDirectory() as made:
        links = Path(made)
        for case, names in cases.items():
            for number, name in enumerate(names):
                mark = f"_{number:04d}" if len(names) > 1 else ""
                link = links / f"{case}{mark}{name.ending}"
                link.symlink_to(name.path.resolve())
        try:
            return find_scans(links, slice_axis=slice_axis, channels=channels)
        except InputError as error:
            raise InputError(str(error).replace(made, str(folder))) from error
