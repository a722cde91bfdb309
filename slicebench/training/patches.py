"""Which patches make a 3D batch, and how they are changed on the way in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from slicebench import spec
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.sampling import (
    change_intensity,
    coordinates,
    draw_from_rows,
    read_images,
    read_labels,
)

_FOREGROUND_SHARE = 1 / 3


class Patches(NamedTuple):
    """One batch.

    Attributes:
      images: Augmented intensities.
      labels: Class indices; 0 on slices that nobody annotated.
      weight: Loss weight of each slice of a patch, 0 where nobody annotated;
        None in 2D, where every slice of a batch is annotated.
      valid: Slices that exist: a volume may be thinner than the patch; None in
        2D.
    """

    images: Float[Array, "batch *space channel"]
    labels: UInt8[Array, " batch *space"]
    weight: Float[Array, "batch depth"] | None
    valid: Bool[Array, "batch depth"] | None


def draw_patches(
    trial: TrialArrays, bank: Bank, key: Array, change: Array, program: spec.Program
) -> Patches:
    """Draws patches round annotated slices, augmented in the plane only.

    An annotated slice is drawn first, under `balanced` sampling for a third of
    the draws one that holds a class (drawn uniformly among those annotated),
    with the patch centred in the plane on a voxel of it. Then the depth offset
    is uniform over the patches that contain the slice.

    Args:
      trial: Sampling table with weights.
      bank: All slices of the pool, with the place of their volumes.
      key: Random key of what is drawn.
      change: Random key of augmentation.
      program: Patch size and training schedule.
    """
    training, (depth, height, width) = program.training, program.patch
    which, share, along, plane = jax.random.split(key, 4)
    balanced = jax.random.uniform(share, (training.batch,)) < _FOREGROUND_SHARE
    balanced = balanced & (training.sampling == "balanced")
    slices, wanted = draw_from_rows(trial, which, balanced)
    assert bank.first is not None
    assert bank.depth is not None
    assert trial.weight is not None
    first, total = bank.first[slices], bank.depth[slices]
    start = depth_offset(slices - first, total, depth, along)
    place = start[:, None] + jnp.arange(depth)
    valid = place < total[:, None]
    index = first[:, None] + jnp.minimum(place, total[:, None] - 1)
    weight = jnp.where(valid, trial.weight[index], 0.0)
    top, left = plane_offset(bank, slices, wanted, (height, width), plane)

    geometry, intensity, noise = jax.random.split(change, 3)
    rows, columns = coordinates(
        geometry, training.batch, (height, width), training.augmentation
    )
    rows, columns = (
        (position + offset[:, None, None])[:, None]
        for position, offset in ((rows, top), (columns, left))
    )
    where = index[:, :, None, None]
    images = read_images(bank, where, rows, columns)
    labels = read_labels(bank, where, rows, columns)
    return Patches(
        images=change_intensity(images, intensity, noise, training.augmentation),
        labels=jnp.where(weight[:, :, None, None] > 0, labels, 0).astype(jnp.uint8),
        weight=weight,
        valid=valid,
    )


def depth_offset(
    place: Int[Array, " batch"],
    total: Int[Array, " batch"],
    depth: int,
    key: Array,
) -> Int[Array, " batch"]:
    """Draws where patches start: uniform over those that contain a slice.

    Args:
      place: Slice within its volume.
      total: Slices of the volume; a thinner volume than the patch starts at 0.
      depth: Slices of a patch.
      key: Random key.
    """
    low = jnp.maximum(place - depth + 1, 0)
    high = jnp.clip(total - depth, 0, place)
    low = jnp.minimum(low, high)
    steps = jnp.floor(jax.random.uniform(key, place.shape) * (high - low + 1))
    return jnp.minimum(low + steps.astype(jnp.int32), high)


def plane_offset(
    bank: Bank,
    slices: Int[Array, " batch"],
    wanted: Int[Array, " batch"],
    plane: tuple[int, int],
    key: Array,
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """Draws the upper left corner of each patch in the plane of the grid.

    Uniform; where a class is wanted, centred on a random voxel of it in the
    annotated slice, as far as the grid's border allows.
    """
    grid = bank.labels.shape[1:]
    zero = jnp.zeros_like(slices)
    if grid == plane:
        return zero, zero
    anywhere, voxel = jax.random.split(key)
    share = jax.random.uniform(anywhere, (2, len(slices)))
    score = jax.random.uniform(voxel, (len(slices), *grid))
    match = bank.labels[slices] == wanted[:, None, None]
    best = jnp.where(match, score, -1.0).reshape(len(slices), -1).argmax(1)
    offsets = []
    for axis, at in enumerate(jnp.unravel_index(best, grid)):
        room = grid[axis] - plane[axis]
        free = jnp.floor(share[axis] * (room + 1)).astype(jnp.int32)
        centred = jnp.clip(at - plane[axis] // 2, 0, room)
        offsets.append(jnp.where(wanted > 0, centred, jnp.minimum(free, room)))
    return offsets[0], offsets[1]
