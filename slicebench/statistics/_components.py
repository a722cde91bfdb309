"""What scores vary with: selection, training, test case, and the rest.

Where every selection was trained from the same several seeds, selections, trainings
and cases cross: a three-way random-effects model without replication, its components
by the method of moments (Searle, Casella and McCulloch, Variance Components, 1992,
ch. 4). Where selection and training seed move together only their sum is known.
"""

# pandas and SciPy ship no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from slicebench.statistics import _effects, _index, _intervals

TOGETHER = "selection and training seed move together: only their sum is known"
_UNEVEN = "no two selections share two training seeds: only the sum is known"
_FEW = "fewer than two seeds or two cases in a fold"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossedComponents:
    """Variances of one score in the three-way model; they sum to its variance.

    Estimates are unbiased, hence may be negative.

    Attributes:
      selection: Of which volumes and slices are annotated.
      training: Of initialisation and batch order, given the selection: what all
        selections share of it and what differs between them.
      shared: The part of `training` that all selections share.
      case: Of the test case.
      residual: Of everything that differs between cases within a training.
    """

    selection: float
    training: float
    shared: float
    case: float
    residual: float


def crossed_components(
    cube: Float[np.ndarray, "selection training case"],
) -> CrossedComponents:
    """Returns the components of a complete crossing, by its mean squares.

    With a selections, t trainings and c cases, `V_selection = (MS_s - MS_st - MS_sc
    + MS_stc) / (t c)`, likewise for trainings and cases; interactions with cases
    join the residual, that of selection and training joins `training`.

    Args:
      cube: At least 2 x 2 x 2 values.

    Raises:
      ValueError: Fewer than two of anything.
    """
    if min(cube.shape) < 2:
        raise ValueError(f"{cube.shape}: at least 2 x 2 x 2 are needed")
    squares = _crossed_squares(cube)
    sizes = np.array(cube.shape)
    main: list[float] = []
    pair: dict[tuple[int, ...], float] = {}
    for axes in itertools.combinations(range(3), 2):
        other = sizes[3 - sum(axes)]
        pair[axes] = (squares[axes] - squares[0, 1, 2]) / other
    for axis in range(3):
        met = [squares[axes] for axes in pair if axis in axes]
        rest = squares[0, 1, 2]
        main.append((squares[(axis,)] - sum(met) + rest) / (cube.size / sizes[axis]))
    return CrossedComponents(
        selection=main[0],
        training=main[1] + pair[0, 1],
        shared=main[1],
        case=main[2],
        residual=pair[0, 2] + pair[1, 2] + squares[0, 1, 2],
    )


def _crossed_squares(
    cube: Float[np.ndarray, "selection training case"],
) -> dict[tuple[int, ...], float]:
    """Returns the mean square of each effect, by the axes that it varies over."""
    found: dict[tuple[int, ...], float] = {}
    effects: dict[tuple[int, ...], Any] = {(): cube.mean(keepdims=True)}
    for count in (1, 2, 3):
        for axes in itertools.combinations(range(3), count):
            averaged = tuple(axis for axis in range(3) if axis not in axes)
            lower = [effect for key, effect in effects.items() if set(key) < set(axes)]
            effect = cube.mean(axis=averaged, keepdims=True) - sum(lower)
            effects[axes] = effect
            freedom = math.prod(cube.shape[axis] - 1 for axis in axes)
            repeats = math.prod(cube.shape[axis] for axis in averaged)
            found[axes] = repeats * float((effect**2).sum()) / freedom
    return found


def crossing(
    rows: _effects.SeedRows,
) -> Float[np.ndarray, "selection training case"] | None:
    """Returns the complete crossing within rows; None where there is none.

    Kept are the selections that were trained more than once, and the training
    seeds that all of these have.
    """
    trained: dict[int, dict[int, int]] = {}
    for row, (one, other) in enumerate(zip(rows.selection, rows.training, strict=True)):
        trained.setdefault(one, {})[other] = row
    several = [found for found in trained.values() if len(found) > 1]
    if len(several) < 2:
        return None
    common = sorted(set.intersection(*(set(found) for found in several)))
    if len(common) < 2 or rows.values.shape[1] < 2:
        return None
    order = [[found[seed] for seed in common] for found in several]
    return rows.values[np.array(order)]


def estimate_effect(folds: Sequence[_effects.SeedRows]) -> _intervals.Estimate:
    """Estimates the mean over cases, with new selections and trainings in mind.

    Trainings are averaged within each selection seed first. What all selections
    share of a training seed (say, a lucky initialisation) does not show between
    rows then: where seeds are crossed its variance `V_shared / trainings`, never
    below 0, is added, with the degrees of freedom of the training seeds
    (Satterthwaite).

    Args:
      folds: Rows of each fold.
    """
    estimate = _intervals.estimate_mean(
        [_effects.by_selection(rows) for rows in folds],
        effective_cases=[rows.effective_cases for rows in folds],
    )
    cases = sum(rows.values.shape[1] for rows in folds)
    added: list[tuple[float, int]] = []
    for rows in folds:
        cube = crossing(rows) if rows.crossed else None
        if cube is not None:
            crossed = len(cube) / len(set(rows.selection))
            share = rows.values.shape[1] / cases * crossed
            variance = crossed_components(cube).shared / cube.shape[1]
            added.append((share**2 * max(0.0, variance), cube.shape[1] - 1))
    extra = sum(variance for variance, _ in added)
    if extra == 0 or math.isnan(estimate.variance):
        return estimate
    total = estimate.variance + extra
    spread = sum(variance**2 / df for variance, df in added)
    spread += estimate.variance**2 / estimate.df
    return dataclasses.replace(estimate, variance=total, df=total**2 / spread)


