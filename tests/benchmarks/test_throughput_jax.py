"""JAX's side of the throughput race trains what it says."""

import jax
import numpy as np
import pytest

from benchmarks import _throughput_jax
from benchmarks._throughput_cases import CASES, flat_case, volume_case
from benchmarks._throughput_workers import WARM_UP_STEPS
from slicebench.training.engine import count_parameters

TINY = flat_case(2, 1, (8, 8), 2, slices=4)
DEEP = volume_case(2, 1, (2, 4, 4), 1, volume=(3, 6, 6), volumes=2)


@pytest.fixture
def bench():
    names = ("jax_platforms", "jax_enable_compilation_cache")
    before = {name: jax.config.values[name] for name in names}
    yield _throughput_jax.JaxBench(jax.local_device_count())
    for name, value in before.items():
        jax.config.update(name, value)


def test_cases_fit_their_networks():
    for name, case in CASES.items():
        program = case.program
        assert case.name == name
        for axis, side in enumerate(program.patch):
            assert side % np.prod([size[axis] for size in program.pools]) == 0
        assert len(case.draw_patches()[0]) % case.batch == 0
        assert program.slices % case.depth == 0


def test_slices_are_random_and_repeatable():
    images, labels = TINY.draw()
    again, _ = TINY.draw()
    np.testing.assert_array_equal(images, again)
    assert images.shape == (4, 8, 8, 1)
    assert set(np.unique(labels)) == {0, 1}
    assert images.std() == pytest.approx(1, abs=0.2)


def last_losses(bench, methods, case=TINY):
    """Takes methods through some steps; returns the first trial's loss of each."""
    losses = []
    for method in methods:
        ready = bench.prepare(method, case, 2)
        assert ready.compile_seconds > 0
        assert ready.parameters == count_parameters(case.program)
        assert bench.run(method, 2) == 2 * ready.trials
        state = bench.state(method)
        assert state.step.tolist() == [WARM_UP_STEPS + 2] * ready.trials
        losses.append(float(state.loss[0]))
    return losses


def test_engine_and_plain_loop_train_the_same_network(bench):
    methods = ("planned", "lax.map")
    losses = last_losses(bench, methods)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    bench.drop()
    with pytest.raises(KeyError):
        bench.run(methods[0], 1)


@pytest.mark.slow
def test_engine_trains_patches(bench):
    (loss,) = last_losses(bench, ["one trial"], DEEP)
    assert 0 < loss < 10


@pytest.mark.slow
@pytest.mark.parametrize("case", [TINY, DEEP])
def test_all_methods_train_the_same_network(bench, case):
    losses = last_losses(bench, _throughput_jax.METHODS, case)
    half = list(_throughput_jax.METHODS).index("planned, half")
    assert losses.pop(half) == pytest.approx(losses[0], rel=0.05)
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-4)


@pytest.mark.parametrize("method", ["bare vmap", "lax.map"])
def test_plain_ways_trace_the_plain_convolution(bench, monkeypatch, method):
    def refuse(images, kernel, layout):
        raise AssertionError("the plain convolution was traced")

    monkeypatch.setattr(_throughput_jax, "_plain_convolution", refuse)
    with pytest.raises(AssertionError, match="was traced"):
        bench.prepare(method, TINY, 2)


def test_another_number_of_devices_is_refused(bench):
    with pytest.raises(RuntimeError):
        _throughput_jax.JaxBench(jax.local_device_count() + 1)
