import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from slicebench.models.convolution import LAYOUTS
from slicebench.models.unet import pool, upsample
from slicebench.models.upsampled import convolve_upsampled


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def plain(images, kernel, block):
    """Upsamples, then convolves."""
    letters = "DHW"[-len(block) :]
    return lax.conv_general_dilated(
        upsample(images, block),
        kernel,
        (1,) * len(block),
        "SAME",
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        precision="highest",
    )


def with_slopes(function, images, kernel):
    outputs, pull = jax.vjp(function, images, kernel)
    weights = jnp.cos(jnp.arange(outputs.size, dtype=jnp.float32))
    return outputs, *pull(weights.reshape(outputs.shape))


CASES = [
    ((5, 4), (3, 3), (2, 2)),
    ((1, 3), (3, 3), (2, 2)),
    ((4, 3), (3, 3), (1, 2)),
    ((3, 4, 5), (3, 3, 3), (2, 2, 2)),
    ((3, 4, 2), (1, 3, 3), (1, 2, 2)),
    ((3, 4, 2), (3, 3, 3), (1, 2, 2)),
    ((3, 4, 2), (3, 1, 1), (2, 1, 1)),
]


@pytest.mark.parametrize(("space", "size", "block"), CASES)
@pytest.mark.parametrize("layout", ["single", "matmul"])
def test_equals_convolution_after_upsampling(space, size, block, layout):
    images, kernel = draw(0, 2, *space, 3), draw(1, *size, 3, 5)
    ours = functools.partial(convolve_upsampled, block=block, layout=layout)
    wanted = functools.partial(plain, block=block)
    for found, known in zip(
        jax.jit(functools.partial(with_slopes, ours))(images, kernel),
        jax.jit(functools.partial(with_slopes, wanted))(images, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(found, known, rtol=1e-4, atol=2e-4)


def test_trials_are_mapped_one_by_one():
    images, kernels = draw(0, 3, 2, 4, 4, 3), draw(1, 3, 3, 3, 3, 5)
    found = jax.vmap(lambda i, k: convolve_upsampled(i, k, (2, 2)))(images, kernels)
    for trial in range(3):
        wanted = plain(images[trial], kernels[trial], (2, 2))
        np.testing.assert_allclose(found[trial], wanted, rtol=1e-4, atol=1e-4)


def products(function, *operands):
    """Multiplications of convolutions and matrix products in a jaxpr."""
    cost = jax.jit(function).lower(*operands).cost_analysis()
    return cost["flops"]


def test_a_quarter_of_the_products_is_left():
    images, kernel = draw(0, 1, 32, 32, 64), draw(1, 3, 3, 64, 64)
    ours = products(
        lambda i, k: convolve_upsampled(i, k, (2, 2), "matmul"), images, kernel
    )
    direct = 2 * 9 * 64 * 64 * 64 * 64
    assert ours < 0.3 * direct


@pytest.mark.parametrize(
    ("size", "block"), [((3, 3), (3, 2)), ((5, 5), (2, 2)), ((1, 1), (2, 2))]
)
def test_other_blocks_and_kernels_are_refused(size, block):
    with pytest.raises(ValueError, match="are allowed"):
        convolve_upsampled(draw(0, 1, 4, 4, 2), draw(1, *size, 2, 2), block)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_gives_the_same(layout):
    images, kernel = draw(0, 2, 4, 6, 3), draw(1, 3, 3, 3, 4)
    np.testing.assert_allclose(
        convolve_upsampled(images, kernel, (2, 2), layout),
        plain(images, kernel, (2, 2)),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("size", [(2, 2), (1, 2)])
def test_the_slope_of_pooling_goes_to_one_point_of_each_block(size):
    # Many ties.
    images = jnp.round(draw(0, 3, 4, 6, 2))
    below, pull = jax.vjp(lambda x: pool(x, size)[0], images)
    (slope,) = pull(draw(1, *below.shape))
    wanted = np.zeros(images.shape, np.float32)
    given = np.asarray(draw(1, *below.shape))
    for n, y, x, c in np.ndindex(*below.shape):
        rows = slice(y * size[0], (y + 1) * size[0])
        columns = slice(x * size[1], (x + 1) * size[1])
        block = np.asarray(images[n, rows, columns, c])
        hits = slope[n, rows, columns, c] != 0
        assert hits.sum() == 1
        assert block[hits] == block.max() == below[n, y, x, c]
        wanted[n, rows, columns, c][np.asarray(hits)] = given[n, y, x, c]
    np.testing.assert_array_equal(slope, wanted)


def test_pooling_by_three_is_refused():
    with pytest.raises(ValueError, match="sizes of 1 and 2"):
        pool(draw(0, 1, 6, 6, 1), (3, 3))
