"""The mean of one contrast over its strata, such as budgets and densities.

A contrast is planned once for every budget or density of a task. These share seeds
and test cases, so their estimates move together: their mean is evaluated as one
weighted sum of cells, seed by seed and case by case, which has its covariance in it.
"""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from slicebench import spec
from slicebench.statistics import _components, _effects, _evaluate, _index, _overlap

_STRATA = ("budget", "num_volumes", "slices_per_volume", "steps")
"""Factors that a task's strata, or tasks, differ in; steps are set per task."""

_DENSITY = "slices_per_volume"

_IDENTICAL = "identical by construction: every score is the same on both sides"
COVERAGE_UNKNOWN = "coverage of the choices is not known"


def shared(contrast: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what makes contrasts of several strata and tasks one question.

    Interpolation is judged per density, all else over densities.

    >>> shared(dict(name="x (budget 8)", where={"budget": 8}, a={}, b={},
    ...     dims="2d", metric="dice", claim="superior", kind="slope"))["name"]
    'x'
    """
    a, b = (_without(contrast.get(side, {}), ("steps",)) for side in "ab")
    name = _base_name(contrast["name"], contrast["where"])
    dropped = _STRATA
    if "interpolation" in a or "interpolation" in b:
        dropped = tuple(factor for factor in _STRATA if factor != _DENSITY)
        if _DENSITY in contrast["where"]:
            name += f" ({_DENSITY} {contrast['where'][_DENSITY]})"
    return {
        "name": name,
        **{name: contrast[name] for name in ("dims", "metric", "claim", "kind")},
        "primary": contrast.get("primary", False),
        "a": a,
        "b": b,
        "where": _without(contrast["where"], dropped),
    }


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _base_name(name: str, where: Mapping[str, Any]) -> str:
    """Cuts the `(budget 24, ...)` that planning appends for every stratum."""
    base, opened, end = name.rpartition(" (")
    parts = end.removesuffix(")").split(", ")
    planned = {f"{axis} {value}" for axis, value in where.items()}
    return base if opened and planned.issuperset(parts) else name


def barred(entry: Mapping[str, Any]) -> str | None:
    """Says why an entry may not be pooled; None if it may.

    Contrasts of strategies need a known `poolable`.
    """
    if entry.get("poolable", True) is not True:
        return entry.get("not_pooled") or COVERAGE_UNKNOWN
    if "poolable" not in entry and _overlap.has_overlap(entry):
        return COVERAGE_UNKNOWN
    if entry["estimate"] is None or entry["variance"] is None:
        return entry.get("reason") or "no interval"
    if entry["variance"] == 0:
        return _IDENTICAL if entry["estimate"] == 0 else "no spread"
    return entry.get("reason")


def strata_means(
    contrasts: Sequence[Mapping[str, Any]],
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    poolable: Sequence[str | None],
) -> list[dict[str, Any]]:
    """Averages each contrast over its strata within a task.

    Args:
      contrasts: Expanded contrasts as in experiment.json.
      results: Tidy scores, or their index.
      trials: Trials table.
      poolable: For each contrast None where it may be pooled, else why not.

    Returns:
      One JSON-ready mapping a task and target, in the form of a contrast: what
      `shared` returns, task, target, estimate, low, high, level, variance, df, method,
      num_seeds, num_cases, num_strata, strata (names), left_out (task, name,
      reason), poolable and reason (why there is no estimate).
    """
    index = _index.index_scores(results, trials)
    groups: dict[str, list[int]] = {}
    for number, contrast in enumerate(contrasts):
        place = [contrast["task"], contrast["target"]]
        key = spec.canonical_json([shared(contrast), place])
        groups.setdefault(key, []).append(number)
    return [
        _mean([contrasts[n] for n in group], index, [poolable[n] for n in group])
        for group in groups.values()
    ]


def _mean(
    contrasts: Sequence[Mapping[str, Any]],
    index: Mapping[_evaluate.Place, _index.Scores],
    poolable: Sequence[str | None],
) -> dict[str, Any]:
    first = contrasts[0]
    scores = index.get(_evaluate.place_of(first))
    kept: list[tuple[str, dict[_index.Cell, float]]] = []
    left: list[dict[str, Any]] = []
    for contrast, barrier in zip(contrasts, poolable, strict=True):
        weights, reason = _weights(contrast, scores) if not barrier else ({}, barrier)
        if reason is None:
            kept.append((contrast["name"], weights))
        else:
            named = {"task": first["task"], "name": contrast["name"]}
            left.append({**named, "reason": reason})
    entry: dict[str, Any] = {
        **shared(first),
        "task": first["task"],
        "target": first["target"],
        "level": _evaluate.LEVEL,
        **dict.fromkeys(("estimate", "low", "high", "variance", "df", "method")),
        "num_seeds": 0,
        "num_cases": 0,
        "num_strata": len(kept),
        "strata": [name for name, _ in kept],
        "left_out": left,
        "poolable": True,
        "reason": None if kept else "no stratum may be pooled",
    }
    if not kept or scores is None:
        return entry
    return entry | _estimate(scores, [weights for _, weights in kept], first["metric"])


def _weights(
    contrast: Mapping[str, Any], scores: _index.Scores | None
) -> tuple[dict[_index.Cell, float], str | None]:
    if scores is None:
        return {}, "no finished trials with this score"
    try:
        weights = _evaluate.weights_of(contrast, scores.table)
        rows = _effects.seed_rows(scores, weights)
    except _index.NotComparableError as error:
        return {}, str(error)
    differ = any(part.values.any() for part in rows)
    return weights, None if differ else _IDENTICAL


def _estimate(
    scores: _index.Scores,
    strata: Sequence[Mapping[_index.Cell, float]],
    metric: str,
) -> dict[str, Any]:
    """Returns the estimate of the mean over strata."""
    total: dict[_index.Cell, float] = {}
    for weights in strata:
        for cell, weight in weights.items():
            total[cell] = total.get(cell, 0.0) + weight / len(strata)
    try:
        rows = _evaluate.oriented(scores, total, metric)
    except _index.NotComparableError as error:
        return {"reason": f"over strata {error}"}
    estimate = _components.estimate_effect(rows)
    found: dict[str, Any] = {
        "estimate": estimate.mean,
        "method": estimate.method,
        "num_seeds": estimate.num_seeds,
        "num_cases": estimate.num_cases,
    }
    if math.isnan(estimate.variance):
        return found | {"reason": "one seed and one case: no interval"}
    low, high = estimate.interval(_evaluate.LEVEL)
    found |= {"low": low, "high": high}
    found |= {"variance": estimate.variance, "df": estimate.df}
    two_way = estimate.method == "two-way"
    return found | {"reason": None if two_way else f"interval over {estimate.method}"}
