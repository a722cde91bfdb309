"""Scaling: growing numbers of trials, memory, shares of the wall time."""

import jax
import pytest

from benchmarks import _scaling_jax, scaling
from benchmarks._runs import Run
from benchmarks._throughput_cases import flat_case

TINY = flat_case(2, 1, (8, 8), 2, slices=4)


@pytest.fixture
def bench():
    names = ("jax_platforms", "jax_enable_compilation_cache")
    before = {name: jax.config.values[name] for name in names}
    yield _scaling_jax.ScalingBench(jax.local_device_count())
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.slow
def test_trials_beyond_a_batch_follow_one_another(bench):
    devices = jax.local_device_count()
    for count in (1, devices, 2 * devices + 1):
        found = bench.over_trials(TINY, count, seconds=0.001)
        assert found["trials"] == count
        assert found["batch"] == min(count, devices)
        assert found["steps"] >= 10
        rate = found["trial_steps_per_s"] * found["seconds"]
        assert rate == pytest.approx(count * found["steps"])


def test_weight_of_a_trial(bench):
    found = bench.weigh(TINY, seconds=0.001)
    weights = 4 * 3 * 100
    assert weights < found["step_bytes"] < 1e8
    assert found["trial_steps_per_s"] > 0
    assert found["compile_seconds"] > 0
    assert found["trials"] == jax.local_device_count()


def test_quick_form_crosses_sizes_and_widths():
    names = [case.name for case in scaling.size_cases(True)]
    assert len(names) == len(scaling.SIZES) + len(scaling.WIDTHS) - 1
    full = [case.name for case in scaling.size_cases(False)]
    assert set(names) < set(full)
    assert len(full) == len(scaling.SIZES) * len(scaling.WIDTHS)


def test_parts_of_the_wall_time_add_up(tmp_path):
    compute = {"wall_seconds": 10.0, "compile_seconds": 3.0, "training_seconds": 5.0}
    run = Run(workdir=tmp_path, compute=compute, experiment={})
    assert scaling.wall_parts(run) == {"compile": 3, "training": 5, "rest": 2}


def test_lines_of_the_systems_status_are_bytes():
    resident = _scaling_jax._resident("VmRSS")
    assert resident > 1e6
    assert _scaling_jax._resident("VmNothing") == 0
