"""The search for a fast plan, with made-up speeds and a made-up clock."""

import dataclasses
import types

import jax
import pytest

from slicebench.runner import plans, timing
from slicebench.runner.memory import OutOfMemoryError
from slicebench.runner.plans import choose_plan
from slicebench.training.engine import Plan
from tests.runner import small

OOM = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 GB")


class Track:
    """Plans of stated speeds; compiling and a round take stated times.

    Args:
      speed: Trial-steps a second of a plan.
      compiling: Seconds to compile one network.
      refuse: Whether a plan does not fit into memory.
    """

    def __init__(self, speed, compiling=1.0, refuse=lambda _: False):
        self.now = 0.0
        self.speed, self.compiling, self.refuse = speed, compiling, refuse
        self.rounds = {}

    def build(self, plan):
        self.now += self.compiling * plan.trials_per_device
        if self.refuse(plan):
            raise OOM
        self.rounds[plan] = 0
        engine = types.SimpleNamespace(
            plan=plan, compile_seconds=self.compiling, step_bytes=lambda: 77
        )
        return types.SimpleNamespace(engine=engine, round=lambda: self.drive(plan))

    def drive(self, plan):
        self.now += 0.3
        self.rounds[plan] += 1
        return self.speed(plan)

    def race(self, first, trial_steps=10**9):
        self.climb = timing.Race(
            small.program(), self.build, trial_steps, clock=lambda: self.now
        )
        best, engine = self.climb.run(first)
        assert engine.plan == best
        return best

    def outcomes(self):
        return {
            (c.plan.trials_per_device, c.plan.steps_per_call): c.outcome
            for c in self.climb.candidates
        }


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(plans, "_device_memory", lambda: 1e12)


FIRST = Plan(devices=2, trials_per_device=1)


def test_the_fixed_plan_stays_where_nothing_is_faster():
    track = Track(lambda _: 10.0)
    assert track.race(FIRST) == FIRST
    assert track.outcomes() == {(1, 1): "timed", (2, 1): "timed", (1, 2): "timed"}


def test_a_little_faster_is_not_faster():
    track = Track(lambda plan: 10.0 + 0.2 * plan.trials_per_device)
    assert track.race(FIRST) == FIRST


@pytest.mark.parametrize("trials", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 2])
def test_the_fastest_plan_of_a_cpu_is_found(trials, steps):
    def speed(plan):
        far = abs(plan.trials_per_device - trials) + abs(plan.steps_per_call - steps)
        return 10.0 / (1 + far)

    best = Track(speed).race(FIRST)
    assert (best.trials_per_device, best.steps_per_call) == (trials, steps)


def test_a_plan_that_is_clearly_slower_is_stopped_early():
    track = Track(lambda plan: 10.0 / plan.trials_per_device)
    track.race(FIRST)
    slower = dataclasses.replace(FIRST, trials_per_device=2)
    close = dataclasses.replace(FIRST, steps_per_call=2)
    assert track.rounds[slower] == 2
    assert track.rounds[close] == 5


def test_no_more_than_a_twentieth_of_the_run_is_spent():
    """At 10 trial-steps/s, 2000 of them take 200 s: 10 s may be spent."""
    track = Track(lambda plan: 10.0 * plan.trials_per_device, compiling=4.0)
    best = track.race(FIRST, trial_steps=2000)
    assert best.trials_per_device == 1 * 2
    assert "5 %" in track.outcomes()[4, 1]
    assert track.now - 4.0 - 3 * 0.3 <= 10 + 5 * 0.6


def test_a_plan_that_does_not_fit_is_passed_over():
    track = Track(
        lambda plan: 10.0 * plan.trials_per_device,
        refuse=lambda plan: plan.trials_per_device > 2,
    )
    assert track.race(FIRST).trials_per_device == 2
    assert track.outcomes()[4, 1] == "out of memory"


def test_the_search_starts_with_fewer_trials_where_the_fixed_plan_does_not_fit():
    track = Track(lambda _: 10.0, refuse=lambda plan: plan.trials_per_device > 1)
    first = dataclasses.replace(FIRST, trials_per_device=4)
    assert track.race(first).trials_per_device == 1
    with pytest.raises(OutOfMemoryError, match=r"one trial does not fit.*--max_size"):
        Track(lambda _: 1.0, refuse=lambda _: True).race(first)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    def build(plan):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        timing.Race(small.program(), build, 100).run(FIRST)


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("layout", ["matmul", "winograd", "grouped"])
@pytest.mark.parametrize("trials", [4, 16, 64])
def test_the_fastest_plan_of_an_accelerator_is_found(layout, trials):
    """Layouts first, then trials up or down, then steps in a call."""
    saturated = {"matmul": 1.0, "winograd": 1.0, "grouped": 1.0, "shifts": 0.9}

    def speed(plan):
        rate = saturated[plan.layout] * (1.5 if plan.layout == layout else 1.0)
        far = abs(plan.trials_per_device.bit_length() - trials.bit_length())
        return rate / (1 + far) * (1.2 if plan.steps_per_call > 1 else 1.0)

    first = timing.start_plan(choose_plan(small.program()))
    assert first.trials_per_device == 16
    best = Track(speed).race(first)
    assert (best.layout, best.trials_per_device) == (layout, trials)
    assert best.steps_per_call == 6  # of 12 steps, up to 10


@pytest.mark.usefixtures("accelerator")
def test_plans_beyond_the_estimate_of_memory_are_not_compiled(monkeypatch):
    program = small.program()
    room = plans.bank_bytes(program) + 20.5 * plans.trial_bytes(program, "matmul")
    monkeypatch.setattr(plans, "_device_memory", lambda: room / 0.6)
    track = Track(lambda plan: float(plan.trials_per_device))
    assert track.race(timing.start_plan(choose_plan(program))).trials_per_device == 16
    assert max(plan.trials_per_device for plan in track.rounds) == 16


def test_a_candidate_is_plain_json():
    track = Track(lambda _: 10.0)
    track.race(FIRST)
    record = track.climb.candidates[0].record()
    assert record["plan"]["layout"] == "single"
    assert record["trial_steps_per_s"] == 10.0
    assert record["needed_bytes"] == 77
    assert record["estimated_bytes"] == plans.plan_bytes(small.program(), FIRST)


def test_a_real_plan_is_timed():
    """On the smoke program, whose step takes milliseconds."""
    work = small.program_work().work
    program = small.program()
    arrays, _ = work.annotate(small.sparse_trials()[0], program)
    racer = timing.Racer(program, FIRST, work.make_bank(program), arrays)
    assert racer.round() > 0
    assert racer.engine.step_bytes() > plans.bank_bytes(program)
    assert racer.engine.compile_seconds > 0
