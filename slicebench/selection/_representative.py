"""Representative annotation: clusters, then maximum cover inside each."""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.cluster import AgglomerativeClustering

from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._types import Picks

PICKS_PER_CLUSTER = 2
"""Budget per cluster: with 1 there would be nothing left to cover."""

SIMILARITY_DECIMALS = 12
"""Similarities are rounded: matrix products of equal rows may differ in the
last bits, and equal slices must tie."""

GAIN_DECIMALS = 9
"""Gains are rounded: two slices that cover nothing but each other gain the same,
whatever the order of the sum."""


def representative(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses slices that stand for the clusters of the pool.

    In the manner of RA (Zheng et al., "Biomedical image segmentation via
    representative annotation", AAAI 2019): agglomerative clusters of the slices
    keep the choice diverse, then inside each cluster the greedy maximum cover of
    F(S) = sum over slices i of max over j in S of cos(i, j) keeps it
    representative. Ours are: Ward's linkage on unit vectors (whose squared
    distance is 2 - 2 cos), one cluster for every two slices of the budget, and
    the order of picking, which goes round the clusters, largest first. A slice
    whose features are all zero has similarity 0 to every slice.

    Closed slices of a volume with a filled quota still want to be covered.
    The seed has no influence.
    """
    del seed
    unit = unit_rows(view.features)
    ledger = Ledger(view.depths, quotas)
    clusters = [
        _Cover(members, unit[members])
        for members in cluster_rows(unit, max(1, budget // PICKS_PER_CLUSTER))
    ]
    left = budget
    while left:
        for cluster in clusters:
            if left and ledger.open[cluster.members].any():
                ledger.pick(cluster.next(ledger.open))
                left -= 1
    return ledger.picks()


def unit_rows(
    features: Sequence[Float[np.ndarray, "_depth feature"]],
) -> Float[np.ndarray, "row feature"]:
    """Returns the features of all volumes, scaled to length 1; zeros stay."""
    rows = np.concatenate(features).astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def cluster_rows(
    unit: Float[np.ndarray, "row feature"], count: int
) -> list[Int[np.ndarray, " _members"]]:
    """Returns members of each Ward cluster, the largest cluster first.

    Clusters of equal size are ordered by their lowest row.

    Args:
      unit: Rows of length 1 or 0.
      count: Number of clusters, at most that of rows.
    """
    if count == 1:
        return [np.arange(len(unit))]
    names = AgglomerativeClustering(count, linkage="ward").fit_predict(unit)
    clusters = [np.flatnonzero(names == name) for name in range(count)]
    return sorted(clusters, key=lambda rows: (-len(rows), rows[0]))


@final
class _Cover:
    """Greedy maximum cover of one cluster, one pick at a time.

    Gains only shrink as the cover grows, so an outdated gain is an upper bound
    and few need to be computed anew for a pick (lazy greedy; Minoux 1978).
    Rounding is monotone as well, so that the bound holds to the last bit.
    """

    def __init__(
        self,
        members: Int[np.ndarray, " member"],
        unit: Float[np.ndarray, "member feature"],
    ):
        self.members = members
        self._similarity = unit @ unit.T
        np.round(self._similarity, SIMILARITY_DECIMALS, out=self._similarity)
        self._covered = np.full(len(members), -1.0)
        self._bound = np.round((self._similarity + 1.0).sum(axis=1), GAIN_DECIMALS)

    def next(self, is_open: Bool[np.ndarray, " row"]) -> int:
        """Returns the open row that adds most to the cover, and adds it."""
        self._bound[~is_open[self.members]] = -1.0
        best = int(np.argmax(self._bound))
        while True:
            self._bound[best] = self._gain(best)
            top = int(np.argmax(self._bound))
            if top == best:
                break
            best = top
        np.maximum(self._covered, self._similarity[best], out=self._covered)
        return int(self.members[best])

    def _gain(self, candidate: int) -> float:
        added = self._similarity[candidate] - self._covered
        np.maximum(added, 0.0, out=added)
        return float(np.round(added.sum(), GAIN_DECIMALS))
