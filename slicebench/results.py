"""The results store: tidy rows in append-only Parquet parts.

A finished batch is two files of one name: `results/part-NAME.parquet` with one row a
score, then `trials/part-NAME.parquet` with one row a trial, the mark that the batch is
complete: a results part without it counts for nothing.
"""

# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from slicebench import spec
from slicebench.errors import InputError

_log = logging.getLogger(__name__)

Row = Mapping[str, Any]

_METADATA_KEY = b"slicebench_schema"
_METADATA = {_METADATA_KEY: str(spec.RESULTS_SCHEMA).encode()}
_TEMPORARY = ".tmp"

# Columns that a score shares with its trial.
_SHARED = [
    ("trial_id", pa.string(), False),
    ("task", pa.string(), False),
    ("target", pa.string(), False),
    ("dims", pa.string(), False),
    ("budget", pa.int64(), False),
    ("num_volumes", pa.int64(), False),
    ("slices_per_volume", pa.int64(), True),
    ("annotated_slices", pa.int64(), False),
    ("volume_strategy", pa.string(), False),
    ("strategy", pa.string(), False),
    ("features", pa.string(), False),
    ("scope", pa.string(), False),
    ("interpolation", pa.string(), False),
    ("pseudo_weight", pa.float64(), False),
    ("selection_seed", pa.int64(), False),
    ("training_seed", pa.int64(), False),
    ("fold", pa.int64(), False),
]
_SCORE = [
    ("case", pa.string(), False),
    ("class_name", pa.string(), False),
    ("metric", pa.string(), False),
    ("score", pa.float64(), False),
]
_STATUS = [("status", pa.string(), False)]
_TRIAL = [
    ("network", pa.string(), False),
    ("training", pa.string(), False),
    ("program", pa.string(), False),
    ("context", pa.string(), False),
    ("annotated_foreground", pa.int64(), False),
    ("foreground_by_class", pa.string(), False),
    ("epochs", pa.float64(), False),
    ("supervised_voxels", pa.float64(), False),
    ("development_dice", pa.float64(), True),
    ("development_nsd", pa.float64(), True),
    ("development_hd95", pa.float64(), True),
    ("steps", pa.int64(), False),
    ("seconds", pa.float64(), False),
    ("final_loss", pa.float64(), True),
]
_LATER = [
    ("interpolated_slices", pa.int64(), True),
    ("interpolated_share", pa.float64(), True),
    ("extent_marks", pa.int64(), True),
    ("coverage", pa.float64(), True),
    ("chosen_slices", pa.list_(pa.int32()), True),
    ("inputs_digest", pa.string(), True),
    ("loss_curve", pa.list_(pa.float32()), True),
]
"""Trial columns that came after results were published: null in older parts."""


def _schema(columns: Sequence[tuple[str, Any, bool]]) -> Any:
    fields = [pa.field(name, kind, nullable) for name, kind, nullable in columns]
    return pa.schema(fields, metadata=_METADATA)


RESULTS: Any = _schema(_SHARED + _SCORE + _STATUS)
"""Arrow schema of a results part: one row a trial, case, class and metric."""

TRIALS: Any = _schema(_SHARED + _TRIAL + _LATER + _STATUS)
"""Arrow schema of a trials part: one row a trial.

`network`, `training` and `foreground_by_class` are canonical JSON; `epochs` are
passes over annotated slices, `seconds` wall time, `final_loss` is null where it
was not finite; `interpolated_share` is the share of pseudo-labelled slices among
those that entered a loss, `extent_marks` counts first and last slices that an
annotator marked beside the annotated ones; `coverage` is the annotated share of a
chosen volume, averaged over them; `chosen_slices` are ascending indices over all
slices of the pool, cases in split order (null where all are annotated);
`inputs_digest` names files and trainings that the selection read; `loss_curve` is
the running training loss at the end of each of up to 50 even parts of the steps.
"""

STATUSES = ("ok", "diverged")
"""What can become of a trial."""

