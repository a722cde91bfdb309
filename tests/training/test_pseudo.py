"""Interpolated labels in a batch: where they stand, what they weigh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench import spec
from slicebench.training.arrays import add_pseudo, slice_classes, trial_arrays
from slicebench.training.loss import segmentation_loss
from slicebench.training.patches import draw_patches
from slicebench.training.pseudo import draw_mixed
from slicebench.training.step import _labelled
from tests.training.test_patches import (
    ANNOTATED,
    CLASSES,
    GRID,
    SPACE,
    STILL,
    TOTAL,
    make_bank,
    make_program,
)

FILLED = np.array([2, 3, 8, 16])
SLOTS = 6


def make_shares(filled=FILLED):
    """Soft labels whose shares add up to 255."""
    rng = np.random.default_rng(3)
    middle = rng.integers(0, 100, (len(filled), *GRID, CLASSES - 1))
    rest = 255 - middle.sum(-1, keepdims=True)
    return np.concatenate([rest, middle], axis=-1).astype(np.uint8)


def make_trial(bank, *, dims, filled=FILLED, weight=0.5):
    holds = slice_classes(np.asarray(bank.labels), CLASSES)
    arrays = trial_arrays(np.pad(ANNOTATED, (0, SPACE)), holds, 0, dims=dims)
    return jax.tree.map(
        jnp.asarray,
        add_pseudo(arrays, filled, make_shares(filled), slots=SLOTS, weight=weight),
    )


@functools.partial(jax.jit, static_argnums=(2, 3))
def draw_many(trial, bank, program, count):
    draw = draw_patches if program.dims == "3d" else draw_mixed
    keys = jax.random.split(jax.random.key(1), count)
    return jax.vmap(lambda key: draw(trial, bank, *jax.random.split(key), program))(
        keys
    )


def flat(drawn):
    return [np.asarray(leaf).reshape(-1, *leaf.shape[2:]) for leaf in drawn]


def make_plane_program():
    return spec.Program(
        dims="2d",
        network=spec.Network(width=2, depth=2),
        training=spec.Training(batch=6, augmentation=STILL),
        grid=GRID,
        channels=1,
        classes=CLASSES,
        slices=TOTAL + SPACE,
        pseudo_slots=SLOTS,
    )


def test_half_of_a_batch_of_slices_is_interpolated():
    bank = make_bank()
    images, truth, weight, filled = flat(
        draw_many(make_trial(bank, dims="2d"), bank, make_plane_program(), 100)
    )
    assert filled.reshape(100, 6).tolist() == [[False, True] * 3] * 100
    np.testing.assert_array_equal(weight, np.where(filled, 0.5, 1.0))
    index = images[:, 0, 0, 0].astype(int) // 10_000
    assert set(index[~filled]) == set(np.flatnonzero(ANNOTATED))
    assert set(index[filled]) == set(FILLED)
    shares = make_shares() / 255
    labels = np.asarray(bank.labels)
    for at, found, is_filled in zip(index, truth, filled, strict=True):
        if is_filled:
            wanted = shares[FILLED.tolist().index(at)]
        else:
            wanted = np.eye(CLASSES)[labels[at]]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_without_interpolated_slices_every_draw_is_annotated():
    bank = make_bank()
    trial = make_trial(bank, dims="2d", filled=FILLED[:0])
    _, _, weight, filled = flat(draw_many(trial, bank, make_plane_program(), 20))
    assert not filled.any()
    assert (weight == 1).all()


def test_patches_hold_both_kinds_of_labels():
    bank = make_bank()
    trial = make_trial(bank, dims="3d")
    drawn = draw_many(trial, bank, make_program(patch=(4, 8, 8)), 60)
    images, truth, weight, valid, filled = flat(drawn)
    first = images[:, 0, 0, 0, 0].astype(int)
    shares, labels = make_shares() / 255, np.asarray(bank.labels)
    kinds = set()
    for n, start in enumerate(first):
        top, left = start % 10_000 // 100, start % 100
        for d in np.flatnonzero(valid[n]):
            at = start // 10_000 + d
            known, made = ANNOTATED[at], at in FILLED
            kinds.add((known, made))
            assert weight[n, d] == (1.0 if known else 0.5 if made else 0.0)
            assert filled[n, d] == made
            wanted = np.eye(CLASSES)[labels[at]]
            if made:
                wanted = shares[FILLED.tolist().index(at)]
            wanted = wanted[top : top + 8, left : left + 8] * (known or made)
            np.testing.assert_allclose(truth[n, d], wanted, atol=1e-6)
    assert kinds == {(True, False), (False, True), (False, False)}
    # Every second patch is drawn round an interpolated slice.
    assert (filled & valid).any(1).reshape(60, 6)[:, 1::2].all()


def test_annotated_and_interpolated_slices_are_counted_apart():
    bank = make_bank()
    drawn = draw_many(make_trial(bank, dims="3d"), bank, make_program(), 30)
    counts = np.asarray(jax.vmap(_labelled)(drawn))
    known = np.asarray(drawn.weight) > 0
    made = np.asarray(drawn.filled) & known
    np.testing.assert_array_equal(counts[:, 0], (known & ~made).sum((1, 2)))
    np.testing.assert_array_equal(counts[:, 1], made.sum((1, 2)))
    assert (counts > 0).any(0).all()


def test_hard_shares_are_the_loss_of_their_indices():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5, 6, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (4, 5, 6)).astype(np.uint8)
    shares = np.eye(CLASSES, dtype=np.float32)[labels]
    assert float(segmentation_loss(logits, shares)) == pytest.approx(
        float(segmentation_loss(logits, labels)), rel=1e-6
    )
    once = segmentation_loss(logits[:2], labels[:2])
    weight = np.array([1, 1, 0, 0], np.float32)
    assert float(segmentation_loss(logits, shares, weight)) == pytest.approx(
        float(once), rel=1e-6
    )


def test_more_labels_than_slots_are_refused():
    bank = make_bank()
    with pytest.raises(ValueError, match="7 interpolated slices"):
        make_trial(bank, dims="2d", filled=np.arange(7))
