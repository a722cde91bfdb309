"""Planned contrasts in, estimates with intervals and verdicts out."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from slicebench import spec
from slicebench.errors import InputError
from slicebench.statistics import _effects, _intervals, _verdicts
from slicebench.statistics._margins import Margin, slices_saved

LEVEL = 0.95
NARROW_LEVEL = 0.90
"""Confidence of the interval, and of the one that equivalence is read from."""

Place = tuple[str, str, str, str]
Margins = Mapping[Place, Margin]

_FIELDS = ("name", "family", "claim", "task", "target", "dims", "metric", "a", "b")
_NEEDED = (*_FIELDS, "primary", "kind", "where")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Finding:
    """Matrices of one contrast, or why there are none."""

    folds: Sequence[Float[np.ndarray, "_seed _case"]] = ()
    num_cells: int = 0
    reason: str | None = None


def evaluate(
    contrasts: Sequence[Mapping[str, Any]],
    results: pd.DataFrame,
    trials: pd.DataFrame,
    *,
    margins: Margins,
    seed: int = 0,
    resamples: int = 2000,
    drop_diverged: bool = False,
    drop_unseen: bool = False,
) -> list[dict[str, Any]]:
    """Evaluates planned contrasts, paired by seed and case.

    Holm's adjustment runs over all primary contrasts of one family name. A
    contrast that the results cannot speak to is `inconclusive` with a `reason`
    and still counts in its family.

    Args:
      contrasts: Expanded contrasts as in experiment.json: the fields of
        `spec.Contrast` with task, target and dims. A value of `where`, `a` or
        `b` may be a list: any of these. In a slope `a` and `b` only name ends.
      results: Tidy scores.
      trials: Trials table.
      margins: Margin by (task, target, dims, metric); without one
        noninferiority and equivalence are not tested.
      seed: Seed of the bootstrap; each contrast has its own stream.
      resamples: Bootstrap resamples.
      drop_diverged: Leaves diverged trials out (sensitivity); otherwise they
        count with the scores of empty predictions.
      drop_unseen: Leaves out trials in which a class was never annotated.

    Returns:
      One JSON-ready entry a contrast, in the given order. `p_*` are adjusted
      (None outside primary families), `p_*_raw` are not.

    Raises:
      InputError: A contrast lacks a field.
    """
    kept = trials
    if drop_diverged:
        kept = _effects.take(kept, (kept["status"] == "ok").to_numpy(bool))
    if drop_unseen:
        kept = _effects.take(kept, ~unseen_class(kept))
    known = results["trial_id"].isin(kept["trial_id"].tolist())
    rows = _effects.take(results, known.to_numpy(bool))
    index = _effects.index_scores(rows, kept)
    entries: list[dict[str, Any]] = []
    for contrast in contrasts:
        missing = [name for name in _NEEDED if name not in contrast]
        if missing:
            raise InputError(f"contrast {contrast.get('name')!r}: missing {missing}")
        finding = _find(contrast, index)
        stream = spec.derive_seed(seed, "bootstrap", spec.canonical_json(contrast))
        generator = np.random.default_rng(stream)
        margin = margins.get(_place(contrast))
        entries.append(_entry(contrast, finding, margin, generator, resamples))
    _adjust(entries)
    return entries


def unseen_class(trials: pd.DataFrame) -> np.ndarray:
    """Marks trials whose annotated slices never show one of their classes."""
    texts = trials["foreground_by_class"].tolist()
    counts = [json.loads(text).values() for text in texts]
    return np.array([any(not c["slices"] for c in group) for group in counts], bool)


def families(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Summarises each primary family whose contrasts claim the same.

    A family's joint claim (every contrast noninferior, say) is an intersection-
    union test: its p value is the largest unadjusted one (Berger 1982).

    Args:
      entries: What `evaluate` returned.

    Returns:
      One mapping a family: family, claim, num_contrasts, p_all (None where one
      could not be tested), all_hold.
    """
    groups: dict[tuple[str, str], list[float | None]] = {}
    for entry in entries:
        if entry["primary"]:
            raw = entry[f"p_{entry['claim']}_raw"]
            raw = None if entry["reason"] else raw
            groups.setdefault((entry["family"], entry["claim"]), []).append(raw)
    summaries: list[dict[str, Any]] = []
    for (family, claim), values in groups.items():
        known = [value for value in values if value is not None]
        p_all = max(known) if len(known) == len(values) else None
        level = _verdicts.TOST if claim == "equivalent" else _verdicts.ONE_SIDED
        summaries.append(
            {
                "family": family,
                "claim": claim,
                "num_contrasts": len(values),
                "p_all": p_all,
                "all_hold": p_all is not None and p_all <= level,
            }
        )
    return summaries


