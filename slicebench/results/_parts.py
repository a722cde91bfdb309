"""Reading one Parquet part of which nothing is taken for granted."""

# pyright: strict
# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from slicebench import spec
from slicebench.errors import InputError, gather, shown
from slicebench.results._schema import LATER, METADATA_KEY, RESULTS, STATUSES

MAX_ROWS = 1 << 27
"""Most rows of a part; packed runs of equal rows can announce any number."""
_compute: Any = pyarrow.compute
_DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError)


def read_part(path: Path, schema: Any, columns: list[str] | None = None) -> Any:
    """Reads a part as an Arrow table.

    Args:
      path: Its file.
      schema: `RESULTS` or `TRIALS`.
      columns: Which columns; None reads all, those that came later as nulls where
        the file is older.

    Raises:
      InputError: It cannot be read, is of another version, or holds something else
        than such rows.
    """
    try:
        file, wanted, later = _checked(path, schema, columns)
        table = file.read(columns=wanted)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({_first_line(error)})"
        ) from error
    if columns is None:
        _check_values(path, table, schema)
        if later & set(schema.names):
            table = _with_nulls(table, schema)
    return table


def read_pieces(path: Path, schema: Any, columns: list[str]) -> Iterator[Any]:
    """Yields a part as Arrow tables of bounded size, their values checked.

    Args:
      path: Its file.
      schema: `RESULTS` or `TRIALS`.
      columns: Which columns; `status` must be one.

    Raises:
      InputError: As `read_part`.
    """
    try:
        file, wanted, _ = _checked(path, schema, columns)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=wanted)
            _check_values(path, table, schema)
            yield table
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({_first_line(error)})"
        ) from error


def damage(path: Path) -> str | None:
    """Returns what is wrong with a part's file; only its description is read."""
    if not path.exists():
        return "missing"
    try:
        _open(path)
    except _DAMAGE as error:
        return f"not a readable Parquet file ({_first_line(error)})"
    return None


def _checked(
    path: Path, schema: Any, columns: list[str] | None
) -> tuple[Any, list[str], set[str]]:
    """Opens a part; returns it, the columns to read, and those that came later."""
    file = _open(path)
    found: Any = file.schema_arrow
    mark = (found.metadata or {}).get(METADATA_KEY, b"none")
    number = mark.decode("utf-8", "replace")
    if number != str(spec.RESULTS_SCHEMA):
        raise InputError(
            f"{path}: results schema {shown(number)[1:-1]}, this version reads "
            f"{spec.RESULTS_SCHEMA}"
        )
    later = {name for name, _, _ in LATER} - set(found.names)
    wanted = [name for name in columns or schema.names if name not in later]
    _check_columns(path, found, schema, wanted)
    return file, wanted, later


def _open(path: Path) -> Any:
    if not path.is_file():
        raise OSError("it is no ordinary file")
    file: Any = pq.ParquetFile(path, page_checksum_verification=True)
    if file.metadata.num_rows > MAX_ROWS:
        raise ValueError(
            f"it announces {file.metadata.num_rows} rows, allowed are {MAX_ROWS}"
        )
    return file


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_columns(path: Path, found: Any, schema: Any, wanted: list[str]) -> None:
    """Raises InputError for columns that are missing, twice or of another type."""
    missing = [name for name in wanted if name not in found.names]
    if missing:
        raise InputError(f"{path}: columns missing: {', '.join(missing)}")
    faults = [
        f"column {name} is there {found.names.count(name)} times"
        for name in wanted
        if found.names.count(name) > 1
    ] or [
        f"column {name} holds {found.field(name).type}, expected "
        f"{schema.field(name).type}"
        for name in wanted
        if found.field(name).type != schema.field(name).type
    ]
    if faults:
        raise gather(str(path), faults)


def _check_values(path: Path, table: Any, schema: Any) -> None:
    """Raises InputError for values that no run writes."""
    faults = [
        f"column {field.name} lacks {table.column(field.name).null_count} values"
        for field in schema
        if not field.nullable
        and field.name in table.column_names
        and table.column(field.name).null_count
    ]
    statuses = cast(list[str], _compute.unique(table.column("status")).to_pylist())
    faults += [
        f"status {shown(status)}; allowed are {', '.join(STATUSES)}"
        for status in statuses
        if status not in STATUSES
    ]
    if schema is RESULTS:
        finite: Any = _compute.is_finite(table.column("score"))
        bad = len(finite) - (_compute.sum(finite).as_py() or 0)
        faults += [f"{bad} scores are NaN or infinite"] if bad and not faults else []
    else:
        for name in ("network", "training"):
            texts = cast(list[str], _compute.unique(table.column(name)).to_pylist())
            faults += [
                f"column {name} holds {shown(text)}, expected a JSON object"
                for text in texts
                if not _is_object(text)
            ]
    if faults:
        raise gather(str(path), faults)


def _is_object(text: str | None) -> bool:
    try:
        return isinstance(json.loads(text or ""), dict)
    except (ValueError, RecursionError):
        return False


def _with_nulls(table: Any, schema: Any) -> Any:
    """Gives an older table the columns that came later."""
    arrays = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def frame_of(tables: list[Any], schema: Any) -> pd.DataFrame:
    """Returns the rows of several parts as one table in a fixed order."""
    # Null counts differ between runs, so nullable integers have one type always.
    nullable = {pa.int64(): pd.Int64Dtype()}
    whole: Any = pa.concat_tables([schema.empty_table(), *tables])
    frame = cast(pd.DataFrame, whole.to_pandas())
    for field in schema:
        if field.nullable and field.type == pa.int64():
            column = whole.column(field.name)
            frame[field.name] = column.to_pandas(types_mapper=nullable.get)
    return ordered(frame, schema)


def ordered(frame: pd.DataFrame, schema: Any) -> pd.DataFrame:
    """Returns rows in an order that parts do not change."""
    apart = ("trial_id", "score", "chosen_slices", "loss_curve")
    columns = [name for name in schema.names if name not in apart]
    return frame.sort_values([*columns, "trial_id"], ignore_index=True)


def refuse_twice(frame: pd.DataFrame, columns: list[str], where: str) -> None:
    """Raises InputError where two rows have the same key."""
    twice = frame.loc[frame.duplicated(columns), "trial_id"]
    if len(twice):
        raise InputError(f"{where}: trial {twice.iloc[0]} is there twice")
