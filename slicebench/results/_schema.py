"""Columns of the two tables."""

# pyright: strict
# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from slicebench import spec

METADATA_KEY = b"slicebench_schema"
_METADATA = {METADATA_KEY: str(spec.RESULTS_SCHEMA).encode()}

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
LATER = [
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

TRIALS: Any = _schema(_SHARED + _TRIAL + LATER + _STATUS)
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

SCORE_KEY = ("trial_id", "case", "class_name", "metric")
JSON_COLUMNS = ("network", "training", "foreground_by_class")
