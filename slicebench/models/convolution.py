"""The trial-batched convolution.

`jax.vmap` turns a convolution whose kernel is batched into a grouped
convolution, which no backend runs well. `convolve` therefore carries its own
batching rule: one plain convolution per trial, for the output and for both
gradients. On narrow layers several neighbouring output columns are computed as
extra output channels ("column folding"), which keeps the vector units busy.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import custom_batching, lax
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")

Images = Float[Array, "batch height width channel"]
Outputs = Float[Array, "batch height width features"]
Kernel = Float[Array, "size size channel features"]
AnyKernel = Float[Array, "rows columns channel any_features"]
Strided = Float[Array, "batch height steps any_features"]


def column_fold(width: int, features: int) -> int:
    """Returns how many output columns one kernel position computes at once.

    Measured on CPU (DESIGN notes in BUILD_NOTES.md): 4 pays up to 8 output
    channels, 2 up to 16, 1 beyond; the grid's width must be divisible.
    """
    for fold, limit in ((4, 8), (2, 16)):
        if features <= limit and width % fold == 0:
            return fold
    return 1


def _plain(images: Images, kernel: AnyKernel, stride: int = 1) -> Strided:
    reach = kernel.shape[0] // 2
    ahead = kernel.shape[1] - reach - stride
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1, stride),
        padding=((reach, reach), (reach, ahead)),
        dimension_numbers=_LAYOUT,
    )


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


def _forward(images: Images, kernel: Kernel) -> Outputs:
    batch, height, width, _ = images.shape
    features = kernel.shape[3]
    fold = column_fold(width, features) if kernel.shape[0] > 1 else 1
    if fold == 1:
        return _plain(images, kernel)
    folded = _plain(images, fold_kernel(kernel, fold), stride=fold)
    return folded.reshape(batch, height, width, features)


def _kernel_gradient(images: Images, slopes: Outputs, size: int) -> Kernel:
    batch, height, width, features = slopes.shape
    fold = column_fold(width, features) if size > 1 else 1
    shape = (size, size + fold - 1, images.shape[3], fold * features)
    transpose = jax.linear_transpose(
        lambda kernel: _plain(images, kernel, stride=fold),
        jax.ShapeDtypeStruct(shape, images.dtype),
    )
    (folded,) = transpose(slopes.reshape(batch, height, width // fold, -1))
    parts = jnp.split(folded, fold, axis=3)
    return functools.reduce(
        jnp.add, [part[:, j : j + size] for j, part in enumerate(parts)]
    )


def _image_gradient(slopes: Outputs, kernel: Kernel) -> Images:
    mirrored = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    return _forward(slopes, mirrored)


def _one_by_one(function: Callable[..., Array]) -> Callable[..., Array]:
    """Gives a function a batching rule: one plain call per trial."""
    batched = custom_batching.custom_vmap(function)

    @batched.def_vmap
    def rule(  # pyright: ignore[reportUnusedFunction]
        axis_size: int, in_batched: list[bool], *operands: Array
    ) -> tuple[Array, bool]:
        results = [
            batched(
                *(
                    operand[trial] if is_batched else operand
                    for operand, is_batched in zip(operands, in_batched, strict=True)
                )
            )
            for trial in range(axis_size)
        ]
        return jnp.stack(results), True

    return batched


_forward_trials = _one_by_one(_forward)
_image_gradient_trials = _one_by_one(_image_gradient)


@functools.cache
def _kernel_gradient_trials(size: int) -> Callable[..., Array]:
    return _one_by_one(functools.partial(_kernel_gradient, size=size))


@jax.custom_vjp
def convolve(images: Images, kernel: Kernel) -> Outputs:
    """Convolves with zero padding and stride 1; vmap it over trials.

    Args:
      images: Batch of slices.
      kernel: Square kernel of odd size.

    Returns:
      Array with the images' height and width.
    """
    return _forward_trials(images, kernel)


def _convolve_forward(
    images: Images, kernel: Kernel
) -> tuple[Outputs, tuple[Images, Kernel]]:
    return _forward_trials(images, kernel), (images, kernel)


def _convolve_backward(
    saved: tuple[Images, Kernel], slopes: Outputs
) -> tuple[Images, Kernel]:
    images, kernel = saved
    return (
        _image_gradient_trials(slopes, kernel),
        _kernel_gradient_trials(kernel.shape[0])(images, slopes),
    )


convolve.defvjp(_convolve_forward, _convolve_backward)
