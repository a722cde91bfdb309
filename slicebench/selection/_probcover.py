"""ProbCover: as many slices as possible within a radius of a chosen one."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._clusters import k_means_clusters
from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import (
    Similarity,
    blocks,
    squared_distance,
    unit_rows,
)
from slicebench.selection._types import Picks

IMPURE_PERCENT = 5
"""Percentage of balls that may hold a second pseudo-label."""

PSEUDO_LABELS = 2
"""Clusters that purity is judged by. With more, balls of real volumes, which change
little by little, hold hardly a slice but their own, and slices at the ends of
volumes, the only ones whose like is near, are chosen."""


def probcover(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Covers as many slices as possible by balls round the chosen ones, greedily.

    ProbCover (Yehuda et al., "Active learning through a covering lens", NeurIPS
    2022) on unit vectors: a slice covers those nearer than the radius, which is
    the largest whose purity is 0.95 or more (see `pure_radius`). The paper's
    pseudo-labels are k-means clusters, as many as the task has classes; slices
    have no class, so here there are `PSEUDO_LABELS`, whatever the budget.
    Their start is fixed, which makes the radius a property of the pool: the
    seed has no influence. Once no open slice covers anything new,
    covering starts anew.

    Closed slices of a volume with a filled quota still want to be covered.
    """
    del seed
    unit = unit_rows(view.features)
    ledger = Ledger(view.depths, quotas)
    clusters = k_means_clusters(unit, PSEUDO_LABELS, np.random.default_rng(0))
    ball = _ball(unit, pure_radius(unit, clusters))
    cover = Cover(np.arange(len(unit)), ball, floor=0.0)
    for _ in range(budget):
        row = cover.next(ledger.open)
        if not cover.gain:
            cover.restart()
            row = cover.next(ledger.open)
        ledger.pick(row)
    return ledger.picks()


def pure_radius(
    unit: Float[np.ndarray, "row feature"],
    clusters: list[Int[np.ndarray, " _members"]],
) -> float:
    """Returns the largest squared radius at which 95 % of all balls are pure.

    The open ball round a row is pure if all rows in it have that row's
    pseudo-label: if its radius is at most the distance to the nearest row of
    another. The largest radius with at least 95 % pure balls is therefore an
    order statistic of these distances; no grid is searched.

    Args:
      unit: Rows of length 1 or 0.
      clusters: Rows of each pseudo-label.

    Returns:
      Infinity if there is one pseudo-label only.
    """
    if len(clusters) == 1:
        return np.inf
    names = np.empty(len(unit), dtype=np.int64)
    for name, members in enumerate(clusters):
        names[members] = name
    squares = squared_distance(unit)
    nearest = np.empty(len(unit))
    for block in blocks(len(unit), len(unit)):
        other = names[block, None] != names
        nearest[block] = np.where(other, squares(block), np.inf).min(axis=1)
    impure = len(unit) * IMPURE_PERCENT // 100
    return float(np.sort(nearest)[impure])


def _ball(unit: Float[np.ndarray, "row feature"], radius: float) -> Similarity:
    squares = squared_distance(unit)

    def rows(index: Int[np.ndarray, " block"]) -> Float[np.ndarray, "block row"]:
        distance = squares(index)
        return ((distance < radius) | (distance == 0.0)).astype(np.float64)

    return rows
