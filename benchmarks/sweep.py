"""Times a whole sweep against the same sweep as a loop in PyTorch.

    python -m benchmarks.sweep --data=FOLDER [--quick] [--json=FILE]

A part of `budget_sweep` on a dataset folder: two densities of one budget, two
seeds. slicebench runs its real command in a process apart and tells its own
times in compute.json. PyTorch trains the same trials (same selections, network,
steps and batch), augments, predicts and scores the same development and test
cases, with MONAI's Dice, surface Dice and HD95; in one single-threaded process
a core, and one after another with all threads. Nothing is read from disk
between trials on either side.

Two rows: MONAI's metrics on PyTorch's side, and slicebench's metrics on both.
Trials are trained for fewer steps than the experiment asks (`--steps`), and the
seconds of training, measured apart, are multiplied up to `--full_steps` on both
sides. On slicebench's side the wall time holds everything from the preparation
of the truth to the last row written, but neither compilation nor the timing of
plans, which are printed beside it; on PyTorch's side selection, training,
prediction and scoring, but not the preparation of the truth, nor writing, nor
waiting of one process for another. Start-up (imports, loading) is left out on
both sides.

Fair to know: slicebench scores one batch while the next trains, so with few
batches the last one weighs more here than in a long run; MONAI's surface Dice
is its default form (counts of boundary voxels), which is cheaper than the areas
that slicebench computes.
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags

from benchmarks._machine import announce, cores, spread
from benchmarks._runs import ONCE, Run, run_main, write_rows
from benchmarks._throughput_workers import Group, WayError

UNIT = "trials_per_hour"
SPLIT = "PyTorch, a process a core"
SHARED = "PyTorch, one after another"
METRICS = ("monai", "ours")
"""Whose metrics score PyTorch's networks."""
_BENCH = "benchmarks._sweep_torch:SweepBench"

# Flags of its own: other programs of the suite define the same names.
_FLAGS = flags.FlagValues()
_DATA = flags.DEFINE_string("data", None, "dataset folder", flag_values=_FLAGS)
_QUICK = flags.DEFINE_bool(
    "quick", False, "one round, fewer steps, PyTorch's faster way", flag_values=_FLAGS
)
_JSON = flags.DEFINE_string(
    "json", None, "file for the rows as JSON", flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", None, "rounds (default 2, quick 1)", lower_bound=1, flag_values=_FLAGS
)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "steps trained (default 80, quick 40)",
    lower_bound=1,
    flag_values=_FLAGS,
)
_FULL_STEPS = flags.DEFINE_integer(
    "full_steps",
    400,
    "steps that training is multiplied up to; the experiment's on real volumes",
    lower_bound=1,
    flag_values=_FLAGS,
)
_BUDGET = flags.DEFINE_integer(
    "budget", 48, "annotated slices", lower_bound=1, flag_values=_FLAGS
)
_DENSITIES = flags.DEFINE_list(
    "slices_per_volume", ["1", "4"], "densities", flag_values=_FLAGS
)
_SEEDS = flags.DEFINE_integer(
    "num_seeds", 2, "seeds of a cell", lower_bound=1, flag_values=_FLAGS
)
_PLAN = flags.DEFINE_string("plan", "fixed", "slicebench's plan", flag_values=_FLAGS)


class Side(NamedTuple):
    """One side's round.

    Attributes:
      rate: Trials an hour by metrics ("monai", "ours"), training at full steps.
      parts: Mean seconds of each part of a trial, as measured.
      dice: Mean Dice that its networks reached.
    """

    rate: dict[str, float]
    parts: dict[str, float]
    dice: float


def main(argv: Sequence[str]) -> None:
    """Runs both sides in turns, prints a table and writes the JSON rows."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if not _DATA.value:
        raise app.UsageError("--data=FOLDER is needed: a dataset in nnU-Net layout")
    device, load = announce()
    steps = _STEPS.value or (40 if _QUICK.value else 80)
    rounds = _ROUNDS.value or (1 if _QUICK.value else 2)
    found: dict[str, list[Side]] = {}
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        for number in range(rounds):
            folder = Path(scratch) / f"ours-{number}"
            run = run_main(folder, arguments(steps))
            seconds.append(run.once)
            found.setdefault("slicebench", []).append(our_side(run, _FULL_STEPS.value))
            for way in (SPLIT,) if _QUICK.value else (SPLIT, SHARED):
                found.setdefault(way, []).append(their_side(way, steps, Path(scratch)))
    trials = len(_DENSITIES.value) * _SEEDS.value
    print(describe(found, seconds, trials, steps))
    write_rows(
        _JSON.value,
        [
            row(found, metrics, device, load, trials, steps, seconds)
            for metrics in METRICS
        ],
    )


def arguments(steps: int) -> list[str]:
    """Returns the flags of the real command."""
    return [
        "--experiment=budget_sweep",
        f"--data={_DATA.value}",
        f"--budgets={_BUDGET.value}",
        f"--slices_per_volume={','.join(_DENSITIES.value)}",
        f"--num_seeds={_SEEDS.value}",
        "--ceiling_seeds=0",
        f"--steps={steps}",
        f"--plan={_PLAN.value}",
    ]


def our_side(run: Run, full_steps: int) -> Side:
    """Reads slicebench's round from its work folder."""
    trials = run.trials()
    count, (steps,) = len(trials), set(trials["steps"])
    parts = run.parts
    busy = run.wall - run.once
    grown = busy + parts["training"] * (full_steps / steps - 1)
    rate = 3600 * count / grown
    shown = {name: value / count for name, value in parts.items() if name not in ONCE}
    shown["rest"] = busy / count - sum(shown.values())
    scores = run.scores()
    dice = scores.loc[scores["metric"] == "dice", "score"].mean()
    return Side({"monai": rate, "ours": rate}, shown, float(dice))


