"""From an experiment and a task to cells: what is trained and what is left out."""

import dataclasses
import itertools
from collections.abc import Collection
from typing import Any

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.experiments import resolve
from slicebench.selection import VOLUME_STRATEGIES, lookup, uses_features
from slicebench.statistics import CEILING

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


def times(factor: float, steps: int) -> int:
    """Returns a multiple of a number of steps, at least one step."""
    return max(1, round(factor * steps))


def _combinations(
    experiment: spec.Experiment, info: spec.TaskInfo
) -> list[dict[str, Any]]:
    densities = sorted(set(resolve(experiment.slices_per_volume, info)))
    axes = itertools.product(
        experiment.dims,
        sorted(set(resolve(experiment.budgets, info))),
        densities,
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
        whole = scope == "pooled" and experiment.pooled_from == "pool"
        if whole and density != densities[0]:
            continue  # Its cell would be the first density's again.
        steps = times(factor, base_steps(experiment, info, dims))
        for features, weight in itertools.product(
            _features(strategy, volumes, experiment),
            _weights(interpolation, experiment),
        ):
            factors = {
                "dims": dims,
                "budget": budget,
                "num_volumes": info.pool_volumes if whole else budget // density,
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
    filled = factors["interpolation"] != "none" and "none" in experiment.interpolations
    if filled and factors["scope"] == "within":
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
