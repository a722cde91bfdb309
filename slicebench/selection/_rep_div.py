"""Representative and diverse slices."""

import numpy as np
from jaxtyping import Int

from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import SUM_DECIMALS, blocks, cosine, unit_rows
from slicebench.selection._types import Picks


def rep_div(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses slices alike to the pool and unlike those chosen already.

    Two of the three criteria of Shen et al. ("Deep active learning for breast
    cancer segmentation on immunohistochemistry images", MICCAI 2020):
    representativeness and diverseness; the third asks a trained network. Ours
    is the form: the next slice i has the largest

        mean over slices j of cos(i, j)  -  max over j in S of cos(i, j)

    with equal weights; the second term is left out for the first slice. A slice
    whose features are all zero has similarity 0 to every slice. The seed has no
    influence.
    """
    del seed
    unit = unit_rows(view.features)
    similarity = cosine(unit)
    count = len(unit)
    means = [similarity(block).mean(axis=1) for block in blocks(count, count)]
    typical = np.round(np.concatenate(means), SUM_DECIMALS)
    ledger = Ledger(view.depths, quotas)
    # Cosines are at least -1: before the first pick this changes no order.
    alike = np.full(count, -1.0)
    for _ in range(budget):
        score = np.round(typical - alike, SUM_DECIMALS)
        row = int(np.argmax(np.where(ledger.open, score, -np.inf)))
        ledger.pick(row)
        np.maximum(alike, similarity(np.array([row]))[0], out=alike)
    return ledger.picks()
