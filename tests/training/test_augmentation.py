"""What augmentation does is read off ramps, whose values tell their place."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench import spec
from slicebench.training import sampling
from slicebench.training.arrays import Bank
from slicebench.training.sampling import draw_batch

HEIGHT, WIDTH, BATCH = 12, 16, 64
STILL = spec.Augmentation(shift=0, scale=0, rotation=0, gain=0, offset=0, noise=0)
MIDDLE = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])


def drawn_bank(slices=5, seed=0):
    rng = np.random.default_rng(seed)
    shape = (slices, HEIGHT, WIDTH)
    return Bank(
        rng.normal(size=(*shape, 2)).astype(np.float32),
        rng.integers(0, 7, shape).astype(np.uint8),
    )


def ramp_bank():
    """The channels hold row and column, the label a checkerboard of their sum."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    images = np.stack([rows, columns], axis=-1)[None].astype(np.float32)
    return Bank(images, ((rows + columns) % 251)[None].astype(np.uint8))


def draw(bank, slices, seed=0, **strengths):
    how = dataclasses.replace(STILL, **strengths)
    batch = jax.jit(draw_batch, static_argnums=3)(
        jax.tree.map(jnp.asarray, bank), jnp.asarray(slices), jax.random.key(seed), how
    )
    return tuple(np.asarray(array) for array in batch)


def places(**strengths):
    """Where a batch's inner pixels were read, `[batch, height, width, 2]`."""
    images, _ = draw(ramp_bank(), np.zeros(BATCH, int), **strengths)
    return images


def similarities(**strengths):
    """Shift of the centre, scale and angle in degrees of every slice."""
    at = places(**strengths)[:, 4:8, 6:10]
    down, across = at[:, 1:, :-1] - at[:, :-1, :-1], at[:, :-1, 1:] - at[:, :-1, :-1]
    # Steps of one pixel down and across stay perpendicular and of equal length.
    np.testing.assert_allclose((down * across).sum(-1), 0, atol=1e-4)
    scale = np.linalg.norm(across, axis=-1)
    np.testing.assert_allclose(scale, np.linalg.norm(down, axis=-1), atol=1e-4)
    angle = np.degrees(np.arctan2(across[..., 0], across[..., 1]))
    assert np.ptp(angle, axis=(1, 2)).max() < 0.01
    shift = at.mean((1, 2)) - MIDDLE
    return shift, scale.mean((1, 2)), angle.mean((1, 2))


def test_without_strength_slices_come_back_unchanged():
    bank = drawn_bank()
    slices = [3, 0, 3, 4]
    images, labels = draw(bank, slices)
    np.testing.assert_array_equal(images, bank.images[slices])
    np.testing.assert_array_equal(labels, bank.labels[slices])


@pytest.mark.parametrize(("down", "across"), [(2, 0), (0, -3), (-1, 4)])
def test_a_shift_by_whole_pixels_repeats_the_edge(monkeypatch, down, across):
    def moved(key, batch, grid, how):
        rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        every = np.zeros((batch, 1, 1), np.float32)
        return jnp.asarray(rows + down + every), jnp.asarray(columns + across + every)

    monkeypatch.setattr(sampling, "coordinates", moved)
    bank = drawn_bank()
    images, labels = draw_batch(
        jax.tree.map(jnp.asarray, bank), jnp.array([2]), jax.random.key(0), STILL
    )
    rows = np.clip(np.arange(HEIGHT) + down, 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH) + across, 0, WIDTH - 1)
    np.testing.assert_array_equal(images[0], bank.images[2][rows][:, columns])
    np.testing.assert_array_equal(labels[0], bank.labels[2][rows][:, columns])


def test_half_a_pixel_is_the_mean_of_two():
    bank = jax.tree.map(jnp.asarray, drawn_bank())
    images = bank.images
    rows, columns = jnp.asarray(np.mgrid[:HEIGHT, :WIDTH], jnp.float32)
    which = jnp.array([[[1]]])
    read = sampling.read_images(bank, which, rows[None] + 0.5, columns[None])
    wanted = (images[1, :-1] + images[1, 1:]) / 2
    np.testing.assert_allclose(read[0, :-1], wanted, atol=1e-6)
    np.testing.assert_array_equal(read[0, -1], images[1, -1])


@pytest.mark.parametrize(
    "strengths",
    [{"shift": 0.2, "scale": 0.3, "rotation": 30, "flip": True}, {"shift": 0.9}],
)
def test_label_and_image_move_together(strengths):
    bank = ramp_bank()
    images, labels = draw(bank, np.zeros(BATCH, int), **strengths)
    rows, columns = np.moveaxis(images, -1, 0)
    # A ramp read beyond the border has the border's value, as the label has;
    # places near a half may round to either side.
    clear = np.minimum(np.abs(rows % 1 - 0.5), np.abs(columns % 1 - 0.5)) > 1e-3
    wanted = (np.rint(rows) + np.rint(columns)) % 251
    np.testing.assert_array_equal(labels[clear], wanted[clear])
    assert clear.mean() > 0.9


