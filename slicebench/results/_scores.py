"""Trials and scores of many parts, read part by part in bounded memory.

`Store.read_results` gives every score with all that it shares with its trial: 21
columns. Here a score is a number and four codes, and only those of one piece of a
part are held at a time; texts of trials that repeat are held once.
"""

# pyright: strict
# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from slicebench.errors import InputError
from slicebench.results._parts import (
    frame_of,
    ordered,
    read_part,
    read_pieces,
    refuse_twice,
)
from slicebench.results._schema import RESULTS, SCORE_KEY, TRIALS
from slicebench.results._store import Store

_TOGETHER = 256
"""Parts that are joined at once: joining each on its own costs much more."""

_PROGRESS = ["trial_id", "program", "steps", "seconds", "status"]
_READ = [*SCORE_KEY, "score", "status"]


class Coded(NamedTuple):
    """A column of texts, each held once.

    Attributes:
      codes: Which text each row has.
      texts: The texts.
    """

    codes: Int[np.ndarray, " row"]
    texts: list[str]


class Piece(NamedTuple):
    """Scores of some rows of one part.

    Attributes:
      path: The part's file.
      trial: Trial ids.
      case: Case names.
      class_name: Class names.
      metric: Metrics.
      score: Scores, all finite.
    """

    path: Path
    trial: Coded
    case: Coded
    class_name: Coded
    metric: Coded
    score: Float[np.ndarray, " row"]


def stream_scores(store: Store) -> Iterator[Piece]:
    """Yields all scores of finished trials, piece by piece, in the order of parts.

    Raises:
      InputError: A part is missing, cannot be read or holds what no run writes.
    """
    for path in sorted((store.workdir / "trials").glob("part-*.parquet")):
        part = store.workdir / "results" / path.name
        if not part.exists():
            raise InputError(f"{part}: missing, though {path} is there")
        for table in read_pieces(part, RESULTS, _READ):
            trial, case, name, metric = (_coded(table.column(n)) for n in SCORE_KEY)
            score = table.column("score").to_numpy()
            yield Piece(part, trial, case, name, metric, score)


def scores_of(store: Store, trials: Collection[str]) -> pd.DataFrame:
    """Returns what `Store.read_results` does, of some trials only."""
    return frame_of(_parts_with(store, trials, "results", RESULTS), RESULTS)


def trials_of(store: Store, trials: Collection[str]) -> pd.DataFrame:
    """Returns what `Store.read_trials` does, of some trials only."""
    return frame_of(_parts_with(store, trials, "trials", TRIALS), TRIALS)


def _parts_with(
    store: Store, trials: Collection[str], folder: str, schema: Any
) -> list[Any]:
    """Reads the rows of some trials; parts that have none are not read whole."""
    wanted = pa.array(sorted(trials), pa.string())
    compute: Any = pc
    tables: list[Any] = []
    for path in sorted((store.workdir / "trials").glob("part-*.parquet")):
        known = set(read_part(path, TRIALS, ["trial_id"]).column(0).to_pylist())
        if known.isdisjoint(trials):
            continue
        table = read_part(store.workdir / folder / path.name, schema)
        mask = compute.is_in(table.column("trial_id"), value_set=wanted)
        tables.append(table.filter(mask))
    return tables


def read_progress(store: Store) -> pd.DataFrame:
    """Returns of each finished trial how it went and what it cost, nothing else.

    Returns:
      Columns trial_id, program, steps, seconds and status, one row a trial, in the
      order of the parts; program and status are categories.

    Raises:
      InputError: A part cannot be read, or a trial is there twice.
    """
    parts = sorted((store.workdir / "trials").glob("part-*.parquet"))
    tables = [read_part(path, TRIALS, _PROGRESS) for path in parts]
    empty = TRIALS.empty_table().select(_PROGRESS)
    frame: pd.DataFrame = _join([_encoded(t) for t in (empty, *tables)]).to_pandas()
    refuse_twice(frame, ["trial_id"], str(store.workdir))
    return frame


def read_trials_compactly(store: Store) -> pd.DataFrame:
    """Returns what `Store.read_trials` does, in less memory.

    Rows, columns and their order are the same; columns of texts other than the ids
    are categories, sorted, and lists stay Arrow's.

    Raises:
      InputError: A part cannot be read, or a trial is there twice.
    """
    joined: list[Any] = []
    waiting: list[Any] = []
    for path in sorted((store.workdir / "trials").glob("part-*.parquet")):
        waiting.append(_encoded(read_part(path, TRIALS)))
        if len(waiting) == _TOGETHER:
            joined.append(_join(waiting))
            waiting = []
    empty = _encoded(TRIALS.empty_table())
    frame = _compact_frame(_join([empty, *joined, *waiting]))
    refuse_twice(frame, ["trial_id"], str(store.workdir))
    return ordered(frame, TRIALS)


def _coded(column: Any) -> Coded:
    array = column.combine_chunks().dictionary_encode()
    return Coded(array.indices.to_numpy(), array.dictionary.to_pylist())


def _encoded(table: Any) -> Any:
    arrays = [
        column.dictionary_encode() if _repeats(field) else column
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return pa.table(arrays, names=table.column_names)


def _repeats(field: Any) -> bool:
    return field.type == pa.string() and field.name != "trial_id"


def _join(tables: list[Any]) -> Any:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _compact_frame(table: Any) -> pd.DataFrame:
    def mapped(kind: Any) -> Any:
        return pd.ArrowDtype(kind) if pa.types.is_list(kind) else None

    found: dict[str, Any] = {}
    # Column by column: what is made of one is freed before the next.
    for field in TRIALS:
        column: Any = table.column(field.name)
        if field.nullable and field.type == pa.int64():
            values = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        else:
            values = column.to_pandas(types_mapper=mapped)
        if _repeats(field):
            values = values.cat.set_categories(sorted(values.cat.categories))
        found[field.name] = values
    return pd.DataFrame(found)
