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
from slicebench.statistics._evaluate import Margins, Place, evaluate, families
from slicebench.statistics._margins import FIXED_MARGINS, Margin, development_margin
from slicebench.statistics._replay import apply_looks

SUMMARY_SCHEMA = 1
"""Number of the layout of experiment.json and summary.json."""

_EFFECT = ("name", "task", "target", "dims", "metric")
_EFFECT_VALUES = ("estimate", "low", "high", "num_seeds", "verdict")


def summarise(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the content of summary.json, from experiment.json and the store.

    Args:
      workdir: Work folder of a run, finished or not.

    Returns:
      JSON-ready mapping: schema_version, experiment, contrasts (`evaluate`),
      families (`families`), margins, best_allocations (one a slope contrast,
      with its place and allocations) and sensitivity (the contrasts without
      diverged trials and without trials that never saw a class, each only
      where there are such trials).

    Raises:
      InputError: experiment.json or a part cannot be used.
    """
    folder = Path(workdir)
    experiment = _read_experiment(folder / "experiment.json")
    store = Store(folder)
    trials = store.read_trials()
    results = split_false_positives(store.read_results())
    contrasts: list[dict[str, Any]] = experiment["contrasts"]
    margins = _margins(contrasts, trials)
    entries = evaluate(contrasts, results, trials, margins=margins)
    summary = {
        "schema_version": SUMMARY_SCHEMA,
        "experiment": experiment["experiment"],
        "contrasts": entries,
        "families": families(entries),
        "margins": [_margin_entry(place, m) for place, m in margins.items()],
        "best_allocations": _best(entries, results, trials),
        "sensitivity": _sensitivity(contrasts, entries, results, trials, margins),
    }
    return apply_looks(summary, folder)


def write_summary(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Writes summary.json into a work folder and returns its content.

    Raises:
      InputError: experiment.json or a part cannot be used.
    """
    summary = summarise(workdir)
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
        place = (
            contrast["task"],
            contrast["target"],
            contrast["dims"],
            contrast["metric"],
        )
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
    entries: Sequence[Mapping[str, Any]], results: pd.DataFrame, trials: pd.DataFrame
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
    results: pd.DataFrame,
    trials: pd.DataFrame,
    margins: Margins,
) -> list[dict[str, Any]]:
    """Returns what changes where some trials are left out."""
    tables: list[dict[str, Any]] = []
    for option in ("drop_diverged", "drop_unseen"):
        # Only estimate and t interval are compared: one resample is enough.
        again = evaluate(
            contrasts,
            results,
            trials,
            margins=margins,
            resamples=1,
            drop_diverged=option == "drop_diverged",
            drop_unseen=option == "drop_unseen",
        )
        changed = [
            {
                **{key: new[key] for key in (*_EFFECT, *_EFFECT_VALUES)},
                "verdict_of_all_trials": old["verdict"],
            }
            for new, old in zip(again, entries, strict=True)
            if any(new[key] != old[key] for key in _EFFECT_VALUES)
        ]
        tables.append({"option": option, "contrasts": changed})
    return tables