def one_training(rows: _effects.SeedRows) -> Float[np.ndarray, "seed case"]:
    """Returns one training a selection: averages would hide a part of the spread.

    Each selection takes another training seed than the one before, so that what
    selections share of a training seed shows between rows too.
    """
    if not rows.crossed:
        return rows.values
    seeds = np.array(rows.selection)
    found = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    return rows.values[[own[turn % len(own)] for turn, own in enumerate(found)]]


def components(
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
) -> _intervals.Components | None:
    """Returns the two-way components over folds, averaged by their cases.

    Args:
      folds: One seed x case matrix a fold.

    Returns:
      Standard deviations, 0 where an estimate is negative; None where a fold has
      fewer than two seeds or cases.
    """
    if min(min(matrix.shape) for matrix in folds) < 2:
        return None
    parts: list[list[float]] = []
    for matrix in folds:
        seeds, cases = matrix.shape
        seed, case, residual = _intervals.mean_squares(matrix).tolist()
        parts.append([(seed - residual) / cases, (case - residual) / seeds, residual])
    weights = [matrix.shape[1] for matrix in folds]
    sds = np.sqrt(np.maximum(np.average(parts, axis=0, weights=weights), 0)).tolist()
    return _intervals.Components(sd_seed=sds[0], sd_case=sds[1], sd_residual=sds[2])


def variance_table(
    results: pd.DataFrame | _index.ScoreIndex,
    trials: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("dice",),
) -> list[dict[str, Any]]:
    """Returns the variance components of every cell.

    Args:
      results: Tidy scores, or their index.
      trials: Trials table.
      metrics: Scores to take apart.

    Returns:
      One JSON-ready mapping a cell and metric: task, target, dims, metric and the
      other factors of the cell; sd_selection, sd_training, sd_shared (the part
      of sd_training that all selections share), sd_case and sd_residual, in units
      of the score, 0 where an estimate is negative, or sd_seed in place of the
      first three where seeds were not varied apart (None each where unknown);
      num_seeds (selection seeds), num_trainings (training seeds of each; 1 where
      they move together), num_cases; reason, why something is unknown.
    """
    found: list[dict[str, Any]] = []
    for place, scores in _index.index_scores(results, trials).items():
        if place[3] not in metrics:
            continue
        named = dict(zip(("task", "target", "dims", "metric"), place, strict=True))
        for cell in sorted(scores.rows, key=repr):
            factors = dict(zip(_index.FACTORS, cell, strict=True))
            for name in ("network", "training"):
                del factors[name]
            try:
                folds = _effects.seed_rows(scores, {cell: 1.0})
            except _index.NotComparableError:
                continue  # such as an HD95 that no case of this target has
            found.append({**named, **factors, **_variance(folds)})
    return found


def _variance(folds: Sequence[_effects.SeedRows]) -> dict[str, Any]:
    matrices = [_effects.by_selection(rows) for rows in folds]
    entry: dict[str, Any] = dict.fromkeys(_SDS)
    entry |= {
        "num_seeds": sum(len(matrix) for matrix in matrices),
        "num_trainings": 1,
        "num_cases": sum(matrix.shape[1] for matrix in matrices),
        "reason": None,
    }
    cubes = [crossing(rows) for rows in folds]
    whole = [cube for cube in cubes if cube is not None]
    if len(whole) == len(folds):
        parts = [dataclasses.astuple(crossed_components(cube)) for cube in whole]
        weights = [cube.shape[2] for cube in whole]
        mean = np.average(parts, axis=0, weights=weights)
        sds = np.sqrt(np.maximum(mean, 0.0)).tolist()
        names = ("selection", "training", "shared", "case", "residual")
        entry |= {f"sd_{name}": sd for name, sd in zip(names, sds, strict=True)}
        return entry | {
            "num_seeds": sum(len(cube) for cube in whole),
            "num_trainings": min(cube.shape[1] for cube in whole),
        }
    two_way = components([one_training(rows) for rows in folds])
    if two_way is None:
        return entry | {"reason": _FEW}
    crossed = any(rows.crossed for rows in folds)
    reason = _UNEVEN if crossed else TOGETHER
    return entry | dataclasses.asdict(two_way) | {"reason": reason}


_SDS = (
    "sd_seed",
    "sd_selection",
    "sd_training",
    "sd_shared",
    "sd_case",
    "sd_residual",
)
