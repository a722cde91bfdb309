"""Uniformly random volumes and slices."""

import numpy as np
from jaxtyping import Int

from slicebench import spec
from slicebench.selection._pool import PoolView
from slicebench.selection._streams import (
    PHASES,
    draw_phase,
    joint_stream,
    volume_stream,
)
from slicebench.selection._types import Picks


def random_volumes(
    view: PoolView, num_volumes: int, seed: int
) -> Int[np.ndarray, " num_volumes"]:
    """Chooses the first volumes of a permutation that depends on the seed alone."""
    stream = np.random.default_rng(spec.derive_seed(seed, "volumes"))
    return stream.permutation(len(view.cases))[:num_volumes]


def random_slices(
    view: PoolView, quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Picks:
    """Chooses uniformly among the slices that the quotas leave open.

    How many slices each volume gets is a prefix of one permutation of all
    quota places, which slices is a prefix of a permutation per volume: with
    quotas equal to the depths this is a uniform draw over all slices, and at
    every quota a larger budget keeps what a smaller one chose.
    """
    counts = random_counts(quotas, budget, seed)
    return tuple(
        np.sort(_permutation(seed, case, depth)[:count])
        for case, depth, count in zip(view.cases, view.depths, counts, strict=True)
    )


def random_counts(
    quotas: Int[np.ndarray, " volume"], budget: int, seed: int
) -> Int[np.ndarray, " volume"]:
    """Returns how many slices each volume gets, drawn among all quota places."""
    places = np.repeat(np.arange(len(quotas)), quotas)
    drawn = joint_stream(seed).permutation(places)[:budget]
    return np.bincount(drawn, minlength=len(quotas))


def _permutation(seed: int, case: str, depth: int) -> Int[np.ndarray, " depth"]:
    stream = volume_stream(seed, case)
    first = draw_phase(stream) * depth // PHASES
    rest = stream.permutation(np.delete(np.arange(depth), first))
    return np.concatenate([[first], rest])