_SCORE_KEY = ("trial_id", "case", "class_name", "metric")
_JSON_COLUMNS = ("network", "training", "foreground_by_class")


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
        trial_rows = [_trial_row(row) for row in trials]
        by_id = {row["trial_id"]: row for row in trial_rows}
        if len(by_id) != len(trial_rows):
            raise ValueError(f"part {name}: a trial is there twice")
        score_rows = [_score_row(row, by_id) for row in scores]
        if len({_key(row) for row in score_rows}) != len(score_rows):
            raise ValueError(f"part {name}: a score is there twice")
        score_rows.sort(key=_key)
        trial_rows.sort(key=lambda row: row["trial_id"])
        self._write("results", name, RESULTS, score_rows)
        self._write("trials", name, TRIALS, trial_rows)

    def done(self) -> set[str]:
        """Returns the ids of all trials whose results are complete."""
        found: set[str] = set()
        for path in self._parts("trials"):
            column = _read_part(path, TRIALS, ["trial_id"]).column("trial_id")
            found.update(cast(list[str], column.to_pylist()))
        return found

    def read_trials(self) -> pd.DataFrame:
        """Returns all finished trials, in an order that parts do not change.

        Raises:
          InputError: A part cannot be read, or a trial is there twice.
        """
        frame = _frame([_read_part(p, TRIALS) for p in self._parts("trials")], TRIALS)
        _refuse_twice(frame, ["trial_id"], str(self.workdir))
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
            tables.append(_read_part(part, RESULTS))
        frame = _frame(tables, RESULTS)
        _refuse_twice(frame, list(_SCORE_KEY), str(self.workdir))
        return frame

    def clean(self) -> None:
        """Removes half parts, sets damaged ones aside with a warning."""
        for folder in ("results", "trials"):
            for path in (self.workdir / folder).glob(f".*{_TEMPORARY}"):
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
        faults = [f"{path}: {fault}" for path in halves if (fault := _damage(path))]
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
        pq.write_table(table, sink, compression="zstd", store_schema=True)
        _replace(path, cast(bytes, sink.getvalue().to_pybytes()))


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
    merged = _ordered(pd.concat(trials, ignore_index=True), TRIALS)
    where = ", ".join(str(store.workdir) for store in stores)
    _refuse_twice(merged, ["trial_id"], where)
    return merged, _ordered(pd.concat(results, ignore_index=True), RESULTS)


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Writes readable JSON so that a kill leaves the old file or the new one.

    Raises:
      ValueError: A number is not finite: JSON has no word for it.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace(target, (text + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      InputError: The file is missing, not JSON, or not an object.
    """
    target = Path(path)
    if not target.is_file():
        raise InputError(f"{target}: no such file")
    try:
        value = json.loads(target.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{target}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{target}: holds {type(value).__name__}, not an object")
    return cast(dict[str, Any], value)


def _trial_row(row: Row) -> dict[str, Any]:
    known = {field.name: field.nullable for field in TRIALS}
    unknown = sorted(set(row) - set(known))
    missing = sorted(n for n, null in known.items() if not null and row.get(n) is None)
    if unknown or missing:
        raise ValueError(f"trial row: unknown {unknown}, missing {missing}")
    if row["status"] not in STATUSES:
        raise ValueError(f"status {row['status']!r}: not one of {STATUSES}")
    filled = {name: row.get(name) for name in known}
    for name in _JSON_COLUMNS:
        if not isinstance(filled[name], str):
            filled[name] = spec.canonical_json(filled[name])
    for name, nullable in known.items():
        value = filled[name]
        if nullable and isinstance(value, float) and not math.isfinite(value):
            filled[name] = None
    return filled


def _score_row(row: Row, trials: Mapping[str, Row]) -> dict[str, Any]:
    unknown = sorted(set(row) - set(RESULTS.names))
    missing = sorted({*_SCORE_KEY, "score"} - set(row))
    if unknown or missing:
        raise ValueError(f"score row: unknown {unknown}, missing {missing}")
    if not math.isfinite(row["score"]):
        raise ValueError(f"score of {_key(row)} is not finite: {row['score']}")
    if row["trial_id"] not in trials:
        raise ValueError(f"score of {_key(row)}: its trial is not in the batch")
    trial = trials[row["trial_id"]]
    return {name: row[name] if name in row else trial[name] for name in RESULTS.names}


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in _SCORE_KEY)


def _read_part(path: Path, schema: Any, columns: list[str] | None = None) -> Any:
    try:
        file: Any = pq.ParquetFile(path)
        found: Any = file.schema_arrow
        number = (found.metadata or {}).get(_METADATA_KEY, b"none").decode()
        if number != str(spec.RESULTS_SCHEMA):
            raise InputError(
                f"{path}: results schema {number}, this version reads "
                f"{spec.RESULTS_SCHEMA}"
            )
        later = {name for name, _, _ in _LATER} - set(found.names)
        wanted = [name for name in columns or schema.names if name not in later]
        missing = [name for name in wanted if name not in found.names]
        if missing:
            raise InputError(f"{path}: columns missing: {', '.join(missing)}")
        table = file.read(columns=wanted)
        if columns is None and later & set(schema.names):
            table = _with_nulls(table, schema)
        return table
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a readable Parquet file ({reason})") from error


def _damage(path: Path) -> str | None:
    """Returns what is wrong with a part's file; only its description is read."""
    if not path.exists():
        return "missing"
    try:
        pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        return f"not a readable Parquet file ({str(error).splitlines()[0]})"
    return None


def _with_nulls(table: Any, schema: Any) -> Any:
    """Gives an older table the columns that came later."""
    arrays = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _frame(tables: list[Any], schema: Any) -> pd.DataFrame:
    # Null counts differ between runs, so nullable integers have one type always.
    nullable = {pa.int64(): pd.Int64Dtype()}
    whole: Any = pa.concat_tables([schema.empty_table(), *tables])
    frame = cast(pd.DataFrame, whole.to_pandas())
    for field in schema:
        if field.nullable and field.type == pa.int64():
            column = whole.column(field.name)
            frame[field.name] = column.to_pandas(types_mapper=nullable.get)
    return _ordered(frame, schema)


def _ordered(frame: pd.DataFrame, schema: Any) -> pd.DataFrame:
    apart = ("trial_id", "score", "chosen_slices", "loss_curve")
    columns = [name for name in schema.names if name not in apart]
    return frame.sort_values([*columns, "trial_id"], ignore_index=True)


def _refuse_twice(frame: pd.DataFrame, columns: list[str], where: str) -> None:
    twice = frame.loc[frame.duplicated(columns), "trial_id"]
    if len(twice):
        raise InputError(f"{where}: trial {twice.iloc[0]} is there twice")


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
