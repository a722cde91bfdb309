import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from slicebench.models.convolution import convolve
from slicebench.models.single import column_fold, fold_kernel

# Width, output features, kernel size and the fold they lead to.
SHAPES = [(8, 4, 3, 4), (8, 12, 3, 2), (6, 4, 3, 2), (5, 3, 3, 1), (8, 20, 3, 1)]
POINTWISE = [(8, 4, 1, 4)]
TRIALS = 3


def plain(images, kernel):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def whole_numbers(seed, *shape):
    """Small integers: their sums of products are exact in float32."""
    return jnp.asarray(np.random.default_rng(seed).integers(-4, 5, shape), jnp.float32)


def equal(actual, wanted):
    for ours, theirs in zip(
        jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradients(function, images, kernel, slopes):
    outputs, pull = jax.vjp(function, images, kernel)
    return outputs, *pull(slopes)


def operands(width, features, size, *, trials=(), batch=2):
    height, channels = 4, 3
    return (
        whole_numbers(0, *trials, batch, height, width, channels),
        whole_numbers(1, *trials, size, size, channels, features),
        whole_numbers(2, *trials, batch, height, width, features),
    )


@pytest.mark.parametrize(("width", "features", "size", "fold"), SHAPES + POINTWISE)
@pytest.mark.parametrize("batch", [1, 3])
def test_alone_equals_the_plain_convolution(width, features, size, fold, batch):
    assert column_fold(width, features) == fold
    given = operands(width, features, size, batch=batch)
    equal(output_and_gradients(convolve, *given), output_and_gradients(plain, *given))


@pytest.mark.parametrize(("width", "features", "size", "fold"), SHAPES + POINTWISE)
def test_over_trials_equals_one_trial_at_a_time(width, features, size, fold):
    given = operands(width, features, size, trials=(TRIALS,))
    actual = jax.vmap(lambda *g: output_and_gradients(convolve, *g))(*given)
    for trial in range(TRIALS):
        wanted = output_and_gradients(plain, *(array[trial] for array in given))
        equal([array[trial] for array in actual], wanted)


@pytest.mark.parametrize("axes", [(None, 0, 0), (0, None, 0)])
def test_trials_may_share_images_or_kernels(axes):
    shared = operands(8, 4, 3)
    own = operands(8, 4, 3, trials=(TRIALS,))
    given = [
        s if axis is None else o for s, o, axis in zip(shared, own, axes, strict=True)
    ]
    actual = jax.vmap(lambda *g: output_and_gradients(convolve, *g), axes)(*given)
    for trial in range(TRIALS):
        wanted = output_and_gradients(
            plain,
            *(
                array if axis is None else array[trial]
                for array, axis in zip(given, axes, strict=True)
            ),
        )
        equal([array[trial] for array in actual], wanted)


def test_nested_trial_axes():
    given = operands(8, 4, 3, trials=(2, TRIALS))
    actual = jax.vmap(jax.vmap(convolve))(*given[:2])
    equal(actual, jax.vmap(jax.vmap(plain))(*given[:2]))


def test_uncompiled_equals_the_plain_convolution():
    images, kernel, _ = operands(8, 4, 3)
    equal(convolve(images, kernel), plain(images, kernel))


@pytest.mark.parametrize("fold", [1, 2, 4])
def test_fold_kernel_shifts_the_kernel_by_one_column_for_each_output(fold):
    kernel = whole_numbers(3, 3, 3, 2, 5)
    folded = np.array(fold_kernel(kernel, fold))
    assert folded.shape == (3, 3 + fold - 1, 2, 5 * fold)
    for column in range(fold):
        part = folded[:, column : column + 3, :, 5 * column : 5 * (column + 1)]
        np.testing.assert_array_equal(part, kernel)
        part[:] = 0
    assert not folded.any()


@pytest.mark.parametrize(
    ("width", "features", "fold"),
    [(16, 8, 4), (16, 9, 2), (16, 16, 2), (16, 17, 1), (14, 8, 2), (15, 8, 1)],
)
def test_column_fold_divides_the_width_and_suits_narrow_layers(width, features, fold):
    assert column_fold(width, features) == fold


def feature_groups(jaxpr):
    """Groups of every convolution in a jaxpr and in those that it holds."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            found.append(equation.params["feature_group_count"])
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found += feature_groups(inner)
    return found


def groups_over_trials(function, size):
    given = operands(8, 4, size, trials=(TRIALS,))
    traced = jax.make_jaxpr(jax.vmap(lambda *g: output_and_gradients(function, *g)))
    return feature_groups(traced(*given).jaxpr)


@pytest.mark.parametrize(("size", "each"), [(1, 0), (3, 3)])
def test_trials_never_become_a_grouped_convolution(size, each):
    assert max(groups_over_trials(plain, size)) > 1
    # Output and two gradients; pointwise, they are products of matrices.
    assert groups_over_trials(convolve, size) == [1] * (each * TRIALS)


def volume_operands(size, *, features=4, trials=()):
    depth, height, width, channels = 5, 4, 8, 3
    space = (depth, height, width)
    return (
        whole_numbers(0, *trials, 2, *space, channels),
        whole_numbers(1, *trials, *size, channels, features),
        whole_numbers(2, *trials, 2, *space, features),
    )


def plain_volumes(images, kernel):
    return lax.conv_general_dilated(
        images, kernel, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


@pytest.mark.parametrize("features", [4, 12, 20])
@pytest.mark.parametrize("size", [(3, 3, 3), (1, 3, 3), (5, 3, 3), (1, 1, 1)])
def test_volumes_alone_equal_the_plain_convolution(size, features):
    given = volume_operands(size, features=features)
    equal(
        output_and_gradients(convolve, *given),
        output_and_gradients(plain_volumes, *given),
    )


@pytest.mark.parametrize("size", [(3, 3, 3), (1, 3, 3)])
def test_volumes_over_trials_equal_one_trial_at_a_time(size):
    given = volume_operands(size, trials=(TRIALS,))
    actual = jax.vmap(lambda *g: output_and_gradients(convolve, *g))(*given)
    for trial in range(TRIALS):
        wanted = output_and_gradients(plain_volumes, *(a[trial] for a in given))
        equal([array[trial] for array in actual], wanted)


def test_unknown_layout_is_refused():
    images, kernel, _ = operands(8, 4, 3)
    with pytest.raises(ValueError, match="single"):
        convolve(images, kernel, "sideways")
