"""Looks of a run, taken again from its stored results: equal rows, equal decisions."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import scipy.stats

from slicebench.results import read_json
from slicebench.statistics import _effects, _index, _intervals, _looks, _verdicts
from slicebench.statistics._cells import split_false_positives
from slicebench.statistics._margins import FIXED_MARGINS, development_margin

_stats: Any = scipy.stats

LOOKS_FILE = "looks.json"
"""File of a work folder that was run look by look."""

_ALL = "contrasts"
_PLACE = ("task", "target", "dims", "metric")
_NAMES = ("name", "family", "claim", *_PLACE)


def replay_looks(
    contrasts: Sequence[Mapping[str, Any]],
    results: pd.DataFrame,
    trials: pd.DataFrame,
    *,
    seeds: Sequence[int],
    taken: int,
) -> list[list[dict[str, Any]]]:
    """Takes the first looks at the primary contrasts of one task and dims.

    A look reads only the trials whose seed is below its number of seeds: what has
    been trained since changes nothing.

    Args:
      contrasts: Expanded contrasts as in experiment.json.
      results: Tidy scores.
      trials: Trials table.
      seeds: Seeds of every planned look, growing.
      taken: Number of looks to take.

    Returns:
      Entries of each look as in looks.json, in the order of the contrasts.
    """
    primary = [contrast for contrast in contrasts if contrast["primary"]]
    split = split_false_positives(results)
    progress = [_looks.Progress() for _ in primary]
    looks: list[list[dict[str, Any]]] = []
    for number in range(taken):
        early = (trials["selection_seed"] < seeds[number]).to_numpy(bool)
        seen_trials = _effects.take(trials, early)
        known = split["trial_id"].isin(seen_trials["trial_id"].tolist())
        rows = _effects.take(split, known.to_numpy(bool))
        index = _index.index_scores(rows, seen_trials)
        found = [_observe(contrast, index, seen_trials) for contrast in primary]
        observations = [seen for seen, _ in found]
        progress = _looks.take_look(primary, observations, progress, seeds, number)
        looks.append(
            [
                _entry(contrast, seen, reason, state, seeds, number)
                for contrast, (seen, reason), state in zip(
                    primary, found, progress, strict=True
                )
            ]
        )
    return looks


def overall_state(states: Sequence[str]) -> str:
    """Returns the state of several contrasts: the least settled of them.

    >>> overall_state(["decided", "case-limited"]), overall_state([])
    ('case-limited', 'decided')
    """
    order = get_args(_looks.State)
    return max(states, key=order.index, default="decided")


def apply_looks(summary: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Returns a summary whose verdicts are those of the looks, where there were any.

    Testing at every look with the level of a single one would err too often, so
    `verdict` becomes the looks' verdict; what a single look at all seeds would say
    stays as `verdict_of_one_look`. A family's joint claim holds where each contrast
    passed its level at some look.

    Args:
      summary: Content of summary.json.
      workdir: Work folder; nothing changes without its looks.json.

    Raises:
      InputError: looks.json cannot be read.
    """
    if not (workdir / LOOKS_FILE).is_file():
        return summary
    looks = read_json(workdir / LOOKS_FILE)
    newest = {
        _key(entry): entry for look in looks["looks"] for entry in look["contrasts"]
    }
    contrasts = [_with_look(entry, newest.get(_key(entry))) for entry in summary[_ALL]]
    families = [_joint(family, newest.values()) for family in summary["families"]]
    return {**summary, _ALL: contrasts, "families": families, "looks": looks}


def _with_look(entry: dict[str, Any], look: Mapping[str, Any] | None) -> dict[str, Any]:
    if look is None or not entry["primary"]:
        return entry
    found = {**entry, "verdict": look["verdict"], "state": look["state"]}
    found["verdict_of_one_look"] = entry["verdict"]
    margin, low, high = look["margin"], look["low90"], look["high90"]
    inside = None not in (margin, low, high) and -margin < low and high < margin
    found["negligible"] = inside and look["verdict"] in ("superior", "inferior")
    return found


