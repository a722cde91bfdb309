import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from slicebench import spec
from slicebench.models.unet import UNet, normalise, pool, upsample
from slicebench.training.engine import count_parameters
from slicebench.training.step import make_network


def make_program(network, channels=1, classes=3, grid=(16, 16)):
    return spec.Program(
        dims="2d",
        network=network,
        training=spec.Training(),
        grid=grid,
        channels=channels,
        classes=classes,
        slices=1,
    )


@pytest.fixture(scope="module")
def tiny():
    """A network with drawn weights: the usual first ones take long to compile."""
    shape = make_program(spec.Network(width=2, depth=2), channels=2)
    graph, weights = nnx.split(nnx.eval_shape(lambda: UNet(shape, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), weights
    )
    return nnx.merge(graph, weights)


@pytest.fixture(scope="module")
def predict(tiny):
    graph, weights = nnx.split(tiny)
    return functools.partial(jax.jit(lambda w, x: nnx.merge(graph, w)(x)), weights)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_parameters_of_the_reference_network():
    assert count_parameters(make_program(spec.Network(width=16, depth=4))) == 487_747


@pytest.mark.parametrize(
    ("width", "depth", "limit"), [(3, 1, 9), (2, 3, 99), (4, 4, 8)]
)
def test_parameters_follow_from_the_widths(width, depth, limit):
    channels, classes = 2, 5
    widths = [min(width * 2**level, limit) for level in range(depth)]

    def pair(before, after):
        return 9 * (before * after + after * after) + 4 * after

    total = pair(channels, widths[0]) + widths[0] * classes + classes
    for above, below in itertools.pairwise(widths):
        total += pair(above, below) + pair(below + above, above)
    network = spec.Network(width=width, depth=depth, max_width=limit)
    assert count_parameters(make_program(network, channels, classes)) == total


def test_scores_have_the_grid_of_the_images():
    program = make_program(spec.Network(width=2, depth=4))
    network = make_network(program)
    model = nnx.eval_shape(lambda: UNet(program, rngs=nnx.Rngs(0)))
    weights = nnx.state(model)
    images = jax.ShapeDtypeStruct((5, 16, 24, 1), jnp.float32)
    scores = jax.eval_shape(lambda w, x: nnx.merge(network, w)(x), weights, images)
    assert scores.shape == (5, 16, 24, 3)
    assert scores.dtype == jnp.float32


def reference_normalise(images, scale, shift):
    outputs = np.zeros_like(images, dtype=np.float64)
    for index in np.ndindex(images.shape[0], images.shape[3]):
        plane = images[index[0], :, :, index[1]].astype(np.float64)
        plane = (plane - plane.mean()) / np.sqrt(plane.var() + 1e-5)
        plane = plane * scale[index[1]] + shift[index[1]]
        outputs[index[0], :, :, index[1]] = np.where(plane > 0, plane, 0.01 * plane)
    return outputs


def reference_convolution(images, kernel):
    reach = kernel.shape[0] // 2
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    outputs = np.zeros((*images.shape[:3], kernel.shape[3]))
    for row, column in np.ndindex(kernel.shape[:2]):
        part = padded[:, row : row + height, column : column + width]
        outputs += part @ kernel[row, column]
    return outputs


def reference_halve(images):
    corners = [images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return np.max(corners, axis=0)


def reference_double(images):
    return np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)


def test_normalise_equals_numpy():
    images = 3 + 2 * draw(2, 4, 6, 3)
    scale, shift = jnp.array([0.5, 1, -2]), jnp.array([0, 1, -0.5])
    np.testing.assert_allclose(
        normalise(images, scale, shift),
        reference_normalise(np.asarray(images), np.asarray(scale), np.asarray(shift)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(("factor", "offset"), [(7.0, 0.0), (1.0, 100.0), (50.0, -9.0)])
def test_normalise_ignores_scale_and_offset_of_its_input(factor, offset):
    images = 10 * draw(2, 8, 8, 3)
    ones, zeros = jnp.ones(3), jnp.zeros(3)
    np.testing.assert_allclose(
        normalise(factor * images + offset, ones, zeros),
        normalise(images, ones, zeros),
        atol=1e-4,
    )


def test_normalise_of_a_constant_image_is_its_shift():
    images = jnp.full((1, 4, 4, 2), 5.0)
    outputs = normalise(images, jnp.ones(2), jnp.array([2.0, -1]))
    np.testing.assert_allclose(outputs[0, 0, 0], [2, -0.01], rtol=1e-6)


def test_pool_and_upsample_equal_numpy():
    images = draw(2, 4, 6, 3)
    half, _ = pool(images, (2, 2))
    np.testing.assert_array_equal(half, reference_halve(images))
    np.testing.assert_array_equal(upsample(images, (2, 2)), reference_double(images))
    np.testing.assert_array_equal(pool(upsample(images, (2, 2)), (2, 2))[0], images)


def reference_block(block, images):
    outputs = reference_convolution(images, np.asarray(block.kernel[...]))
    return reference_normalise(
        outputs, np.asarray(block.scale[...]), np.asarray(block.shift[...])
    )


def test_network_equals_a_slow_numpy_one(tiny, predict):
    images = draw(2, 8, 8, 2)
    full = np.asarray(images)
    for block in tiny.encoder[0]:
        full = reference_block(block, full)
    low = reference_halve(full)
    for block in tiny.encoder[1]:
        low = reference_block(block, low)
    joined = np.concatenate([reference_double(low), full], axis=-1)
    for block in tiny.decoder[0]:
        joined = reference_block(block, joined)
    wanted = reference_convolution(joined, np.asarray(tiny.head[...]))
    wanted += np.asarray(tiny.head_bias[...])
    np.testing.assert_allclose(predict(images), wanted, rtol=1e-3, atol=1e-4)


def test_slices_of_a_batch_do_not_touch_each_other(predict):
    images = draw(2, 8, 8, 2)
    others = images.at[1].set(draw(8, 8, 2, seed=5))
    before, after = predict(images), predict(others)
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_scores_do_not_depend_on_the_contrast_of_the_whole_input(predict):
    images = 10 * draw(2, 8, 8, 2)
    np.testing.assert_allclose(predict(4 * images), predict(images), atol=1e-3)


def make_volumetric(kernels, pools, width=2):
    return spec.Program(
        dims="3d",
        network=spec.Network(width=width, depth=len(kernels)),
        training=spec.Training(),
        grid=(8, 8),
        channels=2,
        classes=3,
        slices=1,
        volumetric=spec.Volumetric(patch=(4, 8, 8), kernels=kernels, pools=pools),
    )


def drawn_network(program, seed=1):
    graph, weights = nnx.split(nnx.eval_shape(lambda: UNet(program, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(seed)
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), weights
    )
    return jax.jit(lambda x, valid=None: nnx.merge(graph, weights)(x, valid))


def test_flat_kernels_make_a_volume_a_stack_of_slices_but_for_the_normalisation():
    flat = make_volumetric(((1, 3, 3),) * 2, ((1, 2, 2),))
    volume = draw(1, 4, 8, 8, 2)
    network = drawn_network(flat)
    # Equal slices have the statistics of their volume: then only kernels differ.
    equal = jnp.broadcast_to(volume[:, :1], volume.shape)
    alone = network(volume[:, :1])
    np.testing.assert_allclose(
        network(equal), jnp.broadcast_to(alone, (1, 4, 8, 8, 3)), rtol=1e-3, atol=1e-4
    )
    changed = network(volume.at[:, 3].set(draw(1, 8, 8, 2, seed=4)))
    assert not np.allclose(changed[:, 0], network(volume)[:, 0])


@pytest.mark.parametrize("pools", [((2, 2, 2),), ((1, 2, 2),)])
@pytest.mark.parametrize("slices", [1, 3, 4])
def test_padding_after_the_last_slice_changes_nothing(pools, slices):
    network = drawn_network(make_volumetric(((3, 3, 3),) * 2, pools))
    volume = draw(2, 12, 8, 8, 2)
    depth = max(slices + slices % 2, 2)
    wanted = network(volume[:, :depth], valid(slices, depth))[:, :slices]
    for longer, seed in ((depth, 7), (depth + 2, 8), (12, 9)):
        # Whatever stands in the padding.
        noisy = volume.at[:, slices:].set(
            1e3 * draw(2, 12, 8, 8, 2, seed=seed)[:, slices:]
        )
        found = network(noisy[:, :longer], valid(slices, longer))[:, :slices]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def valid(slices, depth):
    return jnp.broadcast_to(jnp.arange(depth) < slices, (2, depth))


def test_a_full_patch_needs_no_mask():
    network = drawn_network(make_volumetric(((3, 3, 3),) * 2, ((2, 2, 2),)))
    volume = draw(2, 4, 8, 8, 2)
    np.testing.assert_allclose(
        network(volume, valid(4, 4)), network(volume), rtol=1e-4, atol=1e-4
    )


def test_a_patch_without_slices_gives_finite_scores():
    network = drawn_network(make_volumetric(((3, 3, 3),) * 2, ((2, 2, 2),)))
    assert np.isfinite(network(draw(2, 4, 8, 8, 2), valid(0, 4))).all()


def test_the_maximum_of_a_block_leaves_padding_out():
    images = -jnp.ones((1, 4, 2, 2, 1))
    below, deep = pool(images, (2, 2, 2), jnp.array([[True, True, True, False]]))
    assert below.ravel().tolist() == [-1, -1]
    assert deep.tolist() == [[True, True]]
    below, deep = pool(images, (2, 2, 2), jnp.array([[True, True, False, False]]))
    assert below.ravel().tolist() == [-1, 0]
    assert deep.tolist() == [[True, False]]


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_half_precision_stays_close_and_keeps_its_weights_whole(dims):
    whole = make_volumetric(((3, 3, 3),) * 2, ((2, 2, 2),))
    shape = (2, 4, 8, 8, 2)
    if dims == "2d":
        whole = make_program(spec.Network(width=2, depth=2), channels=2)
        shape = (2, 16, 16, 2)
    half = dataclasses.replace(whole, precision="bfloat16")
    assert half.name != whole.name
    weights = nnx.state(nnx.eval_shape(lambda: UNet(half, rngs=nnx.Rngs(0))))
    assert {leaf.dtype for leaf in jax.tree.leaves(weights)} == {jnp.dtype("float32")}
    images = draw(*shape)
    scores = drawn_network(half)(images)
    assert scores.dtype == jnp.float32
    wanted = np.asarray(drawn_network(whole)(images))
    error = np.abs(np.asarray(scores) - wanted)
    assert 0 < error.mean() < 0.05 * wanted.std()
