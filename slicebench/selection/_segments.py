"""Slices by their place along depth: one a segment, or the middle first."""

import numpy as np
from jaxtyping import Int

from slicebench.selection._fixed_interval import allot
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._streams import PHASES, draw_phase, volume_stream
from slicebench.selection._types import Picks


def stratified(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses one random slice of each of k equal segments of a volume.

    Stratified random sampling (Cochran, "Sampling Techniques", 1977, chapter
    5). Segment i holds the slices from floor(i * depth / k) up to the next
    segment's first, so that segments differ by one slice at most. With one
    segment it is `random`. Without binding quotas a volume's k is its share of
    the budget in proportion to its depth.
    """
    counts = allot(budget, np.array(view.depths), quotas)
    return tuple(
        _one_a_segment(volume_stream(seed, case), depth, int(count))
        for case, depth, count in zip(view.cases, view.depths, counts, strict=True)
    )


def _one_a_segment(
    stream: np.random.Generator, depth: int, count: int
) -> Int[np.ndarray, " count"]:
    borders = np.arange(count + 1) * depth // max(count, 1)
    phases = np.array([draw_phase(stream) for _ in range(count)], dtype=np.int64)
    return borders[:-1] + phases * np.diff(borders) // PHASES


def central(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses the slices nearest to the middle of their volumes.

    The habit of annotating where the structure is largest. Slices are ordered
    by |2 i + 1 - depth| / depth, their distance from the middle relative to the
    volume, ties to the lowest volume, then the lowest slice. The seed has no
    influence.
    """
    del seed
    off_centre = [
        np.abs(2 * np.arange(depth) + 1 - depth) / depth for depth in view.depths
    ]
    ledger = Ledger(view.depths, quotas)
    left = budget
    # Equal fractions are equal floats, since division is rounded correctly.
    for row in np.argsort(np.concatenate(off_centre), kind="stable").tolist():
        if left and ledger.open[row]:
            ledger.pick(row)
            left -= 1
    return ledger.picks()
