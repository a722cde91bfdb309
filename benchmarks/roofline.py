"""Where a training step stands between the machine's two limits.

    python -m benchmarks.roofline [--quick] [--json=FILE] [--case=NAME ...]

For every case: the multiply-adds of the plain network, counted by formula (the
forward pass and both gradients of every convolution, two operations each; what
the engine computes besides, such as folded columns, does not count; the first
layer's image gradient, which nobody needs, does, under 1 % of the sum), the least
bytes that convolutions, normalisation and optimiser move if nothing between
them is fused, and beside both what XLA counts of the compiled program. The
step is then timed under the plan of real runs.

Limits are measured in the same run, before and after each case: a float32
matmul of 2048 x 2048 on every device at once (8192 on a GPU), and a triad over
arrays that no cache holds; the better of both measurements counts. Printed are
the achieved rate, its share of the matmul rate, and the share of what the
roofline allows at the counted intensity (Williams et al. 2009).
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks._flags import bench_flags, is_quick, json_path, parser
from benchmarks._machine import Limits, announce, measure_limits, spread
from benchmarks._runs import write_rows
from benchmarks._throughput_cases import CASES, Case
from slicebench import spec

_FLAGS = bench_flags()
_CASES = flags.DEFINE_multi_enum(
    "case", list(CASES), list(CASES), "case; repeat for several", flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", None, "rounds (default 7, quick 4)", lower_bound=1, flag_values=_FLAGS
)
_STEPS = flags.DEFINE_integer(
    "steps", 5, "steps of a round", lower_bound=1, flag_values=_FLAGS
)

_FLOAT = 4
_PASSES = 3
"""Forward, gradient of the images, gradient of the kernel."""
_NORM_MOVES = 5
"""Forward: read and write. Backward: read slopes and inputs, write."""
_ADAMW_MOVES = 7
"""Read weight, gradient, both moments; write weight and both moments."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One case on the roofline.

    Attributes:
      case: What is trained.
      trials: Trials at a time.
      plan: The engine's plan in words.
      flop: Counted operations of a trial's step.
      moved: Counted bytes of a trial's step.
      xla_flop: What XLA counts for a trial's step.
      xla_moved: Bytes that XLA counts for it.
      rates: Trial-steps a second, by round.
      limits: What the machine can do.
    """

    case: Case
    trials: int
    plan: str
    flop: float
    moved: float
    xla_flop: float
    xla_moved: float
    rates: list[float]
    limits: Limits

    @property
    def shares(self) -> list[float]:
        """Share of the matmul rate, by round."""
        return [rate * self.flop / self.limits.matmul for rate in self.rates]

    @property
    def roof(self) -> float:
        """Operations a second that the counted intensity allows."""
        by_memory = self.flop / self.moved * self.limits.triad
        return min(self.limits.matmul, by_memory)

    def row(self, device: str, load: float) -> dict[str, Any]:
        """Returns the case as one JSON row."""
        rate = statistics.median(self.rates)
        return {
            "name": self.case.name,
            "device": device,
            "dims": self.case.program.dims,
            "trials": self.trials,
            "plan": self.plan,
            "flop": self.flop,
            "bytes": self.moved,
            "xla_flop": self.xla_flop,
            "xla_bytes": self.xla_moved,
            "trial_steps_per_s": rate,
            "flop_per_s": rate * self.flop,
            "bytes_per_s": rate * self.moved,
            "xla_bytes_per_s": rate * self.xla_moved,
            "matmul_flop_per_s": self.limits.matmul,
            "triad_bytes_per_s": self.limits.triad,
            "share_of_matmul": statistics.median(self.shares),
            "spread": [min(self.shares), max(self.shares)],
            "share_of_bandwidth": rate * self.moved / self.limits.triad,
            "share_of_roof": rate * self.flop / self.roof,
            "load_average": load,
        }


def main(argv: Sequence[str]) -> None:
    """Measures every case, prints a table and writes the JSON rows."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    from slicebench.runner import use_all_cores

    device, load = announce()
    use_all_cores()
    rounds = _ROUNDS.value or (4 if is_quick(_FLAGS) else 7)
    points = [
        measure(CASES[name], rounds, _STEPS.value)
        for name in dict.fromkeys(_CASES.value)
    ]
    print(describe(points))
    write_rows(json_path(_FLAGS), [point.row(device, load) for point in points])


