"""Facility location: the slices that all slices are most alike to."""

import numpy as np
from jaxtyping import Int

from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._similarity import cosine, unit_rows
from slicebench.selection._types import Picks


def facility_location(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Maximises F(S) = sum over slices i of max over j in S of cos(i, j).

    Submodular data subset selection (Wei, Iyer and Bilmes, "Submodularity in
    data subset selection and active learning", ICML 2015), by lazy greedy: at
    least 1 - 1/e of the best F when no quota binds (Nemhauser et al. 1978).
    Unlike `representative` it forms no clusters: one cover over all slices.

    Closed slices of a volume with a filled quota still want to be covered. A
    slice whose features are all zero has similarity 0 to every slice. The seed
    has no influence.
    """
    del seed
    unit = unit_rows(view.features)
    ledger = Ledger(view.depths, quotas)
    cover = Cover(np.arange(len(unit)), cosine(unit), floor=-1.0)
    for _ in range(budget):
        ledger.pick(cover.next(ledger.open))
    return ledger.picks()
