"""Planned contrasts in, estimates with intervals and verdicts out."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from slicebench import spec
from slicebench.errors import InputError
from slicebench.statistics import (
    _components,
    _effects,
    _index,
    _intervals,
    _supplement,
    _verdicts,
)
from slicebench.statistics._margins import Margin, slices_saved

LEVEL = 0.95
NARROW_LEVEL = 0.90
"""Confidence of the interval, and of the one that equivalence is read from."""

Place = _index.Place
Margins = Mapping[Place, Margin]

_FIELDS = ("name", "family", "claim", "task", "target", "dims", "metric", "a", "b")
_NEEDED = (*_FIELDS, "primary", "kind", "where")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Finding:
    """Oriented effects of one contrast, fold by fold, or why there are none."""

    folds: Sequence[_effects.SeedRows] = ()
    num_cells: int = 0
    reason: str | None = None


def evaluate(
    contrasts: Sequence[Mapping[str, Any]],
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    margins: Margins,
    seed: int = 0,
    resamples: int = 2000,
    drop_diverged: bool = False,
    drop_unseen: bool = False,
    supplement: bool = True,
) -> list[dict[str, Any]]:
    """Evaluates planned contrasts, paired by seed and case.

    Holm's adjustment runs over all primary contrasts of one family name. A
    contrast that the results cannot speak to is `inconclusive` with a `reason`
    and still counts in its family.

    Args:
      contrasts: Expanded contrasts as in experiment.json: the fields of
        `spec.Contrast` with task, target and dims. A value of `where`, `a` or
        `b` may be a list: any of these. In a slope `a` and `b` only name ends.
      results: Tidy scores, or their index.
      trials: Trials table.
      margins: Margin by (task, target, dims, metric); without one
        noninferiority and equivalence are not tested.
      seed: Seed of the bootstrap; each contrast has its own stream.
      resamples: Bootstrap resamples.
      drop_diverged: Leaves diverged trials out (sensitivity); otherwise they
        count with the scores of empty predictions.
      drop_unseen: Leaves out trials in which a class was never annotated.
      supplement: Adds tests over seeds, components and plan (`_supplement`).

    Returns:
      One JSON-ready entry a contrast, in the given order. The four p values of
      the claims are adjusted (None outside primary families), those that end in
      `_raw` are not; `variance` is that of the estimate.

    Raises:
      InputError: A contrast lacks a field.
    """
    index = _index_of(results, trials, drop_diverged, drop_unseen)
    entries: list[dict[str, Any]] = []
    sizes = Counter(c.get("family") for c in contrasts if c.get("primary"))
    for contrast in contrasts:
        missing = [name for name in _NEEDED if name not in contrast]
        if missing:
            raise InputError(f"contrast {contrast.get('name')!r}: missing {missing}")
        finding = _find(contrast, index)
        margin = margins.get(place_of(contrast))
        entry = _entry(
            contrast, finding, margin, _stream(contrast, seed, "bootstrap"), resamples
        )
        if supplement and finding.folds:
            entry |= _supplement.supplement(
                finding.folds,
                _components.estimate_effect(finding.folds),
                claim=contrast["claim"],
                margin=margin.value if margin else None,
                num_contrasts=sizes[contrast["family"]] if contrast["primary"] else 1,
                generator=_stream(contrast, seed, "sign flip"),
            )
        entries.append(entry)
    _adjust(entries)
    return entries


def _index_of(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    drop_diverged: bool,
    drop_unseen: bool,
) -> Mapping[Place, _index.Scores]:
    kept = np.ones(len(trials), bool)
    if drop_diverged:
        kept &= ~diverged(trials)
    if drop_unseen:
        kept &= ~unseen_class(trials)
    if isinstance(results, _index.ScoreIndex):
        index = results.among(trials)
        return index if kept.all() else index.where(kept)
    chosen = _effects.take(trials, kept)
    known = results["trial_id"].isin(chosen["trial_id"].tolist())
    return _index.index_scores(_effects.take(results, known.to_numpy(bool)), chosen)


def diverged(trials: pd.DataFrame) -> np.ndarray:
    """Marks trials that did not end as they should."""
    return trials["status"].to_numpy(object) != "ok"


def unseen_class(trials: pd.DataFrame) -> np.ndarray:
    """Marks trials whose annotated slices never show one of their classes."""
    # Many trials share one text.
    codes, texts = pd.factorize(trials["foreground_by_class"])
    counts = [json.loads(text).values() for text in texts]
    unseen = [any(not c["slices"] for c in group) for group in counts]
    return np.array(unseen, bool)[codes]


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


def _stream(
    contrast: Mapping[str, Any], seed: int, purpose: str
) -> np.random.Generator:
    text = spec.canonical_json(contrast)
    return np.random.default_rng(spec.derive_seed(seed, purpose, text))


def place_of(contrast: Mapping[str, Any]) -> Place:
    names = ("task", "target", "dims", "metric")
    return cast(Place, tuple(contrast[name] for name in names))


def weights_of(
    contrast: Mapping[str, Any], table: _index.CellTable
) -> dict[_index.Cell, float]:
    """Returns the weight of each cell in the estimate of a contrast.

    Raises:
      NotComparableError: The trials cannot speak to it.
    """
    where = contrast["where"]
    if contrast["kind"] == "slope":
        return _effects.slope_weights(table, where)
    return _effects.difference_weights(table, where, contrast["a"], contrast["b"])


def oriented(
    scores: _index.Scores, weights: Mapping[_index.Cell, float], metric: str
) -> list[_effects.SeedRows]:
    """Returns a weighted sum of cells by seed and case; more is better.

    Raises:
      NotComparableError: The cells share no seed, or no case has a score.
    """
    sign = _effects.orientation(metric)
    return [
        dataclasses.replace(rows, values=sign * rows.values)
        for rows in _effects.seed_rows(scores, weights)
    ]


def _find(
    contrast: Mapping[str, Any], index: Mapping[Place, _index.Scores]
) -> _Finding:
    scores = index.get(place_of(contrast))
    if scores is None:
        return _Finding(reason="no finished trials with this score")
    try:
        weights = weights_of(contrast, scores.table)
        folds = oriented(scores, weights, contrast["metric"])
    except _index.NotComparableError as error:
        return _Finding(reason=str(error))
    return _Finding(folds=folds, num_cells=len(weights))


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
        ("estimate", "low", "high", "low90", "high90", "variance", "df", "method")
    )
    entry |= dict.fromkeys(("slices_saved", *_supplement.NAMES))
    entry |= {"bootstrap_low": None, "bootstrap_high": None, "negligible": False}
    entry |= {"num_seeds": 0, "num_cases": 0, "num_cells": finding.num_cells}
    entry |= {"few_seeds": True, "few_cases": True}
    if not finding.folds:
        return entry
    estimate = _components.estimate_effect(finding.folds)
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
        [_effects.by_selection(rows) for rows in finding.folds],
        level=LEVEL,
        resamples=resamples,
        generator=generator,
    )
    raw = _verdicts.p_values(estimate, value)
    entry |= {"low": low, "high": high, "low90": low90, "high90": high90}
    entry |= {"bootstrap_low": bootstrap[0], "bootstrap_high": bootstrap[1]}
    entry |= {"variance": estimate.variance, "df": estimate.df}
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
