"""How throughput and memory grow with trials, image size and width.

    python -m benchmarks.scaling [--quick] [--json=FILE] [--part=NAME ...]

Three parts, each of them in processes of its own:

- `trials`: trial-steps a second of 1 to 256 trials (quick: to 32) of the demo's
  network. On a CPU trials beyond the plan's batch follow one another, and each
  batch pays for its first states and arrays, as in a real run; on a GPU they
  share the device, in powers of two, until the memory is full.
- `sizes`: trial-steps a second and memory over image sizes 32, 64, 96, 128 and
  widths 8, 16, 32 of a 2D network of depth 3, batch 8 (quick: sizes at width 8,
  widths at size 32). Memory is what the compiled step says of itself, and the
  peak of the process's resident memory while steps run, after compilation, less
  what it had before anything was built; both divided by trials.
- `shares`: where a short real run of the embedded sweep spends its wall time.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from absl import app, flags

from benchmarks._flags import bench_flags, is_quick, json_path, parser
from benchmarks._machine import announce, cores, has_gpu_for_jax
from benchmarks._runs import Run, run_main, write_rows
from benchmarks._throughput_cases import CASES, DEMO_CASE, Case, flat_case
from benchmarks._throughput_workers import Group, WayError

PARTS = ("trials", "sizes", "shares")
SIZES = (32, 64, 96, 128)
WIDTHS = (8, 16, 32)
_BENCH = "benchmarks._scaling_jax:ScalingBench"

_FLAGS = bench_flags()
_PARTS = flags.DEFINE_multi_enum(
    "part", list(PARTS), list(PARTS), "part; repeat for several", flag_values=_FLAGS
)
_SECONDS = flags.DEFINE_float(
    "seconds", 1.5, "about how long a timing takes", flag_values=_FLAGS
)

Row = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Measures the parts asked for, prints tables and writes the JSON rows."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    device, load = announce()
    quick = is_quick(_FLAGS)
    rows: list[Row] = []
    for part in dict.fromkeys(_PARTS.value):
        made = {"trials": over_trials, "sizes": over_sizes, "shares": shares}[part]
        rows += made(quick)
    described = [{**row, "device": device, "load_average": load} for row in rows]
    write_rows(json_path(_FLAGS), described)


def make_group() -> Group:
    """Starts a process with JAX in it."""
    platform = "gpu" if has_gpu_for_jax() else "cpu"
    return Group(_BENCH, 1, {"devices": cores(), "platform": platform})


def over_trials(quick: bool) -> list[Row]:
    """Times growing numbers of trials of the demo's network."""
    case = CASES[DEMO_CASE]
    most = 32 if quick else 256
    counts = [2**power for power in range(most.bit_length())]
    print(f"\n{case.title}\n\n| trials | trial-steps/s | seconds |\n|---|---|---|")
    group = make_group()
    rows: list[Row] = []
    try:
        for count in counts:
            try:
                (found,) = group.call("over_trials", case, count, _SECONDS.value)
            except WayError as fault:
                # Memory is full, most likely; larger numbers will not fit either.
                print(f"| {count} | {fault} | |")
                break
            print(
                f"| {count} | {found['trial_steps_per_s']:.2f} "
                f"| {found['seconds']:.1f} |",
                flush=True,
            )
            rows.append({"name": case.name, "part": "trials", **found})
    finally:
        group.close()
    return rows


def size_cases(quick: bool) -> list[Case]:
    """Returns the networks and grids of the second part."""
    pairs = [(size, width) for size in SIZES for width in WIDTHS]
    if quick:
        pairs = [(s, w) for s, w in pairs if w == WIDTHS[0] or s == SIZES[0]]
    return [flat_case(width, 3, (size, size), 8) for size, width in pairs]


def over_sizes(quick: bool) -> list[Row]:
    """Times and weighs networks over image size and width."""
    print(
        "\n2D U-Net, depth 3, batch 8\n\n| case | trials | trial-steps/s "
        "| MB a trial: step, as compiled | MB a trial: resident | compile s |"
        "\n|---|---|---|---|---|---|"
    )
    rows: list[Row] = []
    for case in size_cases(quick):
        # A process each: resident memory is never given back in full.
        group = make_group()
        try:
            (found,) = group.call("weigh", case, _SECONDS.value)
        finally:
            group.close()
        print(
            f"| {case.name} | {found['trials']} | {found['trial_steps_per_s']:.2f} "
            f"| {found['step_bytes'] / 1e6:.0f} | {found['resident_bytes'] / 1e6:.0f} "
            f"| {found['compile_seconds']:.1f} |",
            flush=True,
        )
        rows.append({"name": case.name, "part": "sizes", **found})
    return rows


def shares(quick: bool) -> list[Row]:
    """Runs a short sweep and tells where its wall time went."""
    tasks = ["--tasks=phantom_organ", "--steps=60"] if quick else []
    with TemporaryDirectory(prefix="scaling-") as scratch:
        run = run_main(
            Path(scratch) / "run",
            ["--experiment=budget_sweep", "--num_seeds=1", *tasks],
        )
    print(
        f"\nShort sweep: {run.compute['trial_steps']:,} trial-steps in {run.wall:.1f} s"
        "\n\n| part | seconds | share of wall time |\n|---|---|---|"
    )
    parts = wall_parts(run)
    for name, seconds in parts.items():
        print(f"| {name} | {seconds:.1f} | {seconds / run.wall:.1%} |")
    row = {"name": "budget_sweep, short", "part": "shares", "wall_seconds": run.wall}
    return [{**row, "seconds": parts}]


def wall_parts(run: Run) -> dict[str, float]:
    """Returns seconds by part of the wall time; what no part claims is `rest`."""
    parts = run.parts
    return {**parts, "rest": run.wall - sum(parts.values())}


if __name__ == "__main__":
    try:
        app.run(main, flags_parser=parser(_FLAGS))
    except (WayError, RuntimeError) as fault:
        raise SystemExit(f"scaling: {fault}") from None
