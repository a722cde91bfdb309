"""Result tables from arrays of scores, for hand-worked cases."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from slicebench import spec

FACTORS = {
    "task": "blobs",
    "target": "all",
    "dims": "2d",
    "budget": 8,
    "num_volumes": 8,
    "slices_per_volume": 1,
    "annotated_slices": 8,
    "volume_strategy": "random",
    "strategy": "random",
    "features": "none",
    "scope": "within",
    "interpolation": "none",
    "pseudo_weight": 0.0,
    "fold": 0,
    "network": "{}",
    "training": '{"steps":100}',
    "program": "p",
    "steps": 100,
    "status": "ok",
    "foreground_by_class": '{"c0":{"slices":1,"volumes":1}}',
    "development_dice": None,
    "development_nsd": None,
    "development_hd95": None,
}


def tables(
    *cells: tuple[dict[str, Any], np.ndarray],
    metric: str = "dice",
    seeds: Sequence[int | tuple[int, int]] | None = None,
    cases: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns results and trials of cells given as factors and scores.

    Scores are seed x case or seed x case x class; NaN leaves a score out. A seed is
    one number, or a pair of selection and training seed.
    """
    trials: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for changes, scores in cells:
        values = scores if scores.ndim == 3 else scores[:, :, None]
        for row, seed in enumerate(seeds or range(len(values))):
            selection, training = seed if isinstance(seed, tuple) else (seed, seed)
            trial = {**FACTORS, **changes, "selection_seed": selection}
            trial["training_seed"] = training
            trial["trial_id"] = spec.digest(trial)
            trials.append(trial)
            names = cases or [f"case{n}" for n in range(values.shape[1])]
            for (case, group), score in np.ndenumerate(values[row]):
                if np.isfinite(score):
                    found = {"case": names[case], "class_name": f"c{group}"}
                    rows.append({**trial, **found, "metric": metric, "score": score})
    frame = pd.DataFrame(trials)
    for name in ("slices_per_volume", "num_volumes"):
        frame[name] = frame[name].astype("Int64")
    return pd.DataFrame(rows), frame


def contrast(**changes: Any) -> dict[str, Any]:
    """Returns an expanded contrast of k_center against random."""
    return {
        "name": "k_center against random",
        "family": "strategies",
        "claim": "superior",
        "primary": True,
        "kind": "difference",
        "metric": "dice",
        "task": "blobs",
        "target": "all",
        "dims": "2d",
        "where": {"budget": 8},
        "a": {"strategy": "k_center"},
        "b": {"strategy": "random"},
        **changes,
    }


K_CENTER = {"strategy": "k_center", "features": "intensity"}
RANDOM: dict[str, Any] = {}
