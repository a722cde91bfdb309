"""A plain 2D U-Net (Ronneberger et al. 2015; nnU-Net, Isensee et al. 2021)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from slicebench import spec
from slicebench.models.convolution import convolve

_SLOPE = 0.01
_EPSILON = 1e-5


class ConvBlock(nnx.Module):
    """Convolution, instance normalisation, leaky ReLU.

    The convolution has no bias: the normalisation's shift takes its place.
    """

    def __init__(self, channels: int, features: int, *, rngs: nnx.Rngs):
        initialise = nnx.initializers.variance_scaling(
            2.0 / (1 + _SLOPE**2), "fan_in", "normal"
        )
        self.kernel = nnx.Param(
            initialise(rngs.params(), (3, 3, channels, features), jnp.float32)
        )
        self.scale = nnx.Param(jnp.ones((features,)))
        self.shift = nnx.Param(jnp.zeros((features,)))

    def __call__(
        self, images: Float[Array, "batch height width channel"]
    ) -> Float[Array, "batch height width features"]:
        """Applies the block; height and width stay."""
        outputs = convolve(images, self.kernel[...])
        return normalise(outputs, self.scale[...], self.shift[...])


def normalise(
    images: Float[Array, "batch height width channel"],
    scale: Float[Array, " channel"],
    shift: Float[Array, " channel"],
) -> Float[Array, "batch height width channel"]:
    """Instance normalisation (Ulyanov et al. 2016) and leaky ReLU, fused."""
    mean = images.mean((1, 2), keepdims=True)
    variance = jnp.square(images - mean).mean((1, 2), keepdims=True)
    gain = scale * jax.lax.rsqrt(variance + _EPSILON)
    outputs = (images - mean) * gain + shift
    return jnp.maximum(outputs, _SLOPE * outputs)


def halve(
    images: Float[Array, "batch height width channel"],
) -> Float[Array, "batch height/2 width/2 channel"]:
    """Maximum over 2 x 2 blocks."""
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return blocks.max((2, 4))


def double(
    images: Float[Array, "batch height width channel"],
) -> Float[Array, "batch 2*height 2*width channel"]:
    """Repeats every pixel as a 2 x 2 block (nearest neighbour)."""
    batch, height, width, channels = images.shape
    blocks = jnp.broadcast_to(
        images[:, :, None, :, None], (batch, height, 2, width, 2, channels)
    )
    return blocks.reshape(batch, 2 * height, 2 * width, channels)


class UNet2D(nnx.Module):
    """Encoder and decoder of equal depth with skip connections.

    Attributes:
      encoder: Two blocks a level, from full to lowest resolution.
      decoder: Two blocks a level, from the last but one resolution up.
      head: 1 x 1 convolution to class scores.
    """

    def __init__(
        self, network: spec.Network, channels: int, classes: int, *, rngs: nnx.Rngs
    ):
        widths = [
            min(network.width * 2**level, network.max_width)
            for level in range(network.depth)
        ]
        self.encoder = nnx.List()
        for width in widths:
            self.encoder.append(_pair(channels, width, rngs))
            channels = width
        self.decoder = nnx.List()
        for width in reversed(widths[:-1]):
            self.decoder.append(_pair(channels + width, width, rngs))
            channels = width
        initialise = nnx.initializers.lecun_normal()
        self.head = nnx.Param(initialise(rngs.params(), (1, 1, channels, classes)))
        self.head_bias = nnx.Param(jnp.zeros((classes,)))

    def __call__(
        self, images: Float[Array, "batch height width channel"]
    ) -> Float[Array, "batch height width class"]:
        """Returns class scores (logits); sides must divide by 2**(depth - 1)."""
        skips: list[Array] = []
        for level, pair in enumerate(self.encoder):
            images = halve(images) if level else images
            for block in pair:
                images = block(images)
            skips.append(images)
        skips.pop()
        for pair in self.decoder:
            images = jnp.concatenate([double(images), skips.pop()], axis=-1)
            for block in pair:
                images = block(images)
        return convolve(images, self.head[...]) + self.head_bias[...]


def _pair(channels: int, features: int, rngs: nnx.Rngs) -> nnx.List:
    return nnx.List(
        [
            ConvBlock(channels, features, rngs=rngs),
            ConvBlock(features, features, rngs=rngs),
        ]
    )
