"""The ways of training that race, and how a case's rounds become one row."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from benchmarks._machine import spread
from benchmarks._throughput_cases import CASES, DEMO_CASE, WIDE_CASE, Case
from benchmarks._throughput_workers import Group

UNIT = "trial_steps_per_s"
TOLERANCE = 0.05
"""How much faster a peer left out of the quick form may be by chance."""

_JAX = "benchmarks._throughput_jax:JaxBench"
_TORCH = "benchmarks._throughput_torch:TorchBench"
_EVERY = frozenset(CASES)
_NONE: frozenset[str] = frozenset()

Role = Literal["ours", "alone", "peer", "record"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train the trials of a case.

    Attributes:
      name: Name in tables and JSON.
      role: `ours`; `alone`, a single trial; `peer`, what ours is compared
        with; `record`, known to be slow and timed over fewer steps.
      group: Processes that it runs in, see `make_group`.
      method: What it is called there.
      quick: Cases in which the quick form times it.
    """

    name: str
    role: Role
    group: str
    method: str
    quick: frozenset[str] = _NONE


def _way(
    name: str, role: Role, group: str, method: str, quick: frozenset[str] = _NONE
) -> Way:
    return Way(name=name, role=role, group=group, method=method, quick=quick)


OURS = "slicebench"
ALONE = "slicebench, one trial alone, whole machine"

_DEMO = frozenset({DEMO_CASE})
_BOTH = frozenset({DEMO_CASE, WIDE_CASE})
_SHARED = "torch all threads"
_SPLIT = "torch process a core"
_KEPT = "torch process a core, memory kept"

WAYS = (
    _way(OURS, "ours", "jax device a core", "planned", _EVERY),
    _way(ALONE, "alone", "jax one device", "one trial", _BOTH),
    _way(
        "slicebench, one trial alone, other devices idle",
        "alone",
        "jax device a core",
        "one trial",
    ),
    _way("PyTorch, one after another", "peer", _SHARED, "eager", _EVERY),
    _way("PyTorch, a process a core", "peer", _SPLIT, "eager", _EVERY),
    _way("PyTorch, a process a core, memory kept", "peer", _KEPT, "eager", _EVERY),
    _way(
        "PyTorch, one after another, torch.compile", "peer", _SHARED, "compiled", _DEMO
    ),
    _way("PyTorch, one after another, channels_last", "peer", _SHARED, "channels last"),
    _way("PyTorch, a process a core, channels_last", "peer", _SPLIT, "channels last"),
    _way("PyTorch, a process a core, GroupNorm", "peer", _SPLIT, "group norm"),
    _way(
        "PyTorch, a process a core, GroupNorm, channels_last",
        "peer",
        _SPLIT,
        "group norm, channels last",
    ),
    _way("PyTorch, a process a core, torch.compile", "peer", _SPLIT, "compiled"),
    _way(
        "PyTorch, a process a core, torch.compile, memory kept",
        "peer",
        _KEPT,
        "compiled",
    ),
    _way("bare jax.vmap", "record", "jax one device", "bare vmap"),
    _way("lax.map", "record", "jax one device", "lax.map"),
)
"""On a CPU, float32."""

GPU_WAYS = (
    _way(OURS, "ours", "jax gpu", "planned, half", _EVERY),
    _way("slicebench, float32", "record", "jax gpu", "planned"),
    _way(ALONE, "alone", "jax gpu", "one trial", _DEMO),
    _way("PyTorch, eager, bf16 autocast", "peer", "torch gpu", "half", _EVERY),
    _way(
        "PyTorch, eager, bf16 autocast, channels_last",
        "peer",
        "torch gpu",
        "half, channels last",
    ),
    _way(
        "PyTorch, CUDA graphs, bf16 autocast",
        "peer",
        "torch gpu",
        "half, graphs",
        _EVERY,
    ),
    _way(
        "PyTorch, CUDA graphs, bf16 autocast, channels_last",
        "peer",
        "torch gpu",
        "half, graphs, channels last",
    ),
)
"""On one GPU, bfloat16: trials of PyTorch follow one another."""


def ways_of(case: Case, *, quick: bool, gpu: bool = False) -> list[Way]:
    """Returns the ways that a case times.

    The quick form compiles PyTorch for the demo's case alone on a CPU, because
    the compiler needs longer than all of the form's rounds.
    """
    ways = GPU_WAYS if gpu else WAYS
    return [way for way in ways if not quick or case.name in way.quick]


def make_group(name: str, cores: int, scratch: str) -> Group:
    """Starts the processes of a group, each core used once.

    Args:
      name: A way's group.
      cores: Cores in use.
      scratch: Folder for files that may be deleted afterwards.
    """
    single = {"threads": 1, "scratch": scratch}
    shared = {"threads": cores, "scratch": scratch}
    groups: dict[str, tuple[str, int, dict[str, Any]]] = {
        "jax device a core": (_JAX, 1, {"devices": cores}),
        "jax one device": (_JAX, 1, {"devices": 1}),
        "jax gpu": (_JAX, 1, {"devices": 0, "platform": "gpu"}),
        _SHARED: (_TORCH, 1, shared),
        _SPLIT: (_TORCH, cores, single),
        _KEPT: (_TORCH, cores, {**single, "keep": True}),
        "torch gpu": (_TORCH, 1, {**shared, "device": "cuda"}),
    }
    if name not in groups:
        raise ValueError(f"unknown group {name}")
    return Group(*groups[name])


