"""What a selection reads beyond the pool's images: files and trained features."""

import dataclasses
import functools
import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from slicebench import spec
from slicebench.data.prepared import PreparedTask
from slicebench.errors import InputError
from slicebench.runner.locks import held
from slicebench.selection import (
    FEATURES,
    VOLUME_STRATEGIES,
    load_strata_file,
    lookup,
    make_features,
)
from slicebench.training.features import TRAINED_FEATURES, train_features

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Files that the command line names, and where trained features are kept.

    Attributes:
      feature_file: The user's own features, for features `file`.
      strata_file: `FILE` or `FILE:COLUMN`, for volume strategy `stratified`.
      folder: Where trained features are kept for the next call; None keeps none.
      given: Slices of each case of the pool that an annotator has done; None where
        strategies choose.
    """

    feature_file: Path | None = None
    strata_file: str | None = None
    folder: Path | None = None
    given: tuple[tuple[int, ...], ...] | None = None

    def digest(self, features: str, volume_strategy: str) -> str:
        """Names everything that a selection reads here; empty where it is nothing.

        Raises:
          InputError: A file that is needed is not named or cannot be read.
        """
        if self.given is not None:
            return spec.digest(self.given)
        parts: dict[str, str] = {}
        source = FEATURES[features].source if features != "none" else "images"
        if source == "file":
            parts["file"] = _file_digest(self._needed_features())
        elif source == "training":
            parts["training"] = spec.digest(TRAINED_FEATURES[features])
        if self._uses_groups(volume_strategy):
            path, column = self._needed_strata()
            parts["strata"] = spec.digest([_file_digest(path), column])
        return spec.digest(parts) if parts else ""

    def check(
        self, trials: Sequence[spec.Trial], tasks: Iterable[PreparedTask]
    ) -> None:
        """Reads every file once, before anything is trained.

        Raises:
          InputError: A file that does not fit a pool, or that no trial reads.
        """
        sources = {FEATURES[t.features].source for t in trials if t.features != "none"}
        grouped = [t for t in trials if self._uses_groups(t.volume_strategy)]
        if self.feature_file is not None and "file" not in sources:
            raise InputError(
                f"--feature_file={self.feature_file}: no trial reads it; add "
                "--features=file and a strategy that uses features"
            )
        if self.strata_file is not None and not grouped:
            raise InputError(
                f"--strata_file={self.strata_file}: no trial reads it; add "
                "--volume_strategies=stratified"
            )
        for task in tasks:
            if "file" in sources:
                self.features("file", task)
            if grouped:
                self.groups(task, grouped[0].volume_strategy)

    def features(self, name: str, task: PreparedTask) -> tuple[np.ndarray, ...]:
        """Returns the features of the pool's slices, one array a case.

        Raises:
          InputError: The user's file does not fit the pool.
        """
        return make_features(
            name,
            FEATURES[name],
            task.pool,
            file=self.feature_file,
            others=_others(task),
            trainers={name: functools.partial(self._train, name, task.context)},
        )

    def groups(
        self, task: PreparedTask, volume_strategy: str
    ) -> tuple[str, ...] | None:
        """Returns the stratum of each volume of the pool, for strategies that ask.

        Raises:
          InputError: The user's file does not fit the pool.
        """
        if not self._uses_groups(volume_strategy):
            return None
        path, column = self._needed_strata()
        names = [case.name for case in task.pool]
        return load_strata_file(path, column, names, _others(task))

    def _uses_groups(self, volume_strategy: str) -> bool:
        return lookup(
            VOLUME_STRATEGIES, volume_strategy, "volume_strategies"
        ).uses_groups

    def _needed_features(self) -> Path:
        if self.feature_file is None:
            raise InputError("--features=file: --feature_file=FILE is needed with it")
        return self.feature_file

    def _needed_strata(self) -> tuple[Path, str | None]:
        if self.strata_file is None:
            raise InputError(
                "--volume_strategies=stratified: --strata_file=FILE or FILE:COLUMN "
                "with the stratum of each case, such as its scanner, is needed with it"
            )
        whole = Path(self.strata_file)
        if whole.suffix and ":" not in whole.suffix:
            return whole, None
        path, _, column = self.strata_file.rpartition(":")
        return Path(path or self.strata_file), column

    def _train(
        self, name: str, context: str, images: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """Trains features once for each pool; a later call reads them."""
        settings = TRAINED_FEATURES[name]
        if self.folder is None:
            return _trained(name, images)
        key = spec.digest([name, context, settings])
        path = self.folder / f"{name}-{key}.npz"
        # Of several workers one trains, the others read.
        with held(path.with_suffix(".lock"), lambda: None):
            kept = _read(path, [len(image) for image in images])
            if kept is None:
                kept = _trained(name, images)
                _write(path, kept)
        return kept


def _trained(name: str, images: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    start = time.monotonic()
    _log.info("training %s features on %d volumes", name, len(images))
    rows = train_features(name, images, seed=spec.derive_seed(0, "features", name))
    _log.info("trained them in %.0f s", time.monotonic() - start)
    return rows


def _others(task: PreparedTask) -> list[str]:
    return [case.name for side in (task.development, task.test) for case in side]


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _write(path: Path, rows: tuple[np.ndarray, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        np.savez(file, rows=np.concatenate(rows))
    os.replace(temporary, path)


def _read(path: Path, depths: list[int]) -> tuple[np.ndarray, ...] | None:
    """Returns kept features; None where there are none that can be used."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = file["rows"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        _log.warning("%s cannot be read: features are trained again", path)
        return None
    if len(rows) != sum(depths):
        _log.warning("%s is of another pool: features are trained again", path)
        return None
    return tuple(np.split(rows, np.cumsum(depths)[:-1]))
