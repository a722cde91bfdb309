"""One contract for every layout that accelerators may use."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench.models.convolution import LAYOUTS, convolve
from tests.models.test_convolution import (
    TRIALS,
    feature_groups,
    output_and_gradients,
    whole_numbers,
)

BATCHED = [name for name in LAYOUTS if name != "single"]
CHANNELS, FEATURES = 3, 5

# Space and kernel size: even and odd sides, anisotropic and pointwise kernels.
OVER_TRIALS = [
    ((6, 8), (3, 3)),
    ((4, 5), (1, 1)),
    ((6, 5), (5, 3)),
    ((3, 5, 4), (3, 3, 3)),
    ((3, 5, 7), (1, 3, 3)),
]
ALONE = [((5, 7), (3, 3)), ((3, 4, 5), (3, 3, 3))]


@functools.cache
def function(layout):
    """Equal layouts are equal functions: jit then compiles them once."""
    return functools.partial(convolve, layout=layout)


def operands(space, size, trials=(), batch=2, draw=whole_numbers):
    return (
        draw(0, *trials, batch, *space, CHANNELS),
        draw(1, *trials, *size, CHANNELS, FEATURES),
        draw(2, *trials, batch, *space, FEATURES),
    )


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def reference(images, kernel, slopes):
    """Output and both gradients in float64, one tap after another."""
    images, kernel, slopes = (
        np.asarray(a, np.float64) for a in (images, kernel, slopes)
    )
    space, size = images.shape[1:-1], kernel.shape[:-2]
    padded = np.pad(images, [(0, 0), *((s // 2, s // 2) for s in size), (0, 0)])
    outputs, gradient = np.zeros(slopes.shape), np.zeros(padded.shape)
    of_kernel = np.zeros(kernel.shape)
    axes = range(images.ndim - 1)
    for tap in itertools.product(*map(range, size)):
        window = (
            slice(None),
            *(slice(t, t + n) for t, n in zip(tap, space, strict=True)),
        )
        outputs += padded[window] @ kernel[tap]
        gradient[window] += slopes @ kernel[tap].T
        of_kernel[tap] = np.tensordot(padded[window], slopes, (axes, axes))
    inner = tuple(slice(s // 2, s // 2 + n) for s, n in zip(size, space, strict=True))
    return outputs, gradient[:, *inner], of_kernel


def close(actual, wanted, bound):
    for ours, theirs in zip(actual, wanted, strict=True):
        scale = np.sqrt(np.mean(np.square(theirs)))
        np.testing.assert_allclose(
            np.asarray(ours, np.float64), theirs, rtol=0, atol=bound * scale
        )


@pytest.mark.parametrize(("space", "size"), ALONE)
@pytest.mark.parametrize("layout", BATCHED)
def test_alone_equals_the_definition_up_to_rounding(layout, space, size):
    given = operands(space, size, draw=normal)
    close(output_and_gradients(function(layout), *given), reference(*given), 1e-5)


@pytest.mark.parametrize(("space", "size"), OVER_TRIALS)
@pytest.mark.parametrize("layout", BATCHED)
def test_over_trials_equals_the_definition(layout, space, size):
    # Whole numbers: nothing is rounded, not even by the Winograd transforms.
    given = operands(space, size, trials=(TRIALS,))
    mapped = jax.vmap(functools.partial(output_and_gradients, function(layout)))
    actual = mapped(*given)
    for trial in range(TRIALS):
        wanted = reference(*(array[trial] for array in given))
        close([array[trial] for array in actual], wanted, 1e-9)


@pytest.mark.parametrize("layout", BATCHED)
def test_trials_may_share_images(layout):
    (images, *_), (_, *own) = (
        operands((4, 5), (3, 3), trials) for trials in ((), (TRIALS,))
    )
    mapped = functools.partial(output_and_gradients, function(layout))
    actual = jax.vmap(mapped, (None, 0, 0))(images, *own)
    for trial in range(TRIALS):
        wanted = reference(images, *(array[trial] for array in own))
        close([array[trial] for array in actual], wanted, 1e-9)


@pytest.mark.parametrize("layout", BATCHED)
def test_trials_may_share_kernels(layout):
    images, kernel, slopes = operands((4, 5), (3, 3), (TRIALS,))
    actual = jax.jit(jax.vmap(function(layout), (0, None)))(images, kernel[0])
    for trial in range(TRIALS):
        wanted = reference(images[trial], kernel[0], slopes[trial])
        close([actual[trial]], wanted[:1], 1e-9)


def primitives(layout, trials, size=(3, 3)):
    """Primitives of output and both gradients over trials, and groups."""
    given = operands((4, 6, 8)[-len(size) :], size, trials=(trials,))
    mapped = jax.vmap(functools.partial(output_and_gradients, function(layout)))
    jaxpr = jax.make_jaxpr(mapped)(*given)
    return str(jaxpr).count("dot_general["), feature_groups(jaxpr.jaxpr)


@pytest.mark.parametrize("size", [(3, 3), (3, 3, 3), (1, 3, 3), (1, 1)])
def test_only_grouped_becomes_a_grouped_convolution(size):
    assert primitives("grouped", TRIALS, size)[1] == [TRIALS] * 3
    for layout in ("matmul", "shifts", "winograd"):
        assert primitives(layout, TRIALS, size)[1] == []
    # A pointwise convolution is a product of matrices, one a trial.
    plain = set() if set(size) == {1} else {1}
    assert set(primitives("single", TRIALS, size)[1]) == plain


@pytest.mark.parametrize(
    ("layout", "products"), [("matmul", 3), ("winograd", 3), ("shifts", 27)]
)
def test_products_do_not_grow_with_trials(layout, products):
    assert [primitives(layout, trials)[0] for trials in (1, 4)] == [products] * 2


def test_winograd_multiplies_sixteen_times_for_four_outputs():
    given = operands((64, 64), (3, 3))[:2]
    texts = {
        layout: jax.jit(function(layout)).lower(*given).as_text()
        for layout in ("matmul", "winograd")
    }
    tiles, pixels = 2 * 32 * 32, 2 * 64 * 64
    assert f"tensor<16x{tiles}x{CHANNELS}xf32>, tensor<16x" in texts["winograd"]
    assert f"tensor<2x64x64x{9 * CHANNELS}xf32>" in texts["matmul"]
    assert 16 * tiles * 9 == 4 * 9 * pixels


@pytest.mark.parametrize("layout", BATCHED)
def test_bfloat16_is_summed_in_float32(layout):
    drawn = operands((5, 7), (3, 3), draw=normal)
    narrow = [array.astype(jnp.bfloat16) for array in drawn]
    actual = output_and_gradients(function(layout), *narrow)
    assert {array.dtype for array in actual} == {jnp.dtype(jnp.bfloat16)}
    wanted = reference(*(array.astype(jnp.float32) for array in narrow))
    for ours, theirs in zip(actual, wanted, strict=True):
        error = np.abs(np.asarray(ours, np.float64) - theirs)
        if layout == "winograd":
            # Transformed tiles and kernels are rounded before the product.
            assert np.linalg.norm(error) <= 2**-7 * np.linalg.norm(theirs)
        else:
            # Only the result is rounded.
            assert (error <= 2**-8 * np.abs(theirs) + 1e-5).all()


@pytest.mark.parametrize("layout", BATCHED)
def test_gradient_of_a_wide_kernel_stays_wide(layout):
    images, kernel, slopes = operands((5, 7), (3, 3), draw=normal)
    shapes = jax.eval_shape(
        functools.partial(output_and_gradients, function(layout)),
        images.astype(jnp.bfloat16),
        kernel,
        slopes.astype(jnp.bfloat16),
    )
    assert [str(shape.dtype) for shape in shapes] == ["bfloat16", "bfloat16", "float32"]


@pytest.mark.parametrize("layout", ["matmul", "winograd"])
def test_rounding_with_many_channels(layout):
    """The transforms add nothing that shows beside the sum over channels."""
    images, kernel = normal(0, 1, 16, 16, 128), normal(1, 3, 3, 128, 4)
    outputs = np.asarray(jax.jit(function(layout))(images, kernel), np.float64)
    wanted = reference(images, kernel, np.zeros(outputs.shape))[0]
    assert np.linalg.norm(outputs - wanted) <= 1e-6 * np.linalg.norm(wanted)
    assert np.abs(outputs - wanted).max() <= 4e-6 * wanted.std()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_even_kernels_are_refused(layout):
    with pytest.raises(ValueError, match="odd"):
        convolve(jnp.zeros((1, 4, 4, 1)), jnp.zeros((2, 3, 1, 1)), layout)
