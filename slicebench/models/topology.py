"""Patch, kernels and pooling of a 3D network from the spacing of the images.

The rule of nnU-Net (Isensee et al. 2021, supplement): an axis is pooled, and
convolved with kernel size 3, once its spacing is within a factor 2 of the
finest; axes too short to halve stay. Depth is never resampled, so thick slices
are met by flat kernels in the upper levels.
"""

import math

from slicebench import spec
from slicebench.errors import InputError

_ANISOTROPY = 2.0
_SHORTEST = 4
"""Points along an axis below which nothing is pooled."""


def plan_volumetric(
    network: spec.Network,
    largest: tuple[int, int, int],
    grid: tuple[int, int],
    slices: int,
    spacing: tuple[float, float, float],
) -> spec.Volumetric:
    """Returns what a 3D program of a task fixes.

    Args:
      network: Its depth is the number of resolution levels.
      largest: Largest depth, height and width of a patch.
      grid: Height and width of the training grid.
      slices: Slices of the pool's median volume.
      spacing: Distance between grid points in mm, slices first.

    Raises:
      InputError: A patch with no room, or sides that cannot be halved as often
        as the levels ask.
    """
    if min(largest) < 1:
        raise InputError(f"patch {largest}: sizes of 1 or more are allowed")
    shape = [min(a, b) for a, b in zip(largest, (slices, *grid), strict=True)]
    steps, sizes = list(spacing), list(shape)
    kernels, pools = [_kernel(steps)], list[tuple[int, int, int]]()
    for _ in range(network.depth - 1):
        pool = _pool(steps, sizes)
        pools.append(pool)
        steps = [step * factor for step, factor in zip(steps, pool, strict=True)]
        sizes = [math.ceil(s / factor) for s, factor in zip(sizes, pool, strict=True)]
        kernels.append(_kernel(steps))
    factors = [math.prod(pool[axis] for pool in pools) for axis in range(3)]
    patch = _divisible(shape, factors, largest[0])
    return spec.Volumetric(patch=patch, kernels=tuple(kernels), pools=tuple(pools))


def _near(steps: list[float]) -> list[bool]:
    """Axes whose spacing is within the factor of the finest."""
    return [step <= _ANISOTROPY * min(steps) for step in steps]


def _kernel(steps: list[float]) -> tuple[int, int, int]:
    depth, height, width = (3 if near else 1 for near in _near(steps))
    return depth, height, width


def _pool(steps: list[float], sizes: list[int]) -> tuple[int, int, int]:
    depth, height, width = (
        2 if near and size >= 2 * _SHORTEST else 1
        for near, size in zip(_near(steps), sizes, strict=True)
    )
    return depth, height, width


def _divisible(
    shape: list[int], factors: list[int], deepest: int
) -> tuple[int, int, int]:
    """Makes sides divide by their poolings: depth up, height and width down."""
    depth = math.ceil(shape[0] / factors[0]) * factors[0]
    if depth > deepest:
        depth -= factors[0]
    height, width = (
        size // factor * factor
        for size, factor in zip(shape[1:], factors[1:], strict=True)
    )
    if min(depth, height, width) < 1:
        raise InputError(
            f"patch {tuple(shape)}: sides must be at least {tuple(factors)} to be "
            "halved as often as the network's depth asks"
        )
    return depth, height, width
