"""Rows of data frames, with types: pandas' own leave open what indexing gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

Record = dict[str, Any]


def records(frame: pd.DataFrame) -> list[Record]:
    """Returns the rows as dictionaries."""
    rows: Any = frame.to_dict("records")
    return rows


def where(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the rows that have the given value in each given column."""
    chosen: Any = frame
    for name, value in values.items():
        chosen = chosen[chosen[name] == value]
    return chosen


def columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Returns some columns."""
    chosen: Any = frame[list(names)]
    return chosen


def keep(frame: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Returns the rows that a boolean column marks."""
    chosen: Any = frame.loc[mask]
    return chosen


def ordered(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Returns the rows sorted; equal ones keep their order."""
    chosen: Any = frame.sort_values(list(columns), kind="stable")
    return chosen


def groups(
    frame: pd.DataFrame, by: Sequence[str]
) -> Iterator[tuple[Record, pd.DataFrame]]:
    """Yields the rows of each combination of values, in order of appearance."""
    grouped: Any = frame.groupby(list(by), dropna=False, sort=False)
    for key, part in grouped:
        yield dict(zip(by, key, strict=True)), part


def floats(frame: pd.DataFrame, column: str) -> Any:
    """Returns a column as floats."""
    values: Any = frame[column]
    return values.to_numpy(dtype=float)
