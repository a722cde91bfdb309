"""JAX's side of the throughput race, as it runs inside its own process."""

import time
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
from jax import lax
from jaxtyping import Array

from benchmarks._throughput_cases import Case
from benchmarks._throughput_workers import WARM_UP_STEPS, Ready
from slicebench.training.arrays import Bank, TrialArrays, slice_classes, trial_arrays
from slicebench.training.engine import Engine, Plan, count_parameters
from slicebench.training.step import TrialState, make_step

Step = Callable[[TrialState, TrialArrays], TrialState]


class Training(NamedTuple):
    """Trials in progress: their state, what they read and how they advance."""

    state: TrialState
    trials: TrialArrays
    step: Step
    compile_seconds: float
    num_trials: int


class JaxBench:
    """Trains in this process, on that many host devices.

    Args:
      devices: Host devices that JAX is told to make of the processor.
    """

    def __init__(self, devices: int):
        jax.config.update("jax_platforms", "cpu")
        # A program read from a cache would be reported as compiled in no time.
        jax.config.update("jax_enable_compilation_cache", False)
        jax.config.update("jax_num_cpu_devices", devices)
        if jax.local_device_count() != devices:
            raise RuntimeError(
                f"JAX has {jax.local_device_count()} host devices, {devices} wanted: "
                "unset XLA_FLAGS"
            )
        self._training: dict[str, Training] = {}

    def prepare(self, method: str, case: Case, trials: int) -> Ready:
        """Compiles a way of training and takes it through its first steps."""
        training = METHODS[method](case, trials)
        self._training[method] = training
        self.run(method, WARM_UP_STEPS)
        return Ready(
            compile_seconds=training.compile_seconds,
            parameters=count_parameters(case.program),
        )

    def run(self, method: str, steps: int) -> int:
        """Advances the trials by `steps`; returns the trial-steps done."""
        training = self._training[method]
        state = training.state
        for _ in range(steps):
            state = training.step(state, training.trials)
        jax.block_until_ready(state)
        self._training[method] = training._replace(state=state)
        return steps * training.num_trials

    def state(self, method: str) -> TrialState:
        """Returns where the trials of a method stand."""
        return self._training[method].state

    def drop(self) -> None:
        """Forgets every compiled program and state."""
        self._training.clear()


def _engine(case: Case, plan: Plan) -> tuple[Engine, TrialState, TrialArrays]:
    images, labels = case.draw()
    engine = Engine(case.program, plan, Bank(images, labels))  # pyright: ignore[reportArgumentType]
    holds = slice_classes(labels, case.classes)
    annotated = np.ones(len(labels), bool)
    seeds = range(plan.trials)
    trials = engine.put([trial_arrays(annotated, holds, seed) for seed in seeds])
    return engine, engine.init(seeds), trials


def _vectorised(case: Case, plan: Plan) -> Training:
    engine, state, trials = _engine(case, plan)
    engine.compile(state, trials)
    return Training(state, trials, engine.step, engine.compile_seconds, plan.trials)


def one_trial_a_device(case: Case, trials: int) -> Training:
    """The suite's engine under its plan for a processor."""
    return _vectorised(case, Plan(devices=trials, trials_per_device=1))


def one_trial(case: Case, trials: int) -> Training:
    """The same engine with a single trial on the first device."""
    del trials
    return _vectorised(case, Plan(devices=1, trials_per_device=1))


def bare_vmap(case: Case, trials: int) -> Training:
    """The same step with the plain convolution, mapped by `jax.vmap`."""
    with mock.patch("slicebench.models.unet.convolve", _plain_convolution):
        return _vectorised(case, Plan(devices=1, trials_per_device=trials))


def looped(case: Case, trials: int) -> Training:
    """The same step with the plain convolution, repeated by `lax.map`."""
    engine, state, arrays = _engine(case, Plan(devices=1, trials_per_device=trials))
    step = make_step(case.program)

    def advance(state: TrialState, trials: TrialArrays, bank: Bank) -> TrialState:
        return lax.map(lambda pair: step(pair[0], pair[1], bank), (state, trials))

    start = time.perf_counter()
    with mock.patch("slicebench.models.unet.convolve", _plain_convolution):
        lowered = jax.jit(advance, donate_argnums=0).lower(state, arrays, engine.bank)
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    return Training(
        state, arrays, lambda s, t: compiled(s, t, engine.bank), seconds, trials
    )


def _plain_convolution(images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


METHODS: dict[str, Callable[[Case, int], Training]] = {
    "one trial a device": one_trial_a_device,
    "one trial": one_trial,
    "bare vmap": bare_vmap,
    "lax.map": looped,
}
