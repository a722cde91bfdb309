"""From tidy scores to seed x case matrices of a weighted sum of cells."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from slicebench.statistics._index import (
    FACTORS,
    Cell,
    CellTable,
    NotComparableError,
    Scores,
)

LOWER_IS_BETTER = ("hd95", "fp_ml", "fp_ml_slices", "fp_rate")
"""Metrics whose sign is turned, so that a larger effect is always better."""

# Factors that follow from another one and cannot be held equal when it differs.
_FOLLOWERS = {
    "budget": ("num_volumes", "network", "training", "steps"),
    "num_volumes": ("slices_per_volume",),
    "slices_per_volume": ("num_volumes",),
    "strategy": ("features", "scope"),
    "interpolation": ("pseudo_weight",),
    "steps": ("training",),
    "program": ("network", "training", "steps"),
}


def orientation(metric: str) -> int:
    """Returns -1 for metrics of which less is better, else 1."""
    return -1 if metric in LOWER_IS_BETTER else 1


def paired_cells(
    table: CellTable, where: Mapping[str, Any], a: Mapping[str, Any], b: Any
) -> list[tuple[Cell, Cell]]:
    """Returns the cells of side a with their partners on side b.

    Where a side has several cells (a list in `where`), cells are paired by the
    factors that the sides do not differ in.

    Raises:
      NotComparableError: A side has no cells, the sides have none in common, or a cell
        has more than one partner.
    """
    free = set(a) | set(b)
    free.update(name for key in tuple(free) for name in _FOLLOWERS.get(key, ()))
    kept = [name for name in FACTORS if name not in free]
    sides: list[dict[Cell, Cell]] = []
    for label, side in (("a", a), ("b", b)):
        cells = table.matching({**where, **side})
        if not cells:
            raise NotComparableError(f"no finished trials on side {label}")
        paired = {_part(cell, kept): cell for cell in cells}
        if len(paired) < len(cells):
            raise NotComparableError(
                f"side {label} holds cells that differ in {', '.join(varying(cells))}"
            )
        sides.append(paired)
    common = [key for key in sides[0] if key in sides[1]]
    if not common:
        raise NotComparableError("the sides have no cells in common")
    return [(sides[0][key], sides[1][key]) for key in common]


def difference_weights(
    table: CellTable, where: Mapping[str, Any], a: Mapping[str, Any], b: Any
) -> dict[Cell, float]:
    """Returns the weight of each cell in the mean difference of two sides.

    Pairs of cells weigh the same; see `paired_cells`.

    Raises:
      NotComparableError: As `paired_cells`.
    """
    pairs = paired_cells(table, where, a, b)
    share = 1 / len(pairs)
    # A cell against itself keeps weight 0: its seeds and cases still count.
    weights = {cell: 0.0 for side in zip(*pairs, strict=True) for cell in side}
    for first, second in pairs:
        weights[first] += share
        weights[second] -= share
    return weights


def slope_weights(table: CellTable, where: Mapping[str, Any]) -> dict[Cell, float]:
    """Returns the weight of each cell in the mean slope on density.

    The slope is least squares on -log2(slices per volume), each cell counting
    the same: the score gained by each halving. Where `where` leaves several
    lines (such as budgets), their slopes are averaged.

    Raises:
      NotComparableError: No line has two densities, or a line has two cells of one.
    """
    followers = ("slices_per_volume", "num_volumes")
    kept = [name for name in FACTORS if name not in followers]
    lines: dict[Cell, list[Cell]] = {}
    for cell in table.matching(where, dense=True):
        lines.setdefault(_part(cell, kept), []).append(cell)
    lines = {key: cells for key, cells in lines.items() if len(cells) > 1}
    if not lines:
        raise NotComparableError("fewer than two densities have finished trials")
    position = FACTORS.index("slices_per_volume")
    weights: dict[Cell, float] = {}
    for cells in lines.values():
        halvings = np.array([-math.log2(cell[position]) for cell in cells])
        if len(set(halvings)) < len(cells):
            differ = ", ".join(varying(cells))
            raise NotComparableError(f"cells of one density differ in {differ}")
        centred = halvings - halvings.mean()
        parts = centred / (centred**2).sum() / len(lines)
        weights.update(zip(cells, parts.tolist(), strict=True))
    return weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedRows:
    """A weighted sum of cells in one fold, one row a trained seed.

    Attributes:
      values: The sum by seed and case.
      selection: Selection seed of each row, ascending.
      training: Training seed of each row.
      effective_cases: See `effective_cases`; None stands for all cases.
    """

    values: Float[np.ndarray, "row case"]
    selection: tuple[int, ...]
    training: tuple[int, ...]
    effective_cases: float | None = None

    @property
    def crossed(self) -> bool:
        """Whether a selection was trained more than once."""
        return len(set(self.selection)) < len(self.selection)


def effect_matrices(
    scores: Scores, weights: Mapping[Cell, float]
) -> list[Float[np.ndarray, "_seed _case"]]:
    """Returns the weighted sum of cells by seed and case, one matrix a fold.

    Only seeds that every cell has are kept. See `mean_over_classes` for how
    classes become one number. A row is a selection seed: where one selection was
    trained from several seeds these are averaged, for they share its slices and
    are no seeds of their own.

    Args:
      scores: Scores of one task, target, dims and metric.
      weights: Weight of each cell.

    Raises:
      NotComparableError: The cells share no seed, or no case has a score.
    """
    return [by_selection(rows) for rows in seed_rows(scores, weights)]


def by_selection(rows: SeedRows) -> Float[np.ndarray, "seed case"]:
    """Averages the trainings of each selection seed."""
    if not rows.crossed:
        return rows.values
    seeds = np.array(rows.selection)
    return np.stack([rows.values[seeds == seed].mean(0) for seed in np.unique(seeds)])


def seed_rows(scores: Scores, weights: Mapping[Cell, float]) -> list[SeedRows]:
    """Returns the weighted sum of cells by trained seed and case, fold by fold.

    Args:
      scores: Scores of one task, target, dims and metric.
      weights: Weight of each cell.

    Raises:
      NotComparableError: The cells share no seed, or no case has a score.
    """
    positions = _positions(scores, weights)
    common = set.intersection(*(set(rows) for rows in positions.values()))
    if not common:
        raise NotComparableError("the cells share no seed")
    found: list[SeedRows] = []
    for fold in sorted({seed[0] for seed in common}):
        seeds = sorted(seed for seed in common if seed[0] == fold)
        total = np.zeros((len(seeds), *scores.values.shape[1:]))
        for cell, rows in positions.items():
            total += weights[cell] * scores.of([rows[seed] for seed in seeds])
        present = np.isfinite(total.sum(0))
        if present.any():
            found.append(
                SeedRows(
                    values=mean_over_classes(total, present),
                    selection=tuple(seed[1] for seed in seeds),
                    training=tuple(seed[2] for seed in seeds),
                    effective_cases=effective_cases(present),
                )
            )
    if not found:
        raise NotComparableError("no case has this score")
    return found


_NO_ROWS = np.zeros(0, np.int64)


def _positions(
    scores: Scores, weights: Mapping[Cell, float]
) -> dict[Cell, dict[tuple[int, ...], int]]:
    """Returns the row of each trial of the given cells, by fold and seeds."""
    found: dict[Cell, dict[tuple[int, ...], int]] = {}
    for cell in weights:
        rows = scores.rows.get(cell, _NO_ROWS)
        found[cell] = dict(zip(scores.table.seeds(rows), rows.tolist(), strict=True))
        if len(found[cell]) < len(rows):
            raise NotComparableError(
                "several trials share a cell and its seeds; name `program`"
            )
    return found


def mean_over_classes(
    values: Float[np.ndarray, "seed case class"],
    present: Bool[np.ndarray, "case class"],
) -> Float[np.ndarray, "seed present_case"]:
    """Turns class scores into one value a seed and case.

    The estimate is the mean over classes of each class's mean over the cases
    that have it. A case's value is that mean for its seed plus what the case
    adds to it: with C cases and K classes, `C / K * sum_k (x_ck - mean_k) / C_k`
    over the classes that the case has. This is the linearised ratio estimator
    (Cochran, Sampling Techniques, 1977, ch. 6): row means are the estimates of
    the seeds, and lacking a class is not mistaken for scoring zero in it. With
    every class in every case it is the plain mean over classes. Cases without
    any class and classes without any case are left out.

    Args:
      values: Scores of every seed; NaN allowed where not present.
      present: Which case has a score for which class.

    Returns:
      Matrix over the cases that have a class at all.
    """
    cases = present.any(1)
    held = present[cases][:, present.any(0)]
    kept = np.where(held, values[:, cases][:, :, present.any(0)], 0.0)
    counts = held.sum(0)
    means = kept.sum(1) / counts
    share = len(held) / (held.shape[1] * counts)
    added = np.where(held, (kept - means[:, None, :]) * share, 0.0)
    return means.mean(1)[:, None] + added.sum(2)


def effective_cases(present: Bool[np.ndarray, "case class"]) -> float:
    """Returns by how many equal cases the mean over classes varies as it does.

    A class that few cases have hangs on these few, however many others there are. A
    case enters the mean of class k with weight 1 / C_k, so with classes of equal
    variance its own is `a_c = sum_k 1 / C_k^2` over the classes that it has, and the
    variance of the mean has the freedom of `(sum a)^2 / sum a^2` cases (Satterthwaite
    1946). With every class in every case that is their number.

    >>> effective_cases(np.array([[True, True], [True, False], [True, False]]))
    1.4...
    """
    held = present[present.any(1)][:, present.any(0)]
    if held.all():
        return float(len(held))
    weights = (held / held.sum(0) ** 2).sum(1)
    return float(weights.sum() ** 2 / (weights**2).sum())


def take(frame: pd.DataFrame, mask: Bool[np.ndarray, " n"]) -> pd.DataFrame:
    """Returns the marked rows."""
    return cast(pd.DataFrame, frame.loc[mask])


def _part(cell: Cell, names: Sequence[str]) -> Cell:
    return tuple(cell[FACTORS.index(name)] for name in names)


def varying(cells: Sequence[Cell]) -> list[str]:
    """Names the factors in which some cells differ."""
    columns = zip(FACTORS, zip(*cells, strict=True), strict=True)
    return [name for name, values in columns if len(set(values)) > 1]
