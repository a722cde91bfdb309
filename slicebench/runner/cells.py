"""From an experiment and a task to cells: what is trained and what is left out."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from typing import Any

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.experiments import resolve
from slicebench.selection import VOLUME_STRATEGIES, lookup, uses_features
from slicebench.statistics import CEILING

ABSENT = "no cell with"
"""How the reason begins why a contrast is dropped whose cells are not there."""

_RANDOM_AT_ONE = ("fixed_interval", "stratified")
"""Strategies whose one slice of a volume is drawn uniformly over its depth."""

AXES_THAT_FIT = ("budgets", "slices_per_volume")
"""Axes of an experiment whose values may not fit a task."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of factors; its trials differ in seeds only.

    Attributes:
      factors: Values of `spec.CELL_FIELDS` other than task and target.
      seeds: Number of trials.
    """

    factors: dict[str, Any]
    seeds: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A combination that is not trained, and why."""

    cell: dict[str, Any]
    reason: str


def make_cells(
    experiment: spec.Experiment,
    info: spec.TaskInfo,
    *,
    total_slices: int,
    given: Collection[str] = AXES_THAT_FIT,
) -> tuple[list[Cell], list[LeftOut]]:
    """Returns the cells of one task, and those that do not fit, with reasons.

    Args:
      experiment: Axes, flags already laid over.
      info: The task.
      total_slices: Slices of the whole pool, the budget of the ceiling.
      given: Axes whose every value was asked for; values of the others are
        left out where they do not fit.

    Raises:
      InputError: A given budget or density that no cell of the task can meet,
        or a task that no cell of the experiment fits.
    """
    cells: list[Cell] = []
    left: list[LeftOut] = []
    for factors in _combinations(experiment, info):
        reason = _misfit(factors, experiment, info)
        if reason is None:
            fitting = _without_quota(factors)
            cells.append(Cell(factors=fitting, seeds=experiment.num_seeds))
        else:
            left.append(LeftOut(cell={"task": info.name, **factors}, reason=reason))
    # Where nothing fits, any value explains why, a given one best.
    explaining = given if cells else (*given, *AXES_THAT_FIT)
    _check_reachable(cells, left, info, explaining)
    ceilings = [
        Cell(
            factors=_ceiling(experiment, dims, info, total_slices),
            seeds=experiment.ceiling_seeds,
        )
        for dims in experiment.dims
        if experiment.ceiling_seeds
    ]
    return cells + ceilings, left


def base_steps(
    experiment: spec.Experiment, info: spec.TaskInfo, dims: spec.Dims
) -> int:
    """Returns the steps of a task's schedule, factor 1."""
    info = dataclasses.replace(info, dims=dims)
    return resolve(experiment.training, info).steps


def _times(factor: float, steps: int) -> int:
    return max(1, round(factor * steps))


def _combinations(
    experiment: spec.Experiment, info: spec.TaskInfo
) -> list[dict[str, Any]]:
    axes = itertools.product(
        experiment.dims,
        sorted(set(resolve(experiment.budgets, info))),
        sorted(set(resolve(experiment.slices_per_volume, info))),
        experiment.volume_strategies,
        experiment.strategies,
        experiment.scope,
        experiment.interpolations,
        experiment.steps_factors,
    )
    made: list[dict[str, Any]] = []
    for (
        dims,
        budget,
        density,
        volumes,
        strategy,
        scope,
        interpolation,
        factor,
    ) in axes:
        steps = _times(factor, base_steps(experiment, info, dims))
        for features, weight in itertools.product(
            _features(strategy, volumes, experiment),
            _weights(interpolation, experiment),
        ):
            factors = {
                "dims": dims,
                "budget": budget,
                "num_volumes": budget // density,
                "slices_per_volume": density,
                "volume_strategy": volumes,
                "strategy": strategy,
                "features": features,
                "scope": scope,
                "interpolation": interpolation,
                "pseudo_weight": weight,
                "steps": steps,
            }
            asked = {**factors, "steps_factor": factor}
            if experiment.keep is None or experiment.keep(asked):
                made.append(factors)
    return made


def _weights(interpolation: str, experiment: spec.Experiment) -> tuple[float, ...]:
    return (0.0,) if interpolation == "none" else experiment.pseudo_weights


