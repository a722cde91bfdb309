"""A plain U-Net in 2D and 3D (Ronneberger et al. 2015; nnU-Net, Isensee et al. 2021).

In 3D a volume may be thinner than its patch: `valid` marks the slices that
exist. Padded slices are zero at the input of every convolution, are left out of
every mean and variance, and never win a maximum, so that adding padding after
the last slice changes nothing at the slices that exist.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from slicebench import spec
from slicebench.models.convolution import convolve
from slicebench.models.upsampled import convolve_upsampled

_SLOPE = 0.01
_EPSILON = 1e-5

Images = Float[Array, "batch *space channel"]
Valid = Bool[Array, "batch depth"]


class ConvBlock(nnx.Module):
    """Convolution, instance normalisation, leaky ReLU.

    The convolution has no bias: the normalisation's shift takes its place.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        channels: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        layout: str = "single",
    ):
        initialise = nnx.initializers.variance_scaling(
            2.0 / (1 + _SLOPE**2), "fan_in", "normal"
        )
        self.kernel = nnx.Param(
            initialise(rngs.params(), (*size, channels, features), jnp.float32)
        )
        self.scale = nnx.Param(jnp.ones((features,)))
        self.shift = nnx.Param(jnp.zeros((features,)))
        self.layout = layout

    def __call__(self, images: Images, valid: Valid | None = None) -> Images:
        """Applies the block; the images' space stays."""
        kernel = self.kernel[...].astype(images.dtype)
        outputs = convolve(images, kernel, self.layout)
        return normalise(outputs, self.scale[...], self.shift[...], valid)

    def join(
        self,
        below: Images,
        skip: Images,
        size: tuple[int, ...],
        valid: Valid | None = None,
    ) -> Images:
        """Applies the block to upsampled images joined with a skip connection.

        The same as `block(concatenate([upsample(below, size), skip]))`, at a
        fraction of its multiplications, see `slicebench.models.upsampled`.
        """
        kernel = self.kernel[...].astype(skip.dtype)
        channels = below.shape[-1]
        coarse, fine = kernel[..., :channels, :], kernel[..., channels:, :]
        outputs = convolve_upsampled(below, coarse, size, self.layout)
        outputs = outputs + convolve(skip, fine, self.layout)
        return normalise(outputs, self.scale[...], self.shift[...], valid)


def normalise(
    images: Images,
    scale: Float[Array, " channel"],
    shift: Float[Array, " channel"],
    valid: Valid | None = None,
) -> Images:
    """Instance normalisation (Ulyanov et al. 2016) and leaky ReLU, fused.

    Sums are float32 whatever the images' type. Padded slices become zero.
    """
    wide = images.astype(jnp.float32)
    mean = _mean(wide, valid)
    variance = _mean(jnp.square(wide - mean), valid)
    gain = scale * jax.lax.rsqrt(variance + _EPSILON)
    outputs = (wide - mean) * gain + shift
    outputs = jnp.maximum(outputs, _SLOPE * outputs)
    return _clear(outputs, valid, 0.0).astype(images.dtype)


def _mean(images: Images, valid: Valid | None) -> Images:
    """Mean over space, of the slices that exist."""
    axes = tuple(range(1, images.ndim - 1))
    if valid is None:
        return images.mean(axes, keepdims=True)
    plane = images.shape[2] * images.shape[3]
    count = jnp.maximum(valid.sum(1) * plane, 1).astype(images.dtype)
    total = _clear(images, valid, 0.0).sum(axes, keepdims=True)
    return total / count[:, None, None, None, None]


def _clear(images: Images, valid: Valid | None, value: float) -> Images:
    """Puts a value in the place of padded slices."""
    if valid is None:
        return images
    return jnp.where(valid[:, :, None, None, None], images, value)


def pool(
    images: Images, size: tuple[int, ...], valid: Valid | None = None
) -> tuple[Images, Valid | None]:
    """Maximum over blocks of the given size, and which slices exist after it."""
    if valid is None:
        return _blocks(images, size), None
    below = _blocks(_clear(images, valid, -jnp.inf), size)
    deep = valid.reshape(valid.shape[0], -1, size[0]).any(-1)
    return _clear(below, deep, 0.0), deep


