"""Convolutions whose trial axis an accelerator may run well; vmap them.

Each is a convolution of one trial, written such that `jax.vmap` over trials
gives operations with an ordinary batch axis:

- `matmul`: shifted views side by side as channels, then one matrix product, so
  that trials become one batched product (Chellapilla et al. 2006, "im2col");
- `shifts`: one matrix product a kernel tap, summed, without a copy of the views;
- `winograd`: matrix products of transformed tiles; a 3 x 3 kernel then costs 4
  multiplications an output instead of 9 (F(2x2, 3x3) of Lavin and Gray 2016).
  Kernels that are not 3 x 3 in the plane fall back to `matmul`;
- `grouped`: the convolution of `jax.lax`, which vmap makes a grouped one.

The gradient for the images is the same layout with the mirrored kernel, that for
the kernel a product of its own. Both are written out: the derivatives that jax
finds keep every shifted view of the forward pass, these only images and kernel.

Numbers narrower than float32 are multiplied as they are and summed in float32.
The gradient of a float32 kernel stays float32 whatever the images are.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from slicebench.models.single import Images, Kernel, Outputs

Convolution = Callable[[Images, Kernel], Outputs]
KernelGradient = Callable[[Images, Outputs, tuple[int, ...]], Kernel]

_Matrix = tuple[tuple[float, ...], ...]
_Grid = Sequence[Sequence[Array]]
_Points = Float[Array, "16 _ _"]

# F(2x2, 3x3): tiles of four pixels a side, two outputs a side.
_OF_IMAGES: _Matrix = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_KERNEL: _Matrix = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_TO_OUTPUTS: _Matrix = ((1, 1, 1, 0), (0, 1, -1, -1))


def _differentiable(
    forward: Convolution, kernel_gradient: KernelGradient
) -> Convolution:
    """Makes a convolution of its forward pass and its kernel's gradient."""

    @jax.custom_vjp
    def convolution(images: Images, kernel: Kernel) -> Outputs:
        return forward(images, kernel.astype(images.dtype)).astype(images.dtype)

    def ahead(images: Images, kernel: Kernel) -> tuple[Outputs, tuple[Images, Kernel]]:
        return convolution(images, kernel), (images, kernel)

    def back(saved: tuple[Images, Kernel], slopes: Outputs) -> tuple[Images, Kernel]:
        images, kernel = saved
        size = kernel.shape[:-2]
        mirrored = jnp.swapaxes(jnp.flip(kernel, range(len(size))), -2, -1)
        return (
            convolution(slopes, mirrored),
            kernel_gradient(images, slopes, size).astype(kernel.dtype),
        )

    convolution.defvjp(ahead, back)
    return convolution


def _sums(array: Array) -> jnp.dtype:
    """Type in which products of an array's numbers are summed."""
    return jnp.promote_types(array.dtype, jnp.float32)


def _dot(rows: Array, columns: Array) -> Array:
    """Product over the last axis of the one and the first of the other."""
    return lax.dot_general(
        rows,
        columns,
        (((rows.ndim - 1,), (0,)), ((), ())),
        preferred_element_type=_sums(rows),
    )


def _dot_rows(left: Array, right: Array) -> Array:
    """Product over all axes but the last of both."""
    left, right = (array.reshape(-1, array.shape[-1]) for array in (left, right))
    return _dot(left.T, right)


