"""What this machine is and how fast it can be: matmul rate and memory bandwidth."""

import functools
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

BUSY = 0.3
"""Load average, per core, from which a warning is printed."""

_MATMUL_SIDE = {"cpu": 2048, "gpu": 8192}
_TRIAD_NUMBERS = {"cpu": 1 << 24, "gpu": 1 << 27}


class Limits(NamedTuple):
    """Measured limits of all devices working at once.

    Attributes:
      matmul: Floating-point operations a second of a large float32 matmul.
      triad: Bytes a second of `a + 3 b` over arrays that no cache holds.
    """

    matmul: float
    triad: float


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """Returns the processor's name as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return found[0].strip() if found else platform.processor() or platform.machine()


def announce() -> tuple[str, float]:
    """Prints machine and load, with a warning where it is busy; returns both."""
    device, load = f"{processor()}, {cores()} cores", os.getloadavg()[0]
    print(f"{device}; load average at the start {load:.2f}")
    if load > BUSY * cores():
        print("The machine is busy: these figures mean nothing.")
    return device, load


def has_gpu_for_jax() -> bool:
    """Whether a plugin of JAX for a GPU is installed; touches no device."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return any("cuda" in plugin.name or "rocm" in plugin.name for plugin in plugins)


def measure_limits(rounds: int = 5) -> Limits:
    """Measures both limits with one array a local device, all at once.

    The best round counts: a limit is what the machine can do.
    """
    import jax

    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    side, numbers = _MATMUL_SIDE[kind], _TRIAD_NUMBERS[kind]
    devices = jax.local_device_count()
    matmul = _best_seconds(_matmul, (side, side), rounds)
    triad = _best_seconds(_triad, (numbers,), rounds)
    return Limits(
        matmul=devices * 2 * side**3 / matmul,
        triad=devices * 3 * 4 * numbers / triad,
    )


def _matmul(a: Any, b: Any) -> Any:
    return a @ b


def _triad(a: Any, b: Any) -> Any:
    return a + 3.0 * b


def _best_seconds(
    function: Callable[[Any, Any], Any], shape: tuple[int, ...], rounds: int
) -> float:
    """Times a function of two arrays on every device at once; the fastest round."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    devices = np.array(jax.local_devices())
    mesh, split = Mesh(devices, ("device",)), PartitionSpec("device")
    # Each device sees its own plain arrays, so that no batched kernel is timed.
    whole = (len(devices) * shape[0], *shape[1:])
    make = jax.jit(
        functools.partial(jax.random.normal, shape=whole),
        out_shardings=NamedSharding(mesh, split),
    )
    a, b = make(jax.random.key(0)), make(jax.random.key(1))
    local = jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=(split, split), out_specs=split)
    )
    jax.block_until_ready(local(a, b))
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(local(a, b))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def spread(values: Sequence[float], digits: int) -> str:
    """Returns median and range as text.

    >>> spread([1.0, 4.0, 2.0], 1)
    '2.0 (1.0-4.0)'
    """
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
