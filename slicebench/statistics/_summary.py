"""summary.json: what the results of a work folder support."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from slicebench.errors import InputError
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.statistics._cells import best_allocation, split_false_positives
from slicebench.statistics._components import variance_table
from slicebench.statistics._evaluate import (
    Margins,
    Place,
    diverged,
    evaluate,
    families,
    place_of,
    unseen_class,
)
from slicebench.statistics._index import ScoreIndex
from slicebench.statistics._margins import FIXED_MARGINS, Margin, development_margin
from slicebench.statistics._overlap import contrast_overlaps, has_overlap
from slicebench.statistics._pooling import pool_contrasts
from slicebench.statistics._replay import apply_looks
from slicebench.statistics._strata import COVERAGE_UNKNOWN, strata_means
from slicebench.statistics._stream import read_index

SUMMARY_SCHEMA = 1
"""Number of the layout of experiment.json and summary.json."""

_EFFECT = ("name", "task", "target", "dims", "metric")
_EFFECT_VALUES = ("estimate", "low", "high", "num_seeds", "verdict")


def summarise(
    workdir: str | os.PathLike[str], scores: ScoreIndex | None = None
) -> dict[str, Any]:
    """Returns the content of summary.json, from experiment.json and the store.

    Args:
      workdir: Work folder of a run, finished or not.
      scores: What `read_index` returns of it, where that is at hand.

    Returns:
      What `summarise_tables` returns of it, with the looks of a sequential run.

    Raises:
      InputError: experiment.json or a part cannot be used.
    """
    folder = Path(workdir)
    experiment = _read_experiment(folder / "experiment.json")
    scores = read_index(Store(folder)) if scores is None else scores
    summary = summarise_tables(experiment, scores, scores.trials)
    return apply_looks(summary, folder)


def summarise_tables(
    experiment: Mapping[str, Any],
    results: pd.DataFrame | ScoreIndex,
    trials: pd.DataFrame,
) -> dict[str, Any]:
    """Returns the content of summary.json of results that are at hand.

    Args:
      experiment: Content of experiment.json; `experiment` and `contrasts` are used.
      results: Tidy scores, as the store holds them, of one work folder or more; or
        their index.
      trials: Their trials table.

    Returns:
      JSON-ready mapping:

      - schema_version, experiment (its name).
      - contrasts: `evaluate`'s entries, the reference for their fields. Beside
        estimate, intervals, p values and verdict: `p_sign_flip`, `p_wilcoxon` and
        `wilcoxon_note` (tests over seeds); `components` (sd_seed, sd_case,
        sd_residual of the paired difference); `resolvable`, `seeds_needed`,
        `cases_needed` (see `_supplement`); `poolable` and `not_pooled` (why not).
      - families: one primary family each (`families`).
      - margins: one place (task, target, dims, metric) each, with its source.
      - best_allocations: one slope each, with its place and allocations.
      - sensitivity: the contrasts without diverged trials and without trials that
        never saw a class, each only where there are such trials.
      - variance: components of every cell (`variance_table`), of the metrics that
        contrasts compare.
      - strata_means: each contrast averaged over budgets and densities of a task
        (`strata_means`), what `pool_contrasts` takes, of several folders too.
      - pooled: these over tasks (`pool_contrasts`).
    """
    contrasts: list[dict[str, Any]] = experiment["contrasts"]
    scores = results
    if isinstance(results, pd.DataFrame):
        scores = split_false_positives(results)
    margins = _margins(contrasts, trials)
    entries = evaluate(contrasts, scores, trials, margins=margins)
    barriers = _barriers(contrasts, trials)
    for entry, barrier in zip(entries, barriers, strict=True):
        entry |= {"poolable": barrier is None, "not_pooled": barrier}
    means = strata_means(contrasts, scores, trials, poolable=barriers)
    metrics = sorted({contrast["metric"] for contrast in contrasts}) or ["dice"]
    return {
        "schema_version": SUMMARY_SCHEMA,
        "experiment": experiment["experiment"],
        "contrasts": entries,
        "families": families(entries),
        "margins": [_margin_entry(place, m) for place, m in margins.items()],
        "best_allocations": _best(entries, scores, trials),
        "sensitivity": _sensitivity(contrasts, entries, scores, trials, margins),
        "variance": variance_table(scores, trials, metrics=metrics),
        "strata_means": means,
        "pooled": pool_contrasts(means),
    }


def _barriers(
    contrasts: Sequence[Mapping[str, Any]], trials: pd.DataFrame
) -> list[str | None]:
    """Says of each contrast why it may not be pooled; None where it may."""
    overlaps = iter(contrast_overlaps(contrasts, trials))
    barriers: list[str | None] = []
    for contrast in contrasts:
        barrier = None
        if has_overlap(contrast):
            overlap = next(overlaps)
            if overlap["poolable"] is not True:
                barrier = str(overlap["reason"] or COVERAGE_UNKNOWN)
        barriers.append(barrier)
    return barriers


def write_summary(
    workdir: str | os.PathLike[str], scores: ScoreIndex | None = None
) -> dict[str, Any]:
    """Writes summary.json into a work folder and returns its content.

    Args:
      workdir: Work folder of a run.
      scores: As `summarise` takes it.

    Raises:
      InputError: experiment.json or a part cannot be used.
    """
    summary = summarise(workdir, scores)
    write_json_atomic(Path(workdir) / "summary.json", summary)
    return summary


def _read_experiment(path: Path) -> dict[str, Any]:
    experiment = read_json(path)
    number = experiment.get("schema_version")
    if number != SUMMARY_SCHEMA:
        raise InputError(
            f"{path}: schema_version {number}, this version reads {SUMMARY_SCHEMA}"
        )
    missing = [name for name in ("experiment", "contrasts") if name not in experiment]
    if missing:
        raise InputError(f"{path}: missing {', '.join(missing)}")
    return experiment


def _margins(
    contrasts: Sequence[Mapping[str, Any]], trials: pd.DataFrame
) -> dict[Place, Margin]:
    places: dict[Place, Margin] = {}
    for contrast in contrasts:
        place = place_of(contrast)
        if contrast["metric"] in FIXED_MARGINS and place not in places:
            places[place] = development_margin(trials, *place)
    return places


def _margin_entry(place: Place, margin: Margin) -> dict[str, Any]:
    task, target, dims, metric = place
    return {
        "task": task,
        "target": target,
        "dims": dims,
        "metric": metric,
        "value": margin.value,
        "source": margin.source,
        "alternatives": dict(margin.alternatives),
        "gain": margin.gain,
    }


def _best(
    entries: Sequence[Mapping[str, Any]],
    results: pd.DataFrame | ScoreIndex,
    trials: pd.DataFrame,
) -> list[dict[str, Any]]:
    """Returns the confidence set of each slope that runs along one budget."""
    found: list[dict[str, Any]] = []
    for entry in entries:
        if entry["kind"] != "slope" or entry["estimate"] is None:
            continue
        place = {name: entry[name] for name in ("task", "target", "dims")}
        where = {**entry["where"], **place}
        named = {"contrast": entry["name"], **place, "metric": entry["metric"]}
        named |= {"where": entry["where"], "reason": None, "allocations": []}
        try:
            named["allocations"] = best_allocation(
                results, trials, where=where, metric=entry["metric"]
            )
        except InputError as error:
            named["reason"] = str(error)
        found.append(named)
    return found


def _sensitivity(
    contrasts: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
    results: pd.DataFrame | ScoreIndex,
    trials: pd.DataFrame,
    margins: Margins,
) -> list[dict[str, Any]]:
    """Returns what changes where some trials are left out."""
    tables: list[dict[str, Any]] = []
    dropped = {
        "drop_diverged": bool(diverged(trials).any()),
        "drop_unseen": bool(unseen_class(trials).any()),
    }
    for option, any_dropped in dropped.items():
        if not any_dropped:
            tables.append({"option": option, "contrasts": []})
            continue
        # Only estimate and t interval are compared: one resample is enough.
        again = evaluate(
            contrasts,
            results,
            trials,
            margins=margins,
            resamples=1,
            supplement=False,
            drop_diverged=option == "drop_diverged",
            drop_unseen=option == "drop_unseen",
        )
        changed = [
            {
                **{key: new[key] for key in (*_EFFECT, *_EFFECT_VALUES)},
                "verdict_of_all_trials": old["verdict"],
                "reason": new["reason"],
            }
            for new, old in zip(again, entries, strict=True)
            if any(new[key] != old[key] for key in _EFFECT_VALUES)
        ]
        tables.append({"option": option, "contrasts": changed})
    return tables
