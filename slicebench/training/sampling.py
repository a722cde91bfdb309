"""Which slices make a 2D batch, and how they are changed on the way in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from slicebench import spec
from slicebench.training.arrays import Bank, Pseudo, TrialArrays

Plane = Float[Array, "batch height width"]


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
    return draw_from_rows(trial, key, first_third(batch, sampling))[0]


def first_third(batch: int, sampling: str) -> Bool[Array, " batch"]:
    """Which draws of a 2D batch are to hold a class."""
    return (jnp.arange(batch) < round(batch / 3)) & (sampling == "balanced")


def draw_from_rows(
    trial: TrialArrays | Pseudo, key: Array, balanced: Bool[Array, " batch"]
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """Draws slices, and returns with each the class it was drawn for.

    Args:
      trial: Sampling table.
      key: Random key.
      balanced: Draws that are to hold a class.

    Returns:
      Slices, and class indices, 0 where any annotated slice was wanted.
    """
    choose_class, choose_slice = jax.random.split(key)
    share = jax.random.uniform(choose_class, balanced.shape)
    pick = jnp.floor(share * trial.present_count).astype(jnp.int32)
    wanted = trial.present[jnp.minimum(pick, trial.present_count - 1)]
    rows = jnp.where(balanced & (trial.present_count > 0), wanted, 0)
    count = trial.sizes[rows]
    place = jnp.floor(jax.random.uniform(choose_slice, balanced.shape) * count)
    return trial.order[rows, jnp.minimum(place.astype(jnp.int32), count - 1)], rows


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
    rows, columns = coordinates(geometry, len(slices), bank.images.shape[1:3], how)
    which = slices[:, None, None]
    images = read_images(bank, which, rows, columns)
    labels = read_labels(bank, which, rows, columns)
    return change_intensity(images, intensity, noise, how), labels


def change_intensity(
    images: Float[Array, "batch *space channel"],
    intensity: Array,
    noise: Array,
    how: spec.Augmentation,
) -> Float[Array, "batch *space channel"]:
    """Changes contrast and brightness of each image as a whole, adds noise."""
    channels, inner = images.shape[-1], (1,) * (images.ndim - 2)
    gain, offset, level = jnp.split(
        jax.random.uniform(intensity, (len(images), *inner, 3 * channels)), 3, axis=-1
    )
    images = images * (1 + how.gain * (2 * gain - 1)) + how.offset * (2 * offset - 1)
    if how.noise:
        grain = jax.random.normal(noise, images.shape, images.dtype)
        images = images + how.noise * level * grain
    return images


def coordinates(
    key: Array, batch: int, plane: tuple[int, ...], how: spec.Augmentation
) -> tuple[Plane, Plane]:
    """Where each output pixel is read: a random similarity about the centre.

    Args:
      key: Random key.
      batch: Number of maps.
      plane: Height and width.
      how: Strength of the changes.
    """
    turn, size, down, across, mirror = jax.random.uniform(key, (5, batch, 1, 1)) * 2 - 1
    angle = jnp.deg2rad(how.rotation) * turn
    scale = 1 + how.scale * size
    middle = (plane[0] - 1) / 2, (plane[1] - 1) / 2
    y = jnp.arange(plane[0], dtype=jnp.float32)[:, None] - middle[0]
    x = jnp.arange(plane[1], dtype=jnp.float32)[None, :] - middle[1]
    cosine, sine = jnp.cos(angle) * scale, jnp.sin(angle) * scale
    rows, columns = cosine * y - sine * x, sine * y + cosine * x
    if how.flip:
        sign = jnp.where(mirror > 0, 1.0, -1.0)
        rows = rows * sign if how.flip_axis == 1 else rows
        columns = columns * sign if how.flip_axis == 2 else columns
    rows = rows + middle[0] + how.shift * plane[0] * down
    return rows, columns + middle[1] + how.shift * plane[1] * across


def read_labels(
    bank: Bank,
    which: Int[Array, "..."],
    rows: Float[Array, "..."],
    columns: Float[Array, "..."],
) -> UInt8[Array, "..."]:
    """Nearest labels at fractional positions; the arguments broadcast."""
    return bank.labels[which, *nearest_index(rows, columns, bank.labels.shape[1:])]


def nearest_index(
    rows: Float[Array, "..."], columns: Float[Array, "..."], plane: tuple[int, ...]
) -> tuple[Int[Array, "..."], Int[Array, "..."]]:
    """Indices of the nearest pixels; beyond the border the edge repeats."""
    return _index(jnp.round(rows), plane[0]), _index(jnp.round(columns), plane[1])


def read_images(
    bank: Bank,
    which: Int[Array, "..."],
    rows: Float[Array, "..."],
    columns: Float[Array, "..."],
) -> Float[Array, "... channel"]:
    """Bilinear intensities at fractional positions; the arguments broadcast."""
    images = bank.images
    _, height, width, _ = images.shape
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    above, below = _index(top, height), _index(top + 1, height)
    before, after = _index(left, width), _index(left + 1, width)
    upper = images[which, above, before] * (1 - right)
    upper = upper + images[which, above, after] * right
    lower = images[which, below, before] * (1 - right)
    lower = lower + images[which, below, after] * right
    return upper * (1 - down) + lower * down


def _index(position: Float[Array, "..."], size: int) -> Int[Array, "..."]:
    return jnp.clip(position, 0, size - 1).astype(jnp.int32)
