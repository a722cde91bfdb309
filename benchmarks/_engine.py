"""slicebench's engine on random data: what the benchmarks time and count."""

import time
from typing import Any

import jax
import numpy as np

from benchmarks._throughput_cases import Case
from slicebench import spec
from slicebench.training.arrays import Bank, TrialArrays, slice_classes, trial_arrays
from slicebench.training.engine import Engine, Plan
from slicebench.training.step import TrialState


class Trials:
    """A batch of trials in training, every slice annotated.

    Attributes:
      engine: The compiled programs.
      arrays: What the trials read.
      state: Where they stand.
      seconds: Time spent compiling.
    """

    def __init__(self, case: Case, plan: Plan):
        """Puts the case's slices on the devices and compiles the step."""
        self.engine, self.state, self.arrays = make_engine(case, plan)
        self.seconds = self.compile()

    def compile(self) -> float:
        """Compiles the step; returns the seconds it took."""
        self.engine.compile(self.state, self.arrays)
        return self.engine.compile_seconds

    def call(self) -> TrialState:
        """Starts one call of the compiled step; returns what the state will be."""
        return self.engine.step(self.state, self.arrays)

    @property
    def compiled(self) -> Any:
        """The compiled step, which tells its own cost and memory."""
        return self.engine._step

    def advance(self, steps: int) -> int:
        """Takes at least `steps` steps; waits; returns the trial-steps done."""
        plan = self.engine.plan
        calls = -(-steps // plan.steps_per_call)
        for _ in range(calls):
            self.state = self.call()
        jax.block_until_ready(self.state)
        return calls * plan.steps_per_call * plan.trials

    def rate(self, steps: int) -> float:
        """Returns trial-steps a second over some steps."""
        start = time.perf_counter()
        done = self.advance(steps)
        return done / (time.perf_counter() - start)


def make_engine(case: Case, plan: Plan) -> tuple[Engine, TrialState, TrialArrays]:
    """Returns an engine with first states and arrays, its step not compiled."""
    images, labels = case.draw()
    dims = case.program.dims
    places: dict[str, Any] = {}
    if dims == "3d":
        starts = np.arange(0, len(labels), case.depth, dtype=np.int32)
        places["first"] = np.repeat(starts, case.depth)
        places["depth"] = np.full(len(labels), case.depth, np.int32)
    bank = Bank(images=images, labels=labels, **places)  # pyright: ignore[reportArgumentType]
    engine = Engine(case.program, plan, bank)
    holds = slice_classes(labels, case.program.classes)
    annotated = np.ones(len(labels), bool)
    seeds = range(plan.trials)
    arrays = [trial_arrays(annotated, holds, seed, dims=dims) for seed in seeds]
    return engine, engine.init(seeds), engine.put(arrays)


def program_of(record: dict[str, Any]) -> spec.Program:
    """Returns the program that a work folder's experiment.json describes."""
    training = dict(record["training"])
    training["augmentation"] = spec.Augmentation(**training["augmentation"])
    training |= {k: tuple(v) for k, v in training.items() if isinstance(v, list)}
    volumetric = record.get("volumetric")
    if volumetric is not None:
        volumetric = spec.Volumetric(
            patch=tuple(volumetric["patch"]),
            kernels=tuple(map(tuple, volumetric["kernels"])),
            pools=tuple(map(tuple, volumetric["pools"])),
        )
    kept = ("dims", "channels", "classes", "slices", "precision")
    return spec.Program(
        network=spec.Network(**record["network"]),
        training=spec.Training(**training),
        grid=(record["grid"][0], record["grid"][1]),
        volumetric=volumetric,
        **{name: record[name] for name in kept},
    )


def case_of(program: spec.Program) -> Case:
    """Returns a case of random data for any program."""
    depth = program.volumetric.patch[0] if program.volumetric else 1
    # Banks are padded; a case is made of whole volumes.
    while program.slices % depth:
        depth -= 1
    return Case(name=program.name, program=program, depth=depth)
