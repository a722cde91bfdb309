"""The scaling benchmark's process: throughput and memory of slicebench's engine."""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks._engine import Trials
from benchmarks._throughput_cases import Case
from benchmarks._throughput_jax import JaxBench
from slicebench.runner.plans import choose_plan


class ScalingBench(JaxBench):
    """Measures in this process; the arguments are those of `JaxBench`."""

    def __init__(self, devices: int, platform: str = "cpu"):
        super().__init__(devices, platform)
        self._batch: tuple[Case, Trials] | None = None

    def over_trials(self, case: Case, count: int, seconds: float) -> dict[str, Any]:
        """Times `count` trials from their first states on.

        Args:
          case: What is trained.
          count: Number of trials.
          seconds: About how long the training takes.
        """
        trials = self._batch_of(case, count)
        size = trials.engine.plan.trials
        batches = -(-count // size)
        # Steps per trial so that the whole takes about the time asked for, yet
        # enough of them that first states and arrays weigh as little as in a run.
        rate = trials.rate(2)
        steps = max(10, round(seconds * rate / (batches * size)))
        seeds = range(size)
        host = jax.device_get(trials.arrays)
        rows = [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in seeds]
        start = time.perf_counter()
        done = 0
        for _ in range(batches):
            trials.state = trials.engine.init(seeds)
            trials.arrays = trials.engine.put(rows)
            done += trials.advance(steps) // size
        spent = time.perf_counter() - start
        # A batch that is not full trains copies of its last trial.
        useful = done / batches * count
        return {
            "trials": count,
            "batch": size,
            "steps": done // batches,
            "trial_steps_per_s": useful / spent,
            "seconds": spent,
        }

    def weigh(self, case: Case, seconds: float) -> dict[str, Any]:
        """Times one plan's batch and tells its memory a trial."""
        before = _resident("VmRSS")
        plan = choose_plan(case.program)
        trials = Trials(case, plan)
        trials.advance(1)
        _forget_peak()
        steps = max(2, round(seconds * trials.rate(2) / plan.trials))
        rate = trials.rate(steps)
        peak = _device_peak() or _resident("VmHWM") - before
        return {
            "trials": plan.trials,
            "trial_steps_per_s": rate,
            "step_bytes": trials.engine.step_bytes() / plan.trials_per_device,
            "resident_bytes": peak / plan.trials,
            "compile_seconds": trials.seconds,
        }

    def _batch_of(self, case: Case, count: int) -> Trials:
        """Returns a compiled batch that `count` trials need; kept where it can be."""
        plan = choose_plan(case.program)
        if jax.default_backend() == "cpu":
            # One trial leaves the other devices idle.
            plan = dataclasses.replace(plan, devices=min(plan.devices, count))
        else:
            each = -(-count // plan.devices)
            plan = dataclasses.replace(plan, trials_per_device=each)
        if self._batch is None or self._batch[1].engine.plan != plan:
            self._batch = None
            self._batch = case, Trials(case, plan)
            self._batch[1].advance(2)
        return self._batch[1]


def _resident(name: str) -> int:
    """Returns a line of the process's memory in bytes; 0 where nobody tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return 0


def _forget_peak() -> None:
    """Sets the peak of resident memory back to what is resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _device_peak() -> int:
    """Returns an accelerator's peak memory in bytes; 0 on a CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("peak_bytes_in_use", 0))
