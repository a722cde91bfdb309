"""The small networks behind trained slice features.

Both share an encoder of three strided convolutions, which halve the side and
double the channels each, and a dense layer to the representation. There is no
normalisation layer: instance normalisation would take brightness and contrast
out of the representation, batch normalisation would tie the slices of a batch.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

LEVELS = 3
SHRINK = 2**LEVELS
"""Rows and columns of an image that become one at the encoder's end."""

_SLOPE = 0.01
_SCALE = nnx.initializers.variance_scaling(2 / (1 + _SLOPE**2), "fan_in", "normal")
"""Keeps the spread of activations over leaky rectifiers (He et al., ICCV 2015)."""

Images = Float[Array, "slice height width channel"]
Rows = Float[Array, "slice feature"]


def _active(values: Array) -> Array:
    return jax.nn.leaky_relu(values, _SLOPE)


def _convolution(
    channels: int, features: int, rngs: nnx.Rngs, strides: int = 1
) -> nnx.Conv:
    return nnx.Conv(
        channels, features, (3, 3), strides=strides, kernel_init=_SCALE, rngs=rngs
    )


class Encoder(nnx.Module):
    """Slices to rows of features.

    Args:
      shape: Height, width and channels; sides are multiples of `SHRINK`.
      width: Channels after the first convolution.
      latent: Length of a row.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, latent: int, *, rngs: nnx.Rngs
    ):
        height, across, channels = shape
        self.convolutions = nnx.List()
        for level in range(LEVELS):
            features = width * 2**level
            self.convolutions.append(_convolution(channels, features, rngs, strides=2))
            channels = features
        size = (height // SHRINK) * (across // SHRINK) * channels
        self.dense = nnx.Linear(
            size,
            latent,
            kernel_init=nnx.initializers.lecun_normal(),
            # Not zero, so that an empty slice has a direction, too.
            bias_init=nnx.initializers.normal(0.1),
            rngs=rngs,
        )

    def __call__(self, images: Images) -> Rows:
        """Returns one row a slice."""
        for convolution in self.convolutions:
            images = _active(convolution(images))
        return self.dense(images.reshape(len(images), -1))


class Autoencoder(nnx.Module):
    """Encoder, bottleneck and decoder (Hinton & Salakhutdinov, Science 2006).

    The decoder doubles the side three times by sub-pixel convolutions (Shi et
    al., CVPR 2016), which compute at the lower resolution.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, latent: int, *, rngs: nnx.Rngs
    ):
        height, across, channels = shape
        self.encoder = Encoder(shape, width, latent, rngs=rngs)
        deepest = width * 2 ** (LEVELS - 1)
        self.start = (height // SHRINK, across // SHRINK, deepest)
        self.dense = nnx.Linear(
            latent, math.prod(self.start), kernel_init=_SCALE, rngs=rngs
        )
        widths = [deepest, *(width * 2**level for level in (1, 0)), channels]
        self.convolutions = nnx.List(
            [
                _convolution(before, 4 * after, rngs)
                for before, after in itertools.pairwise(widths)
            ]
        )

    def __call__(self, images: Images) -> Images:
        """Returns each slice as its features alone tell it."""
        rows = _active(self.dense(self.encoder(images)))
        images = rows.reshape(len(rows), *self.start)
        for level, convolution in enumerate(self.convolutions):
            images = _unfold(convolution(_active(images) if level else images))
        return images


def _unfold(images: Images) -> Float[Array, "slice _height _width _channel"]:
    """Lays groups of four channels out as blocks of 2 x 2 pixels."""
    count, height, width, channels = images.shape
    blocks = images.reshape(count, height, width, 2, 2, channels // 4)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(count, 2 * height, 2 * width, channels // 4)


class Projector(nnx.Module):
    """Encoder and projection head (SimCLR, Chen et al., ICML 2020).

    The head is two dense layers; its output is compared in training only, the
    features are what goes into it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int,
        latent: int,
        projection: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.encoder = Encoder(shape, width, latent, rngs=rngs)
        self.hidden = nnx.Linear(latent, latent, kernel_init=_SCALE, rngs=rngs)
        self.head = nnx.Linear(latent, projection, rngs=rngs)

    def __call__(self, images: Images) -> Float[Array, "slice projection"]:
        """Returns the projection of each slice."""
        rows = _active(self.encoder(images))
        return self.head(_active(self.hidden(rows)))


def unit(rows: Rows) -> Rows:
    """Scales rows to length 1; zeros stay, with a finite slope."""
    length = jnp.square(rows).sum(-1, keepdims=True)
    return rows * jax.lax.rsqrt(jnp.maximum(length, 1e-12))
