"""The ways of training that race, and how a case's rounds become one row."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from benchmarks._throughput_cases import DEMO_CASE, Case
from benchmarks._throughput_workers import Group

UNIT = "trial_steps_per_s"
TOLERANCE = 0.05
"""How much faster a peer left out of the quick form may be by chance."""

_JAX = "benchmarks._throughput_jax:JaxBench"
_TORCH = "benchmarks._throughput_torch:TorchBench"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train the trials of a case.

    Attributes:
      name: Name in tables and JSON.
      role: `ours`; `alone`, a single trial; `peer`, what ours is compared
        with; `record`, known to be slow and timed over fewer steps.
      group: Processes that it runs in, see `make_group`.
      method: What it is called there.
      quick: Whether the quick form times it.
    """

    name: str
    role: Literal["ours", "alone", "peer", "record"]
    group: str
    method: str
    quick: bool = False


OURS = "slicebench, one trial a core"
ALONE = "slicebench, one trial alone, whole machine"

WAYS = (
    Way(
        name=OURS,
        role="ours",
        group="jax device a core",
        method="one trial a device",
        quick=True,
    ),
    Way(
        name=ALONE,
        role="alone",
        group="jax one device",
        method="one trial",
        quick=True,
    ),
    Way(
        name="slicebench, one trial alone, other devices idle",
        role="alone",
        group="jax device a core",
        method="one trial",
    ),
    Way(
        name="PyTorch, one after another",
        role="peer",
        group="torch all threads",
        method="eager",
        quick=True,
    ),
    Way(
        name="PyTorch, a process a core",
        role="peer",
        group="torch process a core",
        method="eager",
        quick=True,
    ),
    Way(
        name="PyTorch, one after another, torch.compile",
        role="peer",
        group="torch all threads",
        method="compiled",
        quick=True,
    ),
    Way(
        name="PyTorch, one after another, channels_last",
        role="peer",
        group="torch all threads",
        method="channels last",
    ),
    Way(
        name="PyTorch, a process a core, channels_last",
        role="peer",
        group="torch process a core",
        method="channels last",
    ),
    Way(
        name="PyTorch, a process a core, GroupNorm",
        role="peer",
        group="torch process a core",
        method="group norm",
    ),
    Way(
        name="PyTorch, a process a core, GroupNorm, channels_last",
        role="peer",
        group="torch process a core",
        method="group norm, channels last",
    ),
    Way(
        name="PyTorch, a process a core, torch.compile",
        role="peer",
        group="torch process a core",
        method="compiled",
    ),
    Way(
        name="bare jax.vmap",
        role="record",
        group="jax one device",
        method="bare vmap",
    ),
    Way(
        name="lax.map",
        role="record",
        group="jax one device",
        method="lax.map",
    ),
)


def ways_of(case: Case, *, quick: bool) -> list[Way]:
    """Returns the ways that a case times.

    The quick form compiles PyTorch for the demo's case alone, because the
    compiler needs longer than all of the form's rounds.
    """
    return [
        way
        for way in WAYS
        if not quick
        or (way.quick and (way.method != "compiled" or case.name == DEMO_CASE))
    ]


def make_group(name: str, cores: int, scratch: str) -> Group:
    """Starts the processes of a group, each core used once.

    Args:
      name: A way's group.
      cores: Cores in use.
      scratch: Folder for files that may be deleted afterwards.
    """
    match name:
        case "jax device a core":
            return Group(_JAX, 1, {"devices": cores})
        case "jax one device":
            return Group(_JAX, 1, {"devices": 1})
        case "torch all threads":
            return Group(_TORCH, 1, {"threads": cores, "scratch": scratch})
        case "torch process a core":
            return Group(_TORCH, cores, {"threads": 1, "scratch": scratch})
        case _:
            raise ValueError(f"unknown group {name}")


def trials_per_process(way: Way, cores: int) -> int:
    """Returns how many trials each process of a way trains."""
    return 1 if way.role == "alone" or "process" in way.group else cores


class Timing(NamedTuple):
    """What a way reached in a case.

    Attributes:
      rates: Trial-steps a second of each round.
      compile_seconds: Time spent compiling.
      parameters: Trained weights of one network.
    """

    rates: list[float]
    compile_seconds: float
    parameters: int

    @property
    def rate(self) -> float:
        """Median over rounds."""
        return statistics.median(self.rates)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A case's race.

    Attributes:
      case: What was trained.
      trials: Trials that ours trains at a time.
      timings: By way, those that worked, rounds in the same order.
      failures: By way, why it did not work.
    """

    case: Case
    trials: int
    timings: Mapping[str, Timing]
    failures: Mapping[str, str]

    def ratios(self, over: str, way: str = OURS) -> list[float]:
        """Returns, round by round, one way's rate over another's."""
        pairs = zip(self.timings[way].rates, self.timings[over].rates, strict=True)
        return [rate / other for rate, other in pairs]

    def best(self, ways: Sequence[Way]) -> str | None:
        """Returns the peer of the highest median rate among some ways."""
        peers = [way.name for way in ways if way.role == "peer"]
        there = [name for name in peers if name in self.timings]
        return max(there, key=lambda name: self.timings[name].rate, default=None)

    def missed(self) -> str | None:
        """Returns a peer that the quick form leaves out although it is best.

        None where the quick form's best peer is within the tolerance.
        """
        best = self.best(WAYS)
        quick = self.best(ways_of(self.case, quick=True))
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
        peer = self.best(WAYS)
        ours, alone = self.timings.get(OURS), self.timings.get(ALONE)
        ratios = self.ratios(peer) if ours and peer else []
        over_alone = self.ratios(ALONE) if ours and alone else []
        return {
            "name": self.case.name,
            "device": device,
            "dims": "2d",
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


def spread(values: Sequence[float], digits: int) -> str:
    """Returns median and range as text.

    >>> spread([1.0, 4.0, 2.0], 1)
    '2.0 (1.0-4.0)'
    """
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
