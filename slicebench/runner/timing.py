"""Times a few plans of a program and finds the fastest.

A climb from the fixed plan: one change at a time (layout, trials on a device,
steps in a call), each raced against the best plan so far. Only two plans are on
the devices at once, and a change that does not pay is not built upon, so that
few programs are compiled.
"""

import dataclasses
import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from slicebench import spec
from slicebench.models.convolution import LAYOUTS
from slicebench.runner import memory
from slicebench.runner.plans import (
    fitting_trials,
    in_words,
    most_steps_per_call,
    plan_bytes,
)
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.engine import Engine, Plan
from slicebench.training.step import TrialState

_log = logging.getLogger(__name__)

SHARE = 0.05
"""Most of the time that a run is expected to take that timing may cost."""
_MOST_ON_CPU = 4
_FIRST_ON_ACCELERATOR = 16
_ROUNDS = 5
_ROUND_SECONDS = 0.3
_MARGIN = 1.03
"""How much faster a plan must be to replace another one."""
_HOPELESS = 0.9


class Contestant(Protocol):
    """A compiled plan that can be timed."""

    engine: Engine

    def round(self) -> float:
        """Trains for a moment and returns trial-steps a second."""
        ...


@dataclasses.dataclass(kw_only=True)
class Candidate:
    """What became of a plan.

    Attributes:
      plan: The plan.
      estimated_bytes: Memory of all devices by estimate.
      needed_bytes: Memory of one device as compiled; None if it was not.
      compile_seconds: Time to compile; None if it was not.
      trial_steps_per_s: Median rate; None if it was not timed.
      outcome: `timed`, or why it was not or not to the end.
    """

    plan: Plan
    estimated_bytes: int
    needed_bytes: int | None = None
    compile_seconds: float | None = None
    trial_steps_per_s: float | None = None
    outcome: str = "timed"

    def record(self) -> dict[str, Any]:
        """Returns the candidate as it stands in JSON."""
        return dataclasses.asdict(self)


class Racer:
    """A plan on the devices, trained on copies of one trial.

    Args:
      program: What is trained.
      plan: How.
      bank: The pool's slices.
      trial: Sampling table of any trial: all cost the same.
    """

    def __init__(
        self, program: spec.Program, plan: Plan, bank: Bank, trial: TrialArrays
    ):
        self.engine = Engine(program, plan, bank)
        self._arrays = self.engine.put([trial] * plan.trials)
        self._state = _made_up(self.engine)
        self.engine.compile(self._state, self._arrays)
        self._calls = 1
        self._seconds()
        self._calls = max(1, math.ceil(_ROUND_SECONDS / self._seconds()))

    def _seconds(self) -> float:
        start = time.perf_counter()
        for _ in range(self._calls):
            self._state = self.engine.step(self._state, self._arrays)
        jax.block_until_ready(self._state.step)
        return time.perf_counter() - start

    def round(self) -> float:
        """Trains for a moment and returns trial-steps a second."""
        plan = self.engine.plan
        return self._calls * plan.steps_per_call * plan.trials / self._seconds()