def test_shift_stays_within_its_share_of_the_grid():
    shift, scale, angle = similarities(shift=0.1)
    largest = 0.1 * np.array([HEIGHT, WIDTH])
    assert (np.abs(shift) <= largest + 1e-4).all()
    assert (np.abs(shift).max(0) > 0.8 * largest).all()
    np.testing.assert_allclose(scale, 1, atol=1e-4)
    np.testing.assert_allclose(angle, 0, atol=1e-2)


def test_scale_stays_within_its_range_about_the_centre():
    shift, scale, angle = similarities(scale=0.2)
    np.testing.assert_allclose(shift, 0, atol=1e-4)
    assert 0.8 - 1e-4 <= scale.min() < 0.85
    assert 1.15 < scale.max() <= 1.2 + 1e-4
    np.testing.assert_allclose(angle, 0, atol=1e-2)


def test_rotation_is_in_degrees_about_the_centre():
    shift, scale, angle = similarities(rotation=20)
    np.testing.assert_allclose(shift, 0, atol=1e-4)
    np.testing.assert_allclose(scale, 1, atol=1e-4)
    assert -20.01 <= angle.min() < -16
    assert 16 < angle.max() <= 20.01


@pytest.mark.parametrize("axis", [1, 2])
def test_flip_mirrors_about_half_of_the_slices_left_to_right(axis):
    bank = drawn_bank()
    images, labels = draw(bank, np.full(BATCH, 2), flip=True, flip_axis=axis)
    turned, labels_turned = (
        np.flip(array[2], axis - 1) for array in (bank.images, bank.labels)
    )
    mirrored = np.array([np.array_equal(image, turned) for image in images])
    kept = np.array([np.array_equal(i, bank.images[2]) for i in images])
    assert (mirrored ^ kept).all()
    assert 0.25 < mirrored.mean() < 0.75
    np.testing.assert_array_equal(labels[mirrored][0], labels_turned)
    still, _ = draw(bank, np.full(BATCH, 2))
    np.testing.assert_array_equal(still, bank.images[2][None].repeat(BATCH, 0))


def test_gain_and_offset_change_a_slice_and_channel_as_a_whole():
    bank = Bank(
        np.ones((1, HEIGHT, WIDTH, 2), np.float32),
        np.zeros((1, HEIGHT, WIDTH), np.uint8),
    )
    for strengths, middle in (({"gain": 0.3}, 1), ({"offset": 0.3}, 1)):
        images, _ = draw(bank, np.zeros(BATCH, int), **strengths)
        assert np.ptp(images, axis=(1, 2)).max() == 0
        factors = images[:, 0, 0]
        assert (np.abs(factors - middle) <= 0.3 + 1e-6).all()
        assert np.ptp(factors) > 0.5
        assert not np.array_equal(factors[:, 0], factors[:, 1])
    empty = bank._replace(images=0 * bank.images)
    assert not draw(empty, np.zeros(4, int), gain=0.3)[0].any()


def test_noise_has_at_most_its_deviation_and_no_mean():
    bank = Bank(
        np.zeros((1, HEIGHT, WIDTH, 1), np.float32),
        np.zeros((1, HEIGHT, WIDTH), np.uint8),
    )
    images, labels = draw(bank, np.zeros(BATCH, int), noise=0.5)
    spread = images.std((1, 2, 3))
    tolerance = 4 / np.sqrt(2 * HEIGHT * WIDTH)
    assert spread.max() < 0.5 * (1 + tolerance)
    assert spread.max() > 0.35
    assert spread.min() < 0.15
    assert abs(images.mean()) < 4 * 0.5 / np.sqrt(images.size)
    assert not labels.any()


def test_equal_keys_change_different_slices_alike():
    """Strategies are paired: the same changes fall on whatever they chose."""
    bank = ramp_bank()
    twice = Bank(
        np.concatenate([bank.images, bank.images + 100]), bank.labels.repeat(2, 0)
    )
    first, _ = draw(twice, np.zeros(4, int), seed=4, rotation=15, shift=0.1)
    second, _ = draw(twice, np.ones(4, int), seed=4, rotation=15, shift=0.1)
    np.testing.assert_allclose(second - first, 100, atol=1e-3)
    other, _ = draw(twice, np.zeros(4, int), seed=5, rotation=15, shift=0.1)
    assert not np.allclose(first, other)
