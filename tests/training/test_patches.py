"""3D batches: what is drawn where, and that nothing unannotated matters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from slicebench import spec
from slicebench.training import patches
from slicebench.training.arrays import Bank, slice_classes, trial_arrays
from slicebench.training.patches import depth_offset, draw_patches

DEPTHS = (5, 9, 3, 12)
TOTAL = sum(DEPTHS)
SPACE = 4
GRID = (12, 10)
CLASSES = 3
STILL = spec.Augmentation(
    shift=0, scale=0, rotation=0, gain=0, offset=0, noise=0, flip=False
)
ANNOTATED = np.isin(np.arange(TOTAL), [1, 6, 7, 13, 15, 20, 28])
"""Slices of all four volumes; 15 lies in the volume that is thinner than a patch."""


def make_program(patch=(4, 8, 8), augmentation=STILL, **training):
    return spec.Program(
        dims="3d",
        network=spec.Network(width=2, depth=2),
        training=spec.Training(
            batch=6, augmentation=augmentation, patch=patch, **training
        ),
        grid=GRID,
        channels=1,
        classes=CLASSES,
        slices=TOTAL + SPACE,
        volumetric=spec.Volumetric(
            patch=patch, kernels=((3, 3, 3), (3, 3, 3)), pools=((2, 2, 2),)
        ),
    )


def make_bank(labels=None):
    """Images tell bank slice, row and column of every voxel."""
    where = np.mgrid[: TOTAL + SPACE, : GRID[0], : GRID[1]].astype(np.float32)
    images = where[0] * 10_000 + where[1] * 100 + where[2]
    if labels is None:
        labels = np.random.default_rng(0).integers(0, CLASSES, images.shape)
        labels[:, :3] = 0
    starts = np.cumsum(DEPTHS) - DEPTHS
    return Bank(
        images=jnp.asarray(images[..., None]),
        labels=jnp.asarray(labels, jnp.uint8),
        first=jnp.pad(jnp.repeat(starts, np.array(DEPTHS)), (0, SPACE)),
        depth=jnp.pad(
            jnp.repeat(np.array(DEPTHS), np.array(DEPTHS)),
            (0, SPACE),
            constant_values=1,
        ),
    )


def make_trial(bank, annotated=ANNOTATED):
    holds = slice_classes(np.asarray(bank.labels), CLASSES)
    padded = np.pad(annotated, (0, SPACE))
    return jax.tree.map(jnp.asarray, trial_arrays(padded, holds, 0, dims="3d"))


@functools.partial(jax.jit, static_argnums=(2, 3))
def draw_many(trial, bank, program, count):
    def one(key):
        return draw_patches(trial, bank, *jax.random.split(key), program)

    return jax.vmap(one)(jax.random.split(jax.random.key(1), count))


def draw(count=60, bank=None, annotated=ANNOTATED, program=None):
    bank = bank or make_bank()
    drawn = draw_many(
        make_trial(bank, annotated), bank, program or make_program(), count
    )
    return jax.tree.map(
        lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), drawn
    )


def places(drawn):
    """Bank slice, row and column of each patch's first voxel."""
    first = drawn.images[:, 0, 0, 0, 0].astype(int)
    return first // 10_000, first % 10_000 // 100, first % 100


def test_a_patch_is_a_block_of_one_volume():
    drawn = draw()
    first, top, left = places(drawn)
    volume = np.repeat(np.arange(4), DEPTHS)[first]
    starts = np.cumsum(DEPTHS) - DEPTHS
    for index in range(len(first)):
        exist = min(4, DEPTHS[volume[index]] - (first[index] - starts[volume[index]]))
        assert drawn.valid[index].tolist() == [d < exist for d in range(4)]
        rows = top[index] + np.arange(8)[:, None]
        columns = left[index] + np.arange(8)
        for d in range(exist):
            wanted = (first[index] + d) * 10_000 + rows * 100 + columns
            np.testing.assert_array_equal(drawn.images[index, d, :, :, 0], wanted)
    assert set(volume) == {0, 1, 2, 3}