def _shifted(images: Images, size: Sequence[int]) -> Iterator[Images]:
    """The images as each tap of a kernel sees them, zero beyond the border."""
    reach = [(s // 2, s // 2) for s in size]
    padded = jnp.pad(images, ((0, 0), *reach, (0, 0)))
    for tap in itertools.product(*map(range, size)):
        window = [slice(t, t + n) for t, n in zip(tap, images.shape[1:-1], strict=True)]
        yield padded[:, *window]


def _views(images: Images, size: Sequence[int]) -> Float[Array, "batch *space taps"]:
    return jnp.concatenate([*_shifted(images, size)], axis=-1)


def _matmul_forward(images: Images, kernel: Kernel) -> Outputs:
    views = _views(images, kernel.shape[:-2])
    return _dot(views, kernel.reshape(-1, kernel.shape[-1]))


def _matmul_kernel(images: Images, slopes: Outputs, size: tuple[int, ...]) -> Kernel:
    flat = _dot_rows(_views(images, size), slopes)
    return flat.reshape(*size, images.shape[-1], slopes.shape[-1])


def _shifts_forward(images: Images, kernel: Kernel) -> Outputs:
    views = _shifted(images, kernel.shape[:-2])
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    return functools.reduce(jnp.add, map(_dot, views, taps))


def _shifts_kernel(images: Images, slopes: Outputs, size: tuple[int, ...]) -> Kernel:
    taps = jnp.stack([_dot_rows(view, slopes) for view in _shifted(images, size)])
    return taps.reshape(*size, *taps.shape[1:])


def _plain(
    images: Array, kernel: Array, size: Sequence[int], axes: tuple[str, str, str]
) -> Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1,) * len(size),
        padding=[(s // 2, s // 2) for s in size],
        dimension_numbers=axes,
        preferred_element_type=_sums(images),
    )


def _grouped_forward(images: Images, kernel: Kernel) -> Outputs:
    space = "DHW"[5 - kernel.ndim :]
    axes = (f"N{space}C", f"{space}IO", f"N{space}C")
    return _plain(images, kernel, kernel.shape[:-2], axes)


def _grouped_kernel(images: Images, slopes: Outputs, size: tuple[int, ...]) -> Kernel:
    """Images convolved with slopes: channels as batch, the batch as channels."""
    space = "DHW"[3 - len(size) :]
    axes = (f"C{space}N", f"I{space}O", f"{space}NC")
    return _plain(images, slopes, size, axes)


def _combine(matrix: _Matrix, grid: _Grid) -> _Grid:
    """Returns matrix x grid x transposed matrix, entries of the grid as numbers."""

    def along(parts: Sequence[Array]) -> list[Array]:
        return [
            functools.reduce(
                jnp.add,
                [w * part for w, part in zip(row, parts, strict=True) if w],
            )
            for row in matrix
        ]

    down = [along(column) for column in zip(*grid, strict=True)]
    return [along(row) for row in zip(*down, strict=True)]


def _transposed(matrix: _Matrix) -> _Matrix:
    return tuple(zip(*matrix, strict=True))


def _stacked(grid: _Grid) -> Array:
    return jnp.stack([part for row in grid for part in row])


def _split(points: Array, *shape: int) -> _Grid:
    """The 16 points, each in the given shape, as a grid of 4 x 4."""
    square = points.reshape(4, 4, *shape)
    return [[square[a, b] for b in range(4)] for a in range(4)]


def _cut(images: Images, side: int, before: int) -> _Grid:
    """Pixel (i, j) of every tile of the given side, in the type of sums.

    Tiles start at every other pixel, `before` pixels ahead of the image; what
    lies beyond it is zero.
    """
    height, width = images.shape[-3:-1]
    rows, columns = _tiles(images)
    after = side - 2 - before
    padding = [(0, 0)] * images.ndim
    padding[-3] = (before, after + 2 * rows - height)
    padding[-2] = (before, after + 2 * columns - width)
    wide = jnp.pad(images.astype(_sums(images)), padding)
    down, across = (
        [slice(first, first + 2 * count - 1, 2) for first in range(side)]
        for count in (rows, columns)
    )
    return [[wide[..., i, j, :] for j in across] for i in down]


def _tiles(images: Images) -> tuple[int, int]:
    """Tiles down and across; an odd side needs half a tile more."""
    return -(-images.shape[-3] // 2), -(-images.shape[-2] // 2)


def _image_points(images: Images, depth: int) -> _Points:
    """Transformed tiles; slices that a kernel's depth sees lie side by side."""
    points = _stacked(_combine(_OF_IMAGES, _cut(images, side=4, before=1)))
    points = points.astype(images.dtype)
    if depth > 1:
        points = jnp.concatenate([*_shifted_depth(points, depth)], axis=-1)
    return points.reshape(16, -1, points.shape[-1])


def _shifted_depth(points: Array, depth: int) -> Iterator[Array]:
    reach, slices = depth // 2, points.shape[2]
    around = [(0, 0)] * points.ndim
    around[2] = (reach, reach)
    padded = jnp.pad(points, around)
    for first in range(depth):
        yield padded[:, :, first : first + slices]


def _kernel_points(kernel: Kernel) -> _Points:
    wide = kernel.astype(_sums(kernel))
    taps = [[wide[..., i, j, :, :] for j in range(3)] for i in range(3)]
    points = _stacked(_combine(_OF_KERNEL, taps)).astype(kernel.dtype)
    return points.reshape(16, -1, kernel.shape[-1])


def _slope_points(slopes: Outputs) -> _Points:
    grid = _combine(_transposed(_TO_OUTPUTS), _cut(slopes, side=2, before=0))
    return _stacked(grid).astype(slopes.dtype).reshape(16, -1, slopes.shape[-1])


def _dot_points(left: _Points, right: _Points, over: tuple[int, int]) -> _Points:
    return lax.dot_general(
        left,
        right,
        (((over[0],), (over[1],)), ((0,), (0,))),
        preferred_element_type=_sums(left),
    )


def _is_square(size: Sequence[int]) -> bool:
    return tuple(size[-2:]) == (3, 3)


def _winograd_forward(images: Images, kernel: Kernel) -> Outputs:
    if not _is_square(kernel.shape[:-2]):
        return _matmul_forward(images, kernel)
    *lead, height, width, _ = images.shape
    features = kernel.shape[-1]
    points = _dot_points(
        _image_points(images, math.prod(kernel.shape[:-4])),
        _kernel_points(kernel),
        over=(2, 1),
    )
    rows, columns = _tiles(images)
    corners = _combine(_TO_OUTPUTS, _split(points, *lead, rows, columns, features))
    pairs = [jnp.stack(row, axis=-2) for row in corners]
    blocks = jnp.stack(pairs, axis=len(lead) + 1)
    outputs = blocks.reshape(*lead, 2 * rows, 2 * columns, features)
    return outputs[..., :height, :width, :]


def _winograd_kernel(images: Images, slopes: Outputs, size: tuple[int, ...]) -> Kernel:
    """The forward pass is linear in the kernel; this is its transpose."""
    if not _is_square(size):
        return _matmul_kernel(images, slopes, size)
    depth, channels = math.prod(size[:-2]), images.shape[-1]
    points = _dot_points(
        _image_points(images, depth), _slope_points(slopes), over=(1, 1)
    )
    grid = _split(points, depth, channels, slopes.shape[-1])
    taps = _stacked(_combine(_transposed(_OF_KERNEL), grid))
    moved = jnp.moveaxis(taps, 0, 1)
    return moved.reshape(*size, channels, slopes.shape[-1])


matmul = _differentiable(_matmul_forward, _matmul_kernel)
shifts = _differentiable(_shifts_forward, _shifts_kernel)
winograd = _differentiable(_winograd_forward, _winograd_kernel)
grouped = _differentiable(_grouped_forward, _grouped_kernel)
