"""JAX's side of the throughput race trains what it says."""

import jax
import numpy as np
import pytest

from benchmarks import _throughput_jax
from benchmarks._throughput_cases import CASES, Case
from benchmarks._throughput_workers import WARM_UP_STEPS
from slicebench import spec
from slicebench.training.engine import count_parameters

TINY = Case(
    name="tiny",
    network=spec.Network(width=2, depth=1),
    grid=(8, 8),
    batch=2,
    slices=4,
)


@pytest.fixture
def bench():
    names = ("jax_platforms", "jax_enable_compilation_cache")
    before = {name: jax.config.values[name] for name in names}
    yield _throughput_jax.JaxBench(jax.local_device_count())
    for name, value in before.items():
        jax.config.update(name, value)


def test_cases_fit_their_networks():
    for name, case in CASES.items():
        assert case.name == name
        assert all(side % 2 ** (case.network.depth - 1) == 0 for side in case.grid)
        assert case.slices % case.batch == 0


def test_slices_are_random_and_repeatable():
    images, labels = TINY.draw()
    again, _ = TINY.draw()
    np.testing.assert_array_equal(images, again)
    assert images.shape == (4, 8, 8, 1)
    assert set(np.unique(labels)) == {0, 1}
    assert images.std() == pytest.approx(1, abs=0.2)


def last_losses(bench, methods):
    """Takes methods through some steps; returns the first trial's loss of each."""
    losses = []
    for method in methods:
        trials = {
            "one trial": 1,
            "one trial a device": jax.local_device_count(),
        }.get(method, 2)
        ready = bench.prepare(method, TINY, trials)
        assert ready.compile_seconds > 0
        assert ready.parameters == count_parameters(TINY.program)
        assert bench.run(method, 2) == 2 * trials
        state = bench.state(method)
        assert state.step.tolist() == [WARM_UP_STEPS + 2] * trials
        losses.append(float(state.loss[0]))
    return losses


def test_engine_and_plain_loop_train_the_same_network(bench):
    methods = ("one trial a device", "lax.map")
    losses = last_losses(bench, methods)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    bench.drop()
    with pytest.raises(KeyError):
        bench.run(methods[0], 1)


@pytest.mark.slow
def test_all_methods_train_the_same_network(bench):
    losses = last_losses(bench, _throughput_jax.METHODS)
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-4)


@pytest.mark.parametrize("method", ["bare vmap", "lax.map"])
def test_plain_ways_trace_the_plain_convolution(bench, monkeypatch, method):
    def refuse(images, kernel):
        raise AssertionError("the plain convolution was traced")

    monkeypatch.setattr(_throughput_jax, "_plain_convolution", refuse)
    with pytest.raises(AssertionError, match="was traced"):
        bench.prepare(method, TINY, 2)


def test_another_number_of_devices_is_refused(bench):
    with pytest.raises(RuntimeError):
        _throughput_jax.JaxBench(jax.local_device_count() + 1)
