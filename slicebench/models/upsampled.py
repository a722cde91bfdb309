"""A convolution of upsampled images that never makes them.

Along one axis, a point x[i] repeated twice meets three taps a, b, c as

    y[2i] = a x[i-1] + (b + c) x[i],   y[2i+1] = (a + b) x[i] + c x[i+1].

With the differences d[i] = x[i+1] - x[i] and the sum s = a + b + c this is

    y[2i] = s x[i] - a d[i-1],   y[2i+1] = s x[i] + c d[i]:

three products on the coarse grid for two outputs, where a convolution of the
repeated points takes six. Applied axis after axis, a quarter of the products
are left in 2D and an eighth in 3D, and neither the upsampled images nor their
concatenation with others are written to memory.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from slicebench.models.convolution import convolve

_TAPS = 3

Images = Float[Array, "batch *space channel"]


def convolve_upsampled(
    images: Images,
    kernel: Float[Array, "*size channel features"],
    block: tuple[int, ...],
    layout: str = "single",
) -> Images:
    """Convolves images whose every point is repeated as a block.

    Args:
      images: Batch on the coarse grid.
      kernel: Kernel on the fine grid, of odd sizes; 3 along axes of block 2.
      block: Points that a coarse point is repeated as along each axis, 1 or 2.
      layout: See `slicebench.models.convolution`.

    Returns:
      Outputs on the fine grid; zero padding.

    Raises:
      ValueError: A block or kernel size that is not foreseen.
    """
    return _along(0, images, kernel, block, layout)


def _along(
    axis: int,
    images: Images,
    kernel: Array,
    block: tuple[int, ...],
    layout: str,
) -> Images:
    """Goes through the axes from the given one on."""
    if axis == len(block):
        return convolve(images, kernel, layout)
    if block[axis] == 1:
        return _along(axis + 1, images, kernel, block, layout)
    if block[axis] != 2 or kernel.shape[axis] != _TAPS:
        raise ValueError(
            f"block {block} and kernel size {kernel.shape[:-2]}: blocks of 1, or of 2 "
            f"with {_TAPS} taps, are allowed"
        )
    place, length, features = axis + 1, images.shape[axis + 1], kernel.shape[-1]
    first, _, last = jnp.split(kernel, _TAPS, axis)
    whole = _along(axis + 1, images, kernel.sum(axis, keepdims=True), block, layout)
    both = jnp.concatenate([-first, last], axis=-1)
    edges = _along(axis + 1, _differences(images, place), both, block, layout)
    before, after = edges[..., :features], edges[..., features:]
    even = whole + _take(before, place, 0, length)
    odd = whole + _take(after, place, 1, length)
    pairs = jnp.stack([even, odd], axis=place + 1)
    return pairs.reshape(*whole.shape[:place], 2 * length, *whole.shape[place + 1 :])


def _differences(images: Images, place: int) -> Images:
    """Each point less the one before, from the first to one beyond the last."""
    widths = [(0, 0)] * images.ndim
    widths[place] = (0, 1)
    after = jnp.pad(images, widths)
    widths[place] = (1, 0)
    return after - jnp.pad(images, widths)


def _take(images: Array, place: int, start: int, length: int) -> Array:
    index = [slice(None)] * images.ndim
    index[place] = slice(start, start + length)
    return images[tuple(index)]
