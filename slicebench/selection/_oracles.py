"""Strategies that see labels: how well could slices be chosen at all?

Nobody has these labels before annotating. The two `extent` strategies ask for
little of them, the first and the last slice of the structure, which an
annotator can mark at a cost of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int, Integer

from slicebench.selection._fixed_interval import allot, positions
from slicebench.selection._pool import PoolView
from slicebench.selection._random import random_counts
from slicebench.selection._streams import PHASES, draw_phase, volume_stream
from slicebench.selection._types import Picks, SelectWithLabels

Labels = Sequence[Integer[np.ndarray, "_depth height width"]]

OUTSIDE = 4
"""One slice in so many is drawn outside the marked extent."""


def foreground_random(num: int, den: int) -> SelectWithLabels:
    """Makes the strategy whose draws favour foreground with probability num / den.

    Foreground-aware random (Lueth et al., "nnActive: a framework for evaluation
    of active learning in 3D biomedical segmentation", arXiv 2511.19183, 2025),
    carried over from patches to slices: each draw is uniform over the volume's
    slices left, or, with the probability given, first a class is drawn uniformly
    among those left in the volume, then a slice that holds it. How many slices
    each volume gets is drawn as by `random`.
    """

    def select(
        view: PoolView,
        quotas: Int[np.ndarray, " volume"],
        budget: int,
        seed: int,
        labels: Labels,
    ) -> Picks:
        counts = random_counts(quotas, budget, seed)
        return tuple(
            _draw(volume_stream(seed, case), held_classes(label), int(count), num, den)
            for case, label, count in zip(view.cases, labels, counts, strict=True)
        )

    return select


def held_classes(
    label: Integer[np.ndarray, "depth height width"],
) -> Bool[np.ndarray, "depth class"]:
    """Returns which foreground classes each slice holds."""
    names = [name for name in np.unique(label).tolist() if name > 0]
    held = np.zeros((len(label), len(names)), dtype=bool)
    for column, name in enumerate(names):
        held[:, column] = (label == name).any(axis=(1, 2))
    return held


def _draw(
    stream: np.random.Generator,
    held: Bool[np.ndarray, "depth class"],
    count: int,
    num: int,
    den: int,
) -> Int[np.ndarray, " count"]:
    left = np.ones(len(held), dtype=bool)
    for _ in range(count):
        allowed = left
        classes = np.flatnonzero(held[left].any(axis=0))
        if int(stream.integers(den)) < num and len(classes):
            allowed = left & held[:, stream.choice(classes)]
        left[stream.choice(np.flatnonzero(allowed))] = False
    return np.flatnonzero(~left)


def foreground_interval(
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
    seed: int,
    labels: Labels,
) -> Picks:
    """Chooses at equal distances among the slices that hold foreground.

    `fixed_interval` with the background slices taken out. Where a volume has
    too few slices with foreground, all are taken and the rest lies at equal
    distances among the others.
    """
    inside = [holds_foreground(label) for label in labels]
    return _in_two_parts(view, quotas, budget, seed, inside, _all_inside)


def extent_random(
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
    seed: int,
    labels: Labels,
) -> Picks:
    """Chooses at random inside the marked extent, one slice in four outside.

    The annotator marks the first and the last slice with foreground of every
    volume that gets slices. Of k slices, floor(k / 4 + u) lie outside, u uniform
    in [0, 1): a quarter on average at every k. Where one part has too few
    slices, the other gives more. How many slices each volume gets is drawn as
    by `random`.
    """
    counts = random_counts(quotas, budget, seed)
    picks = []
    for case, label, count in zip(view.cases, labels, counts, strict=True):
        stream = volume_stream(seed, case)
        phase = draw_phase(stream)
        inside = extent(label)
        parts = [stream.permutation(np.flatnonzero(part)) for part in (inside, ~inside)]
        shares = _mostly_inside(int(count), phase, inside)
        chosen = [part[:share] for part, share in zip(parts, shares, strict=True)]
        picks.append(np.sort(np.concatenate(chosen)))
    return tuple(picks)


def extent_interval(
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
    seed: int,
    labels: Labels,
) -> Picks:
    """Chooses at equal distances inside the marked extent, one in four outside.

    As `extent_random`, but both parts are sampled as `fixed_interval` samples a
    volume, and a volume's slices are its share of the budget in proportion to
    its depth.
    """
    inside = [extent(label) for label in labels]
    return _in_two_parts(view, quotas, budget, seed, inside, _mostly_inside)


def holds_foreground(
    label: Integer[np.ndarray, "depth height width"],
) -> Bool[np.ndarray, " depth"]:
    """Returns which slices hold a voxel of any class."""
    return np.asarray((label > 0).any(axis=(1, 2)))


def extent(
    label: Integer[np.ndarray, "depth height width"],
) -> Bool[np.ndarray, " depth"]:
    """Returns which slices lie from the first to the last one with foreground."""
    holds = holds_foreground(label)
    return np.logical_or.accumulate(holds) & np.logical_or.accumulate(holds[::-1])[::-1]


def _in_two_parts(
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
    seed: int,
    inside: Sequence[Bool[np.ndarray, " _depth"]],
    divide: Callable[[int, int, Bool[np.ndarray, " _depth"]], tuple[int, int]],
) -> Picks:
    """Samples the slices inside and those outside at equal distances each."""
    counts = allot(budget, np.array(view.depths), quotas)
    picks = []
    for case, part, count in zip(view.cases, inside, counts, strict=True):
        stream = volume_stream(seed, case)
        start, phase = draw_phase(stream), draw_phase(stream)
        chosen = [
            slices[positions(start, len(slices), share)]
            for slices, share in zip(
                (np.flatnonzero(part), np.flatnonzero(~part)),
                divide(int(count), phase, part),
                strict=True,
            )
        ]
        picks.append(np.sort(np.concatenate(chosen)))
    return tuple(picks)


def _all_inside(
    count: int, phase: int, inside: Bool[np.ndarray, " depth"]
) -> tuple[int, int]:
    """Returns how many slices are taken inside and outside: inside first."""
    del phase
    within = min(count, int(inside.sum()))
    return within, count - within


def _mostly_inside(
    count: int, phase: int, inside: Bool[np.ndarray, " depth"]
) -> tuple[int, int]:
    """Returns how many slices are taken inside and outside: one in four outside."""
    within = count - (count * PHASES + OUTSIDE * phase) // (OUTSIDE * PHASES)
    room = int(inside.sum())
    within = max(min(within, room), count - (len(inside) - room))
    return within, count - within
