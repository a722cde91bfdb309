"""Batches in which half of the draws are slices labelled by interpolation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from slicebench import spec
from slicebench.training.arrays import Bank, Pseudo, TrialArrays
from slicebench.training.sampling import (
    change_intensity,
    coordinates,
    draw_from_rows,
    first_third,
    nearest_index,
    read_images,
    read_labels,
)


def alternate(pseudo: Pseudo, batch: int) -> Bool[Array, " batch"]:
    """Which draws are pseudo-labelled: every second one, where there is any."""
    return (jnp.arange(batch) % 2 == 1) & (pseudo.sizes[0] > 0)


def draw_mixed(
    trial: TrialArrays, bank: Bank, key: Array, change: Array, program: spec.Program
) -> tuple[
    Float[Array, "batch height width channel"],
    Float[Array, "batch height width class"],
    Float[Array, " batch"],
    Bool[Array, " batch"],
]:
    """Draws a 2D batch: true slices and pseudo-labelled ones in turn.

    Both are drawn and augmented as in `slicebench.training.sampling`.

    Args:
      trial: Sampling table with pseudo-labels.
      bank: All slices of the pool.
      key: Random key of what is drawn.
      change: Random key of augmentation.
      program: Training schedule.

    Returns:
      Images, shares of the classes, loss weights, which are interpolated.
    """
    training, pseudo = program.training, trial.pseudo
    assert pseudo is not None
    balanced = first_third(training.batch, training.sampling)
    slices, _ = draw_from_rows(trial, key, balanced)
    slots, _ = draw_from_rows(pseudo, jax.random.fold_in(key, 1), balanced)
    filled = alternate(pseudo, training.batch)
    slices = jnp.where(filled, pseudo.source[slots], slices)
    geometry, intensity, noise = jax.random.split(change, 3)
    rows, columns = coordinates(
        geometry, training.batch, bank.images.shape[1:3], training.augmentation
    )
    slot = jnp.where(filled, slots, -1)[:, None, None]
    truth = read_truth(bank, pseudo, slices[:, None, None], slot, rows, columns)
    images = read_images(bank, slices[:, None, None], rows, columns)
    weight = jnp.where(filled, pseudo.weight, 1.0)
    images = change_intensity(images, intensity, noise, training.augmentation)
    return images, truth, weight, filled


def read_truth(
    bank: Bank,
    pseudo: Pseudo,
    which: Int[Array, "..."],
    slot: Int[Array, "..."],
    rows: Float[Array, "..."],
    columns: Float[Array, "..."],
) -> Float[Array, "... class"]:
    """Nearest labels as shares of the classes; the arguments broadcast.

    Args:
      bank: The pool's labels.
      pseudo: Labels made by interpolation.
      which: Slices of the bank.
      slot: Slots that replace their labels, -1 for none.
      rows: Fractional row of every voxel.
      columns: Fractional column of every voxel.
    """
    classes = pseudo.shares.shape[-1]
    labels = read_labels(bank, which, rows, columns)
    true = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    at = nearest_index(rows, columns, bank.labels.shape[1:])
    shares = pseudo.shares[jnp.maximum(slot, 0), *at].astype(jnp.float32)
    shares = shares / jnp.maximum(shares.sum(-1, keepdims=True), 1.0)
    return jnp.where(slot[..., None] >= 0, shares, true)
