import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from slicebench import spec
from slicebench.errors import InputError
from slicebench.selection import FEATURES
from slicebench.training._feature_objectives import (
    SmallSlices,
    draw_neighbours,
    draw_pairs,
    draw_slices,
    make_small,
    may_be_negative,
    nt_xent,
)
from slicebench.training.features import (
    TRAINED_FEATURES,
    AutoencoderSettings,
    ContrastiveSettings,
    _programs,
    describe,
    train,
    train_features,
)

SMALL = {"batch": 8, "side": 8, "width": 4, "latent": 6, "learning_rate": 1e-2}
TINY = {
    "autoencoder": AutoencoderSettings(steps=3, **SMALL),
    "contrastive": ContrastiveSettings(steps=3, projection=4, **SMALL),
}
KINDS = sorted(TINY)
DEPTHS = (3, 1, 5)


def draw_images(depths=DEPTHS, height=8, width=12, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(depth, height, width, channels)).astype(np.float32)
        for depth in depths
    ]


def moving_pattern(volumes=10, depth=12, side=16, seed=0):
    """A bar whose place tells the depth, under a brightness that tells nothing."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-1, 1, side)
    images = []
    for _ in range(volumes):
        place = np.linspace(-0.9, 0.9, depth) + rng.normal(0, 0.05)
        bar = np.exp(-(((line - place[:, None]) / 0.25) ** 2))
        plane = np.broadcast_to(bar[:, None, :], (depth, side, side))
        light = rng.normal(0, 1.5, (depth, 1, 1))
        grain = rng.normal(0, 0.1, plane.shape)
        images.append((plane + light + grain)[..., None].astype(np.float32))
    return images


def adjacency(features):
    """How far rows tell neighbours from other slices of their volume.

    Mean cosine of neighbours less that of slices half a volume apart, and the
    share of slices whose likeliest slice is a neighbour.
    """
    near, far, found = [], [], []
    for rows in features:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosine = unit @ unit.T
        near.append(np.diagonal(cosine, 1).mean())
        far.append(np.diagonal(cosine, len(rows) // 2).mean())
        np.fill_diagonal(cosine, -2)
        found.append(np.abs(cosine.argmax(1) - np.arange(len(rows))) == 1)
    return np.mean(near) - np.mean(far), np.mean(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_slice_has_a_row_of_finite_numbers(kind):
    rows = train_features(kind, draw_images(), seed=0, settings=TINY[kind])
    assert [part.shape for part in rows] == [(depth, 6) for depth in DEPTHS]
    joined = np.concatenate(rows)
    assert joined.dtype == np.float64
    assert np.isfinite(joined).all()
    assert len(np.unique(joined, axis=0)) == len(joined)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_bytes_and_others_do_not(kind):
    first, again, other = (
        np.concatenate(
            train_features(kind, draw_images(), seed=seed, settings=TINY[kind])
        )
        for seed in (4, 4, 5)
    )
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0.01


def test_contrastive_rows_have_length_one_and_autoencoder_rows_mean_zero():
    images = draw_images()
    unit = train_features("contrastive", images, seed=0, settings=TINY["contrastive"])
    np.testing.assert_allclose(
        np.linalg.norm(np.concatenate(unit), axis=1), 1, atol=1e-5
    )
    centred = train_features(
        "autoencoder", images, seed=0, settings=TINY["autoencoder"]
    )
    np.testing.assert_allclose(np.concatenate(centred).mean(0), 0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "images",
    [
        draw_images(depths=(1,) * 6),
        draw_images(depths=(1,)),
        draw_images(depths=(2,)),
        [np.full((4, 8, 12, 2), 7, np.float32), np.full((2, 8, 12, 2), 7, np.float32)],
        [np.zeros((3, 8, 12, 2), np.float32), *draw_images(depths=(20,))],
        [1e30 * image for image in draw_images()],
    ],
    ids=["one slice each", "one slice", "two", "constant", "empty volume", "huge"],
)
def test_odd_pools_have_finite_features(kind, images):
    rows = train_features(kind, images, seed=0, settings=TINY[kind])
    assert [len(part) for part in rows] == [len(image) for image in images]
    assert np.isfinite(np.concatenate(rows)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_channel_counts(kind):
    images = draw_images()
    rows = train_features(kind, images, seed=0, settings=TINY[kind])
    second = [image.copy() for image in images]
    second[0][..., 1] += 1
    changed = train_features(kind, second, seed=0, settings=TINY[kind])
    assert np.abs(rows[0] - changed[0]).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_equal_slices_have_equal_features(kind):
    images = draw_images(depths=(4, 200))
    images[1][198] = images[0][1]
    rows = train_features(kind, images, seed=0, settings=TINY[kind])
    np.testing.assert_array_equal(rows[0][1], rows[1][198])


@pytest.mark.parametrize("kind", KINDS)
def test_brightness_and_contrast_of_the_whole_pool_change_nothing(kind):
    images = draw_images()
    scaled = [4 * image + 8 for image in images]
    one, two = (
        np.concatenate(train_features(kind, given, seed=0, settings=TINY[kind]))
        for given in (images, scaled)
    )
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_small_slices_are_block_averages_of_unit_spread():
    images = draw_images(height=16, width=19, channels=1)
    pool = make_small(images, 15)
    assert pool.images.shape == (256, 8, 8, 1)
    assert pool.total == 9
    small = np.asarray(pool.images)[:9]
    assert small.mean() == pytest.approx(0, abs=1e-6)
    assert small.std() == pytest.approx(1, abs=1e-6)
    blocks = np.concatenate(images).reshape(9, 8, 2, 19).mean((2, 3))
    likeness = np.corrcoef(small.mean((2, 3)).ravel(), blocks.ravel())[0, 1]
    assert likeness == pytest.approx(1, abs=1e-6)
    assert pool.first[:9].tolist() == [0] * 3 + [3] + [4] * 5
    assert pool.depth[:9].tolist() == [3] * 3 + [1] + [5] * 5


def test_a_grid_smaller_than_the_network_needs_is_enlarged():
    pool = make_small(draw_images(height=2, width=40, channels=1), 32)
    assert pool.images.shape == (256, 8, 32, 1)


def line_pool(depths):
    """Slices without content, only places."""
    depths = np.array(depths, np.int32)
    starts = np.cumsum(depths, dtype=np.int32) - depths
    return SmallSlices(
        images=jnp.zeros((depths.sum(), 8, 8, 1)),
        first=jnp.asarray(np.repeat(starts, depths)),
        depth=jnp.asarray(np.repeat(depths, depths)),
        total=jnp.int32(depths.sum()),
    )


def test_positives_are_the_slices_next_to_a_slice_in_its_volume():
    pool = line_pool((3, 1, 2))
    keys = jax.random.split(jax.random.key(0), 200)
    slices = jnp.arange(6)
    drawn = np.asarray(jax.vmap(lambda key: draw_neighbours(pool, slices, key))(keys))
    found = [np.unique(column).tolist() for column in drawn.T]
    assert found == [[1], [0, 2], [1], [3], [5], [4]]
    assert 0.35 < (drawn[:, 1] == 0).mean() < 0.65


def test_neighbours_and_the_slice_itself_are_no_negatives():
    rival = may_be_negative(line_pool((3, 2)), jnp.array([0, 1, 2, 3, 4, 0]))
    np.testing.assert_array_equal(
        rival,
        np.array(
            [
                [0, 0, 1, 1, 1, 0],
                [0, 0, 0, 1, 1, 0],
                [1, 0, 0, 1, 1, 1],
                [1, 1, 1, 0, 0, 1],
                [1, 1, 1, 0, 0, 1],
                [0, 0, 1, 1, 1, 0],
            ],
            bool,
        ),
    )


draw = jax.jit(draw_pairs, static_argnums=(2, 3))


def test_views_are_changed_slices_of_the_pool():
    pool = make_small(moving_pattern(), 16)
    still = spec.Augmentation(shift=0, scale=0, rotation=0, gain=0, offset=0, noise=0)
    pairs, moved = (
        draw(pool, jax.random.key(1), 5, how) for how in (still, spec.Augmentation())
    )
    slices = np.asarray(pool.images)[: int(pool.total)]
    distance = np.abs(np.asarray(pairs.views)[:, None] - slices).max((2, 3, 4))
    np.testing.assert_allclose(distance.min(1), 0, atol=1e-4)
    anchors, positives = np.split(distance.argmin(1), 2)
    assert np.abs(anchors - positives).tolist() == [1] * 5
    assert not np.asarray(pairs.rival)[np.arange(10), np.arange(5, 15) % 10].any()
    assert np.abs(moved.views - pairs.views).mean() > 0.02


def test_slices_of_the_filled_up_block_are_never_drawn():
    pool = line_pool((3, 1))
    filled = pool._replace(
        images=jnp.ones((256, 8, 8, 1)).at[4:].set(jnp.nan),
        first=jnp.pad(pool.first, (0, 252)),
        depth=jnp.pad(pool.depth, (0, 252)),
    )
    assert draw_slices(filled, jax.random.key(0), 500).min() == 1
    pairs = draw(filled, jax.random.key(0), 50, spec.Augmentation())
    assert np.isfinite(pairs.views).all()


def test_the_contrastive_loss_equals_numpy():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 3))
    rival = rng.random((8, 8)) < 0.6
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    terms = []
    for view in range(8):
        scores = np.exp(unit @ unit[view] / 0.5)
        positive = scores[(view + 4) % 8]
        terms.append(-np.log(positive / (positive + scores[rival[view]].sum())))
    loss = nt_xent(jnp.asarray(rows), jnp.asarray(rival), 0.5)
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_contrastive_loss_without_negatives_is_zero_and_has_a_slope():
    nothing = jnp.zeros((4, 4), bool)
    slope_of = jax.value_and_grad(lambda rows: nt_xent(rows, nothing, 0.1))
    for rows in (jnp.zeros((4, 3)), jnp.eye(4, 3)):
        loss, slope = slope_of(rows)
        assert float(loss) == pytest.approx(0, abs=1e-5)
        assert np.isfinite(slope).all()


LEARNING = SMALL | {"steps": 150, "batch": 32, "side": 16, "latent": 8}


@pytest.mark.slow
def test_contrastive_features_know_neighbours_better_than_intensities():
    images = moving_pattern()
    how = spec.Augmentation(shift=0.02, scale=0.05, rotation=5, offset=0.5)
    settings = ContrastiveSettings(**LEARNING, augmentation=how)
    pool = make_small(images, settings.side)
    trained = train(pool, seed=0, settings=settings)
    losses = np.asarray(trained.losses)
    assert losses[-20:].mean() < losses[:5].mean() - 0.8
    rows = np.split(describe(trained, pool, settings), len(images))
    margin, found = adjacency(rows)
    plain_margin, plain_found = adjacency(FEATURES["intensity"].extract(images))
    assert margin > plain_margin + 0.15
    assert found > plain_found + 0.1


@pytest.mark.slow
def test_autoencoder_features_tell_the_slice():
    settings = AutoencoderSettings(**LEARNING)
    pool = make_small(moving_pattern(), settings.side)
    trained = train(pool, seed=0, settings=settings)
    assert trained.losses[-10:].mean() < 0.5 * trained.losses[:3].mean()
    slices = pool.images[: int(pool.total)]
    rebuilt = jax.jit(nnx.merge(trained.structure, trained.weights))(slices)
    error = np.square(rebuilt - slices).mean()
    of_the_mean = np.square(slices - slices.mean(0)).mean()
    assert error < 0.4 * of_the_mean


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_one_program_that_nothing_is_read_from(kind):
    settings = TINY[kind]
    pool = make_small(draw_images(), settings.side)
    train(pool, seed=0, settings=settings)
    step = _programs(settings, pool.images.shape[1:]).step
    before = step._cache_size()
    with jax.transfer_guard_device_to_host("disallow"):
        trained = train(pool, seed=1, settings=settings)
    assert step._cache_size() == before
    assert trained.losses.shape == (3,)


@pytest.mark.parametrize("kind", sorted(TRAINED_FEATURES))
def test_defaults_name_their_source(kind):
    assert "20" in TRAINED_FEATURES[kind].reference


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        (AutoencoderSettings, {"steps": 0}, "steps is 0"),
        (AutoencoderSettings, {"batch": -1}, "batch is -1"),
        (AutoencoderSettings, {"latent": 0}, "latent is 0"),
        (AutoencoderSettings, {"width": 0, "side": 7}, "side is 7.*width is 0"),
        (AutoencoderSettings, {"learning_rate": 0.0}, "learning_rate is 0"),
        (AutoencoderSettings, {"learning_rate": float("nan")}, "learning_rate is nan"),
        (ContrastiveSettings, {"temperature": 0.0}, "temperature is 0"),
        (ContrastiveSettings, {"projection": 0}, "projection is 0"),
    ],
)
def test_bad_settings_are_refused(kind, change, says):
    with pytest.raises(InputError, match=says):
        kind(**change)


def test_unknown_kinds_and_settings_of_another_kind_are_refused():
    with pytest.raises(InputError, match="allowed: autoencoder, contrastive"):
        train_features("pixels", draw_images(), seed=0)
    with pytest.raises(InputError, match="AutoencoderSettings is needed"):
        train_features(
            "autoencoder", draw_images(), seed=0, settings=TINY["contrastive"]
        )


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "0 images"),
        (draw_images(depths=(0,)), "a slice"),
        ([*draw_images(), *draw_images(width=9)], "one grid"),
        ([np.full((2, 8, 8, 1), np.nan, np.float32)], "NaN or infinity"),
    ],
)
def test_bad_pools_are_refused(images, says):
    with pytest.raises(InputError, match=says):
        train_features("autoencoder", images, seed=0, settings=TINY["autoencoder"])


def test_a_training_that_ran_away_is_an_error():
    settings = TINY["autoencoder"]
    pool = make_small(draw_images(), 8)
    trained = train(pool, seed=0, settings=settings)
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, trained.weights)
    with pytest.raises(InputError, match=r"learning_rate 0\.01"):
        describe(trained._replace(weights=broken), pool, settings)
