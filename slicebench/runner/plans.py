"""How a program is run on this machine: trials per batch, memory and time."""

import os

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.training.engine import Plan, count_parameters

CPU_RATE = 60e9
"""Multiply-add FLOP a second and core of a training step, for time estimates.

Measured with `python -m benchmarks.throughput --quick`, see BUILD_NOTES.md.
"""
_GPU_RATE = 10e12
_MEMORY_SHARE = 0.6
_MOST_TRIALS = 64
_GPU_MEMORY = 16e9


def use_all_cores() -> None:
    """Makes every core a JAX device; call before JAX is first used.

    Does nothing where an accelerator is chosen or the user has set a number.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if jax.config.values.get("jax_num_cpu_devices") in (-1, None):
        jax.config.update("jax_num_cpu_devices", _cores())


def _cores() -> int:
    """Cores this process may use; not every system can say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_plan(program: spec.Program) -> Plan:
    """Returns the fixed plan: no timing, the same on every run of a machine.

    On a CPU one trial a device is fastest: more trials only add copies between
    the stacked and the single form of every layer (measured, BUILD_NOTES.md).
    Elsewhere as many as the memory estimate allows, up to 64.

    Raises:
      InputError: Not even one trial fits.
    """
    devices = jax.local_device_count()
    if jax.default_backend() == "cpu":
        return Plan(devices=devices, trials_per_device=1)
    free = _device_memory() * _MEMORY_SHARE - bank_bytes(program)
    fitting = int(free // trial_bytes(program))
    if fitting < 1:
        raise InputError(
            f"program {program.name}: one trial needs about "
            f"{trial_bytes(program) / 1e9:.1f} GB, the device has {free / 1e9:.1f} GB; "
            "use a smaller batch, width or --max_size"
        )
    return Plan(devices=devices, trials_per_device=min(fitting, _MOST_TRIALS))


def _device_memory() -> float:
    stats = jax.local_devices()[0].memory_stats() or {}
    return float(stats.get("bytes_limit", _GPU_MEMORY))


def bank_bytes(program: spec.Program) -> int:
    """Returns the size of the pool's images and labels on a device."""
    height, width = program.grid
    return program.slices * height * width * (4 * program.channels + 1)


def _levels(program: spec.Program) -> list[tuple[int, int]]:
    """Pixels and channels of every resolution level."""
    height, width = program.grid
    network = program.network
    return [
        (
            (height >> level) * (width >> level),
            min(network.width << level, network.max_width),
        )
        for level in range(network.depth)
    ]


def trial_bytes(program: spec.Program) -> int:
    """Estimates the memory of one trial's training step.

    Per block: the convolution's output, the normalised output and their
    gradients; weights, their gradients and two moments.
    """
    pixels = sum(
        (4 if level < program.network.depth - 1 else 2) * size * channels
        + (2 * size * channels if level < program.network.depth - 1 else 0)
        for level, (size, channels) in enumerate(_levels(program))
    )
    activations = 4 * 4 * program.training.batch * pixels
    return activations + 4 * 4 * count_parameters(program)


def forward_flop(program: spec.Program) -> float:
    """Returns floating-point operations of the network on one slice."""
    total, channels = 0.0, program.channels
    levels = _levels(program)
    for size, features in levels:
        total += size * 9 * (channels * features + features**2)
        channels = features
    for size, features in reversed(levels[:-1]):
        total += size * 9 * ((channels + features) * features + features**2)
        channels = features
    return 2 * (total + levels[0][0] * channels * program.classes)


def step_flop(program: spec.Program) -> float:
    """Returns floating-point operations of one training step: 3 x forward."""
    return 3 * program.training.batch * forward_flop(program)


def estimate_seconds(program: spec.Program, trials: int, scored_slices: int) -> float:
    """Estimates the time to train and score trials on this machine.

    Args:
      program: What is trained.
      trials: How many.
      scored_slices: Development and test slices of the task.
    """
    work = program.training.steps * step_flop(program)
    work += scored_slices * forward_flop(program)
    on_cpu = jax.default_backend() == "cpu"
    rate = (CPU_RATE if on_cpu else _GPU_RATE) * jax.local_device_count()
    return trials * work / rate
