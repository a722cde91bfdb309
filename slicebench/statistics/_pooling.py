"""One number for several tasks: a random-effects summary of contrasts.

Tasks differ in more than chance, so their differences are taken as draws around a
mean: between-task variance by Paule and Mandel (1982), interval by Hartung and Knapp
(2001), prediction interval for a new task by Higgins, Thompson and Spiegelhalter
(2009). Below `FEW_TASKS` tasks it is called a case series.
"""

# SciPy ships no types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from slicebench import spec
from slicebench.errors import InputError
from slicebench.statistics import _strata
from slicebench.statistics._evaluate import LEVEL

_optimize: Any = scipy.optimize
_stats: Any = scipy.stats

FEW_TASKS = 8
"""Below this many tasks a summary is a case series."""

_NEEDED = (
    *("name", "task", "target", "dims", "metric", "claim", "kind", "where", "a", "b"),
    *("estimate", "variance"),
)
_VALUES = ("estimate", "low", "high", "prediction_low", "prediction_high")
_SPREAD = ("tau2", "i2", "q", "p_heterogeneity")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooled:
    """Random-effects summary of independent estimates.

    Attributes:
      estimate: Mean over tasks.
      low: Lower end of its interval.
      high: Upper end.
      prediction_low: Lower end of the interval for a new task; None below 3 tasks.
      prediction_high: Upper end.
      tau2: Variance between tasks.
      i2: Share of the spread that is not chance, in [0, 1].
      q: Cochran's Q.
      p: Its p value: that all tasks share one difference.
      weights: Share of each task in the mean.
    """

    estimate: float
    low: float
    high: float
    prediction_low: float | None
    prediction_high: float | None
    tau2: float
    i2: float
    q: float
    p: float
    weights: tuple[float, ...]


def random_effects(
    estimates: Float[np.ndarray, " task"],
    variances: Float[np.ndarray, " task"],
    *,
    level: float = LEVEL,
) -> Pooled:
    """Returns the random-effects summary of independent estimates.

    With w = 1 / (variance + tau2) and tau2 the root of sum w (y - mean)^2 = k - 1 (0
    where the sum is smaller without it), the mean has variance h / sum w,
    h = sum w (y - mean)^2 / (k - 1), and k - 1 degrees of freedom (Hartung and
    Knapp). Where tasks agree by luck h falls below 1 and would promise more than
    the tasks' own standard errors do, so h is never below 1: the interval is
    never narrower than the fixed-effect one. The prediction interval has k - 2
    degrees of freedom.

    Args:
      estimates: One a task, at least two.
      variances: Of the estimates, above 0.
      level: Confidence level in (0, 1).

    Raises:
      ValueError: Fewer than two tasks, or a variance not above 0.
    """
    count = len(estimates)
    if count < 2 or not (variances > 0).all():
        raise ValueError(
            f"{count} estimates with variances {variances.tolist()}: at least two, "
            "with variances above 0, are needed"
        )
    tau2 = _paule_mandel(estimates, variances)
    weights = 1 / (variances + tau2)
    mean = float(weights @ estimates / weights.sum())
    q = _spread(estimates, variances, 0.0)
    h = max(1.0, _spread(estimates, variances, tau2) / (count - 1))
    error2 = h / float(weights.sum())
    half = float(_stats.t.ppf(0.5 + level / 2, count - 1)) * math.sqrt(error2)
    wide = None
    if count > 2:
        quantile = float(_stats.t.ppf(0.5 + level / 2, count - 2))
        wide = quantile * math.sqrt(tau2 + error2)
    return Pooled(
        estimate=mean,
        low=mean - half,
        high=mean + half,
        prediction_low=None if wide is None else mean - wide,
        prediction_high=None if wide is None else mean + wide,
        tau2=tau2,
        i2=max(0.0, 1 - (count - 1) / q) if q > 0 else 0.0,
        q=q,
        p=float(_stats.chi2.sf(q, count - 1)),
        weights=tuple((weights / weights.sum()).tolist()),
    )


def _spread(
    estimates: Float[np.ndarray, " task"],
    variances: Float[np.ndarray, " task"],
    tau2: float,
) -> float:
    """Returns the weighted sum of squares around the weighted mean."""
    weights = 1 / (variances + tau2)
    mean = weights @ estimates / weights.sum()
    return float(weights @ (estimates - mean) ** 2)