def _made_up(engine: Engine) -> TrialState:
    """Returns a state whose making needs no compilation; time depends on no value."""

    def fill(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.full(leaf.shape, 0.01, leaf.dtype)
        return np.full(leaf.shape, leaf.dtype == bool, leaf.dtype)

    return jax.device_put(jax.tree.map(fill, engine.abstract_state()), engine.split)


class Race:
    """The climb from the fixed plan to the fastest one found.

    Args:
      program: What is trained.
      build: Compiles a plan and puts it on the devices.
      trial_steps: Steps of all trials that are still to be trained.
      clock: Seconds, for the time limit.

    Attributes:
      candidates: Every plan that was looked at, in order.
    """

    def __init__(
        self,
        program: spec.Program,
        build: Callable[[Plan], Contestant],
        trial_steps: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.candidates: list[Candidate] = []
        self._program = program
        self._build = build
        self._trial_steps = trial_steps
        self._clock = clock
        self._limit = math.inf
        self._spent = 0.0
        self._unit_seconds = 0.0

    def run(self, first: Plan) -> tuple[Plan, Engine]:
        """Returns the fastest plan found, with its compiled programs.

        Raises:
          OutOfMemoryError: Not even one trial fits.
        """
        entered = self._enter(first)
        while entered is None:
            first = memory.halve(self._program, first)
            entered = self._enter(first)
        best, record = entered
        rate = statistics.median(best.round() for _ in range(3))
        record.trial_steps_per_s = rate
        # The run has to compile its plan in any case: only more than that counts.
        self._spent, self._limit = 0.0, SHARE * self._trial_steps / rate
        for move in moves(self._program):
            while True:
                plan = move(best.engine.plan)
                if plan is None or any(c.plan == plan for c in self.candidates):
                    break
                winner = self._challenge(best, plan)
                if winner is best:
                    break
                best = winner
        return best.engine.plan, best.engine

    def _enter(self, plan: Plan) -> tuple[Contestant, Candidate] | None:
        """Compiles a plan; None where memory or time does not allow it."""
        record = Candidate(
            plan=plan, estimated_bytes=plan_bytes(self._program, plan), outcome=""
        )
        self.candidates.append(record)
        if self._spent + self._unit_seconds * _units(plan) > self._limit:
            record.outcome = "not timed: would take more than 5 % of the run"
            return None
        start = self._clock()
        contestant = None
        try:
            contestant = self._build(plan)
        except jax.errors.JaxRuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
        taken = self._clock() - start
        self._spent += taken
        if contestant is None:
            record.outcome = "out of memory"
            return None
        self._unit_seconds = taken / _units(plan)
        record.compile_seconds = contestant.engine.compile_seconds
        record.needed_bytes = contestant.engine.step_bytes()
        record.outcome = "timed"
        return contestant, record

    def _challenge(self, best: Contestant, plan: Plan) -> Contestant:
        """Races a plan against the best one and returns the winner."""
        entered = self._enter(plan)
        if entered is None:
            return best
        rival, record = entered
        start = self._clock()
        ours: list[float] = []
        theirs: list[float] = []
        try:
            for _ in range(_ROUNDS):
                ours.append(best.round())
                theirs.append(rival.round())
                if len(theirs) > 1 and max(theirs) < _HOPELESS * min(ours):
                    break
        except jax.errors.JaxRuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            record.outcome = "out of memory"
            return best
        finally:
            self._spent += self._clock() - start
        rate, other = statistics.median(theirs), statistics.median(ours)
        record.trial_steps_per_s = rate
        _log.info(
            "timed %s: %.3g trial-steps/s, best %.3g", in_words(plan), rate, other
        )
        return rival if rate > _MARGIN * other else best


def _units(plan: Plan) -> int:
    """Networks that are compiled one beside the other, in proportion to time."""
    unrolled = jax.default_backend() == "cpu"
    trials = plan.trials_per_device if plan.layout == "single" else 1
    return trials * (plan.steps_per_call if unrolled else 1)


def start_plan(fixed: Plan) -> Plan:
    """Returns where the climb starts: the fixed plan, with few trials at first."""
    if jax.default_backend() == "cpu":
        return fixed
    trials = min(fixed.trials_per_device, _FIRST_ON_ACCELERATOR)
    return dataclasses.replace(fixed, trials_per_device=1 << (trials.bit_length() - 1))


def moves(program: spec.Program) -> Sequence[Callable[[Plan], Plan | None]]:
    """Returns the changes to try, in turn; each is repeated while it pays."""
    on_cpu = jax.default_backend() == "cpu"

    def sized(plan: Plan, trials: int) -> Plan | None:
        most = fitting_trials(program, plan.layout)
        if on_cpu:
            most = min(most, _MOST_ON_CPU)
        if not 1 <= trials <= most:
            return None
        return dataclasses.replace(plan, trials_per_device=trials)

    def laid_out(plan: Plan, layout: str) -> Plan | None:
        return sized(dataclasses.replace(plan, layout=layout), plan.trials_per_device)

    def stepped(plan: Plan) -> Plan | None:
        most = most_steps_per_call(program)
        return dataclasses.replace(
            plan, steps_per_call=1 if plan.steps_per_call > 1 else most
        )

    # On a CPU only `single` is worth a try; elsewhere it compiles every trial's
    # network apart. Both are measured, see BUILD_NOTES.md.
    names = () if on_cpu else tuple(name for name in LAYOUTS if name != "single")
    return (
        *((lambda plan, name=name: laid_out(plan, name)) for name in names),
        lambda plan: sized(plan, 2 * plan.trials_per_device),
        lambda plan: sized(plan, plan.trials_per_device // 2),
        stepped,
    )
