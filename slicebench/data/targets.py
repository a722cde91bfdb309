"""Which classes of a dataset are segmented, and as what."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from slicebench import errors


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


def parse_target(text: str, labels: tuple[tuple[str, int], ...]) -> Target:
    """Reads the value of `--target_labels`.

    Args:
      text: Empty or `all`: every foreground class as it is. Else classes
        separated by commas, each a label (name or value) or several joined by
        `+`, which are merged. Labels not named become background.
      labels: Foreground label names and values of the dataset.

    Raises:
      InputError: Unknown label, or one in two classes.

    >>> labels = (("wall", 1), ("infarction", 2), ("no-reflow", 3))
    >>> parse_target("2+3", labels).classes
    ('infarction+no-reflow',)
    """
    everything = tuple((name,) for name, _ in labels)
    values = dict(labels)
    if text.strip() in ("", "all"):
        groups = everything
    else:
        groups = tuple(_group(part.strip(), labels, text) for part in text.split(","))
    names = [name for group in groups for name in group]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise errors.InputError(
            f"--target_labels={text}: {', '.join(repeated)} stands more than once; "
            "each label belongs to one class at most"
        )
    classes = tuple("+".join(group) for group in groups)
    return Target(
        name="all" if groups == everything else ",".join(classes),
        classes=classes,
        values=tuple(tuple(values[name] for name in group) for group in groups),
    )


def _group(
    text: str, labels: tuple[tuple[str, int], ...], flag: str
) -> tuple[str, ...]:
    by_text = {str(value): name for name, value in labels}
    by_text |= {name: name for name, _ in labels}
    if text in by_text:  # first, since a label's own name may hold a plus sign
        return (by_text[text],)
    parts = [part.strip() for part in text.split("+")]
    unknown = [part for part in parts if part not in by_text]
    if unknown:
        allowed = ", ".join(f"{name} ({value})" for name, value in labels)
        raise errors.InputError(
            f"--target_labels={flag}: unknown label {unknown[0]!r}; allowed are all, "
            f"or {allowed}, joined by + to merge and by commas to list"
        )
    return tuple(by_text[part] for part in parts)
