"""How a program can be run on this machine: plans, their memory and time."""

import math
import os
from typing import NamedTuple

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.models.convolution import LAYOUTS
from slicebench.training.engine import Plan, count_parameters

CPU_RATE = 60e9
"""Multiply-add FLOP a second and core of a training step, for time estimates.

Measured with `python -m benchmarks.throughput --quick`, see BUILD_NOTES.md.
"""
_GPU_RATE = 10e12
_MEMORY_SHARE = 0.6
_MOST_TRIALS = 64
_GPU_MEMORY = 16e9
_MOST_STEPS_PER_CALL = {"cpu": 2}
_WINDOW_OVERLAP = 4.0
"""Times a voxel is seen by a 3D network that slides by half its window in two axes."""


def use_all_cores() -> None:
    """Makes every core a JAX device; call before JAX is first used.

    Does nothing where an accelerator is chosen or the user has set a number.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if jax.config.values.get("jax_num_cpu_devices") in (-1, None):
        jax.config.update("jax_num_cpu_devices", count_cores())


def count_cores() -> int:
    """Returns the cores this process may use; not every system can say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_words(plan: Plan) -> str:
    """Returns a plan as logs and tables name it.

    >>> in_words(Plan(devices=2, trials_per_device=1))
    '2 devices x 1 trial, layout single, 1 step a call'
    """
    counts = (
        f"{number} {noun}{'' if number == 1 else 's'}"
        for number, noun in (
            (plan.devices, "device"),
            (plan.trials_per_device, "trial"),
            (plan.steps_per_call, "step"),
        )
    )
    devices, trials, steps = counts
    return f"{devices} x {trials}, layout {plan.layout}, {steps} a call"


def choose_plan(program: spec.Program) -> Plan:
    """Returns the fixed plan: no timing, the same on every run of a machine.

    On a CPU one trial a device is fastest: more trials only add copies between
    the stacked and the single form of every layer (measured, BUILD_NOTES.md).
    Elsewhere trials are one batched matrix product, as many as the memory
    estimate allows, up to 64, and steps run in a loop on the device.

    Raises:
      InputError: Not even one trial fits.
    """
    devices = jax.device_count()
    if jax.default_backend() == "cpu":
        return Plan(devices=devices, trials_per_device=1)
    plan = Plan(
        devices=devices,
        trials_per_device=1,
        layout="matmul" if "matmul" in LAYOUTS else "single",
        steps_per_call=most_steps_per_call(program),
    )
    trials = fitting_trials(program, plan.layout)
    if trials < 1:
        need, free = trial_bytes(program, plan.layout), _free_bytes(program)
        raise InputError(
            f"program {program.name}: one trial needs about {need / 1e9:.1f} GB, the "
            f"device has {free / 1e9:.1f} GB; use a smaller batch, width or --max_size"
        )
    return Plan(
        devices=devices,
        trials_per_device=min(trials, _MOST_TRIALS),
        layout=plan.layout,
        steps_per_call=plan.steps_per_call,
    )


def most_steps_per_call(program: spec.Program) -> int:
    """Returns the largest divisor of the program's steps that a call should hold.

    Up to 10; on a CPU, where the steps of a call are written one after another
    and each is compiled, up to 2.
    """
    most = _MOST_STEPS_PER_CALL.get(jax.default_backend(), 10)
    return max(n for n in range(1, most + 1) if program.training.steps % n == 0)


def fitting_trials(program: spec.Program, layout: str) -> int:
    """Returns how many trials fit on a device by estimate; a CPU takes any."""
    if jax.default_backend() == "cpu":
        return _MOST_TRIALS
    return int(_free_bytes(program) // trial_bytes(program, layout))


def _free_bytes(program: spec.Program) -> float:
    return _device_memory() * _MEMORY_SHARE - bank_bytes(program)


def _device_memory() -> float:
    stats = jax.local_devices()[0].memory_stats() or {}
    return float(stats.get("bytes_limit", _GPU_MEMORY))


def plan_bytes(program: spec.Program, plan: Plan) -> int:
    """Estimates the memory of all devices that a plan needs in training."""
    trials = plan.trials * trial_bytes(program, plan.layout)
    return trials + plan.devices * bank_bytes(program)


def bank_bytes(program: spec.Program) -> int:
    """Returns the size of the pool's images and labels on a device."""
    height, width = program.grid
    place = 8 if program.volumetric else 0
    return program.slices * (height * width * (4 * program.channels + 1) + place)


class _Level(NamedTuple):
    """A resolution level: voxels and channels of its layers, taps of its kernels."""

    voxels: int
    channels: int
    taps: int


def _levels(program: spec.Program) -> list[_Level]:
    """Every resolution level, the full one first."""
    network, shape = program.network, program.patch
    found: list[_Level] = []
    for level in range(network.depth):
        if level:
            pools = program.pools[level - 1]
            shape = tuple(side // by for side, by in zip(shape, pools, strict=True))
        channels = min(network.width << level, network.max_width)
        taps = math.prod(program.kernels[level])
        found.append(_Level(math.prod(shape), channels, taps))
    return found


def trial_bytes(program: spec.Program, layout: str = "single") -> int:
    """Estimates the memory of one trial's training step.

    Per block: the convolution's output, the normalised output and their
    gradients; weights, their gradients and two moments. Layouts of shifted
    views hold those of the largest layer beside them.
    """
    levels = _levels(program)
    last = len(levels) - 1
    sizes = [level.voxels * level.channels for level in levels]
    layers = sum((2 if i == last else 6) * size for i, size in enumerate(sizes))
    views = 0
    if layout != "single":
        joined = [2 if i < last else 1 for i in range(len(levels))]
        views = max(
            level.taps * size * factor
            for level, size, factor in zip(levels, sizes, joined, strict=True)
        )
    width = 2 if program.precision == "bfloat16" else 4
    activations = width * program.training.batch * (4 * layers + views)
    return activations + 4 * 4 * count_parameters(program)


def forward_flop(program: spec.Program) -> float:
    """Returns floating-point operations of the network on one slice or patch."""
    total, channels = 0.0, program.channels
    levels = _levels(program)
    for level in levels:
        mixed = channels * level.channels + level.channels**2
        total += level.voxels * level.taps * mixed
        channels = level.channels
    for level in reversed(levels[:-1]):
        mixed = (channels + level.channels) * level.channels + level.channels**2
        total += level.voxels * level.taps * mixed
        channels = level.channels
    return 2 * (total + levels[0].voxels * channels * program.classes)


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
    seen = scored_slices * math.prod(program.grid) / math.prod(program.patch)
    if program.volumetric:
        seen *= _WINDOW_OVERLAP
    work += seen * forward_flop(program)
    on_cpu = jax.default_backend() == "cpu"
    rate = (CPU_RATE if on_cpu else _GPU_RATE) * jax.device_count()
    return trials * work / rate
