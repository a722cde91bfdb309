"""What a whole run costs beyond its training steps.

    python -m benchmarks.overhead --workdir=FOLDER [--json=FILE]
    python -m benchmarks.overhead [--quick]

Reads the work folder of a finished run, made in one session, and times the
training step of each of its programs alone, on random data and under the plan
that the run used: the isolated step. The overhead is

    1 - trial-steps x isolated step time / wall time

with wall time as in compute.json: from the preparation of the first batch to
the last row written, compilation included. The table tells where it went: the
parts that the run measured, and training beyond the isolated steps (scoring of
the last batch shares the cores with it). Without --workdir a run is made first:
the embedded sweep with few seeds, whose share of compilation is larger than a
whole sweep's. Run it on the machine and in the quiet that the run had.
"""

import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags

from benchmarks._flags import bench_flags, is_quick, json_path, parser
from benchmarks._machine import announce, spread
from benchmarks._runs import Run, read_run, run_main, write_rows

_FLAGS = bench_flags()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "work folder of a finished run", flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "rounds of the isolated step", lower_bound=1, flag_values=_FLAGS
)
_SECONDS = 2.0
"""About how long a round of the isolated step takes."""


class Isolated(NamedTuple):
    """A program's training step alone.

    Attributes:
      rates: Trial-steps a second, by round.
      trial_steps: Trial-steps that the run trained with it.
    """

    rates: list[float]
    trial_steps: int


class Overhead(NamedTuple):
    """Where a run's wall time went.

    Attributes:
      run: The run.
      programs: Isolated steps by program.
    """

    run: Run
    programs: dict[str, Isolated]

    def ideal(self, pick: Any = statistics.median) -> float:
        """Seconds that the trial-steps take alone, at a choice among rounds."""
        return sum(p.trial_steps / pick(p.rates) for p in self.programs.values())

    @property
    def share(self) -> float:
        """Share of the wall time that is not isolated training steps."""
        return 1 - self.ideal() / self.run.wall

    @property
    def range(self) -> list[float]:
        """The share by the slowest and the fastest rounds of the isolated steps."""
        return [1 - self.ideal(pick) / self.run.wall for pick in (min, max)]

    def parts(self) -> dict[str, float]:
        """Returns the seconds of each part; they add up to the wall time."""
        told = self.run.parts
        parts = {"isolated training steps": self.ideal()}
        parts["training beyond them"] = told["training"] - self.ideal()
        parts |= {name: value for name, value in told.items() if name != "training"}
        parts["rest"] = self.run.wall - sum(parts.values())
        return parts


def main(argv: Sequence[str]) -> None:
    """Reads or makes a run, times its steps, prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    device, load = announce()
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        if _WORKDIR.value:
            run = read_run(Path(_WORKDIR.value))
        else:
            run = run_main(Path(scratch) / "run", arguments(is_quick(_FLAGS)))
        found = measure(run, _ROUNDS.value)
        # Both read the run's tables, which go with the scratch folder.
        print(describe(found))
        write_rows(json_path(_FLAGS), [row(found, device, load)])


def arguments(quick: bool) -> list[str]:
    """Returns the flags of the run that is made where none is given."""
    tasks = ["--tasks=phantom_organ"] if quick else []
    return ["--experiment=budget_sweep", f"--num_seeds={1 if quick else 2}", *tasks]


def measure(run: Run, rounds: int) -> Overhead:
    """Times each program of a run alone.

    Raises:
      ValueError: The run trained on other devices than there are here, or its
        work folder was resumed (steps of killed sessions are not told).
    """
    import jax

    from benchmarks._engine import Trials, case_of, program_of
    from slicebench.runner import use_all_cores
    from slicebench.training.engine import Plan

    use_all_cores()
    there = run.experiment["device"]
    if there["count"] != jax.local_device_count():
        raise ValueError(
            f"{run.workdir}: trained on {there['count']} devices, "
            f"{jax.local_device_count()} are here"
        )
    if run.compute.get("sessions", 1) != 1:
        raise ValueError(f"{run.workdir}: {run.compute['sessions']} sessions, not 1")
    steps: Counter[str] = Counter()
    trials = run.trials()
    for name, count in zip(trials["program"], trials["steps"], strict=True):
        steps[str(name)] += int(count)
    plans = run.experiment["plan"]["programs"]
    kept = Plan.__dataclass_fields__
    programs: dict[str, Isolated] = {}
    for record in run.experiment["programs"]:
        name = record["name"]
        plan = Plan(**{k: v for k, v in plans[name].items() if k in kept})
        trials = Trials(case_of(program_of(record)), plan)
        trials.advance(2)
        turn = max(1, round(_SECONDS * trials.rate(5) / plan.trials))
        rates = [trials.rate(turn) for _ in range(rounds)]
        programs[name] = Isolated(rates, steps[name])
    return Overhead(run, programs)


def describe(found: Overhead) -> str:
    """Returns the table of parts and the overhead."""
    run, whole = found.run, ""
    if run.process_seconds is not None:
        whole = f", whole command {run.process_seconds:.1f} s"
    lines = [
        f"\n{len(run.trials())} trials, {run.compute['trial_steps']:,} trial-steps, "
        f"wall time {run.wall:.1f} s{whole}",
        *(
            f"program {name}: {p.trial_steps:,} trial-steps, alone "
            f"{spread([1e3 / rate for rate in p.rates], 2)} ms each"
            for name, p in found.programs.items()
        ),
        "\n| part | seconds | share of wall time |",
        "|---|---|---|",
    ]
    for name, seconds in found.parts().items():
        lines.append(f"| {name} | {seconds:.1f} | {seconds / run.wall:.1%} |")
    low, high = found.range
    lines.append(f"\noverhead: {found.share:.1%} ({low:.1%} to {high:.1%})")
    return "\n".join(lines)


def row(found: Overhead, device: str, load: float) -> dict[str, Any]:
    """Returns the comparison as a JSON row."""
    run = found.run
    return {
        "name": f"overhead of {run.experiment['experiment']}",
        "device": device,
        "trials": len(run.trials()),
        "trial_steps": run.compute["trial_steps"],
        "wall_seconds": run.wall,
        "process_seconds": run.process_seconds,
        "overhead": found.share,
        "spread": sorted(found.range),
        "parts": found.parts(),
        "isolated_ms": {
            name: 1e3 / statistics.median(p.rates) for name, p in found.programs.items()
        },
        "load_average": load,
    }


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
