import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench.training.loss import segmentation_loss


def reference(logits, labels):
    """The formula in plain NumPy, in double precision."""
    logits = np.asarray(logits, np.float64)
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    entropy = np.mean(
        [-np.log(share[(*i, labels[i])]) for i in np.ndindex(labels.shape)]
    )
    dice = []
    for index in range(1, logits.shape[-1]):
        truth = labels == index
        overlap = share[..., index][truth].sum()
        total = truth.sum() + share[..., index].sum()
        dice.append((2 * overlap + 1) / (total + 1))
    return entropy + 1 - np.mean(dice)


def draw(seed=0, batch=3, classes=4):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (batch, 4, 5, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, (batch, 4, 5)).astype(np.uint8)


def test_two_undecided_pixels_by_hand():
    logits = jnp.zeros((1, 1, 2, 2))
    labels = jnp.array([[[0, 1]]], jnp.uint8)
    # Overlap 1/2 of sizes 1 and 1, one voxel added: dice 2/3.
    assert float(segmentation_loss(logits, labels)) == pytest.approx(np.log(2) + 1 / 3)


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much():
    labels = jnp.array([[[0, 1], [2, 1]]], jnp.uint8)
    sure = 40 * jax.nn.one_hot(labels, 3)
    assert float(segmentation_loss(sure, labels)) == pytest.approx(0, abs=1e-6)
    assert float(segmentation_loss(-sure, labels)) > 20


def test_a_class_that_is_absent_and_not_predicted_costs_nothing():
    labels = jnp.zeros((2, 3, 3), jnp.uint8)
    sure = 40 * jax.nn.one_hot(labels, 3)
    assert float(segmentation_loss(sure, labels)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_equals_numpy(seed):
    logits, labels = draw(seed)
    loss = segmentation_loss(jnp.asarray(logits), jnp.asarray(labels))
    assert float(loss) == pytest.approx(reference(logits, labels), rel=1e-5)


def test_dice_sums_run_over_the_whole_batch():
    logits, labels = draw()
    alone = [
        float(
            segmentation_loss(*map(jnp.asarray, (logits[i : i + 1], labels[i : i + 1])))
        )
        for i in range(3)
    ]
    whole = float(segmentation_loss(jnp.asarray(logits), jnp.asarray(labels)))
    assert whole != pytest.approx(np.mean(alone), rel=1e-3)
    order = [2, 0, 1]
    shuffled = segmentation_loss(jnp.asarray(logits[order]), jnp.asarray(labels[order]))
    assert float(shuffled) == pytest.approx(whole, rel=1e-6)


def test_foreground_classes_are_exchangeable():
    logits, labels = draw()
    swapped = np.array([0, 3, 1, 2], np.uint8)
    renamed = segmentation_loss(
        jnp.asarray(logits[..., np.argsort(swapped)]), jnp.asarray(swapped[labels])
    )
    assert float(renamed) == pytest.approx(reference(logits, labels), rel=1e-5)


def test_slope_equals_finite_differences():
    logits, labels = draw(batch=1)
    slope = jax.grad(segmentation_loss)(jnp.asarray(logits), jnp.asarray(labels))
    for where in [(0, 0, 0, 0), (0, 3, 4, 2), (0, 1, 2, 3)]:
        nudge = np.zeros(logits.shape)
        nudge[where] = 1e-5
        rise = reference(logits + nudge, labels) - reference(logits - nudge, labels)
        assert float(slope[where]) == pytest.approx(rise / 2e-5, abs=1e-5)


def test_huge_scores_stay_finite():
    logits, labels = draw()
    loss, slope = jax.value_and_grad(segmentation_loss)(
        jnp.asarray(logits * 1e30), jnp.asarray(labels)
    )
    assert np.isfinite(loss)
    assert np.isfinite(slope).all()


def draw_volume(seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2, 5, 3, 4, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 5, 3, 4)).astype(np.uint8)
    weight = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], np.float32)
    return logits, labels, weight


