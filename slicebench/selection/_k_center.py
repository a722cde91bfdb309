"""Core-Set selection by greedy k-center."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._streams import joint_stream
from slicebench.selection._types import Picks


def k_center(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses the slice farthest from all chosen ones, again and again.

    Greedy k-center (Sener and Savarese, "Active learning for convolutional
    neural networks: a core-set approach", ICLR 2018, algorithm 1; Gonzalez
    1985: at most twice the smallest covering radius when no quota binds).
    Euclidean distance; the first slice is drawn uniformly. Volumes compete; one
    with a filled quota is closed, its chosen slices still count as centres.
    """
    # One row a feature: the sum over features then runs along slices, each in
    # the same order, so that equal slices get equal distances to the last bit.
    columns = np.concatenate(view.features).T.astype(np.float64, order="C")
    ledger = Ledger(view.depths, quotas)
    nearest = np.full(columns.shape[1], np.inf)
    row = int(joint_stream(seed).choice(np.flatnonzero(ledger.open)))
    ledger.pick(row)
    for _ in range(budget - 1):
        np.minimum(nearest, _squared_distance(columns, row), out=nearest)
        row = int(np.argmax(np.where(ledger.open, nearest, -1.0)))
        ledger.pick(row)
    return ledger.picks()


def _squared_distance(
    columns: Float[np.ndarray, "feature row"], center: int
) -> Float[np.ndarray, " row"]:
    difference = columns - columns[:, center, None]
    difference *= difference
    return difference.sum(axis=0)
