"""TFDS builder of a prepared task; imported only when the cache is used.

Records are ArrayRecord files of protocol buffers: no TensorFlow, no pickle.
Arrays are stored as their bytes, since records keep floats in single precision
and cannot hold several free axes otherwise.
"""

import contextlib
import hashlib
import os
import pathlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from slicebench.data.prepared import PreparedCase

SIDES = ("development", "pool", "test")


class _LocalInfo(tfds.core.DatasetInfo):
    """Information that is not looked up elsewhere.

    TFDS would make a temporary folder for what a bucket knows of a dataset of that
    name, and leave it there.
    """

    def initialize_from_bucket(self) -> None:
        """Does nothing: what is prepared here is known here alone."""


class PreparedTaskBuilder(tfds.core.GeneratorBasedBuilder):
    """Writes the three sides of a prepared task.

    Attributes:
      VERSION: Version of the record layout.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        sides: Mapping[str, Iterator[PreparedCase]],
        grid: tuple[int, int],
        channels: int,
        data_dir: pathlib.Path,
    ):
        self._sides = sides
        self._grid = grid
        self._channels = channels
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        height, width = self._grid

        def array(dtype: type, *shape: int | None) -> tfds.features.Tensor:
            return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

        return _LocalInfo(
            builder=self,
            description="Preprocessed volumes on one in-plane grid, slices first.",
            features=tfds.features.FeaturesDict(
                {
                    "order": np.int64,
                    "name": tfds.features.Text(),
                    "group": tfds.features.Text(),
                    "image": array(np.float32, None, height, width, self._channels),
                    "label": array(np.uint8, None, height, width),
                    "native_label": array(np.uint8, None, None, None),
                    "spacing": array(np.float64, 3),
                    "rows": array(np.float32, None, height),
                    "columns": array(np.float32, None, width),
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {side: self._generate_examples(side) for side in SIDES}

    def _generate_examples(self, side: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for order, case in enumerate(self._sides[side]):
            yield (
                case.name,
                {
                    "order": order,
                    "name": case.name,
                    "group": case.group,
                    "image": np.ascontiguousarray(case.image),
                    "label": np.ascontiguousarray(case.label),
                    "native_label": np.ascontiguousarray(case.native_label),
                    "spacing": np.array(case.spacing),
                    "rows": np.ascontiguousarray(case.to_native[0]),
                    "columns": np.ascontiguousarray(case.to_native[1]),
                },
            )


def write(
    folder: pathlib.Path,
    sides: Mapping[str, Iterator[PreparedCase]],
    grid: tuple[int, int],
    channels: int,
) -> None:
    """Writes the records of a task below a folder."""
    tfds.display_progress_bar(False)
    builder = PreparedTaskBuilder(
        sides=sides, grid=grid, channels=channels, data_dir=folder
    )
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    # TFDS prints that it downloads, which it does not.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        builder.download_and_prepare(download_config=config, file_format="array_record")


def read(folder: pathlib.Path) -> dict[str, tuple[PreparedCase, ...]]:
    """Reads what `write` has written, in its order."""
    path = folder / PreparedTaskBuilder.name / str(PreparedTaskBuilder.VERSION)
    builder = tfds.builder_from_directory(str(path))
    # A decorator hides the parameters from type checkers.
    source: Any = builder.as_data_source
    return {side: _read_side(source(split=side)) for side in SIDES}


_kept: weakref.WeakValueDictionary[bytes, np.ndarray] = weakref.WeakValueDictionary()


def _shared(array: np.ndarray) -> np.ndarray:
    """Returns the array with equal content that is already in memory, if any.

    The folds of a task hold the same cases: native labels and often the
    images are equal in all of them, and are then kept once.
    """
    array = np.ascontiguousarray(array)
    shape = repr((array.shape, array.dtype.str)).encode()
    key = hashlib.blake2b(array.data, digest_size=20, key=shape[:64]).digest()
    array.flags.writeable = False
    return _kept.setdefault(key, array)


def _read_side(records: Sequence[Any]) -> tuple[PreparedCase, ...]:
    ordered = sorted(records, key=lambda record: record["order"])
    return tuple(
        PreparedCase(
            name=record["name"].decode(),
            group=record["group"].decode(),
            image=_shared(record["image"]),
            label=_shared(record["label"]),
            native_label=_shared(record["native_label"]),
            spacing=tuple(float(size) for size in record["spacing"]),  # pyright: ignore[reportArgumentType]
            to_native=(_shared(record["rows"]), _shared(record["columns"])),
        )
        for record in ordered
    )