def test_weights_and_labels_are_those_of_annotated_slices():
    bank = make_bank()
    drawn = draw(bank=bank)
    first, top, left = places(drawn)
    labels = np.asarray(bank.labels)
    assert (drawn.weight > 0).any(axis=1).all()
    for index, start in enumerate(first):
        for d in range(4):
            known = drawn.valid[index, d] and ANNOTATED[start + d]
            assert drawn.weight[index, d] == float(known)
            wanted = labels[start + d][top[index] :, left[index] :][:8, :8]
            found = drawn.labels[index, d]
            np.testing.assert_array_equal(found, wanted if known else 0 * wanted)


def test_depth_offsets_are_uniform_over_patches_that_hold_the_slice():
    keys = jax.random.split(jax.random.key(0), 4000)
    for place, total, allowed in [
        (4, 9, range(1, 5)),
        (0, 9, [0]),
        (8, 9, [5]),
        (1, 9, [0, 1]),
        (2, 3, [0]),
        (3, 4, [0]),
    ]:
        found = jax.vmap(
            lambda key, p=place, t=total: depth_offset(
                jnp.array([p]), jnp.array([t]), 4, key
            )
        )(keys)
        values, counts = np.unique(np.asarray(found), return_counts=True)
        assert values.tolist() == list(allowed)
        share = 1 / len(values)
        bound = 5 * np.sqrt(share * (1 - share) / 4000) + 1e-9
        np.testing.assert_allclose(counts / 4000, share, atol=bound)


def test_a_third_of_the_draws_is_centred_on_a_class():
    # One voxel of class 1 on one slice: centred patches start at one place.
    labels = np.zeros((TOTAL + SPACE, *GRID), np.uint8)
    labels[28, 5, 7] = 1
    bank = make_bank(labels)
    drawn = draw(count=400, bank=bank, program=make_program(patch=(4, 4, 4)))
    _, top, left = places(drawn)
    holds = (drawn.labels == 1).any((1, 2, 3))
    centred = holds & (top == 3) & (left == 5)
    # Uniform draws hit the slice once in 7 and that corner once in 9 x 7.
    expected = 1 / 3 + 2 / 3 / 7 / 63
    bound = 5 * np.sqrt(expected * (1 - expected) / len(top))
    assert abs(centred.mean() - expected) < bound
    uniform = draw(
        count=400,
        bank=bank,
        program=make_program(patch=(4, 4, 4), sampling="uniform"),
    )
    _, top, left = places(uniform)
    for found, room in ((top, 8), (left, 6)):
        counts = np.bincount(found, minlength=room + 1)
        np.testing.assert_allclose(counts / len(found), 1 / (room + 1), atol=0.04)


def test_labels_that_nobody_gave_change_no_byte():
    bank = make_bank()
    noise = np.random.default_rng(5).integers(0, CLASSES, bank.labels.shape)
    mask = np.pad(ANNOTATED, (0, SPACE))[:, None, None]
    other = make_bank(np.where(mask, bank.labels, noise))
    assert not np.array_equal(bank.labels, other.labels)
    program = make_program(augmentation=spec.Augmentation())
    for one, two in zip(
        jax.tree.leaves(draw(8, bank, program=program)),
        jax.tree.leaves(draw(8, other, program=program)),
        strict=True,
    ):
        assert one.tobytes() == two.tobytes()


def test_spatial_changes_stay_in_the_plane_and_are_equal_along_depth():
    how = spec.Augmentation(
        shift=0.2, scale=0.2, rotation=30, gain=0, offset=0, noise=0
    )
    drawn = draw(20, program=make_program(augmentation=how))
    plane = drawn.images[..., 0] % 10_000
    index = drawn.images[..., 0] // 10_000
    exist = drawn.valid.sum(1)
    for patch, slices, count in zip(plane, index, exist, strict=True):
        # Each slice is read from one slice of the bank, all at the same places.
        assert (slices[:count] == slices[:count, :1, :1]).all()
        np.testing.assert_allclose(patch[:count], patch[:1].repeat(count, 0), atol=1)
    assert np.ptp(plane[:, 0, 0, 0]) > 0


def test_the_whole_plane_needs_no_offset():
    bank = make_bank()
    top, left = patches.plane_offset(
        bank.labels[:2] > 0, jnp.array([0, 1]), GRID, jax.random.key(0)
    )
    assert top.tolist() == left.tolist() == [0, 0]
