"""k-means: the slice nearest to the centre of each cluster."""

import numpy as np
from jaxtyping import Float, Int

from slicebench.selection._clusters import k_means_clusters, take_turns
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import SUM_DECIMALS, ball_rows
from slicebench.selection._streams import joint_stream
from slicebench.selection._types import Picks


def k_means(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses the slice nearest to the mean of each of as many clusters as slices.

    The choice of ALPS (Yuan, Lin and Boyd-Graber, "Cold-start active learning
    through self-supervised language modeling", EMNLP 2020), without its language
    model; on images in COLosSAL (Liu et al., MICCAI 2023). Euclidean distance,
    largest cluster first. A cluster without an open slice is passed over; what
    is then left of the budget goes round again, to the next nearest.
    """
    rows = ball_rows(view.features)
    clusters = k_means_clusters(rows, budget, joint_stream(seed))
    queues = [
        members[np.argsort(_from_centre(rows[members]), kind="stable")]
        for members in clusters
    ]
    ledger = Ledger(view.depths, quotas)
    take_turns(ledger, queues, budget)
    return ledger.picks()


def _from_centre(
    rows: Float[np.ndarray, "member feature"],
) -> Float[np.ndarray, " member"]:
    distance = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    return np.round(distance, SUM_DECIMALS)