def _blocks(images: Images, size: tuple[int, ...]) -> Images:
    for axis, step in enumerate(size, start=1):
        if step == 1:
            continue
        if step != 2:
            raise ValueError(f"pooling {size}: sizes of 1 and 2 are allowed")
        shape = images.shape
        pairs = images.reshape(*shape[:axis], -1, 2, *shape[axis + 1 :])
        halves = jnp.moveaxis(pairs, axis + 1, 0)
        images = _larger(halves[0], halves[1])
    return images


@jax.custom_vjp
def _larger(first: Array, second: Array) -> Array:
    """Elementwise maximum whose slope goes to one of the two, on a tie the first.

    The slope of `jnp.max` divides by the number of elements that equal the
    maximum. Compilers compute those elements anew, not always to the same bit,
    and then it is zero over zero.
    """
    return jnp.maximum(first, second)


def _larger_forward(first: Array, second: Array) -> tuple[Array, Array]:
    return jnp.maximum(first, second), first >= second


def _larger_backward(wins: Array, slope: Array) -> tuple[Array, Array]:
    nothing = jnp.zeros_like(slope)
    return jnp.where(wins, slope, nothing), jnp.where(wins, nothing, slope)


_larger.defvjp(_larger_forward, _larger_backward)


def upsample(images: Images, size: tuple[int, ...]) -> Images:
    """Repeats every point as a block of the given size (nearest neighbour)."""
    single, whole, space = [images.shape[0]], [images.shape[0]], []
    for length, step in zip(images.shape[1:-1], size, strict=True):
        single += [length, 1]
        whole += [length, step]
        space.append(length * step)
    channels = images.shape[-1]
    repeated = jnp.broadcast_to(images.reshape(*single, channels), (*whole, channels))
    return repeated.reshape(images.shape[0], *space, channels)


class UNet(nnx.Module):
    """Encoder and decoder of equal depth with skip connections.

    Attributes:
      encoder: Two blocks a level, from full to lowest resolution.
      decoder: Two blocks a level, from the last but one resolution up.
      head: Pointwise convolution to class scores.
      pools: Pooling from each level to the next one down.
      dtype: Type of activations and of the kernels' copies in arithmetic.
      layout: Layout of the trial axis in convolutions.
    """

    def __init__(
        self, program: spec.Program, *, rngs: nnx.Rngs, layout: str = "single"
    ):
        network, kernels = program.network, program.kernels
        self.pools = program.pools
        self.dtype = jnp.dtype(program.precision)
        self.layout = layout
        widths = [
            min(network.width * 2**level, network.max_width)
            for level in range(network.depth)
        ]

        def pair(level: int, channels: int) -> nnx.List:
            size, width = kernels[level], widths[level]
            return nnx.List(
                [
                    ConvBlock(size, before, width, rngs=rngs, layout=layout)
                    for before in (channels, width)
                ]
            )

        self.encoder = nnx.List()
        channels = program.channels
        for level, width in enumerate(widths):
            self.encoder.append(pair(level, channels))
            channels = width
        self.decoder = nnx.List()
        for level in reversed(range(network.depth - 1)):
            self.decoder.append(pair(level, channels + widths[level]))
            channels = widths[level]
        initialise = nnx.initializers.lecun_normal()
        point = (1,) * len(kernels[0])
        self.head = nnx.Param(
            initialise(rngs.params(), (*point, channels, program.classes))
        )
        self.head_bias = nnx.Param(jnp.zeros((program.classes,)))

    def __call__(
        self, images: Images, valid: Valid | None = None
    ) -> Float[Array, "batch *space class"]:
        """Returns class scores (logits) in float32.

        Args:
          images: Slices, or patches of volumes; sides must divide by the product
            of the poolings.
          valid: Slices of each patch that exist; None where all do. Scores of
            the others mean nothing.
        """
        images = _clear(images.astype(self.dtype), valid, 0.0)
        skips: list[tuple[Array, Valid | None]] = []
        for level, pair in enumerate(self.encoder):
            if level:
                images, valid = pool(images, self.pools[level - 1], valid)
            for block in pair:
                images = block(images, valid)
            skips.append((images, valid))
        skips.pop()
        for size, pair in zip(reversed(self.pools), self.decoder, strict=True):
            skip, valid = skips.pop()
            first, second = pair
            images = second(first.join(images, skip, size, valid), valid)
        scores = convolve(images, self.head[...].astype(self.dtype), self.layout)
        return scores.astype(jnp.float32) + self.head_bias[...]