def trials_per_process(way: Way, cores: int) -> int:
    """Returns how many trials each process of a way trains.

    slicebench's own plan decides for itself.
    """
    alone = way.role == "alone" or "process" in way.group or "gpu" in way.group
    return 1 if alone else cores


class Timing(NamedTuple):
    """What a way reached in a case.

    Attributes:
      rates: Trial-steps a second of each round.
      compile_seconds: Time spent compiling.
      parameters: Trained weights of one network.
      trials: Trials that train at a time.
    """

    rates: list[float]
    compile_seconds: float
    parameters: int
    trials: int

    @property
    def rate(self) -> float:
        """Median over rounds."""
        return statistics.median(self.rates)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A case's race.

    Attributes:
      case: What was trained.
      ways: How.
      timings: By way, those that worked, rounds in the same order.
      failures: By way, why it did not work.
    """

    case: Case
    ways: Sequence[Way]
    timings: Mapping[str, Timing]
    failures: Mapping[str, str]

    @property
    def trials(self) -> int:
        """Trials that ours trains at a time."""
        return self.timings[OURS].trials if OURS in self.timings else 0

    def ratios(self, over: str, way: str = OURS) -> list[float]:
        """Returns, round by round, one way's rate over another's."""
        pairs = zip(self.timings[way].rates, self.timings[over].rates, strict=True)
        return [rate / other for rate, other in pairs]

    def best(self, *, quick: bool = False) -> str | None:
        """Returns the peer of the highest median rate, all or the quick form's."""
        there = [
            way.name
            for way in self.ways
            if way.role == "peer"
            and way.name in self.timings
            and (not quick or self.case.name in way.quick)
        ]
        return max(there, key=lambda name: self.timings[name].rate, default=None)

    def missed(self) -> str | None:
        """Returns a peer that the quick form leaves out although it is best.

        None where the quick form's best peer is within the tolerance.
        """
        best, quick = self.best(), self.best(quick=True)
        if best is None or quick is None or best == quick:
            return None
        gain = statistics.median(self.ratios(quick, best))
        return best if gain > 1 + TOLERANCE else None

    def row(self, device: str, load: float) -> dict[str, Any]:
        """Returns the case as one JSON row.

        `ratio` is the median over rounds of ours over the best peer, `spread`
        its lowest and highest round; `alone` is a single trial with the whole
        machine. Values that could not be measured are null.
        """
        peer = self.best()
        ours, alone = self.timings.get(OURS), self.timings.get(ALONE)
        ratios = self.ratios(peer) if ours and peer else []
        over_alone = self.ratios(ALONE) if ours and alone else []
        return {
            "name": self.case.name,
            "device": device,
            "dims": self.case.program.dims,
            "trials": self.trials,
            "ours": ours.rate if ours else None,
            "peer": self.timings[peer].rate if peer else None,
            "peer_name": peer,
            "ratio": statistics.median(ratios) if ratios else None,
            "unit": UNIT,
            "alone": alone.rate if alone else None,
            "ratio_to_alone": statistics.median(over_alone) if over_alone else None,
            "spread": [min(ratios), max(ratios)] if ratios else None,
            "compile_seconds": ours.compile_seconds if ours else None,
            "parameters": ours.parameters if ours else None,
            "rounds": len(ours.rates) if ours else 0,
            "load_average": load,
            "ways": {
                name: {
                    "rate": timing.rate,
                    "ours_over_it": statistics.median(self.ratios(name))
                    if ours
                    else None,
                    "spread": [min(timing.rates), max(timing.rates)],
                    "compile_seconds": timing.compile_seconds,
                }
                for name, timing in self.timings.items()
            },
            "failures": dict(self.failures),
        }

    def table(self) -> str:
        """Returns the case as a Markdown table, fastest way first."""
        lines = [
            "| way | trial-steps/s: median (range) | ms per trial-step "
            "| ours over it: median (range) | compile s |",
            "|---|---|---|---|---|",
        ]
        fastest = sorted(self.timings.items(), key=lambda item: -item[1].rate)
        for name, timing in fastest:
            ratios = spread(self.ratios(name), 2) if OURS in self.timings else "-"
            lines.append(
                f"| {name} | {spread(timing.rates, 2)} | {1e3 / timing.rate:.1f} "
                f"| {ratios} | {timing.compile_seconds:.1f} |"
            )
        failed = [f"| {n} | failed: {why} | | | |" for n, why in self.failures.items()]
        return "\n".join(lines + failed)
