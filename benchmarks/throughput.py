"""Times training steps of many trials against PyTorch and against one trial.

    python -m benchmarks.throughput [--quick] [--json=FILE]

Every way trains the same network on slices of the same grid, batch and number,
with AdamW on cross-entropy plus soft Dice. slicebench's side is the engine of
real runs, so it also draws its batches, augments them on the fly, follows the
learning-rate schedule and keeps the running loss; PyTorch gets finished tensors
and a constant rate, which is to its advantage. Ways that hold several processes
have their rates added up.

Each way lives in processes of its own, which start once. A case is compiled
and warmed up first; then the ways take turns, one after another in every round,
from another starting point each time, and all of them wait for their results.
Ratios are taken round by round, and their median and range are printed. The
quick form leaves out ways that are known not to be the best; the full form
times them as well and fails where one of them is.

Where JAX and PyTorch both find a GPU, the race is run there, PyTorch in bfloat16
autocast, eager and with CUDA graphs, slicebench in bfloat16.

Every turn starts with a step or two that do not count: after a pause the system
may have to bring a process back into memory, and a real run has no pauses.

Only an otherwise idle machine gives figures that mean anything; the load at the
start is printed. PyTorch belongs to the extra `bench`.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from absl import app, flags

from benchmarks._machine import announce, cores, has_gpu_for_jax, spread
from benchmarks._throughput_cases import CASES, Case
from benchmarks._throughput_ways import (
    ALONE,
    OURS,
    Outcome,
    Timing,
    Way,
    make_group,
    trials_per_process,
    ways_of,
)
from benchmarks._throughput_workers import Group, Ready, WayError

# Flags of its own: other programs of the suite define the same names.
_FLAGS = flags.FlagValues()
_QUICK = flags.DEFINE_bool(
    "quick", False, "leave out ways known not to be the best", flag_values=_FLAGS
)
_JSON = flags.DEFINE_string(
    "json", None, "file for the rows as JSON", flag_values=_FLAGS
)
flags.register_validator(
    _JSON,
    lambda value: not value or Path(value).parent.is_dir(),
    message="must be a file in a folder that exists",
    flag_values=_FLAGS,
)
_ROUNDS = flags.DEFINE_integer(
    "rounds",
    None,
    "rounds of each way (default 7, quick 4)",
    lower_bound=1,
    flag_values=_FLAGS,
)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "steps of a way's turn (default: by the network's size)",
    lower_bound=1,
    flag_values=_FLAGS,
)
_CASES = flags.DEFINE_multi_enum(
    "case",
    list(CASES),
    list(CASES),
    "case to time; repeat for several",
    flag_values=_FLAGS,
)


def main(argv: Sequence[str]) -> None:
    """Times every case, prints its table and writes the JSON rows."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    device, load = announce()
    gpu = has_gpu()
    if gpu:
        device = f"GPU, {device}"
    rounds = _ROUNDS.value or (4 if _QUICK.value else 7)
    cases = [CASES[name] for name in dict.fromkeys(_CASES.value)]
    ways = {c.name: ways_of(c, quick=_QUICK.value, gpu=gpu) for c in cases}
    with processes([w for mine in ways.values() for w in mine]) as groups:
        outcomes: list[Outcome] = []
        for case in cases:
            steps = _STEPS.value or turn_steps(case, gpu=gpu)
            outcomes.append(race(case, ways[case.name], groups, cores(), rounds, steps))
            print(describe(outcomes[-1]), flush=True)
    if _JSON.value:
        rows = [outcome.row(device, load) for outcome in outcomes]
        Path(_JSON.value).write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(verdict(outcomes, quick=_QUICK.value))


def has_gpu() -> bool:
    """Whether both sides find a GPU; asked in a process of its own."""
    if not has_gpu_for_jax():
        return False
    question = (
        "import jax, torch, sys;"
        "sys.exit(not (torch.cuda.is_available() and jax.default_backend() == 'gpu'))"
    )
    return subprocess.run([sys.executable, "-c", question], check=False).returncode == 0


def turn_steps(case: Case, *, gpu: bool) -> int:
    """Returns the steps of a turn: about a second of work, so that turns mix."""
    # Imported here: processes of PyTorch load this module, not JAX.
    from slicebench.runner.plans import step_flop

    if gpu:
        return 50
    return int(min(20, max(3, round(6e10 / step_flop(case.program)))))


