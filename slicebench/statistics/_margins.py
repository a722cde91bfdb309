"""The smallest difference that matters, fixed on development volumes."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from slicebench.statistics import _effects

MORE_BUDGET = 1.25
"""A difference matters if this much more budget would be needed to gain it."""

FIXED_MARGINS: Mapping[str, float] = {"dice": 0.01, "nsd": 0.01, "hd95": 0.5}
"""Margin by metric (hd95 in mm) where the development curve gives none."""

_LARGEST_SHARE = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Margin:
    """A margin and where it comes from.

    Attributes:
      value: Smallest difference that matters, in units of the metric, above 0.
      source: Its origin, in words.
      alternatives: Other margins to report beside it, by name.
      gain: Score gained by each doubling of the budget on the random curve of
        the development volumes (oriented: positive is better); None unknown.
    """

    value: float
    source: str
    alternatives: Mapping[str, float]
    gain: float | None = None


def development_margin(
    trials: pd.DataFrame, task: str, target: str, dims: str, metric: str
) -> Margin:
    """Returns the score that 25 % more budget gains for random slices.

    Least squares of the development score on log2(budget) over the trials with
    random volumes, random slices and no interpolation, at the fewest slices per
    volume that every budget has; the slope times log2(1.25). Diverged trials
    say nothing on what a slice is worth and are left out.

    Args:
      trials: Trials table.
      task: Task name.
      target: Target of the task.
      dims: `2d` or `3d`.
      metric: A key of `FIXED_MARGINS`.

    Returns:
      The margin; the fixed one where there is one budget only, or where the
      curve does not rise.

    Raises:
      ValueError: A metric without a development score.
    """
    if metric not in FIXED_MARGINS:
        raise ValueError(f"metric {metric!r}: not one of {list(FIXED_MARGINS)}")
    fixed = FIXED_MARGINS[metric]
    factors = {"task": task, "target": target, "dims": dims, "strategy": "random"}
    factors |= {"volume_strategy": "random", "interpolation": "none", "status": "ok"}
    mask = trials[f"development_{metric}"].notna() & trials["slices_per_volume"].notna()
    for name, value in factors.items():
        mask &= trials[name] == value
    names = ["budget", "slices_per_volume", f"development_{metric}"]
    columns: Any = trials[names]
    curve = _effects.take(columns, mask.to_numpy(bool))
    budgets = sorted(set(curve["budget"].tolist()))
    if len(budgets) < 2:
        return _fixed(fixed, f"{len(budgets)} budgets with random slices")
    densities = [
        set(curve.loc[curve["budget"] == budget, "slices_per_volume"].tolist())
        for budget in budgets
    ]
    shared = set.intersection(*densities)
    if not shared:
        return _fixed(fixed, "no slices per volume that every budget has")
    density = min(shared)
    same = (curve["slices_per_volume"] == density).to_numpy(bool)
    line = _effects.take(curve, same)
    score = np.array(line[f"development_{metric}"].tolist(), float)
    doublings = np.log2(np.array(line["budget"].tolist(), float))
    centred = doublings - doublings.mean()
    gain = float(centred @ score / (centred @ centred)) * _effects.orientation(metric)
    if gain <= 0:
        return _fixed(fixed, f"development {metric} does not improve with budget")
    return Margin(
        value=gain * math.log2(MORE_BUDGET),
        source=(
            f"{metric} gained by 25 % more budget on development volumes (random "
            f"slices, {density} per volume, budgets {budgets[0]} to {budgets[-1]})"
        ),
        alternatives={"fixed": fixed},
        gain=gain,
    )


def slices_saved(estimate: float, gain: float | None) -> float | None:
    """Converts a difference into a share of the budget at equal score.

    Args:
      estimate: Oriented difference.
      gain: Score gained by each doubling of the budget.

    Returns:
      The share by which b's budget would have to grow to reach a's score (0.25:
      25 % more slices); None without a rising curve or beyond 1024 times the
      budget, where a line through the curve means nothing.

    >>> slices_saved(0.02, 0.02), slices_saved(-0.02, 0.02)
    (1.0, -0.5)
    """
    if gain is None or gain <= 0:
        return None
    doublings = estimate / gain
    if abs(doublings) > math.log2(_LARGEST_SHARE):
        return None
    return 2.0**doublings - 1.0


def _fixed(value: float, why: str) -> Margin:
    return Margin(
        value=value,
        source=f"fixed, because the development curve gives none: {why}",
        alternatives={"fixed": value},
    )
