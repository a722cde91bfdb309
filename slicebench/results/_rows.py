"""Rows that are about to be written, checked one by one."""

# pyright: strict
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Mapping
from typing import Any

from slicebench import spec
from slicebench.results._schema import (
    JSON_COLUMNS,
    RESULTS,
    SCORE_KEY,
    STATUSES,
    TRIALS,
)

Row = Mapping[str, Any]


def trial_row(row: Row) -> dict[str, Any]:
    known = {field.name: field.nullable for field in TRIALS}
    unknown = sorted(set(row) - set(known))
    missing = sorted(n for n, null in known.items() if not null and row.get(n) is None)
    if unknown or missing:
        raise ValueError(f"trial row: unknown {unknown}, missing {missing}")
    if row["status"] not in STATUSES:
        raise ValueError(f"status {row['status']!r}: not one of {STATUSES}")
    filled = {name: row.get(name) for name in known}
    for name in JSON_COLUMNS:
        if not isinstance(filled[name], str):
            filled[name] = spec.canonical_json(filled[name])
    for name, nullable in known.items():
        value = filled[name]
        if nullable and isinstance(value, float) and not math.isfinite(value):
            filled[name] = None
    return filled


def score_row(row: Row, trials: Mapping[str, Row]) -> dict[str, Any]:
    unknown = sorted(set(row) - set(RESULTS.names))
    missing = sorted({*SCORE_KEY, "score"} - set(row))
    if unknown or missing:
        raise ValueError(f"score row: unknown {unknown}, missing {missing}")
    if not math.isfinite(row["score"]):
        raise ValueError(f"score of {row_key(row)} is not finite: {row['score']}")
    if row["trial_id"] not in trials:
        raise ValueError(f"score of {row_key(row)}: its trial is not in the batch")
    trial = trials[row["trial_id"]]
    return {name: row[name] if name in row else trial[name] for name in RESULTS.names}


def row_key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in SCORE_KEY)
