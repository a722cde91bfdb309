"""Many trainings in one compiled step: the trial axis over devices.

Each device holds `trials_per_device` trials; `shard_map` gives every device
its own part of the trial axis, and inside it the step is mapped over trials
with convolutions that carry their own batching rule. Nothing crosses devices.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slicebench import spec
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.step import Params, TrialState, make_init, make_step

TRIAL_AXIS = "trial"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How a program is run.

    Attributes:
      devices: Local devices that share the trial axis.
      trials_per_device: Trials of a batch on each device.
    """

    devices: int
    trials_per_device: int

    @property
    def trials(self) -> int:
        """Trials in a batch."""
        return self.devices * self.trials_per_device


def trial_mesh(devices: int) -> Mesh:
    """Returns the mesh over the first local devices with one axis, `trial`."""
    return Mesh(np.array(jax.devices()[:devices]), (TRIAL_AXIS,))


def over_trials(
    function: Callable[..., Any], mesh: Mesh, shared: Sequence[bool], **options: Any
) -> Any:
    """Maps a single trial's function over the sharded trial axis and jits it.

    Args:
      function: Works on one trial.
      mesh: From `trial_mesh`.
      shared: For each argument, whether all trials read the same value.
      **options: Passed to `jax.jit`, such as `donate_argnums`.
    """
    mapped = jax.vmap(function, in_axes=tuple(None if s else 0 for s in shared))
    split = PartitionSpec(TRIAL_AXIS)
    specs = tuple(PartitionSpec() if s else split for s in shared)
    # The convolution's gradients are built by linear_transpose on bare shapes,
    # which carry no "varying over trial" mark, so that check is off.
    local = jax.shard_map(
        mapped, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False
    )
    return jax.jit(local, **options)


class Engine:
    """The compiled programs of one `spec.Program` under one plan.

    Attributes:
      program: What is trained.
      plan: How.
      compile_seconds: Time spent compiling so far.
    """

    def __init__(self, program: spec.Program, plan: Plan, bank: Bank):
        """Puts the bank on the devices; compiles at the first batch."""
        self.program = program
        self.plan = plan
        self.compile_seconds = 0.0
        self.mesh = trial_mesh(plan.devices)
        self.split = NamedSharding(self.mesh, PartitionSpec(TRIAL_AXIS))
        self.bank = jax.device_put(bank, NamedSharding(self.mesh, PartitionSpec()))
        self._init: Any = over_trials(make_init(program), self.mesh, [False])
        self._first: Any = None
        self._step: Any = None

    def put(self, trials: Sequence[TrialArrays]) -> TrialArrays:
        """Stacks the arrays of a batch of trials onto the devices."""
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trials)
        return jax.device_put(stacked, self.split)

    def init(self, weight_seeds: Sequence[int]) -> TrialState:
        """Returns first states; equal seeds give equal weights."""
        words = np.stack(
            [
                jax.random.key_data(
                    jax.random.key(spec.derive_seed(seed, "weights") & 0xFFFFFFFF)
                )
                for seed in weight_seeds
            ]
        )
        placed = jax.device_put(words, self.split)
        if self._first is None:
            start = time.perf_counter()
            self._first = self._init.lower(placed).compile()
            self.compile_seconds += time.perf_counter() - start
        return self._first(placed)

    def abstract_state(self) -> TrialState:
        """Returns shapes, types and placement of a batch's state."""
        words = jax.ShapeDtypeStruct((self.plan.trials, 2), np.uint32)
        shapes = jax.eval_shape(self._init, words)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self.split
            ),
            shapes,
        )

    def compile(self, state: TrialState, trials: TrialArrays) -> None:
        """Compiles the training step once; later calls do nothing."""
        if self._step is not None:
            return
        start = time.perf_counter()
        step = over_trials(
            make_step(self.program),
            self.mesh,
            [False, False, True],
            donate_argnums=0,
        )
        self._step = step.lower(state, trials, self.bank).compile()
        self.compile_seconds += time.perf_counter() - start

    def step(self, state: TrialState, trials: TrialArrays) -> TrialState:
        """Advances every trial of the batch by one step (asynchronously).

        The given state is consumed: its buffers hold the new one.
        """
        return self._step(state, trials, self.bank)


def trial_params(params: Params, index: int) -> Params:
    """Returns one trial's weights from a batch's, on the host."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), params)


def count_parameters(program: spec.Program) -> int:
    """Returns the number of trained weights of one network."""
    state = jax.eval_shape(make_init(program), jax.ShapeDtypeStruct((2,), np.uint32))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))
