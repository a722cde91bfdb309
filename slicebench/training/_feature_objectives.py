"""What trained slice features are trained on, and what for.

The autoencoder learns to rebuild small slices of the pool, the contrastive
network to know a slice's neighbour among others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from slicebench import spec
from slicebench.errors import InputError
from slicebench.selection._intensity import area_average
from slicebench.training._feature_networks import (
    SHRINK,
    Autoencoder,
    Images,
    Projector,
    unit,
)
from slicebench.training.arrays import Bank
from slicebench.training.sampling import change_intensity, coordinates, read_images

Volumes = Sequence[Float[np.ndarray, "_depth height width channel"]]

BLOCK = 256
"""Pools are filled up to a multiple of this: pools of about one size, such as
those of a dataset's folds, then share compiled programs."""


class SmallSlices(NamedTuple):
    """The pool's slices, area-averaged, on the device.

    Attributes:
      images: Slices, volume after volume; zeros fill the last block.
      first: Where the volume of each slice starts.
      depth: How many slices that volume has.
      total: Slices that exist.
    """

    images: Float[Array, "slice height width channel"]
    first: Int[Array, " slice"]
    depth: Int[Array, " slice"]
    total: Int[Array, ""]


def make_small(images: Volumes, side: int) -> SmallSlices:
    """Makes small slices of the pool's images, volume after volume.

    Slices are averaged over equal areas to at most `side` rows and columns, a
    multiple of 8; each channel gets mean 0 and standard deviation 1 over the
    pool.

    Args:
      images: Normalised images of the pool.
      side: Most rows and columns.

    Raises:
      InputError: If there is no slice, the images differ in height, width or
        channels, or hold a number that is not finite.
    """
    depths = np.array([len(image) for image in images], np.int32)
    grids = sorted({image.shape[1:] for image in images})
    if len(grids) != 1 or not depths.sum():
        raise InputError(
            f"trained features: {len(images)} images of {grids} (height, width, "
            "channels) with slices; one grid for all and a slice are needed"
        )
    height, width, _ = grids[0]
    rows = area_average(height, _cells(height, side))
    columns = area_average(width, _cells(width, side))
    small = np.concatenate(
        [
            np.einsum("rh,dhwc,kw->drkc", rows, one, columns, optimize=True)
            for one in images
        ]
    )
    if not np.isfinite(small).all():
        raise InputError("trained features: the images hold NaN or infinity")
    small -= small.mean((0, 1, 2))
    spread = small.std((0, 1, 2))
    small /= np.where(spread > 0, spread, 1)
    starts = np.cumsum(depths, dtype=np.int32) - depths
    spare = -len(small) % BLOCK
    return SmallSlices(
        images=jnp.asarray(np.pad(small, ((0, spare), *[(0, 0)] * 3)), jnp.float32),
        first=jnp.asarray(np.pad(np.repeat(starts, depths), (0, spare))),
        depth=jnp.asarray(np.pad(np.repeat(depths, depths), (0, spare))),
        total=jnp.int32(len(small)),
    )


def _cells(size: int, side: int) -> int:
    return max(min(size, side) // SHRINK, 1) * SHRINK


class Pairs(NamedTuple):
    """A batch of slices and their positives, 2n views in all.

    Attributes:
      views: n slices, then n positives, each changed in its own way.
      rival: Which views count as negatives of which.
    """

    views: Float[Array, "view height width channel"]
    rival: Bool[Array, "view view"]


def draw_slices(pool: SmallSlices, key: Array, batch: int) -> Images:
    """Draws slices, each equally likely, with replacement."""
    return pool.images[jax.random.randint(key, (batch,), 0, pool.total)]


def reconstruction_loss(network: Autoencoder, images: Images) -> Float[Array, ""]:
    """Mean squared error of the slices as their features tell them."""
    return jnp.square(network(images) - images).mean()


def draw_pairs(
    pool: SmallSlices, key: Array, batch: int, how: spec.Augmentation
) -> Pairs:
    """Draws slices and for each a positive, and changes both at random.

    Args:
      pool: What is drawn from.
      key: Random key of this step.
      batch: Slices, drawn with replacement; there are twice as many views.
      how: Strength of the changes.
    """
    which, side, geometry, intensity, noise = jax.random.split(key, 5)
    anchors = jax.random.randint(which, (batch,), 0, pool.total)
    positives = draw_neighbours(pool, anchors, side)
    slices = jnp.concatenate([anchors, positives])
    plane = pool.images.shape[1:3]
    rows, columns = coordinates(geometry, len(slices), plane, how)
    unlabelled = Bank(pool.images, jnp.zeros((0, 0, 0), jnp.uint8))
    views = read_images(unlabelled, slices[:, None, None], rows, columns)
    views = change_intensity(views, intensity, noise, how)
    return Pairs(views, may_be_negative(pool, slices))


def draw_neighbours(
    pool: SmallSlices, slices: Int[Array, " slice"], key: Array
) -> Int[Array, " slice"]:
    """Draws one of the slices next to each in its volume.

    Two neighbours are equally likely; a volume's first and last slice have one;
    the only slice of a volume stands for its own neighbour.
    """
    first, depth = pool.first[slices], pool.depth[slices]
    before, after = slices > first, slices < first + depth - 1
    coin = jax.random.bernoulli(key, shape=slices.shape)
    step = jnp.where(before & after, jnp.where(coin, 1, -1), 0)
    step = jnp.where(before & ~after, -1, step)
    return slices + jnp.where(after & ~before, 1, step)


def may_be_negative(
    pool: SmallSlices, slices: Int[Array, " view"]
) -> Bool[Array, "view view"]:
    """Tells which views are negatives of each other.

    All are but the same slice and its neighbours, which would be positives if
    they had been drawn as such.
    """
    first = pool.first[slices]
    near = jnp.abs(slices[:, None] - slices) <= 1
    return ~(near & (first[:, None] == first))


def contrastive_loss(
    network: Projector, pairs: Pairs, temperature: float
) -> Float[Array, ""]:
    """NT-Xent of the projections, see `nt_xent`."""
    return nt_xent(network(pairs.views), pairs.rival, temperature)


def nt_xent(
    projections: Float[Array, "view projection"],
    rival: Bool[Array, "view view"],
    temperature: float,
) -> Float[Array, ""]:
    """Normalised temperature-scaled cross entropy (SimCLR, Chen et al., ICML 2020).

    View i and view i + n are a pair, each is the other's positive; the loss is
    the mean over views of -log(exp(s_p / t) / (exp(s_p / t) + sum exp(s_k / t))),
    s the cosine with the positive p and with each negative k. Without a
    negative it is zero.

    Args:
      projections: One row a view, 2n of them.
      rival: Negatives of each view, its positive not among them.
      temperature: t.
    """
    rows = unit(projections)
    half = len(rows) // 2
    agree = (rows * jnp.roll(rows, half, axis=0)).sum(-1) / temperature
    others = jnp.where(rival, rows @ rows.T / temperature, -jnp.inf)
    every = jnp.concatenate([agree[:, None], others], axis=1)
    return (jax.nn.logsumexp(every, axis=1) - agree).mean()
