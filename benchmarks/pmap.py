"""Where did pmap go: the training step through `jax.pmap` and through the engine.

    python -m benchmarks.pmap [--rounds=N] [--steps=N]

On one and on two simulated host devices, one trial on each: the same step from
the same first weights, once mapped by `jax.pmap`, once as the engine does it
(`jax.jit` of `jax.shard_map` over a mesh with the axis `trial`, `vmap` inside).
Prints Markdown: time of a trial's step, both ways taking turns; time to trace
and compile; relative difference of all weights afterwards, which grows with the
steps from the two programs' rounding. Then what each way can do, tried here.
"""

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.sharding import Mesh, PartitionSpec

from benchmarks._engine import make_engine
from benchmarks._machine import announce, spread
from benchmarks._throughput_cases import CASES, DEMO_CASE, Case
from slicebench.training.engine import TRIAL_AXIS, Plan, over_trials, trial_mesh
from slicebench.training.step import TrialState, make_step

# Flags of its own: other programs of the suite define the same names.
_FLAGS = flags.FlagValues()
_ROUNDS = flags.DEFINE_integer(
    "rounds", 7, "rounds of each way", lower_bound=1, flag_values=_FLAGS
)
_STEPS = flags.DEFINE_integer(
    "steps", 5, "steps of a round", lower_bound=1, flag_values=_FLAGS
)
_CASE = flags.DEFINE_enum(
    "case", DEMO_CASE, list(CASES), "network and batch", flag_values=_FLAGS
)

DEVICES = 2
Call = Callable[[TrialState], TrialState]


class Way:
    """One way of mapping the step over devices, compiled and warmed up.

    Attributes:
      seconds: Time to trace and compile.
      state: Where the trials stand.
    """

    def __init__(self, case: Case, devices: int, prepare: Callable[..., Any]):
        """Compiles; `prepare` returns the lowered step's owner and its inputs."""
        plan = Plan(devices=devices, trials_per_device=1)
        engine, self.state, arrays = make_engine(case, plan)
        mapped, self._rest = prepare(case, devices, arrays, engine.bank)
        start = time.perf_counter()
        self._step = mapped.lower(self.state, *self._rest).compile()
        self.seconds = time.perf_counter() - start
        self._trials = devices
        self.milliseconds(2)

    def milliseconds(self, steps: int) -> float:
        """Trains on; returns the time of one trial's step."""
        start = time.perf_counter()
        for _ in range(steps):
            self.state = self._step(self.state, *self._rest)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) * 1e3 / steps / self._trials


def prepare_pmap(case: Case, devices: int, arrays: Any, bank: Any) -> Any:
    """Maps the step by `jax.pmap`; its inputs are placed as it places them."""
    used = jax.devices()[:devices]
    mapped = functools.partial(jax.pmap, devices=used)
    step = mapped(make_step(case.program), in_axes=(0, 0, None), donate_argnums=0)
    return step, (mapped(lambda value: value)(arrays), bank)


def prepare_mesh(case: Case, devices: int, arrays: Any, bank: Any) -> Any:
    """Maps the step as the engine does."""
    shared = [False, False, True]
    step = make_step(case.program)
    return over_trials(step, trial_mesh(devices), shared, donate_argnums=0), (
        arrays,
        bank,
    )


WAYS = {"jax.pmap": prepare_pmap, "jit + shard_map": prepare_mesh}


