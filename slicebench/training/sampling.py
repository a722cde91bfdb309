"""Which slices make a batch, and how they are changed on the way in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from slicebench import spec
from slicebench.training.arrays import Bank, TrialArrays


def draw_slices(
    trial: TrialArrays, key: Array, batch: int, sampling: str
) -> Int[Array, " batch"]:
    """Draws the slices of one batch, with replacement.

    Under `balanced` a third of the batch comes from slices that hold a class
    drawn uniformly among those the annotated slices hold; the rest is uniform
    over annotated slices. The draws use the same random numbers whatever the
    strategy chose.

    Args:
      trial: Sampling table.
      key: Random key of this step.
      batch: Slices in a batch.
      sampling: `balanced` or `uniform`.
    """
    choose_class, choose_slice = jax.random.split(key)
    share = jax.random.uniform(choose_class, (batch,))
    pick = jnp.floor(share * trial.present_count).astype(jnp.int32)
    wanted = trial.present[jnp.minimum(pick, trial.present_count - 1)]
    balanced = (jnp.arange(batch) < round(batch / 3)) & (trial.present_count > 0)
    rows = jnp.where(balanced & (sampling == "balanced"), wanted, 0)
    count = trial.sizes[rows]
    place = jnp.floor(jax.random.uniform(choose_slice, (batch,)) * count)
    return trial.order[rows, jnp.minimum(place.astype(jnp.int32), count - 1)]


def draw_batch(
    bank: Bank, slices: Int[Array, " batch"], key: Array, how: spec.Augmentation
) -> tuple[
    Float[Array, "batch height width channel"], UInt8[Array, "batch height width"]
]:
    """Reads slices from the bank, augmented.

    A random affine map in the plane is read with bilinear interpolation for
    the image and nearest neighbour for the label; beyond the border the edge
    repeats. Then contrast, brightness and noise change.

    Args:
      bank: All slices of the pool.
      slices: Which slices.
      key: Random key of this step.
      how: Strength of the changes.
    """
    geometry, intensity, noise = jax.random.split(key, 3)
    _, height, width, channels = bank.images.shape
    rows, columns = _coordinates(geometry, len(slices), (height, width), how)
    images = _bilinear(bank.images, slices, rows, columns)
    nearest = (_index(jnp.round(rows), height), _index(jnp.round(columns), width))
    labels = bank.labels[slices[:, None, None], *nearest]
    gain, offset, level = jnp.split(
        jax.random.uniform(intensity, (len(slices), 1, 1, 3 * channels)), 3, axis=-1
    )
    images = images * (1 + how.gain * (2 * gain - 1)) + how.offset * (2 * offset - 1)
    if how.noise:
        grain = jax.random.normal(noise, images.shape, images.dtype)
        images = images + how.noise * level * grain
    return images, labels


def _coordinates(
    key: Array, batch: int, grid: tuple[int, int], how: spec.Augmentation
) -> tuple[
    Float[Array, "batch height width"],
    Float[Array, "batch height width"],
]:
    """Where each output pixel is read: a random similarity about the centre."""
    turn, size, down, across, mirror = jax.random.uniform(key, (5, batch, 1, 1)) * 2 - 1
    angle = jnp.deg2rad(how.rotation) * turn
    scale = 1 + how.scale * size
    middle = (grid[0] - 1) / 2, (grid[1] - 1) / 2
    y = jnp.arange(grid[0], dtype=jnp.float32)[:, None] - middle[0]
    x = jnp.arange(grid[1], dtype=jnp.float32)[None, :] - middle[1]
    cosine, sine = jnp.cos(angle) * scale, jnp.sin(angle) * scale
    rows = cosine * y - sine * x + middle[0] + how.shift * grid[0] * down
    columns = sine * y + cosine * x
    if how.flip:
        columns = columns * jnp.where(mirror > 0, 1.0, -1.0)
    return rows, columns + middle[1] + how.shift * grid[1] * across


def _index(position: Float[Array, "..."], size: int) -> Int[Array, "..."]:
    return jnp.clip(position, 0, size - 1).astype(jnp.int32)


def _bilinear(
    images: Float[Array, "slice height width channel"],
    slices: Int[Array, " batch"],
    rows: Float[Array, "batch height width"],
    columns: Float[Array, "batch height width"],
) -> Float[Array, "batch height width channel"]:
    _, height, width, _ = images.shape
    which = slices[:, None, None]
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    above, below = _index(top, height), _index(top + 1, height)
    before, after = _index(left, width), _index(left + 1, width)
    upper = images[which, above, before] * (1 - right)
    upper = upper + images[which, above, after] * right
    lower = images[which, below, before] * (1 - right)
    lower = lower + images[which, below, after] * right
    return upper * (1 - down) + lower * down
