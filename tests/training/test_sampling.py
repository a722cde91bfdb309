import functools

import jax
import numpy as np
import pytest

from slicebench.data.prepared import PreparedCase
from slicebench.training.arrays import make_bank, slice_classes, trial_arrays
from slicebench.training.sampling import draw_slices

SLICES = 40
CLASSES = 3
BATCH = 9
DRAWS = 800


def table(annotated, *classes, seed=0):
    """A sampling table from lists of annotated slices and of each class's."""
    mask = np.zeros(SLICES, bool)
    mask[annotated] = True
    holds = np.zeros((SLICES, CLASSES), bool)
    for column, members in enumerate(classes):
        holds[members, column] = True
    return trial_arrays(mask, holds, seed)


def draws(trial, how="balanced", count=DRAWS, batch=BATCH):
    keys = jax.random.split(jax.random.key(3), count)
    return np.asarray(_draw(trial, keys, batch, how))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw(trial, keys, batch, how):
    return jax.vmap(lambda key: draw_slices(trial, key, batch, how))(keys)


def test_a_table_lists_annotated_slices_and_those_of_each_class():
    trial = table([1, 4, 6, 9], [0, 4, 9, 11], [11, 12], [6])
    assert trial.sizes.tolist() == [4, 2, 0, 1]
    assert trial.order[0, :4].tolist() == [1, 4, 6, 9]
    assert trial.order[1, :2].tolist() == [4, 9]
    assert trial.order[3, :1].tolist() == [6]
    assert trial.present_count == 2
    assert trial.present[:2].tolist() == [1, 3]


def test_a_table_has_the_shape_of_the_bank_whatever_the_budget():
    few, many = table([3], [3]), table(list(range(30)), [3])
    assert jax.tree.map(np.shape, few) == jax.tree.map(np.shape, many)


@pytest.mark.parametrize("how", ["balanced", "uniform"])
@pytest.mark.parametrize(
    "annotated", [[7], [0, 39], [2, 3, 5, 7, 11, 13], list(range(SLICES))]
)
def test_only_annotated_slices_are_drawn(annotated, how):
    trial = table(annotated, list(range(0, SLICES, 2)), list(range(0, SLICES, 5)))
    assert set(draws(trial, how).ravel().tolist()) == set(annotated)


def test_a_third_of_a_balanced_batch_holds_a_class():
    members = [[4, 5], [6]]
    trial = table(list(range(20)), *members)
    drawn = draws(trial)
    first, rest = drawn[:, : BATCH // 3], drawn[:, BATCH // 3 :]
    assert set(first.ravel().tolist()) == {4, 5, 6}
    assert set(rest.ravel().tolist()) == set(range(20))


def test_classes_and_slices_are_drawn_uniformly():
    trial = table(list(range(20)), [4, 5], [6], [33])
    drawn = draws(trial)
    first, rest = drawn[:, : BATCH // 3].ravel(), drawn[:, BATCH // 3 :].ravel()
    # Class 1 in two slices, class 2 in one; class 3 is in none that is annotated.
    shares = [np.mean(first == index) for index in (4, 5, 6)]
    bound = 5 * np.sqrt(0.25 / first.size)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=bound)
    counts = np.bincount(rest, minlength=20)
    np.testing.assert_allclose(
        counts / rest.size, 0.05, atol=5 * np.sqrt(0.05 / rest.size)
    )


def test_uniform_sampling_does_not_favour_classes():
    trial = table(list(range(20)), [4])
    share = np.mean(draws(trial, "uniform") == 4)
    assert share == pytest.approx(0.05, abs=5 * np.sqrt(0.05 / (DRAWS * BATCH)))


def test_without_any_class_all_draws_are_uniform():
    trial = table([1, 2, 8], [30], [31])
    drawn = draws(trial)
    assert trial.present_count == 0
    np.testing.assert_array_equal(drawn, draws(trial, "uniform"))


def test_equal_seeds_draw_equal_places_whatever_the_slices():
    near, far = table([0, 1, 2, 3], [1]), table([30, 31, 32, 33], [31])
    np.testing.assert_array_equal(draws(near) + 30, draws(far))
    np.testing.assert_array_equal(near.key, far.key)
    assert not np.array_equal(near.key, table([0, 1], [1], seed=1).key)


def test_bank_stacks_volumes_and_ends_in_empty_slices():
    def make_case(depth, value):
        label = np.full((depth, 2, 2), value, np.uint8)
        return PreparedCase(
            name=f"case{value}",
            group=f"case{value}",
            image=label[..., None].astype(np.float32),
            label=label,
            native_label=label,
            spacing=(1.0, 1.0, 1.0),
            to_native=(np.eye(2), np.eye(2)),
        )

    bank = make_bank([make_case(2, 1), make_case(3, 2)], 8)
    assert bank.images.shape == (8, 2, 2, 1)
    assert bank.images[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 2, 0, 0, 0]
    assert bank.labels[:, 0, 0].tolist() == [1, 1, 2, 2, 2, 0, 0, 0]
    assert (bank.images.dtype, bank.labels.dtype) == (np.float32, np.uint8)


def test_slice_classes_reads_foreground_alone():
    labels = np.zeros((3, 2, 2), np.uint8)
    labels[1, 0, 0], labels[2] = 2, 1
    assert slice_classes(labels, 3).tolist() == [
        [False, False],
        [False, True],
        [True, False],
    ]