def difference(ours: TrialState, theirs: TrialState) -> float:
    """Returns the relative difference of all weights together (Euclidean norm)."""

    def flat(state: TrialState) -> np.ndarray:
        leaves = jax.tree.leaves(state.params)
        return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])

    first, second = flat(ours), flat(theirs)
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def race(case: Case, devices: int, rounds: int, steps: int) -> list[str]:
    """Times both ways in turn; returns the table's rows."""
    ways = {name: Way(case, devices, prepare) for name, prepare in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        # Another one goes first in every round.
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            times[name].append(ways[name].milliseconds(steps))
    found = difference(*(way.state for way in ways.values()))
    return [
        f"| {devices} | {name} | {spread(times[name], 1)} | {way.seconds:.1f} "
        f"| {found:.1e} |"
        for name, way in ways.items()
    ]


def _double(row: jax.Array) -> jax.Array:
    return row * 2


def _mean_over(axes: Any) -> Callable[[jax.Array], jax.Array]:
    return lambda row: jax.lax.pmean(row, axes)


def _meshed(function: Callable[..., Any], mesh: Mesh, axes: Any) -> Any:
    split = PartitionSpec(axes)
    # As in the engine, nothing is marked as varying.
    local = jax.shard_map(
        function, mesh=mesh, in_specs=split, out_specs=split, check_vma=False
    )
    return jax.jit(local)


def _export(mapped: Any, rows: int) -> Any:
    """Lowers a mapped function for a machine with another kind of device."""
    return jax.export.export(mapped, platforms=["cuda"])(jnp.ones((rows, 2)))


def attempts() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """What is tried on two devices: through pmap, through a mesh."""
    pmap, ones = jax.pmap, jnp.ones
    mesh = trial_mesh(DEVICES)
    grid = Mesh(mesh.devices.reshape(DEVICES, 1), (TRIAL_AXIS, "batch"))
    doubled = over_trials(_double, mesh, [False])
    inner = jax.vmap(_mean_over(("each", TRIAL_AXIS)), axis_name="each")
    return {
        "4 trials on one array axis": (
            lambda: pmap(_double)(ones((4, 2))),
            lambda: doubled(ones((4, 2))),
        ),
        "4 trials, the axis cut into (2, 2) by hand, `vmap` inside": (
            lambda: pmap(jax.vmap(_double))(ones((2, 2, 2))),
            lambda: _meshed(jax.vmap(jax.vmap(_double)), mesh, TRIAL_AXIS)(
                ones((2, 2, 2))
            ),
        ),
        "mean over `vmap`'s named axis and the devices'": (
            lambda: pmap(inner, axis_name=TRIAL_AXIS)(ones((2, 2, 2))),
            lambda: _meshed(inner, mesh, TRIAL_AXIS)(ones((4, 2))),
        ),
        "3 trials, nothing padded": (
            lambda: pmap(_double)(ones((3, 2))),
            lambda: doubled(ones((3, 2))),
        ),
        "devices in a mesh of two named axes": (
            lambda: pmap(_mean_over("batch"), axis_name=(TRIAL_AXIS, "batch"))(
                ones((2, 2))
            ),
            lambda: _meshed(_mean_over("batch"), grid, TRIAL_AXIS)(ones((2, 2))),
        ),
        "compile ahead of time": (
            lambda: pmap(_double).lower(ones((2, 2))).compile(),
            lambda: doubled.lower(ones((2, 2))).compile(),
        ),
        "`jax.export` for another platform": (
            lambda: _export(pmap(_double), 2),
            lambda: _export(doubled, 2),
        ),
        "the same, wrapped in `jit`": (
            lambda: _export(jax.jit(pmap(_double)), 2),
            lambda: _export(jax.jit(doubled), 2),
        ),
    }


def outcome(attempt: Callable[[], Any]) -> str:
    """Tries something; returns `yes`, or the error's first words."""
    try:
        attempt()
    except Exception as error:  # the kind of error is what is asked
        words = str(error).partition("\n")[0]
        return f"no: {type(error).__name__}, {words[:100]}"
    return "yes"


def main(argv: Sequence[str]) -> None:
    """Prints both tables."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    # A program read from a cache would be reported as compiled in no time.
    jax.config.update("jax_enable_compilation_cache", False)
    announce()
    case = CASES[_CASE.value]
    print(f"jax {jax.__version__}, nice {os.nice(0)}; {case.title}\n")
    print("| devices | way | ms per trial-step | compile s | weights differ |")
    print("|---|---|---|---|---|")
    for devices in (1, DEVICES):
        print("\n".join(race(case, devices, _ROUNDS.value, _STEPS.value)), flush=True)
    print(f"\n| on {DEVICES} devices | {' | '.join(WAYS)} |\n|---|---|---|")
    for name, pair in attempts().items():
        print(f"| {name} | {' | '.join(map(outcome, pair))} |", flush=True)


def _parse(argv: Sequence[str]) -> list[str]:
    return flags.FLAGS(_FLAGS(list(argv), known_only=True))


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