def _joint(family: dict[str, Any], looks: Any) -> dict[str, Any]:
    ours = [
        look["claim_holds"]
        for look in looks
        if (look["family"], look["claim"]) == (family["family"], family["claim"])
    ]
    return {**family, "all_hold": all(ours)} if ours else family


def _key(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("name", "family", *_PLACE))


def _observe(
    contrast: Mapping[str, Any],
    index: Mapping[tuple[str, str, str, str], _index.Scores],
    trials: pd.DataFrame,
) -> tuple[_looks.Observation | None, str | None]:
    """Returns what a look sees of a contrast, or why it sees nothing."""
    task, target, dims, metric = (str(contrast[name]) for name in _PLACE)
    scores = index.get((task, target, dims, metric))
    if scores is None:
        return None, "no finished trials with this score"
    try:
        rows = _effects.seed_rows(scores, _weights(contrast, scores))
    except _index.NotComparableError as error:
        return None, str(error)
    margin = None
    if metric in FIXED_MARGINS:
        margin = development_margin(trials, task, target, dims, metric).value
    sign = _effects.orientation(metric)
    folds = [sign * _effects.by_selection(fold) for fold in rows]
    effective = [fold.effective_cases for fold in rows]
    seen = _looks.observe(folds, margin, effective_cases=effective)
    if seen is None:
        method = _intervals.estimate_mean(folds).method
        return None, f"interval over {method}: no verdict"
    return seen, None


def _weights(
    contrast: Mapping[str, Any], scores: _index.Scores
) -> dict[_index.Cell, float]:
    where, a, b = contrast["where"], contrast["a"], contrast["b"]
    if contrast["kind"] == "slope":
        return _effects.slope_weights(scores.table, where)
    return _effects.difference_weights(scores.table, where, a, b)


def _entry(
    contrast: Mapping[str, Any],
    seen: _looks.Observation | None,
    reason: str | None,
    progress: _looks.Progress,
    seeds: Sequence[int],
    number: int,
) -> dict[str, Any]:
    """Returns one contrast at one look, JSON-ready."""
    entry: dict[str, Any] = {name: contrast[name] for name in _NAMES}
    entry |= {"look": number + 1, "seeds": seeds[number], "num_cases": 0}
    entry |= dict.fromkeys(("information", "information_fraction", "estimate"))
    entry |= dict.fromkeys(("low", "high", "low90", "high90", "margin"))
    entry |= dict.fromkeys(("level_one_sided", "level_equivalence"))
    entry |= dict.fromkeys(_verdicts.P_VALUES)
    if seen is not None:
        entry |= _numbers(seen, progress, seeds, number)
    return entry | {
        "claim_holds": progress.holds,
        "verdict": progress.verdict,
        "state": progress.state,
        "reason": reason,
    }


def _numbers(
    seen: _looks.Observation,
    progress: _looks.Progress,
    seeds: Sequence[int],
    number: int,
) -> dict[str, Any]:
    now, end = seen.variance(1.0), seen.variance(seeds[-1] / seeds[number])
    one_sided = _looks.level(progress, _verdicts.ONE_SIDED)
    equivalence = _looks.level(progress, _verdicts.TOST)
    low, high = _repeated(seen.estimate, one_sided)
    low90, high90 = _repeated(seen.estimate, equivalence)
    return {
        "num_cases": seen.estimate.num_cases,
        "information": 1 / now if now > 0 else None,
        "information_fraction": end / now if now > 0 else 1.0,
        "estimate": seen.estimate.mean,
        "low": low,
        "high": high,
        "low90": low90,
        "high90": high90,
        "margin": seen.margin,
        "level_one_sided": one_sided,
        "level_equivalence": equivalence,
        **_verdicts.p_values(seen.estimate, seen.margin),
    }


def _repeated(
    estimate: _intervals.Estimate, level: float
) -> tuple[float | None, float | None]:
    """Returns the repeated confidence interval (Jennison and Turnbull 1989)."""
    if level <= 0:
        return None, None
    half = float(_stats.t.isf(level, estimate.df)) * estimate.error
    ends = estimate.mean - half, estimate.mean + half
    return ends if all(map(math.isfinite, ends)) else (None, None)
