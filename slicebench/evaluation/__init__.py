"""Inference and scores on held-out volumes."""

from slicebench.evaluation.metrics import (
    METRICS,
    CaseTruth,
    Score,
    prepare_truth,
    score_case,
)
from slicebench.evaluation.native import (
    NativeMap,
    is_selection,
    prepare_native_map,
    to_native_labels,
)

__all__ = [
    "METRICS",
    "CaseTruth",
    "NativeMap",
    "Score",
    "is_selection",
    "prepare_native_map",
    "prepare_truth",
    "score_case",
    "to_native_labels",
]
