"""The results store: tidy rows in append-only Parquet parts.

A finished batch is two files of one name: `results/part-NAME.parquet` with one row a
score, then `trials/part-NAME.parquet` with one row a trial, the mark that the batch is
complete: a results part without it counts for nothing.
"""

from slicebench.results._forms import Maybe, Need, check_form
from slicebench.results._json import read_json, write_json_atomic
from slicebench.results._lists import ListColumn
from slicebench.results._rows import Row
from slicebench.results._schema import RESULTS, STATUSES, TRIALS
from slicebench.results._scores import (
    Piece,
    read_progress,
    read_trials_compactly,
    scores_of,
    stream_scores,
    trials_of,
)
from slicebench.results._store import Store, read_many

__all__ = [
    "RESULTS",
    "STATUSES",
    "TRIALS",
    "ListColumn",
    "Maybe",
    "Need",
    "Piece",
    "Row",
    "Store",
    "check_form",
    "read_json",
    "read_many",
    "read_progress",
    "read_trials_compactly",
    "scores_of",
    "stream_scores",
    "trials_of",
    "write_json_atomic",
]
