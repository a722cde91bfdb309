"""MaxHerding: greedy generalised coverage with a smooth kernel."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import (
    SIMILARITY_DECIMALS,
    Similarity,
    squared_distance,
    unit_rows,
)
from slicebench.selection._types import Picks

LENGTH_SCALE = 1.0
"""Length scale of the kernel, in lengths of the unit vectors."""


def max_herding(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Maximises C(S) = mean over slices i of max over j in S of k(i, j), greedily.

    MaxHerding (Bae, Noh and Sutherland, "Generalized coverage for more robust
    low-budget active learning", ECCV 2024) with the Gaussian kernel
    k(x, y) = exp(-|x - y|^2 / s^2) on unit vectors and s = 1. `probcover` is the
    same greedy with a kernel that is 1 inside a ball and 0 outside.

    Closed slices of a volume with a filled quota still want to be covered. The
    seed has no influence.
    """
    del seed
    unit = unit_rows(view.features)
    ledger = Ledger(view.depths, quotas)
    cover = Cover(np.arange(len(unit)), _gaussian(unit), floor=0.0)
    for _ in range(budget):
        ledger.pick(cover.next(ledger.open))
    return ledger.picks()


def _gaussian(unit: Float[np.ndarray, "row feature"]) -> Similarity:
    squares = squared_distance(unit)

    def rows(index: Int[np.ndarray, " block"]) -> Float[np.ndarray, "block row"]:
        kernel = squares(index)
        kernel /= -(LENGTH_SCALE**2)
        np.exp(kernel, out=kernel)
        return np.round(kernel, SIMILARITY_DECIMALS, out=kernel)

    return rows
