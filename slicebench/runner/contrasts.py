"""Plans the contrasts of a task over its cells; those without cells are dropped."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from slicebench import spec
from slicebench.runner.cells import Cell, base_steps, times
from slicebench.statistics import CEILING

ABSENT = "no cell with"
"""How the reason begins why a contrast is dropped whose cells are not there."""


def plan_contrasts(
    experiment: spec.Experiment,
    info: spec.TaskInfo,
    target: str,
    cells: list[Cell],
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Makes the planned contrasts of one task; those without cells are dropped.

    Returns:
      Contrasts as in experiment.json, and name and reason of each one dropped.
    """
    planned: list[dict[str, Any]] = []
    dropped: list[dict[str, str]] = []
    factors = [cell.factors for cell in cells if cell.factors["strategy"] != CEILING]
    for template in _at_each_factor(experiment):
        for dims in experiment.dims:
            contrast = _in_steps(template, experiment, info, dims)
            rows = [row for row in factors if row["dims"] == dims]
            for each in _each(contrast, rows):
                where = _enough_volumes(contrast, each, rows)
                entry = _entry(contrast, info.name, target, dims, where)
                reason = _missing(contrast, where, rows)
                if reason is None:
                    planned.append(entry)
                elif template in experiment.contrasts:
                    dropped.append({"name": entry["name"], "reason": reason})
    return planned, dropped


def _at_each_factor(experiment: spec.Experiment) -> list[spec.Contrast]:
    """Adds exploratory copies at the other multiples of the schedule's steps.

    Contrasts that name a multiple themselves have none. A copy without cells was not
    asked for: it is not told of.
    """
    made = list(experiment.contrasts)
    if len(experiment.steps_factors) == 1:
        return made
    for factor in experiment.steps_factors:
        made += [
            dataclasses.replace(
                contrast,
                name=f"{contrast.name}, {factor:g} x the steps",
                family=f"{contrast.family}, {factor:g} x the steps",
                primary=False,
                where={**contrast.where, "steps_factor": factor},
            )
            for contrast in experiment.contrasts
            if factor != 1 and not _names_steps(contrast)
        ]
    return made


def _names_steps(contrast: spec.Contrast) -> bool:
    return any(
        axis in side
        for side in (contrast.where, contrast.a, contrast.b, contrast.each)
        for axis in ("steps_factor", "steps")
    )


def _in_steps(
    contrast: spec.Contrast,
    experiment: spec.Experiment,
    info: spec.TaskInfo,
    dims: spec.Dims,
) -> spec.Contrast:
    """Writes multiples of a schedule as steps; one that names none takes 1."""
    steps = base_steps(experiment, info, dims)

    def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in values.items() if k != "steps_factor"}
        if "steps_factor" in values:
            rest["steps"] = times(values["steps_factor"], steps)
        return rest

    sides = {name: resolved(getattr(contrast, name)) for name in ("where", "a", "b")}
    if len(experiment.steps_factors) > 1 and not any(
        "steps" in side for side in sides.values()
    ):
        sides["where"]["steps"] = steps
    # What both sides share says where a contrast holds, not what it compares.
    for name in set(sides["a"]) & set(sides["b"]):
        if sides["a"][name] == sides["b"][name]:
            sides["where"][name] = sides["a"].pop(name)
            del sides["b"][name]
    return dataclasses.replace(contrast, **sides)


def _each(contrast: spec.Contrast, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fixed = dict(contrast.where)
    values = [
        sorted({row[axis] for row in rows if row[axis] is not None})
        for axis in contrast.each
    ]
    return [
        {**fixed, **dict(zip(contrast.each, combination, strict=True))}
        for combination in itertools.product(*values)
    ]


def _enough_volumes(
    contrast: spec.Contrast, where: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Names the densities of a slope where cells of few volumes are left out."""
    if contrast.kind != "slope" or contrast.min_volumes <= 1:
        return where
    found = {
        row["slices_per_volume"]
        for row in _matching(rows, where)
        if row["num_volumes"] >= contrast.min_volumes
    }
    return {**where, "slices_per_volume": sorted(found - {None})}


def _matching(
    rows: list[dict[str, Any]], wanted: dict[str, Any]
) -> list[dict[str, Any]]:
    def fits(row: dict[str, Any]) -> bool:
        return all(
            row[name] in (value if isinstance(value, list | tuple) else [value])
            for name, value in wanted.items()
        )

    return [row for row in rows if fits(row)]


def _missing(
    contrast: spec.Contrast, where: dict[str, Any], rows: list[dict[str, Any]]
) -> str | None:
    if contrast.kind == "slope":
        found = {row["slices_per_volume"] for row in _matching(rows, where)} - {None}
        return None if len(found) > 1 else "fewer than two densities to compare"
    for side in (contrast.a, contrast.b):
        if not _matching(rows, {**where, **side}):
            wanted = ", ".join(f"{k}={v}" for k, v in {**where, **side}.items())
            return f"{ABSENT} {wanted}"
    return None


def _entry(
    contrast: spec.Contrast,
    task: str,
    target: str,
    dims: spec.Dims,
    where: dict[str, Any],
) -> dict[str, Any]:
    suffix = ", ".join(f"{axis} {where[axis]}" for axis in contrast.each)
    return {
        "name": f"{contrast.name} ({suffix})" if suffix else contrast.name,
        "family": f"{contrast.family}: {task}, {dims}",
        "claim": contrast.claim,
        "primary": contrast.primary,
        "kind": contrast.kind,
        "metric": contrast.metric,
        "task": task,
        "target": target,
        "dims": dims,
        "where": where,
        "a": dict(contrast.a),
        "b": dict(contrast.b),
    }
