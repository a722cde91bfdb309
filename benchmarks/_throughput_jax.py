"""JAX's side of the throughput race, as it runs inside its own process."""

import dataclasses
import os
import time
from collections.abc import Callable
from unittest import mock

import jax
from jax import lax
from jaxtyping import Array

from benchmarks._engine import Trials
from benchmarks._throughput_cases import Case
from benchmarks._throughput_workers import WARM_UP_STEPS, Ready
from slicebench.runner.plans import choose_plan
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.engine import Plan, count_parameters
from slicebench.training.step import TrialState, make_step


class JaxBench:
    """Trains in this process.

    Args:
      devices: Host devices that JAX is told to make of the processor.
      platform: `cpu`, or `gpu` for the accelerators as JAX finds them.
    """

    def __init__(self, devices: int, platform: str = "cpu"):
        # A program read from a cache would be reported as compiled in no time.
        jax.config.update("jax_enable_compilation_cache", False)
        if platform == "gpu":
            # PyTorch's processes share the device's memory.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            if jax.default_backend() != "gpu":
                raise RuntimeError(f"JAX finds no GPU but {jax.default_backend()}")
        else:
            jax.config.update("jax_platforms", "cpu")
            jax.config.update("jax_num_cpu_devices", devices)
            if jax.local_device_count() != devices:
                raise RuntimeError(
                    f"JAX has {jax.local_device_count()} host devices, {devices} "
                    "wanted: unset XLA_FLAGS"
                )
        self._training: dict[str, Trials] = {}

    def prepare(self, method: str, case: Case, trials: int) -> Ready:
        """Compiles a way of training and takes it through its first steps."""
        self._training[method] = METHODS[method](case, trials)
        self.run(method, WARM_UP_STEPS)
        return Ready(
            compile_seconds=self._training[method].seconds,
            parameters=count_parameters(case.program),
            trials=self._training[method].engine.plan.trials,
        )

    def run(self, method: str, steps: int) -> int:
        """Advances the trials by `steps`; returns the trial-steps done."""
        return self._training[method].advance(steps)

    def state(self, method: str) -> TrialState:
        """Returns where the trials of a method stand."""
        return self._training[method].state

    def drop(self) -> None:
        """Forgets every compiled program and state."""
        self._training.clear()


def planned(case: Case, trials: int) -> Trials:
    """The suite's engine under the plan that real runs choose."""
    del trials
    return Trials(case, choose_plan(case.program))


def planned_half(case: Case, trials: int) -> Trials:
    """The same with the network's arithmetic in bfloat16."""
    program = dataclasses.replace(case.program, precision="bfloat16")
    return planned(dataclasses.replace(case, program=program), trials)


def one_trial(case: Case, trials: int) -> Trials:
    """The same engine with a single trial on the first device."""
    del trials
    plan = choose_plan(case.program)
    return Trials(case, dataclasses.replace(plan, devices=1, trials_per_device=1))


def bare_vmap(case: Case, trials: int) -> Trials:
    """The same step with the plain convolution, mapped by `jax.vmap`."""
    with mock.patch("slicebench.models.unet.convolve", _plain_convolution):
        return Trials(case, Plan(devices=1, trials_per_device=trials))


def looped(case: Case, trials: int) -> Trials:
    """The same step with the plain convolution, repeated by `lax.map`."""
    with mock.patch("slicebench.models.unet.convolve", _plain_convolution):
        return _Looped(case, Plan(devices=1, trials_per_device=trials))


class _Looped(Trials):
    """Trials one after another in a loop on one device."""

    def compile(self) -> float:
        step = make_step(self.engine.program)

        def advance(state: TrialState, trials: TrialArrays, bank: Bank) -> TrialState:
            return lax.map(lambda pair: step(pair[0], pair[1], bank), (state, trials))

        start = time.perf_counter()
        jitted = jax.jit(advance, donate_argnums=0)
        lowered = jitted.lower(self.state, self.arrays, self.engine.bank)
        self._all = lowered.compile()
        return time.perf_counter() - start

    def call(self) -> TrialState:
        return self._all(self.state, self.arrays, self.engine.bank)


def _plain_convolution(images: Array, kernel: Array, layout: str = "") -> Array:
    del layout
    space = "DHW"[5 - images.ndim :]
    names = (f"N{space}C", f"{space}IO", f"N{space}C")
    ones = (1,) * len(space)
    return lax.conv_general_dilated(
        images, kernel, ones, "SAME", dimension_numbers=names
    )


METHODS: dict[str, Callable[[Case, int], Trials]] = {
    "planned": planned,
    "planned, half": planned_half,
    "one trial": one_trial,
    "bare vmap": bare_vmap,
    "lax.map": looped,
}
