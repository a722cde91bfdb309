"""TypiClust: the most typical slice of each cluster."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._clusters import k_means_clusters, take_turns
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import (
    SIMILARITY_DECIMALS,
    SUM_DECIMALS,
    blocks,
    distances,
    unit_rows,
)
from slicebench.selection._streams import joint_stream
from slicebench.selection._types import Picks

NEIGHBOURS = 20
"""Neighbours over which typicality is averaged, fewer in smaller clusters."""

MOST_CLUSTERS = 500
"""Most clusters, as in the paper; a larger budget goes round them again."""


def typiclust(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses the most typical slice of each of as many clusters as slices.

    TypiClust (Hacohen, Dekel and Weinshall, "Active learning on a budget:
    opposite strategies suit high and low budgets", ICML 2022): k-means clusters
    of unit vectors, largest first; typicality is the inverse of the mean
    distance to the 20 nearest neighbours in the cluster. The paper drops
    clusters of 5 or fewer; budgets here are a large share of the slices, so all
    are kept. A cluster without an open slice is passed over.
    """
    unit = np.round(unit_rows(view.features), SIMILARITY_DECIMALS) + 0.0
    count = min(budget, MOST_CLUSTERS)
    clusters = k_means_clusters(unit, count, joint_stream(seed))
    queues = [
        members[np.argsort(mean_distances(unit[members]), kind="stable")]
        for members in clusters
    ]
    ledger = Ledger(view.depths, quotas)
    take_turns(ledger, queues, budget)
    return ledger.picks()


def mean_distances(
    rows: Float[np.ndarray, "member feature"],
) -> Float[np.ndarray, " member"]:
    """Returns each row's mean distance to its nearest rows; 0 for a single row."""
    count = min(NEIGHBOURS, len(rows) - 1)
    means = np.zeros(len(rows))
    for block in blocks(len(rows), len(rows)) if count else ():
        near = np.partition(distances(rows[block], rows), count, axis=1)
        # The row itself is among them, at distance 0.
        means[block] = np.sort(near[:, : count + 1], axis=1).sum(axis=1) / count
    return np.round(means, SUM_DECIMALS)