@contextlib.contextmanager
def processes(ways: Sequence[Way]) -> Iterator[dict[str, Group]]:
    """Starts the processes that some ways need, and ends them."""
    groups: dict[str, Group] = {}
    with tempfile.TemporaryDirectory(prefix="throughput-") as scratch:
        try:
            for name in dict.fromkeys(way.group for way in ways):
                groups[name] = make_group(name, cores(), scratch)
            yield groups
        finally:
            for group in groups.values():
                group.close()


def race(
    case: Case,
    ways: Sequence[Way],
    groups: Mapping[str, Group],
    cores: int,
    rounds: int,
    steps: int,
) -> Outcome:
    """Prepares every way, then lets those that work take turns.

    Args:
      case: What is trained.
      ways: How.
      groups: Processes by name, for every way.
      cores: Cores in use.
      rounds: Turns of each way.
      steps: Steps of a turn; ways kept for the record take a fifth.

    Raises:
      RuntimeError: The networks do not have the same number of weights.
    """
    ready, failures = get_ready(case, ways, groups, cores)
    check_parameters(ready)
    rates: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(rounds):
        first = number % len(ways)
        for way in [*ways[first:], *ways[:first]]:
            if way.name in failures:
                continue
            turn = max(1, steps // 5) if way.role == "record" else steps
            try:
                rates[way.name].append(groups[way.group].rate(way.method, turn))
            except WayError as fault:
                failures[way.name] = str(fault)
    for name in dict.fromkeys(way.group for way in ways):
        groups[name].drop()
    timings = {
        name: Timing(rates[name], *ready[name])
        for name in ready
        if name not in failures
    }
    return Outcome(case, ways, timings, failures)


def get_ready(
    case: Case, ways: Sequence[Way], groups: Mapping[str, Group], cores: int
) -> tuple[dict[str, Ready], dict[str, str]]:
    """Prepares every way; returns those that work, and why others do not."""
    ready: dict[str, Ready] = {}
    failures: dict[str, str] = {}
    for way in ways:
        print(f"{case.name}: {way.name} gets ready", file=sys.stderr, flush=True)
        trials = trials_per_process(way, cores)
        try:
            ready[way.name] = groups[way.group].prepare(way.method, case, trials)
        except WayError as fault:
            failures[way.name] = str(fault)
    return ready, failures


def check_parameters(ready: Mapping[str, Ready]) -> None:
    """Makes sure that all ways train networks of the same size.

    Raises:
      RuntimeError: They do not.
    """
    counts = {name: reply.parameters for name, reply in ready.items()}
    if len(set(counts.values())) > 1:
        raise RuntimeError(f"networks differ in their number of weights: {counts}")


def describe(outcome: Outcome) -> str:
    """Returns a case's heading, table and the two comparisons that matter."""
    case = outcome.case
    weights = {timing.parameters for timing in outcome.timings.values()}
    lines = [
        f"\n{case.title}: {'/'.join(f'{count:,}' for count in weights)} weights, "
        f"{outcome.trials} trials at a time\n",
        outcome.table(),
        "",
    ]
    peer = outcome.best()
    if OURS in outcome.timings and peer:
        ratio = spread(outcome.ratios(peer), 2)
        lines.append(f"ours over the best peer ({peer}): {ratio}")
    if OURS in outcome.timings and ALONE in outcome.timings:
        ratio = spread(outcome.ratios(ALONE), 2)
        lines.append(f"trials together over one trial with the machine: {ratio}")
    return "\n".join(lines)


def verdict(outcomes: Sequence[Outcome], *, quick: bool) -> str | int:
    """Returns the exit status, or the message of a failed run.

    A run fails where ours did not work, or where the full form finds that the
    quick form leaves out the best peer.
    """
    broken = [o.failures[OURS] for o in outcomes if OURS in o.failures]
    if broken:
        return f"slicebench's own side failed: {broken[0]}"
    if quick:
        return 0
    missed = {o.case.name: best for o in outcomes if (best := o.missed())}
    if missed:
        return f"the quick form leaves out the best peer: {missed}"
    print("The quick form holds the best peer of every case.")
    return 0


def _parse(argv: Sequence[str]) -> list[str]:
    return flags.FLAGS(_FLAGS(list(argv), known_only=True))


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