def _paule_mandel(
    estimates: Float[np.ndarray, " task"], variances: Float[np.ndarray, " task"]
) -> float:
    free = len(estimates) - 1

    def excess(tau2: float) -> float:
        return _spread(estimates, variances, tau2) - free

    if excess(0.0) <= 0:
        return 0.0
    # There every weight is at most 1 / most: the sum cannot exceed free.
    most = float(((estimates - estimates.mean()) ** 2).sum()) / free
    return float(_optimize.brentq(excess, 0.0, most, xtol=most * 1e-12))


def pool_contrasts(
    entries: Sequence[Mapping[str, Any]], *, level: float = LEVEL
) -> list[dict[str, Any]]:
    """Summarises contrasts over tasks.

    Contrasts of one name that claim the same of the same sides are pooled per dims
    and metric, over budgets and densities (a contrast of interpolations: per
    density). Give the `strata_means` of one summary.json or of several: there the
    strata of a task are averaged with their shared seeds and cases respected. Where
    a task still has several entries (contrasts given one by one, other folders, other
    targets of the same patients) their mean's standard error is the mean of theirs,
    as if they moved together: it cannot be too small.

    Left out, with reasons: contrasts that may not be pooled (`poolable`: coverage
    above `MOST_COVERAGE`, choices identical by construction) or have no interval
    over seeds and cases.

    Args:
      entries: Entries of `evaluate` or `strata_means`, of any number of folders.
      level: Confidence level of the intervals in (0, 1).

    Returns:
      One JSON-ready mapping a question that was put to two tasks or more: name,
      dims, metric, claim, kind, primary, a, b, where (what strata share), level,
      num_tasks, members (task, target, estimate, low, high, variance, weight,
      num_strata, num_seeds, num_cases), left_out (task, name, reason), estimate,
      low, high, prediction_low, prediction_high,
      tau2, i2, q, p_heterogeneity, case_series and reason (why there is no summary:
      too many tasks are left out).

    Raises:
      InputError: An entry lacks a field.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        missing = [name for name in _NEEDED if name not in entry]
        if missing:
            raise InputError(f"contrast {entry.get('name')!r}: missing {missing}")
        key = spec.canonical_json(_strata.shared(entry))
        groups.setdefault(key, []).append(entry)
    return [
        _summary(group, level)
        for group in groups.values()
        if len({entry["task"] for entry in group}) > 1
    ]


def _summary(entries: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any]:
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    left: list[dict[str, Any]] = []
    for entry in entries:
        reason = _strata.barred(entry)
        if reason is None:
            by_task.setdefault(entry["task"], []).append(entry)
        else:
            left.append(
                {"task": entry["task"], "name": entry["name"], "reason": reason}
            )
        left += entry.get("left_out", [])
    members = [_member(group, level) for group in by_task.values()]
    summary: dict[str, Any] = {
        **_strata.shared(entries[0]),
        "level": level,
        "num_tasks": len(members),
        "members": members,
        "left_out": left,
        **dict.fromkeys((*_VALUES, *_SPREAD)),
        "case_series": len(members) < FEW_TASKS,
        "reason": None,
    }
    if len(members) < 2:
        return summary | {"reason": "fewer than two tasks may be pooled"}
    pooled = random_effects(
        np.array([member["estimate"] for member in members]),
        np.array([member["variance"] for member in members]),
        level=level,
    )
    for member, weight in zip(members, pooled.weights, strict=True):
        member["weight"] = weight
    summary |= {name: getattr(pooled, name) for name in (*_VALUES, *_SPREAD[:3])}
    return summary | {"p_heterogeneity": pooled.p}


def _member(entries: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any]:
    """Returns the mean of one task's entries, as if they moved together."""
    estimate = float(np.mean([entry["estimate"] for entry in entries]))
    error = float(np.mean([math.sqrt(entry["variance"]) for entry in entries]))
    df = min(entry["df"] for entry in entries)
    half = float(_stats.t.ppf(0.5 + level / 2, df)) * error
    return {
        "task": entries[0]["task"],
        "target": " + ".join(sorted({entry["target"] for entry in entries})),
        "estimate": estimate,
        "low": estimate - half,
        "high": estimate + half,
        "variance": error**2,
        "weight": None,
        "num_strata": sum(entry.get("num_strata", 1) for entry in entries),
        "num_seeds": min(entry["num_seeds"] for entry in entries),
        "num_cases": min(entry["num_cases"] for entry in entries),
    }