def _without_quota(factors: dict[str, Any]) -> dict[str, Any]:
    """In scope `pooled` volumes compete: no cell has a density of its own."""
    if factors["scope"] == "within":
        return factors
    return {**factors, "slices_per_volume": None}


def _features(
    strategy: str, volume_strategy: str, experiment: spec.Experiment
) -> tuple[str, ...]:
    volumes = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategies")
    used = uses_features(strategy) or volumes.uses_features
    return experiment.features if used else ("none",)


def _misfit(
    factors: dict[str, Any], experiment: spec.Experiment, info: spec.TaskInfo
) -> str | None:
    """Says why a combination cannot or need not be trained; None if it can."""
    budget, density = factors["budget"], factors["slices_per_volume"]
    if budget % density:
        return f"{density} slices per volume do not divide {budget}"
    if factors["num_volumes"] > info.pool_volumes:
        return (
            f"{factors['num_volumes']} volumes are needed, "
            f"the pool has {info.pool_volumes}"
        )
    if density > info.min_slices:
        return (
            f"{density} slices per volume, the pool's thinnest volume "
            f"has {info.min_slices}"
        )
    if factors["num_volumes"] < 2:
        return "one volume only: its patient would decide the score"
    return _twin(factors, experiment, info)


def _twin(
    factors: dict[str, Any], experiment: spec.Experiment, info: spec.TaskInfo
) -> str | None:
    """Says of which cell this one would be a copy, with the same masks and labels."""
    if factors["slices_per_volume"] == info.max_slices:
        return _full_coverage(factors, experiment)
    if factors["slices_per_volume"] > 1:
        return None
    same = factors["strategy"] in _RANDOM_AT_ONE and "random" in experiment.strategies
    if same and factors["scope"] == "within":
        return "identical by construction to random at one slice per volume"
    if factors["interpolation"] != "none" and factors["scope"] == "within":
        return "identical by construction to none at one slice per volume"
    return None


def _full_coverage(factors: dict[str, Any], experiment: spec.Experiment) -> str | None:
    """Says of which cell a cell is a copy that annotates volumes whole."""
    if factors["scope"] == "pooled":
        return None
    for axis, values in (
        ("strategy", experiment.strategies),
        ("interpolation", experiment.interpolations),
    ):
        if factors[axis] != values[0]:
            return (
                f"identical by construction to {values[0]} where volumes are "
                "annotated whole"
            )
    return None


def _check_reachable(
    cells: list[Cell],
    left: list[LeftOut],
    info: spec.TaskInfo,
    given: Collection[str],
) -> None:
    """Refuses a given budget or density all of whose cells are left out."""
    for flag in given:
        axis = "budget" if flag == "budgets" else flag
        met = {_asked(cell.factors, axis) for cell in cells}
        for item in left:
            value = item.cell[axis]
            if value not in met:
                raise InputError(
                    f"--{flag}: {value} cannot be met by any cell of task "
                    f"{info.name}: {item.reason}; allowed: budgets that are "
                    f"2 to {info.pool_volumes} volumes x 1 to {info.min_slices} slices"
                )


def _asked(factors: dict[str, Any], axis: str) -> int:
    if axis == "slices_per_volume" and factors[axis] is None:
        return factors["budget"] // factors["num_volumes"]
    return factors[axis]


def _ceiling(
    experiment: spec.Experiment,
    dims: spec.Dims,
    info: spec.TaskInfo,
    total_slices: int,
) -> dict[str, Any]:
    return {
        "dims": dims,
        "budget": total_slices,
        "num_volumes": info.pool_volumes,
        "slices_per_volume": None,
        "volume_strategy": "random",
        "strategy": CEILING,
        "features": "none",
        "scope": "within",
        "interpolation": "none",
        "pseudo_weight": 0.0,
        "steps": base_steps(experiment, info, dims),
    }


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
    for template in experiment.contrasts:
        for dims in experiment.dims:
            contrast = _in_steps(template, experiment, info, dims)
            rows = [row for row in factors if row["dims"] == dims]
            for each in _each(contrast, rows):
                where = _enough_volumes(contrast, each, rows)
                entry = _entry(contrast, info.name, target, dims, where)
                reason = _missing(contrast, where, rows)
                if reason is None:
                    planned.append(entry)
                else:
                    dropped.append({"name": entry["name"], "reason": reason})
    return planned, dropped


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
            rest["steps"] = _times(values["steps_factor"], steps)
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
