"""Clusters of slices, and turns over them within quotas."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import AgglomerativeClustering, KMeans
from threadpoolctl import ThreadpoolController

from slicebench.selection._ledger import Ledger
from slicebench.selection._similarity import GRID_DECIMALS


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def k_means_clusters(
    rows: Float[np.ndarray, "row feature"], count: int, stream: np.random.Generator
) -> list[Int[np.ndarray, " _members"]]:
    """Returns members of each k-means cluster, the largest cluster first.

    Lloyd's algorithm from one k-means++ start (Arthur and Vassilvitskii, SODA
    2007). Equal rows are one weighted point, so they share a cluster and the
    order of rows has no influence. Clusters of equal size are ordered by their
    lowest row. One thread: sums over threads would end in another order, hence
    other last bits, each time.

    Args:
      rows: Rows of about unit scale.
      count: Number of clusters; fewer where there are fewer distinct rows.
      stream: Where the start comes from; one number is drawn.
    """
    start = int(stream.integers(2**31))
    points, names, weights = np.unique(
        np.round(rows, GRID_DECIMALS) + 0.0,
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    if count < len(points):
        model = KMeans(count, n_init="auto", random_state=start)
        with _threads().limit(limits=1):
            found = model.fit_predict(points, sample_weight=weights)
        names = found[names]
    return _members(names)


def ward_clusters(
    rows: Float[np.ndarray, "row feature"], count: int
) -> list[Int[np.ndarray, " _members"]]:
    """Returns members of each Ward cluster, the largest cluster first.

    Clusters of equal size are ordered by their lowest row.

    Args:
      rows: What is clustered.
      count: Number of clusters, at most that of rows.
    """
    if count == 1:
        return [np.arange(len(rows))]
    model = AgglomerativeClustering(count, linkage="ward")
    return _members(model.fit_predict(rows))


def _members(names: Int[np.ndarray, " row"]) -> list[Int[np.ndarray, " _members"]]:
    order = np.argsort(names, kind="stable")
    clusters = np.split(order, np.flatnonzero(np.diff(names[order])) + 1)
    return sorted(clusters, key=lambda rows: (-len(rows), rows[0]))


def take_turns(
    ledger: Ledger, queues: Sequence[Int[np.ndarray, " _queue"]], budget: int
) -> None:
    """Picks the first open row of every queue in turn, round after round.

    Args:
      ledger: Where picks are recorded.
      queues: Rows of each cluster, best first; together all open rows.
      budget: Rows to pick.
    """
    waiting = [list(reversed(queue.tolist())) for queue in queues]
    while budget:
        for queue in waiting:
            while queue and not ledger.open[queue[-1]]:
                queue.pop()
            if queue and budget:
                ledger.pick(queue.pop())
                budget -= 1
