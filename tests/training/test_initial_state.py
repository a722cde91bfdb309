import jax
import numpy as np
import pytest

from tests.training.tiny import make_engine, weights


@pytest.fixture(scope="module")
def drawn():
    """First states of two seeds in either order, as the engine draws them."""
    engine = make_engine(trials_per_device=2)
    return engine.init([3, 8]), engine.init([8, 3])


def test_first_weights_follow_the_seed_and_not_the_place(drawn):
    forward, backward = drawn
    differ = False
    for index in (0, 1):
        ours, theirs = weights(forward, index), weights(backward, 1 - index)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        differ |= not np.array_equal(ours[0], weights(forward, 1 - index)[0])
    assert differ


def test_first_state_is_sound_and_at_step_zero(drawn):
    state = drawn[0]
    assert state.healthy.tolist() == [True, True]
    assert state.step.tolist() == [0, 0]
    assert state.loss.tolist() == [0, 0]


def test_first_kernels_have_the_spread_of_he_initialisation(drawn):
    kernels = [
        leaf
        for leaf in jax.tree.leaves(drawn[0].params)
        if leaf.ndim == 5 and leaf.shape[1] == 3
    ]
    scaled = np.concatenate(
        [
            np.ravel(kernel) * np.sqrt(np.prod(kernel.shape[1:4]) * (1 + 0.01**2) / 2)
            for kernel in kernels
        ]
    )
    assert abs(scaled.std() - 1) < 4 / np.sqrt(2 * scaled.size)
    assert abs(scaled.mean()) < 4 / np.sqrt(scaled.size)
