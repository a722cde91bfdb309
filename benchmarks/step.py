"""Where the time of a training step goes, and which plan is fastest.

`python -m benchmarks.step` times, interleaved in one run and on random data:
plans (devices x trials on each), column folding on and off, and the drawing of
the batch: as shipped, without the barrier that keeps the compiler from drawing
it once per reader, and not at all (the bank's slices as they are).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import numpy as np
from absl import app, flags

from slicebench import spec
from slicebench.models import single
from slicebench.runner import use_all_cores
from slicebench.training import step as step_module
from slicebench.training.arrays import Bank, trial_arrays
from slicebench.training.engine import Engine, Plan

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved rounds.")
_STEPS = flags.DEFINE_integer("steps", 5, "Steps of a round.")

_SLICES = 512
_CASES = {
    "width 8, depth 3, 8 x 48x48": (8, 3, 8, (48, 48)),
    "width 16, depth 4, 16 x 48x64": (16, 4, 16, (48, 64)),
}


def _program(case: tuple[int, int, int, tuple[int, int]]) -> spec.Program:
    width, depth, batch, grid = case
    return spec.Program(
        dims="2d",
        network=spec.Network(width=width, depth=depth),
        training=spec.Training(steps=1000, batch=batch),
        grid=grid,
        channels=1,
        classes=3,
        slices=_SLICES,
    )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _unfolded() -> Any:
    return mock.patch.object(single, "column_fold", return_value=1)


def _no_barrier() -> Any:
    return mock.patch.object(jax.lax, "optimization_barrier", lambda value: value)


def _plain_batch() -> Any:
    def read(bank: Bank, slices: Any, *_: Any) -> tuple[Any, Any]:
        return bank.images[slices], bank.labels[slices]

    return mock.patch.object(step_module, "draw_batch", read)


def _variants(devices: int) -> dict[str, tuple[Plan, Callable[[], Any]]]:
    best = Plan(devices=devices, trials_per_device=1)
    return {
        f"{devices} devices x 1 trial": (best, _nothing),
        f"{devices} devices x 4 trials": (
            Plan(devices=devices, trials_per_device=4),
            _nothing,
        ),
        "1 device x 1 trial": (Plan(devices=1, trials_per_device=1), _nothing),
        "no column folding": (best, _unfolded),
        "batch drawn without barrier": (best, _no_barrier),
        "batch not augmented": (best, _plain_batch),
    }


class _Run:
    """A compiled variant that trains on."""

    def __init__(self, program: spec.Program, plan: Plan, change: Callable[[], Any]):
        rng = np.random.default_rng(0)
        images = rng.normal(size=(_SLICES, *program.grid, 1)).astype(np.float32)
        labels = rng.integers(0, 3, (_SLICES, *program.grid)).astype(np.uint8)
        bank = Bank(images=images, labels=labels)  # pyright: ignore[reportArgumentType]
        annotated = np.arange(_SLICES) < 48
        holds = np.ones((_SLICES, 2), bool)
        self.plan = plan
        self.engine = Engine(program, plan, bank)
        self.arrays = self.engine.put(
            [trial_arrays(annotated, holds, seed) for seed in range(plan.trials)]
        )
        self.state = self.engine.init(range(plan.trials))
        with change():
            self.engine.compile(self.state, self.arrays)
        self.milliseconds(2)

    def milliseconds(self, steps: int) -> float:
        """Returns the time of one trial's step."""
        start = time.perf_counter()
        for _ in range(steps):
            self.state = self.engine.step(self.state, self.arrays)
        jax.block_until_ready(self.state.step)
        return (time.perf_counter() - start) * 1e3 / steps / self.plan.trials


def main(_arguments: list[str]) -> None:
    """Prints a table for each network."""
    use_all_cores()
    for title, case in _CASES.items():
        runs = {
            name: _Run(_program(case), plan, change)
            for name, (plan, change) in _variants(jax.local_device_count()).items()
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(_ROUNDS.value):
            for name, run in runs.items():
                times[name].append(run.milliseconds(_STEPS.value))
        print(f"\n{title}: ms per trial and step, median (min-max)")
        for name, found in times.items():
            print(
                f"  {name:<30} {np.median(found):7.1f} "
                f"({min(found):.1f}-{max(found):.1f})"
            )


if __name__ == "__main__":
    app.run(main)