def test_weights_of_one_are_the_loss_of_the_annotated_slices_alone():
    logits, labels, weight = draw_volume()
    known = weight > 0
    wanted = reference(logits[known], labels[known])
    assert float(segmentation_loss(logits, labels, weight)) == pytest.approx(
        wanted, rel=1e-5
    )


def test_weights_are_shares_of_the_mean():
    logits, labels, weight = draw_volume()
    once = float(segmentation_loss(logits, labels, weight))
    slope = jax.grad(lambda w: segmentation_loss(logits, labels, w))(weight)
    nudge = np.zeros(weight.shape, np.float32)
    nudge[0, 2] = 0.01
    more = float(segmentation_loss(logits, labels, weight + nudge))
    assert more - once == pytest.approx(0.01 * float(slope[0, 2]), rel=0.05)


def test_neither_loss_nor_slope_depends_on_labels_of_weight_zero():
    logits, labels, weight = draw_volume()
    noise = np.random.default_rng(9).integers(0, 3, labels.shape).astype(np.uint8)
    other = np.where(weight[..., None, None] > 0, labels, noise)
    assert (other != labels).any()
    one, two = (
        jax.value_and_grad(segmentation_loss)(jnp.asarray(logits), given, weight)
        for given in (labels, other)
    )
    assert float(one[0]) == float(two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.asarray(one[1])[weight == 0].any()


def test_more_slices_that_nobody_annotated_leave_the_loss_unchanged():
    logits, labels, weight = draw_volume()
    longer = [
        np.concatenate([part, part[:, ::-1]], axis=1) for part in (logits, labels)
    ]
    padded = np.concatenate([weight, 0 * weight], axis=1)
    assert float(segmentation_loss(*longer, padded)) == pytest.approx(
        float(segmentation_loss(logits, labels, weight)), rel=1e-6
    )


def test_absent_classes_are_left_out_where_asked():
    logits, labels = draw(classes=5)
    labels[labels == 3] = 0
    kept = [1, 2, 4]
    share = np.asarray(jax.nn.softmax(jnp.asarray(logits)), np.float64)
    missed = []
    for index in kept:
        truth = labels == index
        overlap = share[..., index][truth].sum()
        total = truth.sum() + share[..., index].sum()
        missed.append(1 - (2 * overlap + 1) / (total + 1))
    entropy = -np.log(np.take_along_axis(share, labels[..., None].astype(int), -1))
    loss = segmentation_loss(jnp.asarray(logits), jnp.asarray(labels), None, "present")
    assert float(loss) == pytest.approx(entropy.mean() + np.mean(missed), rel=1e-5)


def test_both_forms_agree_where_every_class_is_present():
    logits, labels = map(jnp.asarray, draw())
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert float(segmentation_loss(logits, labels, None, "present")) == pytest.approx(
        float(segmentation_loss(logits, labels)), rel=1e-6
    )


def test_a_batch_of_background_has_cross_entropy_alone():
    logits, labels = draw()
    labels[:] = 0
    share = np.asarray(jax.nn.softmax(jnp.asarray(logits)), np.float64)
    given = (jnp.asarray(logits), jnp.asarray(labels), None, "present")
    assert float(segmentation_loss(*given)) == pytest.approx(
        -np.log(share[..., 0]).mean(), rel=1e-5
    )
    assert all(np.isfinite(jax.grad(segmentation_loss)(*given)).ravel())


def test_a_class_on_slices_without_weight_is_absent():
    logits, labels = draw(batch=2)
    labels[0], labels[1, 0, 0] = np.minimum(labels[0], 2), 3
    weight = jnp.array([1.0, 0.0])
    both = segmentation_loss(
        jnp.asarray(logits), jnp.asarray(labels), weight, "present"
    )
    one = segmentation_loss(
        jnp.asarray(logits[:1]), jnp.asarray(labels[:1]), jnp.ones(1), "present"
    )
    assert float(both) == pytest.approx(float(one), rel=1e-6)
