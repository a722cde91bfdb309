"""Many trainings in one compiled step: the trial axis over devices.

Each device holds `trials_per_device` trials; `shard_map` gives every device
its own part of the trial axis, and inside it the step is mapped over trials
with convolutions that carry their own batching rule. Nothing crosses devices,
so the devices may be those of several processes: each holds its part of a batch.
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
from slicebench.training.host import keep_memory
from slicebench.training.placement import held, put, put_held, read_held
from slicebench.training.step import Params, TrialState, make_init, make_step

TRIAL_AXIS = "trial"
_QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""Options for programs that run once: drawing first weights takes longer to
optimise than to run (17 s against 2 s of compilation for a U-Net of width 16)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How a program is run.

    Attributes:
      devices: Devices, of all processes, that share the trial axis.
      trials_per_device: Trials of a batch on each device.
      layout: How convolutions lay out the trial axis, one of
        `slicebench.models.convolution.LAYOUTS`.
      steps_per_call: Training steps in one compiled call; divides the number of
        steps of the program, so that no second program is needed for a rest.
    """

    devices: int
    trials_per_device: int
    layout: str = "single"
    steps_per_call: int = 1

    @property
    def trials(self) -> int:
        """Trials in a batch."""
        return self.devices * self.trials_per_device


def trial_mesh(devices: int) -> Mesh:
    """Returns the mesh over the first devices with one axis, `trial`.

    Devices of one process stand beside each other.
    """
    found = sorted(jax.devices(), key=lambda device: device.process_index)
    return Mesh(np.array(found[:devices]), (TRIAL_AXIS,))


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


Step = Callable[[TrialState, TrialArrays, Bank], TrialState]


def repeat(step: Step, times: int, *, unroll: bool) -> Step:
    """Returns the function that does several training steps of one trial.

    Args:
      step: One training step.
      times: How many.
      unroll: Write the steps one after another instead of in a loop. On a CPU
        convolutions inside a loop are lowered to a slow form.
    """
    if times == 1:
        return step

    def steps(state: TrialState, trial: TrialArrays, bank: Bank) -> TrialState:
        if not unroll:
            # A number known beforehand: no device has to ask whether to go on.
            return jax.lax.fori_loop(
                0, times, lambda _, last: step(last, trial, bank), state
            )
        for _ in range(times):
            state = step(state, trial, bank)
        return state

    return steps


class Engine:
    """The compiled programs of one `spec.Program` under one plan.

    Attributes:
      program: What is trained.
      plan: How.
      compile_seconds: Time spent compiling so far.
      bank: The pool's slices on the devices, an argument of the compiled step.
      held: Places of a batch that this process's devices train: all of them, unless
        the program runs over several processes.
    """

    def __init__(self, program: spec.Program, plan: Plan, bank: Bank):
        """Puts the bank on the devices; compiles at the first batch.

        Raises:
          ValueError: The plan's steps of a call do not divide the program's.
        """
        if program.training.steps % plan.steps_per_call:
            raise ValueError(
                f"steps_per_call {plan.steps_per_call}: must divide the "
                f"{program.training.steps} steps of program {program.name}"
            )
        self.program = program
        self.plan = plan
        self.compile_seconds = 0.0
        self.mesh = trial_mesh(plan.devices)
        if self._on_cpu:
            keep_memory()
        self.split = NamedSharding(self.mesh, PartitionSpec(TRIAL_AXIS))
        self.held = held(self.mesh, plan.trials)
        self.bank: Any = None
        self.use(bank)
        self._init: Any = over_trials(make_init(program), self.mesh, [False])
        self._first: Any = None
        self._step: Any = None

    @property
    def _on_cpu(self) -> bool:
        return self.mesh.devices.flat[0].platform == "cpu"

    def use(self, bank: Bank | None) -> None:
        """Replaces the bank by one of equal shapes, such as another fold's.

        Nothing is compiled again. None frees the devices' memory.
        """
        self.bank = None
        if bank is not None:
            self.bank = put(bank, NamedSharding(self.mesh, PartitionSpec()))

    def put(self, trials: Sequence[TrialArrays]) -> TrialArrays:
        """Stacks the arrays of a batch's held trials onto the devices."""
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trials)
        return put_held(stacked, self.split, self.plan.trials)

    def init(self, weight_seeds: Sequence[int]) -> TrialState:
        """Returns first states of the held trials; equal seeds give equal weights."""
        words = np.stack(
            [
                jax.random.key_data(
                    jax.random.key(spec.derive_seed(seed, "weights") & 0xFFFFFFFF)
                )
                for seed in weight_seeds
            ]
        )
        placed = put_held(words, self.split, self.plan.trials)
        if self._first is None:
            start = time.perf_counter()
            self._first = self._init.lower(placed).compile(
                compiler_options=_QUICKLY if self._on_cpu else None
            )
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
        one = make_step(self.program, self.plan.layout)
        step = over_trials(
            repeat(one, self.plan.steps_per_call, unroll=self._on_cpu),
            self.mesh,
            [False, False, True],
            donate_argnums=0,
        )
        self._step = step.lower(state, trials, self.bank).compile()
        self.compile_seconds += time.perf_counter() - start

    def step(self, state: TrialState, trials: TrialArrays) -> TrialState:
        """Advances every trial by the plan's steps of a call (asynchronously).

        The given state is consumed: its buffers hold the new one.
        """
        return self._step(state, trials, self.bank)

    def step_bytes(self) -> int:
        """Returns the memory that the compiled step needs on each device."""
        need = self._step.memory_analysis()
        return int(
            need.argument_size_in_bytes
            + need.output_size_in_bytes
            + need.temp_size_in_bytes
            - need.alias_size_in_bytes
        )


def trial_params(params: Params, index: int) -> Params:
    """Returns the weights of one of the trials held here, on the host."""
    return jax.tree.map(lambda leaf: read_held(leaf)[index], params)


def steps_done(state: TrialState) -> int:
    """Returns the steps that a batch has done, read on the host.

    To index an array that lies over several devices would be a program of its own,
    in which the devices wait for each other, and XLA ends a process whose devices
    wait too long: on a busy machine one of them is still predicting.
    """
    return int(read_held(state.step)[0])


def count_parameters(program: spec.Program) -> int:
    """Returns the number of trained weights of one network."""
    state = jax.eval_shape(make_init(program), jax.ShapeDtypeStruct((2,), np.uint32))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))