def their_side(way: str, steps: int, scratch: Path) -> Side:
    """Runs PyTorch's round in processes of its own.

    Raises:
      WayError: It failed, for want of a package perhaps.
    """
    # Imported here: a process that only starts others needs no JAX.
    from slicebench.runner import Options, Overrides

    options = Options(
        experiment="budget_sweep",
        workdir=scratch / "theirs",
        data=(Path(_DATA.value or ""),),
        overrides=Overrides(
            budgets=(_BUDGET.value,),
            slices_per_volume=tuple(map(int, _DENSITIES.value)),
            num_seeds=_SEEDS.value,
            ceiling_seeds=0,
            steps=(steps,),
        ),
    )
    number, threads = (cores(), 1) if way == SPLIT else (1, cores())
    # One after another takes long and varies little: one trial a density.
    most = 0 if way == SPLIT else len(_DENSITIES.value)
    group = Group(_BENCH, number, {"threads": threads}, ranked=True)
    try:
        group.prepare("loop", options, most)
        group.rate("loop", steps)
        return join([part for part in group.call("parts") if part], steps)
    finally:
        group.close()


def join(processes: Sequence[Sequence[Any]], steps: int) -> Side:
    """Adds up the rates of processes that worked side by side.

    Args:
      processes: The `Parts` of every trial of each process.
      steps: Steps of a trial as measured.
    """
    factor = _FULL_STEPS.value / steps
    rate: dict[str, float] = dict.fromkeys(METRICS, 0.0)
    for trials in processes:
        for metrics in rate:
            busy = sum(
                t.selection
                + factor * t.training
                + t.prediction
                + (t.monai if metrics == "monai" else t.ours)
                for t in trials
            )
            rate[metrics] += 3600 * len(trials) / busy
    every = [trial for trials in processes for trial in trials]
    parts = {
        name: statistics.fmean(getattr(trial, name) for trial in every)
        for name in ("selection", "training", "prediction", *METRICS)
    }
    return Side(rate, parts, statistics.fmean(trial.dice for trial in every))


def best_peer(found: dict[str, list[Side]], metrics: str) -> str:
    """Returns PyTorch's way of the highest median rate."""
    ways = [way for way in found if way != "slicebench"]
    return max(
        ways,
        key=lambda way: statistics.median(side.rate[metrics] for side in found[way]),
    )


def ratios(found: dict[str, list[Side]], peer: str, metrics: str) -> list[float]:
    """Returns, round by round, slicebench's rate over a peer's."""
    pairs = zip(found["slicebench"], found[peer], strict=True)
    return [ours.rate[metrics] / theirs.rate[metrics] for ours, theirs in pairs]


def row(
    found: dict[str, list[Side]],
    metrics: str,
    device: str,
    load: float,
    trials: int,
    steps: int,
    compile_seconds: Sequence[float],
) -> dict[str, Any]:
    """Returns the comparison under one choice of metrics as a JSON row."""
    peer = best_peer(found, metrics)
    values = ratios(found, peer, metrics)
    title = "MONAI's metrics" if metrics == "monai" else "slicebench's metrics in both"
    rates = {
        way: [side.rate[metrics] for side in sides] for way, sides in found.items()
    }
    return {
        "name": f"whole sweep, {title}",
        "device": device,
        "dims": "2d",
        "trials": trials,
        "ours": statistics.median(rates["slicebench"]),
        "peer": statistics.median(rates[peer]),
        "peer_name": peer,
        "ratio": statistics.median(values),
        "unit": UNIT,
        "spread": [min(values), max(values)],
        "rounds": len(values),
        "steps": steps,
        "full_steps": _FULL_STEPS.value,
        "compile_seconds": statistics.median(compile_seconds),
        "load_average": load,
        "rates": rates,
        "parts": {way: [s.parts for s in sides] for way, sides in found.items()},
        "dice": {way: [s.dice for s in sides] for way, sides in found.items()},
    }


def describe(
    found: dict[str, list[Side]],
    compile_seconds: Sequence[float],
    trials: int,
    steps: int,
) -> str:
    """Returns tables of the parts and the rates, and the two ratios."""
    lines = [f"\n{trials} trials, {steps} steps; mean seconds of a trial's parts\n"]
    for way, sides in found.items():
        parts = ", ".join(
            f"{name} {statistics.median(s.parts[name] for s in sides):.2f}"
            for name in sides[0].parts
        )
        dice = statistics.median(side.dice for side in sides)
        lines.append(f"- {way}: {parts}; mean Dice {dice:.3f}")
    lines += [
        f"- slicebench's compilation and planning, once a run: "
        f"{spread(compile_seconds, 1)} s\n",
        f"| trials an hour at {_FULL_STEPS.value} steps | MONAI's metrics "
        "| slicebench's metrics |",
        "|---|---|---|",
    ]
    for way, sides in found.items():
        both = (spread([s.rate[metrics] for s in sides], 1) for metrics in METRICS)
        lines.append(f"| {way} | {' | '.join(both)} |")
    for metrics in METRICS:
        peer = best_peer(found, metrics)
        text = spread(ratios(found, peer, metrics), 2)
        lines.append(f"\nours over the best peer ({peer}, {metrics} metrics): {text}")
    return "\n".join(lines)


def _parse(argv: Sequence[str]) -> list[str]:
    return flags.FLAGS(_FLAGS(list(argv), known_only=True))


if __name__ == "__main__":
    try:
        app.run(main, flags_parser=_parse)
    except (WayError, RuntimeError) as fault:
        raise SystemExit(f"sweep: {fault}") from None
