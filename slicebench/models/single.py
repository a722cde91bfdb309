"""One trial's convolution as the processor likes it, with both gradients.

Nothing here knows of trials: `slicebench.models.convolution` calls these
functions once a trial. Three tricks make them fast on a CPU:

- column folding: on narrow layers several neighbouring output columns are
  computed as extra output channels, which keeps the vector units busy (forward
  only up to 16 input channels);
- Winograd tiles in depth: a 3D convolution of three taps is a few 2D ones over
  sums of neighbouring slices (`single_winograd`), because XLA's own 3D
  convolution is slow. Used from 5 input channels and two slices on, and in 2D
  along rows where channels times features reach 64 x 64;
- depth stacking, in the other cases: one 2D convolution over the channels of
  neighbouring slices side by side.

Shapes follow `NHWC` in 2D and `NDHWC` in 3D; padding is zero, stride is 1.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from slicebench.models import single_winograd as winograd

_LAYOUT = ("NHWC", "HWIO", "NHWC")

Images = Float[Array, "batch *space channel"]
Outputs = Float[Array, "batch *space features"]
Kernel = Float[Array, "*size channel features"]
Planes = Float[Array, "plane height width channel"]
AnyKernel = Float[Array, "rows columns channel any_features"]
Strided = Float[Array, "plane height steps any_features"]

_PLANE = 2
"""Spatial axes of a plane."""

_NARROW_CHANNELS = 16
"""With more input channels the plain convolution keeps the vector units busy."""

_MANY_WEIGHTS = 64 * 64
"""Channels times features from which Winograd tiles of rows pay in 2D."""

_FEW_CHANNELS = 4
"""Up to so many, neighbouring slices are stacked: products would be too thin."""


def column_fold(width: int, features: int) -> int:
    """Returns how many output columns one kernel position computes at once.

    Measured on CPU (BUILD_NOTES.md): 4 pays up to 8 output channels, 2 up to
    16, 1 beyond; the grid's width must be divisible.
    """
    for fold, limit in ((4, 8), (2, 16)):
        if features <= limit and width % fold == 0:
            return fold
    return 1


def fold_kernel(kernel: Kernel, fold: int) -> AnyKernel:
    """Returns the kernel that computes `fold` neighbouring columns at once.

    Column j of the output uses the usual kernel shifted by j, so the result
    has `fold` times the features and is read with stride `fold`.
    """
    shifted = [
        jnp.pad(kernel, ((0, 0), (j, fold - 1 - j), (0, 0), (0, 0)))
        for j in range(fold)
    ]
    return jnp.concatenate(shifted, axis=3)


def stack_depth(images: Images, size: int) -> Planes:
    """Lays each slice's neighbours beside it as channels.

    Args:
      images: Volumes, slices first.
      size: Kernel size in depth; slices beyond the ends are zero.

    Returns:
      One plane a slice, channels of the slice above first.
    """
    depth, reach = images.shape[1], size // 2
    padded = jnp.pad(images, ((0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)))
    shifted = [padded[:, j : j + depth] for j in range(size)]
    stacked = jnp.concatenate(shifted, axis=-1) if size > 1 else images
    return stacked.reshape(-1, *stacked.shape[2:])


def stack_kernel(kernel: Kernel) -> AnyKernel:
    """Returns the 2D kernel that reads the planes of `stack_depth`."""
    size, rows, columns, channels, features = kernel.shape
    moved = jnp.moveaxis(kernel, 0, 2)
    return moved.reshape(rows, columns, size * channels, features)


def forward(images: Images, kernel: Kernel) -> Outputs:
    """Convolves; the result has the images' space."""
    if math.prod(kernel.shape[:-2]) == 1:
        return _matmul(images, kernel)
    tile = _tile(images, kernel.shape)
    if tile:
        return _forward_winograd(images, kernel, tile)
    if kernel.ndim == _PLANE + 2:
        return _forward_plane(images, kernel)
    planes = stack_depth(images, kernel.shape[0])
    outputs = _forward_plane(planes, stack_kernel(kernel))
    return outputs.reshape(*images.shape[:-1], kernel.shape[-1])


def image_gradient(slopes: Outputs, kernel: Kernel) -> Images:
    """Gradient with respect to the images."""
    axes = range(kernel.ndim - 2)
    mirrored = jnp.swapaxes(jnp.flip(kernel, tuple(axes)), -2, -1)
    return forward(slopes, mirrored)


def kernel_gradient(images: Images, slopes: Outputs, size: tuple[int, ...]) -> Kernel:
    """Gradient with respect to a kernel of the given size."""
    if math.prod(size) == 1:
        points = tuple(range(images.ndim - 1))
        product = jnp.tensordot(images, slopes, (points, points))
        return product.reshape(*size, *product.shape)
    tile = _tile(images, (*size, images.shape[-1], slopes.shape[-1]))
    if tile:
        return _kernel_gradient_winograd(images, slopes, size, tile)
    if len(size) == _PLANE:
        return _kernel_gradient_plane(images, slopes, size)
    planes = stack_depth(images, size[0])
    flat = slopes.reshape(-1, *slopes.shape[2:])
    stacked = _kernel_gradient_plane(planes, flat, size[1:])
    split = stacked.reshape(*size[1:], size[0], images.shape[-1], slopes.shape[-1])
    return jnp.moveaxis(split, 2, 0)