def measure(case: Case, rounds: int, steps: int) -> Point:
    """Times one case under the plan of real runs."""
    # Imported here: counting needs no JAX.
    from benchmarks._engine import Trials
    from slicebench.runner.plans import choose_plan, in_words

    before = measure_limits()
    plan = choose_plan(case.program)
    trials = Trials(case, plan)
    trials.advance(2)
    rates = [trials.rate(steps) for _ in range(rounds)]
    flop, moved = counted_by_xla(trials.compiled)
    # XLA counts one device's part.
    each = plan.trials_per_device * plan.steps_per_call
    after = measure_limits()
    limits = Limits(*map(max, before, after))
    return Point(
        case=case,
        trials=plan.trials,
        plan=in_words(plan),
        flop=count_flop(case.program),
        moved=count_bytes(case.program),
        xla_flop=flop / each,
        xla_moved=moved / each,
        rates=rates,
        limits=limits,
    )


def counted_by_xla(compiled: Any) -> tuple[float, float]:
    """Returns operations and bytes of a compiled program, NaN where not told."""
    cost = compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    return (
        float(cost.get("flops", math.nan)),
        float(cost.get("bytes accessed", math.nan)),
    )


@dataclasses.dataclass(frozen=True)
class Layer:
    """One convolution: output voxels of a batch, channels in and out, kernel taps."""

    voxels: int
    inputs: int
    outputs: int
    taps: int
    normalised: bool = True


def layers_of(program: spec.Program) -> list[Layer]:
    """Returns every convolution of the plain network, in order."""
    network, batch = program.network, program.training.batch
    shape, shapes = program.patch, [program.patch]
    for size in program.pools:
        shape = tuple(side // by for side, by in zip(shape, size, strict=True))
        shapes.append(shape)
    voxels = [batch * math.prod(shape) for shape in shapes]
    taps = [math.prod(size) for size in program.kernels]
    widths = [
        min(network.width << level, network.max_width) for level in range(network.depth)
    ]
    found: list[Layer] = []
    inputs = program.channels
    down = range(network.depth)
    for level in (*down, *reversed(down[:-1])):
        width = widths[level]
        # On the way up the skip connection is concatenated.
        if len(found) >= 2 * network.depth:
            inputs += width
        found.append(Layer(voxels[level], inputs, width, taps[level]))
        found.append(Layer(voxels[level], width, width, taps[level]))
        inputs = width
    found.append(Layer(voxels[0], inputs, program.classes, 1, normalised=False))
    return found


def count_flop(program: spec.Program) -> float:
    """Returns the operations of a training step's convolutions."""
    return float(
        sum(
            2 * _PASSES * layer.voxels * layer.inputs * layer.outputs * layer.taps
            for layer in layers_of(program)
        )
    )


def count_bytes(program: spec.Program) -> float:
    """Returns the bytes that a step moves at least, nothing fused between layers."""
    total = 0
    for layer in layers_of(program):
        kernel = layer.inputs * layer.outputs * layer.taps
        total += _PASSES * (layer.voxels * (layer.inputs + layer.outputs) + kernel)
        total += _ADAMW_MOVES * kernel
        if layer.normalised:
            total += _NORM_MOVES * layer.voxels * layer.outputs
    return float(_FLOAT * total)


def describe(points: Sequence[Point]) -> str:
    """Returns the cases as a Markdown table."""
    lines = [
        "\n| case | trials | GFLOP a step: counted / XLA | MB a step: counted / XLA "
        "| GFLOP/s | matmul GFLOP/s | share of matmul: median (range) "
        "| triad GB/s | share of bandwidth | share of the roof |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for point in points:
        row = point.row("", 0.0)
        lines.append(
            f"| {point.case.name} | {point.trials} "
            f"| {point.flop / 1e9:.2f} / {point.xla_flop / 1e9:.2f} "
            f"| {point.moved / 1e6:.0f} / {point.xla_moved / 1e6:.0f} "
            f"| {row['flop_per_s'] / 1e9:.1f} | {point.limits.matmul / 1e9:.1f} "
            f"| {spread(point.shares, 2)} | {point.limits.triad / 1e9:.1f} "
            f"| {row['share_of_bandwidth']:.2f} | {row['share_of_roof']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
