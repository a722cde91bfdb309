"""Features of a pool from wherever their entry says: images, file or training."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from slicebench.data.prepared import PreparedScan
from slicebench.errors import InputError
from slicebench.selection._feature_file import load_feature_file
from slicebench.selection._types import ExtractFeatures, Features


def handed_in(
    images: Sequence[Float[np.ndarray, "_depth height width channel"]],
) -> NoReturn:
    """Stands in entries whose rows are not computed from images alone.

    Raises:
      InputError: Always.
    """
    raise InputError(
        f"features of {len(images)} images: this kind is read from a file or "
        "trained, not computed from images alone"
    )


def make_features(
    name: str,
    entry: Features,
    cases: Sequence[PreparedScan],
    *,
    file: Path | str | None = None,
    others: Collection[str] = (),
    trainers: Mapping[str, ExtractFeatures] | None = None,
) -> tuple[Float[np.ndarray, "_depth feature"], ...]:
    """Returns the features of each case's slices.

    Args:
      name: The entry's name in `FEATURES`.
      entry: The entry.
      cases: The pool.
      file: The user's file, for the source `file`.
      others: Further cases of the dataset that the file may hold.
      trainers: By entry name, a function that trains on the pool's images and
        returns their features, for the source `training`. Whatever else it
        needs (seed, devices, cache) is bound to it beforehand.

    Raises:
      InputError: If the file or the trainer is not given, or the file does not
        fit the pool.
    """
    images = [case.image for case in cases]
    if entry.source == "images":
        return entry.extract(images)
    if entry.source == "file":
        if file is None:
            raise InputError(f"--features={name}: the path of a file is needed")
        depths = [case.depth for case in cases]
        return load_feature_file(file, [case.name for case in cases], depths, others)
    train = (trainers or {}).get(name)
    if train is None:
        raise InputError(f"--features={name}: nothing here can train them")
    return train(images)