def _place(contrast: Mapping[str, Any]) -> Place:
    names = ("task", "target", "dims", "metric")
    return cast(Place, tuple(contrast[name] for name in names))


def _find(
    contrast: Mapping[str, Any], index: Mapping[Place, _effects.Scores]
) -> _Finding:
    scores = index.get(_place(contrast))
    if scores is None:
        return _Finding(reason="no finished trials with this score")
    where, a, b = contrast["where"], contrast["a"], contrast["b"]
    try:
        if contrast["kind"] == "slope":
            weights = _effects.slope_weights(scores.trials, where)
        else:
            weights = _effects.difference_weights(scores.trials, where, a, b)
        folds = _effects.effect_matrices(scores, weights)
    except _effects.NotComparableError as error:
        return _Finding(reason=str(error))
    sign = _effects.orientation(contrast["metric"])
    return _Finding(folds=[sign * m for m in folds], num_cells=len(weights))


def _entry(
    contrast: Mapping[str, Any],
    finding: _Finding,
    margin: Margin | None,
    generator: np.random.Generator,
    resamples: int,
) -> dict[str, Any]:
    value = margin.value if margin else None
    entry: dict[str, Any] = {name: contrast[name] for name in _FIELDS}
    entry |= {name: contrast[name] for name in ("primary", "kind", "where")}
    entry |= {"level": LEVEL, "margin": value, "reason": finding.reason}
    entry |= dict.fromkeys(_verdicts.P_VALUES)
    entry |= dict.fromkeys(f"{name}_raw" for name in _verdicts.P_VALUES)
    entry |= dict.fromkeys(
        ("estimate", "low", "high", "low90", "high90", "df", "method", "slices_saved")
    )
    entry |= {"bootstrap_low": None, "bootstrap_high": None, "negligible": False}
    entry |= {"num_seeds": 0, "num_cases": 0, "num_cells": finding.num_cells}
    entry |= {"few_seeds": True, "few_cases": True}
    if not finding.folds:
        return entry
    estimate = _intervals.estimate_mean(finding.folds)
    entry |= {
        "estimate": estimate.mean,
        "method": estimate.method,
        "num_seeds": estimate.num_seeds,
        "num_cases": estimate.num_cases,
        "few_seeds": estimate.num_seeds < _intervals.FEW_SEEDS,
        "few_cases": estimate.num_cases < _intervals.FEW_CASES,
    }
    if math.isnan(estimate.variance):
        return entry | {"reason": "one seed and one case: no interval"}
    low, high = estimate.interval(LEVEL)
    low90, high90 = estimate.interval(NARROW_LEVEL)
    bootstrap = _intervals.bootstrap_interval(
        finding.folds, level=LEVEL, resamples=resamples, generator=generator
    )
    raw = _verdicts.p_values(estimate, value)
    entry |= {"low": low, "high": high, "low90": low90, "high90": high90}
    entry |= {"bootstrap_low": bootstrap[0], "bootstrap_high": bootstrap[1]}
    entry |= {"df": estimate.df}
    entry |= {f"{name}_raw": p for name, p in raw.items()}
    if estimate.method != "two-way":
        entry["reason"] = f"interval over {estimate.method}: no verdict"
    gain = margin.gain if margin else None
    if gain is not None:
        ends = {"estimate": estimate.mean, "low": low, "high": high}
        entry["slices_saved"] = {k: slices_saved(v, gain) for k, v in ends.items()}
    return entry


def _adjust(entries: Sequence[dict[str, Any]]) -> None:
    """Fills adjusted p values, verdict and `negligible`, family by family."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        entry["verdict"] = "exploratory"
        if entry["primary"]:
            groups.setdefault(entry["family"], []).append(entry)
    for group in groups.values():
        for name in _verdicts.P_VALUES:
            # What one factor's levels alone suggest is no test of the claim.
            raw = [None if e["reason"] else e[f"{name}_raw"] for e in group]
            for entry, value in zip(group, _verdicts.holm(raw), strict=True):
                entry[name] = value
        for entry in group:
            entry["verdict"] = _verdicts.decide(entry)
            if entry["verdict"] in ("superior", "inferior"):
                margin, low, high = entry["margin"], entry["low90"], entry["high90"]
                inside = margin is not None and -margin < low and high < margin
                entry["negligible"] = inside
