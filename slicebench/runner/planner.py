"""Which plan a program runs under: the work folder's, a kept, timed or fixed one."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from slicebench import spec
from slicebench.errors import InputError
from slicebench.results import read_json
from slicebench.runner import memory, plan_cache, timing
from slicebench.runner.plans import choose_plan, estimate_seconds, in_words
from slicebench.training.engine import Engine, Plan

_log = logging.getLogger(__name__)

_CPU_COMPILE_SECONDS = 15.0
_COMPILE_SECONDS = 30.0
"""What compiling a training step costs, for deciding whether timing pays."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A plan, and how it was found.

    Attributes:
      plan: What is run.
      how: `fixed` by rule, `timed` in this run, or `kept` from an earlier one.
      reason: Why, in words.
      candidates: The plans that were timed, as in JSON.
    """

    plan: Plan
    how: Literal["fixed", "timed", "kept"]
    reason: str
    candidates: tuple[Mapping[str, Any], ...] = ()

    def record(self) -> dict[str, Any]:
        """Returns what experiment.json says of it."""
        return {
            **dataclasses.asdict(self.plan),
            "how": self.how,
            "reason": self.reason,
            "machine": plan_cache.machine(),
            "versions": plan_cache.versions(),
            "candidates": [dict(candidate) for candidate in self.candidates],
        }


class Planner:
    """Chooses a plan for each program, once.

    Args:
      mode: `timed` or `fixed`.
      workdir: Work folder; the plans in its experiment.json go first.

    Attributes:
      records: What experiment.json says of each program's plan.
    """

    def __init__(self, mode: str, workdir: Path):
        self.mode = mode
        self.records = _read_records(workdir / "experiment.json")
        self._chosen: dict[str, Choice] = {}

    def known(self, program: spec.Program) -> Choice | None:
        """Returns the plan as far as nothing has to be timed for it."""
        if program.name in self._chosen:
            return self._chosen[program.name]
        choice = self._recorded(program)
        if choice is None and self.mode == "fixed":
            choice = Choice(
                plan=choose_plan(program), how="fixed", reason="--plan=fixed"
            )
        if choice is None and (kept := plan_cache.load(program)) is not None:
            plan, record = kept
            choice = Choice(
                plan=plan,
                how="kept",
                reason="timed by an earlier run on this machine",
                candidates=tuple(record.get("candidates", ())),
            )
        return choice

    def too_short(self, program: spec.Program, trials: int) -> str:
        """Returns why timing would not pay for so many trials; empty if it would.

        Timing compiles at least one program more than the run needs.
        """
        on_cpu = jax.default_backend() == "cpu"
        # The second plan to be tried compiles twice as much on a CPU.
        cost = 2 * _CPU_COMPILE_SECONDS if on_cpu else _COMPILE_SECONDS
        seconds = estimate_seconds(program, trials, 0)
        if timing.SHARE * seconds >= cost:
            return ""
        return (
            f"about {seconds:.0f} s of training are too short for timing plans, which "
            f"would take {cost:.0f} s or more"
        )

    def choose(
        self,
        program: spec.Program,
        trials: int,
        build: Callable[[Plan], timing.Contestant],
    ) -> tuple[Plan, Engine | None]:
        """Returns the plan of a program, and its compiled form if it was timed.

        Args:
          program: What is trained.
          trials: How many trials are still to be trained.
          build: Compiles a plan and puts it on the devices.
        """
        choice, engine = self.known(program), None
        if choice is None and (reason := self.too_short(program, trials)):
            choice = Choice(plan=choose_plan(program), how="fixed", reason=reason)
        if choice is None:
            choice, engine = self._time(program, trials, build)
            self._keep(program, choice)
        if program.name not in self._chosen:
            _log.info(
                "program %s: %s plan, %s (%s)",
                program.name,
                choice.how,
                in_words(choice.plan),
                choice.reason,
            )
            self._set(program, choice)
        return choice.plan, engine

    def shrink(self, program: spec.Program, plan: Plan) -> Plan:
        """Returns and records the plan with half the trials.

        Raises:
          OutOfMemoryError: There is only one.
        """
        smaller = memory.halve(program, plan)
        _log.warning(
            "program %s: out of memory with %d trials a device, goes on with %d",
            program.name,
            plan.trials_per_device,
            smaller.trials_per_device,
        )
        reason = f"halved: out of memory with {plan.trials_per_device} trials a device"
        choice = dataclasses.replace(
            self._chosen[program.name], plan=smaller, reason=reason
        )
        self._keep(program, choice)
        self._set(program, choice)
        return smaller

    def chosen(self, name: str) -> Plan | None:
        """Returns the plan that a program has been given here; None before that."""
        choice = self._chosen.get(name)
        return choice.plan if choice else None

    def adopt(self, program: spec.Program, record: dict[str, Any]) -> Plan:
        """Takes over the plan that another process has chosen, whatever its machine.

        Args:
          program: What is trained.
          record: From the other process's `records`.

        Returns:
          The plan.
        """
        fields = {field.name for field in dataclasses.fields(Plan)}
        choice = Choice(
            plan=Plan(**{k: v for k, v in record.items() if k in fields}),
            how=record["how"],
            reason=record["reason"],
            candidates=tuple(record["candidates"]),
        )
        self._chosen[program.name] = choice
        self.records[program.name] = record
        return choice.plan

    def _set(self, program: spec.Program, choice: Choice) -> None:
        self._chosen[program.name] = choice
        self.records[program.name] = choice.record()

    def _keep(self, program: spec.Program, choice: Choice) -> None:
        if choice.how != "fixed":
            plan_cache.save(program, choice.plan, list(map(dict, choice.candidates)))

    def _time(
        self,
        program: spec.Program,
        trials: int,
        build: Callable[[Plan], timing.Contestant],
    ) -> tuple[Choice, Engine]:
        steps = trials * program.training.steps
        race = timing.Race(program, build, steps)
        plan, engine = race.run(timing.start_plan(choose_plan(program)))
        records = tuple(candidate.record() for candidate in race.candidates)
        reason = f"fastest of {sum(r['outcome'] == 'timed' for r in records)} timed"
        return Choice(plan=plan, how="timed", reason=reason, candidates=records), engine

    def _recorded(self, program: spec.Program) -> Choice | None:
        """The plan that the work folder's batches were made with, if it fits."""
        record = self.records.get(program.name)
        if record is None:
            return None
        changed = [
            f"{name} {record['machine'].get(name)} there, {value} now"
            for name, value in plan_cache.machine().items()
            if record["machine"].get(name) != value
        ]
        if changed:
            _log.warning(
                "program %s: the plan of this work folder is not used, the machine "
                "changed (%s); results agree within the tolerance between plans",
                program.name,
                "; ".join(changed),
            )
            return None
        try:
            plan = plan_cache.parse_plan(program, record)
        except ValueError as error:
            _log.warning("program %s: recorded plan not used: %s", program.name, error)
            return None
        return Choice(
            plan=plan,
            how=record["how"],
            reason=record["reason"],
            candidates=tuple(record.get("candidates", ())),
        )


def _read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The plans in an earlier experiment.json; those of another form are left out."""
    if not path.exists():
        return {}
    try:
        programs = read_json(path).get("plan", {}).get("programs", {})
        return {
            name: record
            for name, record in programs.items()
            if {"how", "reason"} <= set(record) and isinstance(record["machine"], dict)
        }
    except (InputError, AttributeError, TypeError, KeyError):
        return {}
