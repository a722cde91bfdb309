"""Reading `dataset.json` of both supported layouts into one form.

Layouts: nnU-Net v2 raw (Isensee et al. 2021, `channel_names` and `labels` by
name) and Medical Segmentation Decathlon (Antonelli et al. 2022, `modality`,
`labels` by number and a `training` list).
"""

import csv
import dataclasses
import io
import pathlib
import re
from typing import Any, Literal, NamedTuple

from slicebench.data import published
from slicebench.data._layout import Layout
from slicebench.errors import (
    MAX_JSON,
    InputError,
    read_json_value,
    read_regular,
    shown,
)

FILE_ENDINGS = (".nii.gz", ".nii")
MAX_LABEL = 255
_MAX_NAME = 120
"""Most characters of a channel or class name."""


class Entry(NamedTuple):
    """Declared files of one case, relative to the dataset folder."""

    image: str
    label: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What `dataset.json` says.

    Attributes:
      name: Dataset name.
      layout: `nnunet`, `msd`, or a data set's published one.
      channels: Channel names in order.
      labels: Foreground class names and values, by rising value.
      regions: Names of joined labels.
      ignore: Value of nnU-Net's `ignore` label, if declared.
      file_ending: Ending of image and label files (nnU-Net).
      entries: Declared cases (MSD).
      slice_axis: Declared slice axis.
      groups: Patient of each case that has a declared one.
      flip: Whether mirroring keeps every class's meaning.
      attribution: Licence, citation and source on one line.
      announced: Declared number of cases.
    """

    name: str
    layout: Literal["nnunet", "msd"] | Layout
    channels: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    regions: tuple[tuple[str, tuple[int, ...]], ...]
    ignore: int | None
    file_ending: str
    entries: tuple[Entry, ...]
    slice_axis: int | None
    groups: dict[str, str]
    flip: bool
    attribution: str
    announced: int | None


def load_json(folder: pathlib.Path) -> dict[str, Any]:
    """Reads `dataset.json` of a folder.

    Raises:
      InputError: Missing folder, missing or unreadable `dataset.json`.
    """
    if not _is_folder(folder):
        raise InputError(
            f"{folder}: no such folder; give a dataset folder in nnU-Net v2 raw or "
            "Medical Segmentation Decathlon layout"
        )
    path = folder / "dataset.json"
    document = read_json_value(path, "not valid JSON:")
    if not isinstance(document, dict):
        raise InputError(
            f"{path}: holds a {type(document).__name__}; expected an object"
        )
    return document


def dataset_name(folder: str | pathlib.Path) -> str:
    """Returns the name that `dataset.json` gives, else the folder's name.

    Characters other than letters, digits, `.`, `_` and `-` become `_`: the
    name stands in flags, file names and tables.

    Raises:
      InputError: Missing folder, missing or unreadable `dataset.json`.
    """
    folder = pathlib.Path(folder)
    if _is_published(folder):
        return published.detect(folder).name
    return _name(load_json(folder), folder)


def parse_metadata(folder: pathlib.Path) -> tuple[Metadata, list[str]]:
    """Reads what `dataset.json` and `groups.csv` declare.

    Args:
      folder: Dataset folder.

    Returns:
      The metadata, and one clause for each fault found in them.

    Raises:
      InputError: Missing folder, missing or unreadable `dataset.json`, or one
        in neither layout.
    """
    if _is_published(folder):
        return _known(published.detect(folder), folder)
    document = load_json(folder)
    layout = _layout(document, folder)
    faults: list[str] = []
    key = "channel_names" if layout == "nnunet" else "modality"
    labels, ignore = _labels(document.get("labels"), layout, faults)
    announced = document.get("numTraining")
    metadata = Metadata(
        name=_name(document, folder),
        layout=layout,
        channels=_channels(document.get(key), key, faults),
        labels=labels,
        regions=(),
        ignore=ignore,
        file_ending=_file_ending(document, layout, faults),
        entries=_entries(document.get("training"), faults) if layout == "msd" else (),
        slice_axis=_slice_axis(document.get("slice_axis"), faults),
        groups=_groups(document.get("groups"), folder, faults),
        flip=document.get("flip") is True,
        attribution=_attribution(document),
        announced=announced if isinstance(announced, int) else None,
    )
    return metadata, faults


def _is_published(folder: pathlib.Path) -> bool:
    # A link that leads nowhere is a dataset.json, too: reading it says so.
    path = folder / "dataset.json"
    return _is_folder(folder) and not (path.is_symlink() or path.exists())


def _is_folder(path: pathlib.Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _known(layout: Layout, folder: pathlib.Path) -> tuple[Metadata, list[str]]:
    """Metadata of a data set that is recognised by its layout."""
    faults: list[str] = []
    metadata = Metadata(
        name=layout.name,
        layout=layout,
        channels=layout.channels,
        labels=layout.labels,
        regions=layout.regions,
        ignore=None,
        file_ending=".nii.gz",
        entries=(),
        slice_axis=None,
        groups=_groups(None, folder, faults),
        flip=layout.flip,
        attribution=layout.attribution,
        announced=None,
    )
    return metadata, faults


def _name(document: dict[str, Any], folder: pathlib.Path) -> str:
    given = document.get("name")
    given = given.strip() if isinstance(given, str) else ""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", given or folder.resolve().name)
    # Folders and files are named by it: neither hidden nor "..", and not too long.
    return name.lstrip(".")[:_MAX_NAME] or "dataset"


def _layout(document: dict[str, Any], folder: pathlib.Path) -> Literal["nnunet", "msd"]:
    if "dataset" in document:
        raise InputError(
            f"{folder / 'dataset.json'}: a `dataset` list of file paths is not "
            "supported; put the files into imagesTr and labelsTr"
        )
    if "channel_names" in document:
        return "nnunet"
    if "modality" in document and "training" in document:
        return "msd"
    raise InputError(
        f"{folder / 'dataset.json'}: neither layout: expected `channel_names` "
        "(nnU-Net v2 raw) or `modality` and `training` (Medical Segmentation "
        f"Decathlon), given {shown(sorted(document)) if document else 'no keys'}"
    )


def _channels(given: Any, key: str, faults: list[str]) -> tuple[str, ...]:
    if isinstance(given, dict) and given:
        numbers = [str(number) for number in range(len(given))]
        names = [given.get(number) for number in numbers]
        if set(given) == set(numbers) and all(map(_is_name, names)):
            return tuple(str(name) for name in names)
    faults.append(
        f'dataset.json: `{key}` must map "0", "1", ... to channel names, given '
        f"{shown(given)}"
    )
    return ()


def _is_name(given: Any) -> bool:
    """Whether a text can stand in tables, pages and file names."""
    return (
        isinstance(given, str)
        and given.isprintable()
        and 0 < len(given.strip()) <= _MAX_NAME
    )


def _labels(
    given: Any, layout: str, faults: list[str]
) -> tuple[tuple[tuple[str, int], ...], int | None]:
    if not isinstance(given, dict):
        faults.append(f"dataset.json: `labels` must be an object, given {shown(given)}")
        return (), None
    pairs = given.items() if layout == "nnunet" else ((v, k) for k, v in given.items())
    values: dict[int, str] = {}
    ignore = None
    for name, value in pairs:
        if isinstance(value, list):
            faults.append(
                f"dataset.json: label {shown(name)} is a region {shown(value)}, which "
                "is not supported; list single values and join them by --target_labels"
            )
        elif not _is_label_value(value):
            faults.append(
                f"dataset.json: label {shown(name)} has value {shown(value)}; allowed "
                f"are integers from 0 to {MAX_LABEL}"
            )
        elif not _is_name(name):
            faults.append(
                f"dataset.json: label value {int(value)} has name {shown(name)}; a "
                f"name is a text of 1 to {_MAX_NAME} printable characters"
            )
        elif int(value) in values:
            faults.append(f"dataset.json: label value {int(value)} is listed twice")
        elif name == "ignore":
            ignore = int(value)
        else:
            values[int(value)] = str(name).strip()
    if 0 not in values:
        faults.append("dataset.json: `labels` must list the background with value 0")
    foreground = tuple((values[value], value) for value in sorted(values) if value)
    if not foreground:
        faults.append("dataset.json: `labels` lists no foreground class")
    if len({name for name, _ in foreground}) < len(foreground):
        faults.append("dataset.json: two labels have the same name")
    return foreground, ignore


def _is_label_value(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    return re.fullmatch(r"\d{1,3}", str(value)) is not None and int(value) <= MAX_LABEL


def _file_ending(document: dict[str, Any], layout: str, faults: list[str]) -> str:
    ending = document.get("file_ending", ".nii.gz")
    if layout == "nnunet" and ending not in FILE_ENDINGS:
        faults.append(
            f"dataset.json: `file_ending` is {shown(ending)}; allowed are "
            f"{', '.join(FILE_ENDINGS)}"
        )
        return ".nii.gz"
    return str(ending)


def _entries(given: Any, faults: list[str]) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for number, item in enumerate(given if isinstance(given, list) else ()):
        image = item.get("image") if isinstance(item, dict) else None
        label = item.get("label") if isinstance(item, dict) else None
        if isinstance(image, str) and isinstance(label, str):
            entries.append(Entry(image, label))
        else:
            faults.append(
                f"dataset.json: `training` entry {number} must have `image` and "
                f"`label` paths, given {shown(item)}"
            )
    if not given or not isinstance(given, list):
        faults.append("dataset.json: `training` must be a list of cases, none given")
    return tuple(entries)


def _slice_axis(given: Any, faults: list[str]) -> int | None:
    if given is None or (type(given) is int and given in (0, 1, 2)):
        return given
    faults.append(
        f"dataset.json: `slice_axis` is {shown(given)}; allowed are 0, 1 and 2"
    )
    return None


def _groups(given: Any, folder: pathlib.Path, faults: list[str]) -> dict[str, str]:
    path = folder / "groups.csv"
    if given is not None and path.exists():
        faults.append("groups are given in dataset.json and in groups.csv; keep one")
    if given is not None:
        if isinstance(given, dict) and all(
            isinstance(group, str | int) and not isinstance(group, bool)
            for group in given.values()
        ):
            return {str(case): str(group) for case, group in given.items()}
        faults.append(
            "dataset.json: `groups` must map case names to patients, given "
            f"{shown(given)}"
        )
    return _read_groups(path, faults) if path.exists() else {}


def _read_groups(path: pathlib.Path, faults: list[str]) -> dict[str, str]:
    groups: dict[str, str] = {}
    try:
        text = read_regular(path, MAX_JSON).decode("utf-8-sig")
        table = csv.reader(io.StringIO(text, newline=""))
        rows = [[cell.strip() for cell in row] for row in table if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(f"groups.csv: cannot be read: {error}")
        return groups
    if not rows or rows[0] != ["case", "group"]:
        faults.append("groups.csv: the first line must be `case,group`")
        return groups
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not all(row):
            faults.append(f"groups.csv: row {number} must be a case and its group")
        elif groups.setdefault(row[0], row[1]) != row[1]:
            faults.append(f"groups.csv: case {row[0]} has two groups")
    return groups


def _attribution(document: dict[str, Any]) -> str:
    parts: list[str] = []
    for title, keys in (
        ("Licence", ("licence", "license")),
        ("Citation", ("citation", "reference")),
        ("Source", ("source",)),
    ):
        texts = [document[key] for key in keys if document.get(key)]
        if texts:
            parts.append(f"{title}: {' '.join(str(texts[0]).split())}")
    return "; ".join(parts) or "Licence and source not stated in dataset.json"
