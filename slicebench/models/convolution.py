"""The trial-batched convolution, in 2D and 3D.

`jax.vmap` turns a convolution whose kernel is batched into a grouped
convolution, which no backend runs well. `convolve` therefore takes the layout
of the trial axis by name, and the execution plan chooses it:

- `single`: one plain convolution per trial, for the output and for both
  gradients, through a batching rule of its own. Fastest on a CPU.
- the others: see `slicebench.models.layouts`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import custom_batching
from jaxtyping import Array

from slicebench.models import layouts, single
from slicebench.models.layouts import Convolution
from slicebench.models.single import Images, Kernel, Outputs


def convolve(images: Images, kernel: Kernel, layout: str = "single") -> Outputs:
    """Convolves with zero padding and stride 1; vmap it over trials.

    Args:
      images: Batch of slices or volumes.
      kernel: Kernel of odd sizes, as many as the images have spatial axes.
      layout: One of `LAYOUTS`.

    Returns:
      Array with the images' space.

    Raises:
      ValueError: No such layout, or a kernel of even size.
    """
    if not all(size % 2 for size in kernel.shape[:-2]):
        raise ValueError(f"kernel {kernel.shape[:-2]}: sizes must be odd")
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: allowed are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](images, kernel)


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


_forward_trials = _one_by_one(single.forward)
_image_gradient_trials = _one_by_one(single.image_gradient)


@functools.cache
def _kernel_gradient_trials(size: tuple[int, ...]) -> Callable[..., Array]:
    return _one_by_one(functools.partial(single.kernel_gradient, size=size))


@jax.custom_vjp
def _convolve_single(images: Images, kernel: Kernel) -> Outputs:
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
        _kernel_gradient_trials(kernel.shape[:-2])(images, slopes),
    )


_convolve_single.defvjp(_convolve_forward, _convolve_backward)

LAYOUTS: dict[str, Convolution] = {
    "single": _convolve_single,
    "matmul": layouts.matmul,
    "shifts": layouts.shifts,
    "winograd": layouts.winograd,
    "grouped": layouts.grouped,
}
"""Layouts of the trial axis by name."""
