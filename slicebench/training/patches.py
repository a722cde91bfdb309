"""Which patches make a 3D batch, and how they are changed on the way in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from slicebench import spec
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.pseudo import alternate, read_truth
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
      labels: Class indices, 0 on slices that nobody annotated; or, where the
        program uses pseudo-labels, shares of the classes.
      weight: Loss weight of each slice of a patch, 0 where it has no label; of
        each slice of a 2D batch, or None where all are annotated.
      valid: Slices that exist: a volume may be thinner than the patch; None in
        2D.
      filled: Slices whose label was interpolated; None where the program uses
        none.
    """

    images: Float[Array, "batch *space channel"]
    labels: UInt8[Array, " batch *space"] | Float[Array, "batch *space class"]
    weight: Float[Array, " batch *depth"] | None
    valid: Bool[Array, "batch depth"] | None
    filled: Bool[Array, " batch *depth"] | None


def draw_patches(
    trial: TrialArrays, bank: Bank, key: Array, change: Array, program: spec.Program
) -> Patches:
    """Draws patches round annotated slices, augmented in the plane only.

    An annotated slice is drawn first, under `balanced` sampling for a third of
    the draws one that holds a class (drawn uniformly among those annotated),
    with the patch centred in the plane on a voxel of it. Then the depth offset
    is uniform over the patches that contain the slice. With pseudo-labels every
    second patch is drawn round an interpolated slice instead.

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
    if trial.pseudo is not None:
        slots, other = draw_from_rows(
            trial.pseudo, jax.random.fold_in(which, 1), balanced
        )
        filled = alternate(trial.pseudo, training.batch)
        slices = jnp.where(filled, trial.pseudo.source[slots], slices)
        wanted = jnp.where(filled, other, wanted)
    assert bank.first is not None
    assert bank.depth is not None
    assert trial.weight is not None
    first, total = bank.first[slices], bank.depth[slices]
    start = depth_offset(slices - first, total, depth, along)
    place = start[:, None] + jnp.arange(depth)
    valid = place < total[:, None]
    index = first[:, None] + jnp.minimum(place, total[:, None] - 1)
    weight = jnp.where(valid, trial.weight[index], 0.0)
    top, left = plane_offset(
        _matches(bank, trial, slices, wanted), wanted, (height, width), plane
    )

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
    return Patches(
        images=change_intensity(images, intensity, noise, training.augmentation),
        labels=_read_known(bank, trial, where, weight, rows, columns),
        weight=weight,
        valid=valid,
        filled=_filled(trial, index),
    )


def _filled(
    trial: TrialArrays, index: Int[Array, "batch depth"]
) -> Bool[Array, "batch depth"] | None:
    if trial.pseudo is None or trial.pseudo.slot is None:
        return None
    return trial.pseudo.slot[index] >= 0


def _read_known(
    bank: Bank,
    trial: TrialArrays,
    where: Int[Array, "batch depth 1 1"],
    weight: Float[Array, "batch depth"],
    rows: Float[Array, "batch 1 height width"],
    columns: Float[Array, "batch 1 height width"],
) -> Array:
    """Reads labels; those that nobody gave become background of weight 0."""
    known = weight[:, :, None, None] > 0
    if trial.pseudo is None:
        labels = read_labels(bank, where, rows, columns)
        return jnp.where(known, labels, 0).astype(jnp.uint8)
    assert trial.pseudo.slot is not None
    slot = trial.pseudo.slot[where]
    truth = read_truth(bank, trial.pseudo, where, slot, rows, columns)
    return jnp.where(known[..., None], truth, 0.0)


def _matches(
    bank: Bank,
    trial: TrialArrays,
    slices: Int[Array, " batch"],
    wanted: Int[Array, " batch"],
) -> Bool[Array, "batch height width"]:
    """Voxels of the wanted class on the drawn slices."""
    true = bank.labels[slices] == wanted[:, None, None]
    if trial.pseudo is None:
        return true
    assert trial.pseudo.slot is not None
    slot = trial.pseudo.slot[slices]
    shares = trial.pseudo.shares[jnp.maximum(slot, 0)]
    likely = jnp.take_along_axis(shares, wanted[:, None, None, None], axis=-1)[..., 0]
    return jnp.where(slot[:, None, None] >= 0, likely > 127, true)


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
    matches: Bool[Array, "batch height width"],
    wanted: Int[Array, " batch"],
    plane: tuple[int, int],
    key: Array,
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """Draws the upper left corner of each patch in the plane of the grid.

    Uniform; where a class is wanted, centred on a random voxel of it in the
    labelled slice, as far as the grid's border allows.

    Args:
      matches: Voxels of the wanted class.
      wanted: Class, 0 for none.
      plane: Height and width of a patch.
      key: Random key.
    """
    batch, *grid = matches.shape
    zero = jnp.zeros_like(wanted)
    if tuple(grid) == plane:
        return zero, zero
    anywhere, voxel = jax.random.split(key)
    share = jax.random.uniform(anywhere, (2, batch))
    score = jax.random.uniform(voxel, matches.shape)
    best = jnp.where(matches, score, -1.0).reshape(batch, -1).argmax(1)
    offsets = []
    for axis, at in enumerate(jnp.unravel_index(best, tuple(grid))):
        room = grid[axis] - plane[axis]
        free = jnp.floor(share[axis] * (room + 1)).astype(jnp.int32)
        centred = jnp.clip(at - plane[axis] // 2, 0, room)
        offsets.append(jnp.where(wanted > 0, centred, jnp.minimum(free, room)))
    return offsets[0], offsets[1]
