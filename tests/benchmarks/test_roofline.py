"""Counting of operations and bytes, limits of the machine, and their table."""

import jax
import pytest

from benchmarks import _machine, roofline
from benchmarks._machine import Limits
from benchmarks._throughput_cases import CASES, flat_case
from slicebench.runner.plans import step_flop

TINY = flat_case(2, 2, (8, 8), 2, classes=3, slices=4)


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(_machine, "_MATMUL_SIDE", {"cpu": 32})
    monkeypatch.setattr(_machine, "_TRIAD_NUMBERS", {"cpu": 256})


def test_limits_are_rates_of_all_devices(small_limits, monkeypatch):
    seconds = {(32, 32): 2.0, (256,): 0.5}
    monkeypatch.setattr(
        _machine, "_best_seconds", lambda _function, shape, _rounds: seconds[shape]
    )
    devices = jax.local_device_count()
    assert _machine.measure_limits() == (
        devices * 2 * 32**3 / 2.0,
        devices * 3 * 4 * 256 / 0.5,
    )


def test_measured_limits_are_positive(small_limits):
    limits = _machine.measure_limits(rounds=2)
    assert 0 < limits.matmul < 1e15
    assert 0 < limits.triad < 1e15


def test_operations_are_those_of_the_planner():
    for case in CASES.values():
        counted = roofline.count_flop(case.program)
        assert counted == pytest.approx(step_flop(case.program), rel=1e-12)


def test_operations_and_bytes_can_be_worked_out_by_hand():
    # Two slices of 8 x 8: 128 voxels at the top, 32 below.
    layers = [
        (128, 1, 2, 9),
        (128, 2, 2, 9),
        (32, 2, 4, 9),
        (32, 4, 4, 9),
        (128, 6, 2, 9),
        (128, 2, 2, 9),
        (128, 2, 3, 1),
    ]
    found = roofline.layers_of(TINY.program)
    assert [(e.voxels, e.inputs, e.outputs, e.taps) for e in found] == layers
    flop = 6 * sum(v * i * o * t for v, i, o, t in layers)
    assert roofline.count_flop(TINY.program) == flop
    moved = sum(
        3 * (v * (i + o) + i * o * t) + 7 * i * o * t + 5 * v * o * (t > 1)
        for v, i, o, t in layers
    )
    assert roofline.count_bytes(TINY.program) == 4 * moved


@pytest.mark.slow
def test_measured_point_and_its_table(small_limits):
    point = roofline.measure(TINY, rounds=2, steps=1)
    assert point.trials == jax.local_device_count()
    assert len(point.rates) == 2
    # XLA counts what it runs, more than the plain network.
    assert point.xla_flop > 0.3 * point.flop
    row = point.row("machine", 0.1)
    assert row["share_of_matmul"] == pytest.approx(
        row["flop_per_s"] / row["matmul_flop_per_s"], rel=0.5
    )
    assert "w2-d2-8x8-b2" in roofline.describe([point])


def test_the_roof_is_the_lower_limit():
    def point(triad):
        return roofline.Point(
            case=TINY,
            trials=2,
            plan="",
            flop=100.0,
            moved=10.0,
            xla_flop=1.0,
            xla_moved=1.0,
            rates=[2.0, 4.0, 3.0],
            limits=Limits(matmul=1000.0, triad=triad),
        )

    assert point(1e6).roof == 1000
    assert point(50.0).roof == 500
    row = point(50.0).row("machine", 0.0)
    assert row["share_of_matmul"] == pytest.approx(0.3)
    assert row["share_of_roof"] == pytest.approx(0.6)
    assert row["spread"] == pytest.approx([0.2, 0.4])


def test_costs_that_xla_does_not_tell_are_nan():
    class Silent:
        def cost_analysis(self):
            return [{}]

    flop, moved = roofline.counted_by_xla(Silent())
    assert flop != flop  # noqa: PLR0124
    assert moved != moved  # noqa: PLR0124