def _matmul(images: Images, kernel: Kernel) -> Outputs:
    """A pointwise convolution is a product of matrices."""
    return images @ kernel.reshape(kernel.shape[-2:])


def _tile(images: Images, kernel: tuple[int, ...]) -> int:
    """Slices, in 2D rows, of a Winograd tile; 0 where other ways are better."""
    *size, channels, features = kernel
    if size[0] != winograd.TAPS:
        return 0
    if len(size) == _PLANE:
        pays = size[1] > 1 and channels * features >= _MANY_WEIGHTS
    else:
        pays = channels > _FEW_CHANNELS
    return winograd.best_tile(images.shape[1]) if pays else 0


def _as_planes(slab: Images) -> Planes:
    """Slices of a slab as planes; in 2D the slab's rows already are planes."""
    return slab.reshape(-1, *slab.shape[-3:])


def _forward_winograd(images: Images, kernel: Kernel, tile: int) -> Outputs:
    products = []
    for slab, part in zip(
        winograd.input_slabs(images, tile),
        winograd.kernel_slabs(kernel, tile),
        strict=True,
    ):
        flat = part if part.ndim == _PLANE + 2 else part[None]
        planes = _forward_plane(_as_planes(slab), flat)
        products.append(planes.reshape(*slab.shape[:-1], -1))
    return winograd.merge_outputs(products, tile, images.shape[1])


def _kernel_gradient_winograd(
    images: Images, slopes: Outputs, size: tuple[int, ...], tile: int
) -> Kernel:
    inputs = _written_out(winograd.input_slabs(images, tile))
    outputs = _written_out(winograd.slope_slabs(slopes, tile))
    plane = size[1:] if len(size) > _PLANE else (1, *size[1:])
    products = [
        _kernel_gradient_wide(_as_planes(slab), _as_planes(slope), plane)
        for slab, slope in zip(inputs, outputs, strict=True)
    ]
    merged = winograd.merge_kernel(products, tile)
    return merged.reshape(*size, images.shape[-1], slopes.shape[-1])


def _written_out(slabs: list[Images]) -> list[Images]:
    """Makes the compiler write arrays to memory before it goes on.

    It would compute the sums anew inside the transposition that each kernel
    gradient starts with, which doubles the time of one; an optimisation barrier
    is gone by the time it decides so. A branch is not, as long as its two sides
    differ; no number exceeds infinity, so the second is never taken.
    """
    never = slabs[0].reshape(-1)[0] > jnp.inf
    return lax.cond(
        never, lambda given: [-slab for slab in given], lambda given: given, slabs
    )


def _kernel_gradient_wide(
    images: Planes, slopes: Planes, size: tuple[int, ...]
) -> AnyKernel:
    """The same with the larger of channels and features as output features.

    Exchanging images and slopes gives the mirrored kernel, channels last.
    """
    if images.shape[3] <= slopes.shape[3]:
        return _kernel_gradient_plane(images, slopes, size)
    mirrored = _kernel_gradient_plane(slopes, images, size)
    return jnp.swapaxes(jnp.flip(mirrored, (0, 1)), 2, 3)


def _plain(images: Planes, kernel: AnyKernel, stride: int = 1) -> Strided:
    above = kernel.shape[0] // 2
    before = (kernel.shape[1] - stride) // 2
    ahead = kernel.shape[1] - stride - before
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1, stride),
        padding=((above, above), (before, ahead)),
        dimension_numbers=_LAYOUT,
    )


def _forward_plane(images: Planes, kernel: AnyKernel) -> Planes:
    batch, height, width, channels = images.shape
    features = kernel.shape[3]
    narrow = kernel.shape[1] > 1 and channels <= _NARROW_CHANNELS
    fold = column_fold(width, features) if narrow else 1
    if fold == 1:
        return _plain(images, kernel)
    folded = _plain(images, fold_kernel(kernel, fold), stride=fold)
    return folded.reshape(batch, height, width, features)


def _kernel_gradient_plane(
    images: Planes, slopes: Planes, size: tuple[int, ...]
) -> AnyKernel:
    batch, height, width, features = slopes.shape
    rows, columns = size
    fold = column_fold(width, features) if columns > 1 else 1
    shape = (rows, columns + fold - 1, images.shape[3], fold * features)
    transpose = jax.linear_transpose(
        lambda kernel: _plain(images, kernel, stride=fold),
        jax.ShapeDtypeStruct(shape, images.dtype),
    )
    (folded,) = transpose(slopes.reshape(batch, height, width // fold, -1))
    parts = jnp.split(folded, fold, axis=3)
    return functools.reduce(
        jnp.add, [part[:, j : j + columns] for j, part in enumerate(parts)]
    )
