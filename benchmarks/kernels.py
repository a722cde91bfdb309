"""Ways to convolve one trial's images on one core, layer by layer.

`python -m benchmarks.kernels` times the forms behind the choices of
`slicebench.models.single`, interleaved in one run and on random data: forward
and kernel gradient of the layers of a 3D U-Net of width 16 and of a 2D one,
with the error of each against the first. Pin it to a core (`taskset -c 0`).
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import lax
from jaxtyping import Array

from slicebench.models import single

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved rounds.")
_CALLS = flags.DEFINE_integer("calls", 5, "Calls of a round.")

Form = Callable[[Array, Array], Array]

VOLUMES = [
    ((2, 32, 32, 32), 48, 16),
    ((2, 32, 32, 32), 16, 16),
    ((2, 16, 16, 16), 96, 32),
    ((2, 16, 16, 16), 32, 32),
    ((2, 8, 8, 8), 64, 64),
]
SLICES = [
    ((8, 64, 64), 48, 16),
    ((8, 64, 64), 16, 16),
    ((8, 32, 32), 96, 32),
    ((8, 16, 16), 192, 64),
    ((8, 8, 8), 128, 128),
    ((8, 48, 48), 24, 8),
]
"""Batch and space, channels, features."""


def _plain(images: Array, kernel: Array) -> Array:
    space = "DHW"[5 - images.ndim :]
    names = (f"N{space}C", f"{space}IO", f"N{space}C")
    ones = (1,) * len(space)
    return lax.conv_general_dilated(
        images, kernel, ones, "SAME", dimension_numbers=names
    )


def _plain_gradient(images: Array, slopes: Array) -> Array:
    size = (3,) * (images.ndim - 2)
    shape = (*size, images.shape[-1], slopes.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, images.dtype)
    (gradient,) = jax.linear_transpose(lambda k: _plain(images, k), kernel)(slopes)
    return gradient


def _gradient(images: Array, slopes: Array) -> Array:
    return single.kernel_gradient(images, slopes, (3,) * (images.ndim - 2))


def _changed(function: Form, **parts: Any) -> Form:
    """The same function traced with parts of `single` replaced."""

    @functools.wraps(function)
    def traced(*given: Array) -> Array:
        with _patched(parts):
            return function(*given)

    return traced


@contextmanager
def _patched(parts: dict[str, Any]) -> Iterator[None]:
    with mock.patch.multiple(single, **parts):
        yield


def _tile_of_two(images: Array, kernel: tuple[int, ...]) -> int:
    del images, kernel
    return 2


def _tile_of_four(images: Array, kernel: tuple[int, ...]) -> int:
    del images, kernel
    return 4


def _forms(function: Form, ndim: int) -> dict[str, Form]:
    """Ways to compute `single.forward` or its kernel gradient."""
    unfolded: dict[str, Any] = {"column_fold": lambda *_: 1}
    if ndim == 4:
        return {
            "as shipped": function,
            "tiles of rows": _changed(function, _tile=_tile_of_four),
            "no tiles": _changed(function, _tile=lambda *_: 0),
            "no column folding": _changed(function, **unfolded),
        }
    return {
        "as shipped": function,
        "tiles of two": _changed(function, _tile=_tile_of_two),
        "stacked depth": _changed(function, _tile=lambda *_: 0),
        "sums not written out": _changed(function, _written_out=lambda slabs: slabs),
        "no column folding": _changed(function, **unfolded),
    }


def _columns_gradient(images: Array, slopes: Array) -> Array:
    """Kernel gradient as one matrix product over neighbours laid side by side."""
    _, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    beside = [padded[:, i : i + height, j : j + width] for i, j in np.ndindex(3, 3)]
    where = (0, 1, 2)
    product = lax.dot_general(
        jnp.concatenate(beside, -1), slopes, ((where, where), ((), ()))
    )
    return product.reshape(3, 3, channels, -1)


def _report(title: str, forms: dict[str, Form], given: tuple[Array, Array]) -> None:
    compiled = {
        name: jax.jit(form).lower(*given).compile() for name, form in forms.items()
    }
    outputs = {name: np.asarray(run(*given)) for name, run in compiled.items()}
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(_ROUNDS.value):
        for name, run in compiled.items():
            start = time.perf_counter()
            results = [run(*given) for _ in range(_CALLS.value)]
            jax.block_until_ready(results)
            times[name].append((time.perf_counter() - start) * 1e3 / _CALLS.value)
    print(f"\n{title}: ms, median (min-max); largest difference over largest value")
    first = next(iter(outputs.values()))
    for name, found in times.items():
        error = np.abs(outputs[name] - first).max() / np.abs(first).max()
        print(
            f"  {name:<22} {np.median(found):7.2f} "
            f"({min(found):.2f}-{max(found):.2f})  {error:.0e}",
            flush=True,
        )


def main(_arguments: list[str]) -> None:
    """Prints a table for each layer, forward and kernel gradient."""
    jax.config.update("jax_platforms", "cpu")
    rng = np.random.default_rng(0)
    for space, channels, features in [*VOLUMES, *SLICES]:
        size = (3,) * (len(space) - 1)
        images = jnp.asarray(rng.normal(size=(*space, channels)), jnp.float32)
        slopes = jnp.asarray(rng.normal(size=(*space, features)), jnp.float32)
        kernel = jnp.asarray(rng.normal(size=(*size, channels, features)), jnp.float32)
        forward = {"XLA's own": _plain, **_forms(single.forward, images.ndim)}
        backward = {"XLA's own": _plain_gradient, **_forms(_gradient, images.ndim)}
        forward.pop("sums not written out", None)
        if len(size) == 2:
            backward["matrix product"] = _columns_gradient
        name = f"{'x'.join(map(str, space))}, {channels} to {features}"
        _report(f"{name}, forward", forward, (images, kernel))
        _report(f"{name}, kernel gradient", backward, (images, slopes))


if __name__ == "__main__":
    app.run(main)
