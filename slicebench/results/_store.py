"""The store of one work folder."""

# pyright: strict
# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from slicebench.errors import InputError
from slicebench.results._json import TEMPORARY, replace_file
from slicebench.results._parts import (
    damage,
    frame_of,
    ordered,
    read_part,
    refuse_twice,
)
from slicebench.results._rows import Row, row_key, score_row, trial_row
from slicebench.results._schema import RESULTS, SCORE_KEY, TRIALS

_log = logging.getLogger(__name__)


class Store:
    """The trials and results of one work folder.

    Args:
      workdir: Work folder of a run; its subfolders are made on first append.
    """

    def __init__(self, workdir: str | os.PathLike[str]):
        self.workdir = Path(workdir)

    def append(self, name: str, trials: Sequence[Row], scores: Sequence[Row]) -> None:
        """Writes one finished batch; the same batch again changes nothing.

        Args:
          name: Digest of the batch, the name of both parts.
          trials: One mapping a trial with the columns of `TRIALS`. Columns of
            JSON may be given as mappings or dataclasses; nullable ones may be
            missing.
          scores: One mapping a score with `trial_id`, `case`, `class_name`,
            `metric` and `score`; every other column of `RESULTS` is taken from
            its trial.

        Raises:
          ValueError: Rows with unknown, missing or impossible values.
        """
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"part name {name!r}: letters, digits, - and _ only")
        trial_rows = [trial_row(row) for row in trials]
        by_id = {row["trial_id"]: row for row in trial_rows}
        if len(by_id) != len(trial_rows):
            raise ValueError(f"part {name}: a trial is there twice")
        score_rows = [score_row(row, by_id) for row in scores]
        if len({row_key(row) for row in score_rows}) != len(score_rows):
            raise ValueError(f"part {name}: a score is there twice")
        score_rows.sort(key=row_key)
        trial_rows.sort(key=lambda row: row["trial_id"])
        self._write("results", name, RESULTS, score_rows)
        self._write("trials", name, TRIALS, trial_rows)

    def done(self) -> set[str]:
        """Returns the ids of all trials whose results are complete."""
        found: set[str] = set()
        for path in self._parts("trials"):
            column = read_part(path, TRIALS, ["trial_id"]).column("trial_id")
            found.update(cast(list[str], column.to_pylist()))
        return found

    def read_trials(self) -> pd.DataFrame:
        """Returns all finished trials, in an order that parts do not change.

        Raises:
          InputError: A part cannot be read, or a trial is there twice.
        """
        frame = frame_of([read_part(p, TRIALS) for p in self._parts("trials")], TRIALS)
        refuse_twice(frame, ["trial_id"], str(self.workdir))
        return frame

    def read_results(self) -> pd.DataFrame:
        """Returns all scores of finished trials, in a fixed order.

        Raises:
          InputError: A part cannot be read or is missing, or a row is there
            twice.
        """
        tables: list[Any] = []
        for path in self._parts("trials"):
            part = self.workdir / "results" / path.name
            if not part.exists():
                raise InputError(f"{part}: missing, though {path} is there")
            tables.append(read_part(part, RESULTS))
        frame = frame_of(tables, RESULTS)
        refuse_twice(frame, list(SCORE_KEY), str(self.workdir))
        return frame

    def clean(self) -> None:
        """Removes half parts, sets damaged ones aside with a warning."""
        for folder in ("results", "trials"):
            for path in (self.workdir / folder).glob(f".*{TEMPORARY}"):
                path.unlink()
        finished = {path.name for path in self._parts("trials")}
        for path in self._parts("results"):
            if path.name not in finished:
                path.unlink()
        for name in sorted(finished):
            self._set_aside(name)

    def _set_aside(self, name: str) -> None:
        """Takes both halves of a part away where one of them cannot be read."""
        halves = [self.workdir / folder / name for folder in ("trials", "results")]
        faults = [f"{path}: {fault}" for path in halves if (fault := damage(path))]
        if not faults:
            return
        _log.warning("%s: set aside, its trials are trained again", "; ".join(faults))
        for path in halves:
            if path.exists():
                path.rename(path.with_name(f"damaged-{name}"))

    def _parts(self, folder: str) -> list[Path]:
        return sorted((self.workdir / folder).glob("part-*.parquet"))

    def _write(self, folder: str, name: str, schema: Any, rows: Sequence[Row]) -> None:
        path = self.workdir / folder / f"part-{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(
            table,
            sink,
            compression="zstd",
            store_schema=True,
            write_page_checksum=True,
        )
        replace_file(path, cast(bytes, sink.getvalue().to_pybytes()))


def read_many(
    workdirs: Sequence[str | os.PathLike[str]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Merges the trials and results of several work folders.

    Args:
      workdirs: Work folders, such as those of the shards of one run.

    Returns:
      Trials and results.

    Raises:
      InputError: A trial is in more than one folder.
    """
    stores = [Store(workdir) for workdir in workdirs]
    trials = [store.read_trials() for store in stores]
    results = [store.read_results() for store in stores]
    merged = ordered(pd.concat(trials, ignore_index=True), TRIALS)
    where = ", ".join(str(store.workdir) for store in stores)
    refuse_twice(merged, ["trial_id"], where)
    return merged, ordered(pd.concat(results, ignore_index=True), RESULTS)
