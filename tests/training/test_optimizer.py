import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slicebench.spec import Training
from slicebench.training.step import make_optimizer

STEPS, PEAK = 40, 0.01


def run(training, slopes, start=0.0):
    """Parameter values before, between and after updates with given slopes."""
    optimizer = make_optimizer(training)
    weight = jnp.float32(start)
    moments = optimizer.init(weight)
    update = jax.jit(optimizer.update)
    path = [float(weight)]
    for slope in slopes:
        change, moments = update(jnp.float32(slope), moments, weight)
        weight = optax.apply_updates(weight, change)
        path.append(float(weight))
    return np.array(path)


def rates(**settings):
    """AdamW moves by its learning rate exactly while the slope stays the same."""
    training = Training(
        steps=STEPS, learning_rate=PEAK, weight_decay=0, **{"warmup": 0.0} | settings
    )
    return -np.diff(run(training, np.ones(STEPS)))


def test_cosine_decay_falls_from_the_peak_to_zero():
    wanted = PEAK * 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    np.testing.assert_allclose(rates(decay="cosine"), wanted, rtol=1e-3, atol=1e-7)


def test_polynomial_decay_has_the_power_of_nnunet():
    wanted = PEAK * (1 - np.arange(STEPS) / STEPS) ** 0.9
    np.testing.assert_allclose(rates(decay="polynomial"), wanted, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("decay", ["cosine", "polynomial"])
def test_warmup_rises_in_a_line_and_then_decays_to_zero(decay):
    found = rates(decay=decay, warmup=0.25)
    np.testing.assert_allclose(
        found[:11], PEAK * np.arange(11) / 10, rtol=1e-3, atol=1e-7
    )
    assert (np.diff(found[10:]) < 0).all()
    assert found[-1] < 0.06 * PEAK


def test_weight_decay_of_adamw_is_decoupled():
    training = Training(steps=STEPS, learning_rate=PEAK, weight_decay=0.5)
    path = run(training, np.zeros(1), start=2.0)
    assert path[1] == pytest.approx(2 * (1 - PEAK * 0.5), rel=1e-6)


def test_sgd_has_nesterov_momentum():
    training = Training(
        steps=STEPS,
        learning_rate=PEAK,
        optimizer="sgd",
        decay="polynomial",
        weight_decay=0.1,
    )
    slopes = np.random.default_rng(0).normal(size=STEPS)
    weight, velocity = 1.0, 0.0
    wanted = [weight]
    for step, slope in enumerate(slopes):
        decayed = slope + 0.1 * weight
        velocity = 0.99 * velocity + decayed
        weight -= PEAK * (1 - step / STEPS) ** 0.9 * (decayed + 0.99 * velocity)
        wanted.append(weight)
    np.testing.assert_allclose(run(training, slopes, 1.0), wanted, rtol=1e-4, atol=1e-6)
