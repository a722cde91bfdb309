"""Representative annotation: clusters, then maximum cover inside each."""

import numpy as np
from jaxtyping import Int

from slicebench.selection._clusters import ward_clusters
from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import cosine, unit_rows
from slicebench.selection._types import Picks

PICKS_PER_CLUSTER = 2
"""Budget per cluster: with 1 there would be nothing left to cover."""


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
        Cover(members, cosine(unit[members]), floor=-1.0)
        for members in ward_clusters(unit, max(1, budget // PICKS_PER_CLUSTER))
    ]
    left = budget
    while left:
        for cluster in clusters:
            if left and ledger.open[cluster.members].any():
                ledger.pick(cluster.next(ledger.open))
                left -= 1
    return ledger.picks()
