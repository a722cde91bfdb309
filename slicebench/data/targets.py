"""Which classes of a dataset are segmented, and as what."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from slicebench import errors

LABEL_FOLDER = "labelsTr"
_ALL = ("", "all")
_MAX_LABEL = 255
_Labels = tuple[tuple[str, int], ...]
_Regions = tuple[tuple[str, tuple[int, ...]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Classes made of a dataset's labels.

    Attributes:
      name: `all`, or the class names joined by commas.
      classes: Foreground class names; class index i + 1.
      values: Label values of each class.
    """

    name: str
    classes: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]

    def apply(
        self, label: UInt8[np.ndarray, "depth height width"]
    ) -> UInt8[np.ndarray, "depth height width"]:
        """Returns class indices for label values; other values are background."""
        table = np.zeros(256, np.uint8)
        for index, values in enumerate(self.values, start=1):
            table[list(values)] = index
        return table[label]


class _Class(NamedTuple):
    """One class: its name, and the labels that it joins."""

    name: str
    values: tuple[int, ...]


def parse_target(text: str, labels: _Labels, regions: _Regions = ()) -> Target:
    """Reads the value of `--target_labels`.

    Args:
      text: Empty or `all`: every foreground class as it is. Else classes
        separated by commas. A class is a label (name or value), a region, or
        several of them joined by `+`, which are merged; `NAME=` before it names
        the class. Labels not named become background, so that a single class
        is that class against the rest.
      labels: Foreground label names and values of the dataset.
      regions: Names that stand for several label values.

    Raises:
      InputError: Unknown label, the background, an empty or repeated name, or
        one label in two classes (overlapping classes are two tasks).

    >>> labels = (("wall", 1), ("infarction", 2), ("no-reflow", 3))
    >>> parse_target("lesion=2+3", labels)
    Target(name='lesion', classes=('lesion',), values=((2, 3),))
    """
    everything = [_Class(name, (value,)) for name, value in labels]
    if text.strip() in _ALL:
        classes = everything
    else:
        reader = _Reader(text, labels, regions)
        classes = [reader.read(part.strip()) for part in text.split(",")]
    names = [item.name for item in classes]
    _refuse_repeated(text, names, [item.values for item in classes], labels)
    return Target(
        name="all" if classes == everything else ",".join(names),
        classes=tuple(names),
        values=tuple(item.values for item in classes),
    )


def label_folder(text: str) -> tuple[str, str]:
    """Splits the label folder off the value of `--target_labels`.

    An nnU-Net folder may hold further label sets beside `labelsTr`, such as
    `labelsTr_PTV70`; `labelsTr_PTV70/1` is value 1 of that set.

    Returns:
      Folder name, and the text without it.

    Raises:
      InputError: Labels of two folders in one target.

    >>> label_folder("PTV70 (planning target)=labelsTr_PTV70/1")
    ('labelsTr_PTV70', 'PTV70 (planning target)=1')
    """
    found: set[str] = set()
    classes: list[str] = []
    for part in text.split(","):
        head, equals, body = part.rpartition("=")
        plain: list[str] = []
        for label in body.split("+"):
            folder, slash, value = label.strip().rpartition("/")
            named = bool(slash) and folder.startswith(f"{LABEL_FOLDER}_")
            found.add(folder if named else LABEL_FOLDER)
            plain.append(value if named else label)
        classes.append(head + equals + "+".join(plain))
    if len(found) > 1:
        raise errors.InputError(
            f"--target_labels={text}: labels of {' and '.join(sorted(found))}; a task "
            "takes its labels from one folder"
        )
    return found.pop(), ",".join(classes)


def unlisted_labels(text: str) -> _Labels:
    """Labels of a set that dataset.json does not list: their values as names.

    Args:
      text: Second value of `label_folder`.

    Raises:
      InputError: Something else than values from 1 to 255.
    """
    parts = [
        label.strip()
        for part in text.split(",")
        for label in part.rpartition("=")[2].split("+")
    ]
    bad = [part for part in parts if not _is_value(part)]
    if bad:
        raise errors.InputError(
            f"--target_labels: {bad[0]!r} of a label folder that dataset.json does not "
            f"list; allowed are values from 1 to {_MAX_LABEL}"
        )
    return tuple((str(value), value) for value in sorted({int(part) for part in parts}))


def _is_value(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_LABEL


class _Reader:
    """Reads classes of one `--target_labels`."""

    def __init__(self, text: str, labels: _Labels, regions: _Regions):
        self._text = text
        self._labels = labels
        self._regions = regions
        self._known = {str(value): _Class(name, (value,)) for name, value in labels}
        self._known |= {name: _Class(name, (value,)) for name, value in labels}
        self._known |= {name: _Class(name, values) for name, values in regions}

    def read(self, text: str) -> _Class:
        """Reads one class."""
        if text in self._known:  # first: a label's own name may hold + or =
            return self._known[text]
        name, named, body = text.rpartition("=")
        if named and not name.strip():
            raise errors.InputError(
                f"--target_labels={self._text}: {text!r} has no name before ="
            )
        parts = [part.strip() for part in (body if named else text).split("+")]
        unknown = [part for part in parts if part not in self._known]
        if unknown:
            raise errors.InputError(self._unknown(unknown[0]))
        joined = [self._known[part] for part in parts]
        return _Class(
            name=name.strip() if named else "+".join(item.name for item in joined),
            values=tuple(value for item in joined for value in item.values),
        )

    def _unknown(self, text: str) -> str:
        regions = [f"{name} ({_plus(values)})" for name, values in self._regions]
        allowed = [f"{name} ({value})" for name, value in self._labels] + regions
        return (
            f"--target_labels={self._text}: unknown label {text!r}; allowed are all, "
            f"or {', '.join(allowed)}, joined by + to merge, with NAME= before it to "
            "name, and by commas to list"
        )


def _plus(values: tuple[int, ...]) -> str:
    return "+".join(str(value) for value in values)


def _refuse_repeated(
    text: str, names: list[str], values: list[tuple[int, ...]], labels: _Labels
) -> None:
    flat = [value for group in values for value in group]
    repeated = [name for name, value in labels if flat.count(value) > 1]
    if repeated:
        raise errors.InputError(
            f"--target_labels={text}: {', '.join(repeated)} stands more than once; "
            "each label belongs to one class at most (run overlapping classes as two "
            "tasks)"
        )
    same = sorted({name for name in names if names.count(name) > 1})
    if same:
        raise errors.InputError(
            f"--target_labels={text}: two classes are named {', '.join(same)}"
        )
