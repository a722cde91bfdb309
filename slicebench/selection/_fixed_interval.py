"""Slices at equal distances through each volume."""

from fractions import Fraction

import numpy as np
from jaxtyping import Int

from slicebench.selection._pool import PoolView
from slicebench.selection._streams import (
    PHASES,
    draw_phase,
    joint_stream,
    volume_stream,
)
from slicebench.selection._types import Picks


def fixed_interval(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses slices floor((i + u) * depth / k) for i = 0 to k - 1.

    The phase u is uniform in [0, 1) and depends on volume and seed alone.
    Positions are at least one slice apart while k <= depth, hence distinct;
    integer arithmetic keeps that exact. Without binding quotas a volume's k is
    its share of the budget in proportion to its depth.
    """
    counts = allot(budget, np.array(view.depths), quotas)
    return tuple(
        positions(draw_phase(volume_stream(seed, case)), depth, int(count))
        for case, depth, count in zip(view.cases, view.depths, counts, strict=True)
    )


def fixed_interval_aligned(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses slices at the same relative positions in every volume.

    `fixed_interval` with one phase for all volumes, which is what equal spacing
    without a random start per volume comes to. Where volumes are cropped
    alike, the network then sees the same few anatomical positions only:
    systematic sampling fails when its period meets one of the population
    (Cochran, "Sampling Techniques", 1977, chapter 8).
    """
    phase = draw_phase(joint_stream(seed))
    counts = allot(budget, np.array(view.depths), quotas)
    return tuple(
        positions(phase, depth, int(count))
        for depth, count in zip(view.depths, counts, strict=True)
    )


def positions(phase: int, depth: int, count: int) -> Int[np.ndarray, " count"]:
    """Returns floor((i + phase / PHASES) * depth / count) for i = 0 to count - 1."""
    starts = np.arange(count, dtype=np.int64) * PHASES + phase
    return starts * depth // (max(count, 1) * PHASES)


def allot(
    budget: int, weights: Int[np.ndarray, " volume"], caps: Int[np.ndarray, " volume"]
) -> Int[np.ndarray, " volume"]:
    """Divides a budget in proportion to weights, none above its cap.

    Largest remainders (Hamilton's method), ties to the lowest volume. What
    capped volumes cannot take is divided anew among the others.

    Args:
      budget: What is divided, at most the sum of the caps.
      weights: Positive weights.
      caps: The most each volume may get.

    Returns:
      Shares that add up to the budget.

    >>> allot(5, np.array([10, 20, 20]), np.array([10, 20, 20]))
    array([1, 2, 2])
    >>> allot(5, np.array([10, 20, 20]), np.array([10, 1, 20]))
    array([1, 1, 3])
    """
    shares = np.zeros(len(weights), dtype=np.int64)
    free = list(range(len(weights)))
    while True:
        total = int(weights[free].sum())
        exact = {i: Fraction(budget * int(weights[i]), total) for i in free}
        full = [i for i in free if exact[i] >= caps[i]]
        if not full:
            break
        shares[full] = caps[full]
        budget -= int(caps[full].sum())
        free = [i for i in free if i not in full]
    for i in free:
        shares[i] = int(exact[i])
    # sorted() is stable: of equal remainders the lowest volume comes first.
    by_remainder = sorted(free, key=lambda i: int(exact[i]) - exact[i])
    shares[by_remainder[: budget - int(shares[free].sum())]] += 1
    return shares
