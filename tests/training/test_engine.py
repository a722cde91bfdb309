import jax
import numpy as np
import pytest

from slicebench import spec
from slicebench.training import engine as engine_module
from slicebench.training.engine import Plan, trial_params
from slicebench.training.step import _marked, make_step
from tests.models.test_convolution import feature_groups
from tests.training.tiny import (
    advance,
    first_state,
    make_bank,
    make_engine,
    make_program,
    make_trials,
    one_trial,
    weights,
)

pytestmark = pytest.mark.usefixtures("shipped_compilation")
SEEDS = [5, 8, 2, 7]
STEPS = 20


@pytest.fixture(scope="module")
def single(shipped_compilation):
    """One trial at a time; compiled once for this module."""
    return make_engine()


@pytest.fixture(scope="module")
def trials():
    return make_trials(make_bank(), SEEDS)


@pytest.fixture(scope="module")
def alone(single, trials):
    """Weights of every trial after 20 steps, trained one after another."""
    return [
        weights(advance(single, first_state(single, [seed]), [trial], STEPS), 0)
        for seed, trial in zip(SEEDS, trials, strict=True)
    ]


@pytest.mark.parametrize(
    ("devices", "each"),
    [
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
        (2, 2),
    ],
)
@pytest.mark.usefixtures("two_devices")
def test_trials_together_equal_trials_alone(alone, trials, devices, each):
    engine = make_engine(devices, each)
    size = engine.plan.trials
    state = advance(engine, first_state(engine, SEEDS[:size]), trials[:size], STEPS)
    for index in range(size):
        for ours, theirs in zip(weights(state, index), alone[index], strict=True):
            difference = np.linalg.norm(ours - theirs)
            assert difference <= 1e-4 * np.linalg.norm(theirs)
    assert state.step.tolist() == [STEPS] * size


def test_training_lowers_the_loss(single, trials):
    first = advance(single, first_state(single, SEEDS[:1]), trials[:1], 1)
    early = float(first.loss[0])
    late = advance(single, first, trials[:1], STEPS - 1)
    assert float(late.loss[0]) < 0.97 * early


def test_equal_plans_give_equal_bytes(single, trials, alone):
    again = advance(single, first_state(single, SEEDS[:1]), trials[:1], STEPS)
    for ours, theirs in zip(weights(again, 0), alone[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(alone[0][0], alone[1][0])


def test_a_diverged_trial_does_not_touch_the_other(trials):
    engine = make_engine(trials_per_device=2)
    sound = advance(engine, first_state(engine, SEEDS[:2]), trials[:2], 5)
    poisoned = first_state(engine, SEEDS[:2])
    poisoned = poisoned._replace(
        params=jax.tree.map(lambda leaf: leaf.at[1].set(np.inf), poisoned.params)
    )
    broken = advance(engine, poisoned, trials[:2], 5)
    assert sound.healthy.tolist() == [True, True]
    assert broken.healthy.tolist() == [True, False]
    for ours, theirs in zip(one_trial(broken, 0), one_trial(sound, 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def changed(engine, state, **values):
    """The state with some of its numbers set for every trial, on the devices."""
    arrays = {
        name: np.full_like(np.asarray(getattr(state, name)), value)
        for name, value in values.items()
    }
    return state._replace(**jax.device_put(arrays, engine.split))


def test_a_trial_stays_diverged(single, trials):
    state = changed(single, first_state(single, SEEDS[:1]), healthy=False)
    assert not advance(single, state, trials[:1], 2).healthy[0]


def test_running_loss_moves_by_a_twentieth_from_its_first_value(single, trials):
    def after(steps, **values):
        state = advance(single, first_state(single, SEEDS[:1]), trials[:1], 1)
        first = float(state.loss[0])
        state = advance(single, changed(single, state, **values), trials[:1], steps)
        return first, float(state.loss[0])

    first, both = after(1)
    _, second = after(1, loss=0)
    assert both == pytest.approx(0.95 * first + second, rel=1e-5)
    assert second > 0


def test_the_curve_holds_the_running_loss_of_every_step_of_a_short_training(
    single, trials
):
    state = first_state(single, SEEDS[:1])
    losses = []
    for _ in range(STEPS):
        state = advance(single, state, trials[:1], 1)
        losses.append(float(state.loss[0]))
    np.testing.assert_array_equal(state.curve[0], np.float32(losses))


def test_a_long_training_leaves_the_end_of_each_even_part_in_the_curve():
    curve = np.zeros(4, np.float32)
    for step in range(10):
        curve = np.asarray(_marked(curve, step, 10, np.float32(step)))
    np.testing.assert_array_equal(curve, [2, 4, 7, 9])


def test_no_convolution_of_the_training_step_is_grouped(trials):
    engine = make_engine(trials_per_device=2)
    step = jax.vmap(make_step(engine.program), in_axes=(0, 0, None))
    arrays = engine.put(trials[:2])
    traced = jax.make_jaxpr(step)(engine.abstract_state(), arrays, make_bank())
    groups = feature_groups(traced.jaxpr)
    # Six layers, each with its output and two gradients, for two trials; the head
    # and the upsampled half of the decoder are products of matrices.
    assert groups == [1] * (6 * 3 * 2)


def test_the_step_is_compiled_once(monkeypatch, trials):
    made = []
    original = engine_module.over_trials
    monkeypatch.setattr(
        engine_module,
        "over_trials",
        lambda *given, **options: made.append(1) or original(*given, **options),
    )
    engine = make_engine()
    for seed, trial in zip(SEEDS, trials, strict=True):
        advance(engine, first_state(engine, [seed]), [trial], 1)
    assert len(made) == 2  # first states and training step
    assert engine.compile_seconds > 0


def test_trial_params_cuts_out_one_trial():
    engine = make_engine(trials_per_device=2)
    state = first_state(engine, SEEDS[:2])
    cut = jax.tree.leaves(trial_params(state.params, 1))
    for ours, theirs in zip(cut, weights(state, 1), strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, theirs)


def test_plan_counts_trials():
    assert Plan(devices=2, trials_per_device=3).trials == 6


def test_program_names_follow_every_setting():
    names = {make_program().name, make_program(steps=21).name}
    names.add(make_program(augmentation=spec.Augmentation(flip=True)).name)
    assert len(names) == 3
