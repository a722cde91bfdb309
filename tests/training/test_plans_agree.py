"""Plans agree within a tolerance, whatever way trials and steps are laid out."""

import dataclasses

import jax
import numpy as np
import pytest

from slicebench.training.engine import Engine, Plan, repeat
from slicebench.training.step import make_step
from tests.training.tiny import (
    first_state,
    make_bank,
    make_program,
    make_trials,
    weights,
)

pytestmark = pytest.mark.usefixtures("shipped_compilation")
SEEDS, STEPS = [5, 8], 6
TOLERANCE = 1e-4
"""Of a network's weights, relative to their norm, after a few steps in float32."""


def train(trials_per_device, steps_per_call):
    """Weights and losses of both trials, trained together or in turn."""
    bank = make_bank()
    plan = Plan(
        devices=1, trials_per_device=trials_per_device, steps_per_call=steps_per_call
    )
    engine = Engine(make_program(), plan, bank)
    found = []
    for start in range(0, len(SEEDS), plan.trials):
        seeds = SEEDS[start : start + plan.trials]
        state, arrays = first_state(engine, seeds), engine.put(make_trials(bank, seeds))
        engine.compile(state, arrays)
        for _ in range(STEPS // steps_per_call):
            state = engine.step(state, arrays)
        assert state.step.tolist() == [STEPS] * plan.trials
        found += [
            [*weights(state, index), np.asarray(state.loss[index])]
            for index in range(plan.trials)
        ]
    return found


@pytest.fixture(scope="module")
def alone(shipped_compilation):
    return train(1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("plan", [(2, 1), (1, 2)])
def test_other_plans_agree_within_the_tolerance(alone, plan):
    for ours, theirs in zip(train(*plan), alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            difference = np.linalg.norm(one - other)
            assert difference <= TOLERANCE * np.linalg.norm(other)


def test_a_loop_on_the_device_does_the_same_steps(alone):
    """As on an accelerator; a CPU runs it as well, only slowly."""
    bank, program = make_bank(), make_program()
    engine = Engine(program, Plan(devices=1, trials_per_device=1), bank)
    state = jax.tree.map(lambda leaf: leaf[0], first_state(engine, SEEDS[:1]))
    steps = jax.jit(repeat(make_step(program), STEPS, unroll=False))
    last = steps(state, make_trials(bank, SEEDS[:1])[0], bank)
    assert int(last.step) == STEPS
    for one, other in zip(jax.tree.leaves(last.params), alone[0][:-1], strict=True):
        difference = np.linalg.norm(np.asarray(one) - other)
        assert difference <= TOLERANCE * np.linalg.norm(other)


def test_the_loop_is_one_operation_of_known_length():
    program, bank = make_program(), make_bank()
    engine = Engine(program, Plan(devices=1, trials_per_device=1), bank)
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
        engine.abstract_state(),
    )
    trial = make_trials(bank, SEEDS[:1])[0]

    def loops(unroll):
        steps = repeat(make_step(program), 4, unroll=unroll)
        equations = jax.make_jaxpr(steps)(state, trial, bank).eqns
        return [e.params["length"] for e in equations if e.primitive.name == "scan"]

    assert loops(unroll=False) == [4]
    assert loops(unroll=True) == []


def test_steps_of_a_call_must_divide_the_steps_of_the_program():
    plan = Plan(devices=1, trials_per_device=1, steps_per_call=3)
    with pytest.raises(ValueError, match="must divide the 20 steps"):
        Engine(make_program(), plan, make_bank())
    fitting = dataclasses.replace(plan, steps_per_call=5)
    assert Engine(make_program(), fitting, make_bank()).plan is fitting


def test_a_bank_can_be_replaced_and_freed():
    engine = Engine(make_program(), Plan(devices=1, trials_per_device=1), make_bank())
    other = make_bank(seed=1)
    engine.use(other)
    np.testing.assert_array_equal(engine.bank.images, other.images)
    engine.use(None)
    assert engine.bank is None
