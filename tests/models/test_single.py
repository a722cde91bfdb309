import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from slicebench.models import single
from slicebench.models import single_winograd as winograd


def plain(images, kernel):
    space = "DHW"[5 - images.ndim :]
    names = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(
        images, kernel, (1,) * len(space), "SAME", dimension_numbers=names
    )


def drawn(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@functools.partial(jax.jit, static_argnums=3)
def ours(images, kernel, slopes, size):
    return (
        single.forward(images, kernel),
        single.image_gradient(slopes, kernel),
        single.kernel_gradient(images, slopes, size),
    )


@jax.jit
def theirs(images, kernel, slopes):
    outputs, pull = jax.vjp(plain, images, kernel)
    return outputs, *pull(slopes)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("channels", "features"), [(1, 6), (6, 20), (20, 6), (10, 10)])
def test_volumes_of_any_depth_and_width_equal_the_plain_convolution(
    depth, channels, features
):
    space, size = (depth, 6, 8), (3, 3, 3)
    images, slopes = drawn(0, 2, *space, channels), drawn(1, 2, *space, features)
    kernel = drawn(2, *size, channels, features)
    for actual, wanted in zip(
        ours(images, kernel, slopes, size),
        theirs(images, kernel, slopes),
        strict=True,
    ):
        scale = float(jnp.abs(wanted).max())
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("height", [6, 8])
def test_wide_slices_equal_the_plain_convolution(height):
    images, slopes = drawn(0, 2, height, 6, 96), drawn(1, 2, height, 6, 48)
    kernel = drawn(2, 3, 3, 96, 48)
    for actual, wanted in zip(
        ours(images, kernel, slopes, (3, 3)),
        theirs(images, kernel, slopes),
        strict=True,
    ):
        scale = float(jnp.abs(wanted).max())
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("size", [(1, 3), (5, 3), (3, 1, 3)])
def test_kernels_that_are_not_square(size):
    space = (4, 6, 8)[3 - len(size) :]
    images, slopes = drawn(0, 2, *space, 6), drawn(1, 2, *space, 5)
    kernel = drawn(2, *size, 6, 5)
    for actual, wanted in zip(
        ours(images, kernel, slopes, size),
        theirs(images, kernel, slopes),
        strict=True,
    ):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tile", winograd.SCHEMES)
def test_winograd_matrices_compute_a_filter_of_three_taps(tile):
    """The identity of Lavin and Gray 2016, exact up to float64 rounding."""
    scheme = winograd.SCHEMES[tile]
    rng = np.random.default_rng(0)
    signal, taps = rng.normal(size=tile + 2), rng.normal(size=3)
    products = (np.array(scheme.inputs) @ signal) * (np.array(scheme.kernel) @ taps)
    np.testing.assert_allclose(
        np.array(scheme.outputs) @ products,
        np.correlate(signal, taps, "valid"),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("length", "tile"),
    [(1, 0), (2, 2), (3, 4), (4, 4), (5, 2), (6, 2), (9, 4), (32, 4)],
)
def test_tile_needs_the_fewest_products(length, tile):
    assert winograd.best_tile(length) == tile


@pytest.mark.parametrize("tile", winograd.SCHEMES)
@pytest.mark.parametrize("length", [4, 5])
def test_backward_transforms_are_transposes_of_the_forward_ones(tile, length):
    tiles = -(-length // tile)
    products = [drawn(s, 2, tiles, 3) for s in range(tile + 2)]
    outputs = drawn(9, 2, length, 3)
    forward = winograd.merge_outputs(products, tile, length)
    backward = winograd.slope_slabs(outputs, tile)
    np.testing.assert_allclose(
        jnp.vdot(forward, outputs),
        sum(jnp.vdot(a, b) for a, b in zip(products, backward, strict=True)),
        rtol=1e-4,
    )
    kernel, parts = drawn(10, 3, 4), [drawn(s, 4) for s in range(tile + 2)]
    slabs = winograd.kernel_slabs(kernel, tile)
    np.testing.assert_allclose(
        jnp.vdot(winograd.merge_kernel(parts, tile), kernel),
        sum(jnp.vdot(a, b) for a, b in zip(parts, slabs, strict=True)),
        rtol=1e-4,
    )


def test_winograd_error_stays_near_that_of_float32_sums():
    """Against float64, relative to the largest output."""
    images, kernel = drawn(0, 1, 16, 8, 8, 48), drawn(1, 3, 3, 3, 48, 16)
    padded = np.pad(np.asarray(images, np.float64), [(0, 0), *[(1, 1)] * 3, (0, 0)])
    truth = sum(
        padded[:, i : i + 16, j : j + 8, k : k + 8]
        @ np.asarray(kernel[i, j, k], np.float64)
        for i, j, k in np.ndindex(3, 3, 3)
    )
    error = np.abs(np.asarray(single.forward(images, kernel)) - truth).max()
    assert error < 5e-6 * np.abs(truth).max()
