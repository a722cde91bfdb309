"""k-medoids: the slices with the smallest sum of distances to all others."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import (
    Similarity,
    ball_rows,
    blocks,
    distances,
    total_distances,
)
from slicebench.selection._types import Picks


def k_medoids(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Minimises the sum over slices of the distance to the nearest chosen one.

    Started by PAM's BUILD (Kaufman and Rousseeuw, "Finding Groups in Data",
    1990), which is greedy; then, as in Park and Jun ("A simple and fast algorithm
    for k-medoids clustering", Expert Systems with Applications 2009), slices go
    to their nearest medoid and each group's medoid moves to the member with the
    smallest sum of distances, until none moves. Euclidean distance. A medoid
    moves within its volume, or into a volume with room in its quota; every move
    lowers the sum, so this ends. The seed has no influence.
    """
    del seed
    rows = ball_rows(view.features)
    ledger = Ledger(view.depths, quotas)
    # Two points of the unit ball are at most 2 apart.
    cover = Cover(np.arange(len(rows)), _nearness(rows), floor=-2.0)
    medoids = np.empty(budget, dtype=np.int64)
    for place in range(budget):
        medoids[place] = cover.next(ledger.open)
        ledger.pick(int(medoids[place]))
    while True:
        medoids.sort()
        moved = _move(rows, medoids, ledger)
        if np.array_equal(moved, medoids):
            return ledger.picks()
        medoids = moved


def _move(
    rows: Float[np.ndarray, "row feature"],
    medoids: Int[np.ndarray, " budget"],
    ledger: Ledger,
) -> Int[np.ndarray, " budget"]:
    """Moves each group's medoid to its best allowed member; records it."""
    group = _nearest(rows, medoids)
    moved = medoids.copy()
    for place, medoid in enumerate(medoids.tolist()):
        members = np.flatnonzero(group == place)
        if len(members) < 3:  # of two, neither is nearer to the other
            continue
        sums = total_distances(rows[members])
        ledger.release(medoid)
        allowed = np.where(ledger.open[members], sums, np.inf)
        best = int(np.argmin(allowed))
        here = int(np.searchsorted(members, medoid))
        moved[place] = members[best] if sums[best] < sums[here] else medoid
        ledger.pick(int(moved[place]))
    return moved


def _nearest(
    rows: Float[np.ndarray, "row feature"], medoids: Int[np.ndarray, " budget"]
) -> Int[np.ndarray, " row"]:
    """Returns each row's nearest medoid, the first of several; itself if it is one."""
    group = np.empty(len(rows), dtype=np.int64)
    for block in blocks(len(rows), len(medoids)):
        group[block] = distances(rows[block], rows[medoids]).argmin(axis=1)
    group[medoids] = np.arange(len(medoids))
    return group


def _nearness(rows: Float[np.ndarray, "row feature"]) -> Similarity:
    return lambda index: -distances(rows[index], rows)
