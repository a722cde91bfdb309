"""Shows whether the devices wait for the host while a sweep runs.

    python -m benchmarks.profile [--quick] [--json=FILE]

Runs a real sweep of a few batches in this process and records a trace with
`jax.profiler` from the moment the first batch is written until a few later ones
are: the steady state, in which one batch trains while the one before is scored
on host threads. The trace is read with `jax.profiler.ProfileData`.

A thread of a device is busy while an operation of a compiled program runs on it
(training steps, prediction); what XLA does round operations does not count. On a
CPU XLA gives each host device a thread at a time from one pool, so the busy
seconds of the threads are also added up and divided by devices. Printed are the
shares of the recorded time, the longest pauses, and, apart from the trace, the
processor time that the process used, as a share of all cores.
"""

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags

from benchmarks._flags import bench_flags, is_quick, json_path, parser
from benchmarks._machine import announce, cores
from benchmarks._runs import write_rows

_FLAGS = bench_flags()
_DATA = flags.DEFINE_string(
    "data", None, "dataset folder (default: a phantom)", flag_values=_FLAGS
)
_BATCHES = flags.DEFINE_integer(
    "batches",
    None,
    "batches in the trace (default 3, quick 2)",
    lower_bound=1,
    flag_values=_FLAGS,
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "steps of a trial (default 150, quick 60)", flag_values=_FLAGS
)
_TASK = "phantom_organ"
_POLL_SECONDS = 0.02
_CPU_THREADS = ("tf_XLAPjRtCpuClient", "tf_XLAEigen")
"""How XLA names the threads that run a host device's programs and their parts."""

Interval = tuple[float, float]


class Lane(NamedTuple):
    """What one device, or one of its threads, did.

    Attributes:
      name: Its name.
      busy: Seconds in which it computed.
      pauses: Seconds of its longest pauses, the longest first.
    """

    name: str
    busy: float
    pauses: list[float]


class Steady(NamedTuple):
    """A recorded stretch of the steady state.

    Attributes:
      seconds: How long it was.
      lanes: What the devices did.
      processor: Processor seconds that the process used.
      written: Batches written in it.
      devices: Devices that shared the trials.
    """

    seconds: float
    lanes: list[Lane]
    processor: float
    written: int
    devices: int

    @property
    def busy(self) -> float:
        """Busy time of all lanes, as a share of all devices' time."""
        total = sum(lane.busy for lane in self.lanes)
        return total / self.devices / self.seconds


def main(argv: Sequence[str]) -> None:
    """Runs a sweep, records it, prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    from slicebench.runner import use_all_cores

    device, load = announce()
    use_all_cores()
    quick = is_quick(_FLAGS)
    batches = _BATCHES.value or (2 if quick else 3)
    with tempfile.TemporaryDirectory(prefix="profile-") as scratch:
        found = record(Path(scratch), batches, _STEPS.value or (60 if quick else 150))
    print(describe(found))
    write_rows(json_path(_FLAGS), [row(found, device, load)])


def record(scratch: Path, batches: int, steps: int) -> Steady:
    """Runs a sweep and records `batches` of it after the first one.

    Raises:
      RuntimeError: The sweep ended before the recording began.
    """
    import jax

    from slicebench.runner import Options, Overrides, Session, make_study

    # One batch before, as many as are recorded, and one that still trains then.
    trials = (batches + 2) * jax.local_device_count()
    options = Options(
        experiment="budget_sweep",
        workdir=scratch / "run",
        data=(Path(_DATA.value),) if _DATA.value else (),
        overrides=Overrides(
            tasks=None if _DATA.value else (_TASK,),
            budgets=(12,),
            slices_per_volume=(1,),
            num_seeds=trials,
            ceiling_seeds=0,
            steps=(steps,),
        ),
    )
    session = Session(make_study(options), options)
    watcher = Watcher(scratch, batches)
    watcher.start()
    try:
        session.run()
    finally:
        watcher.stop()
    if watcher.seconds is None:
        raise RuntimeError("the sweep ended before its steady state was recorded")
    (trace,) = (scratch / "trace").rglob("*.xplane.pb")
    data: Any = jax.profiler.ProfileData.from_file(str(trace))
    return Steady(
        seconds=watcher.seconds,
        lanes=lanes_of(data.planes),
        processor=watcher.processor,
        written=batches,
        devices=jax.local_device_count(),
    )


class Watcher(threading.Thread):
    """Records from the first written batch on, until enough are written.

    Attributes:
      seconds: Length of the recording, once it has ended.
      processor: Processor seconds used in it.
    """

    def __init__(self, scratch: Path, batches: int):
        super().__init__(daemon=True)
        self.seconds: float | None = None
        self.processor = 0.0
        self._scratch = scratch
        self._batches = batches
        self._ended = threading.Event()

    def run(self) -> None:
        """Waits for the first batch, records, waits for the others."""
        import jax

        if not self._wait_for(1):
            return
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        jax.profiler.start_trace(str(self._scratch / "trace"), profiler_options=options)
        first = self._written()
        start, used = time.perf_counter(), time.process_time()
        enough = self._wait_for(first + self._batches)
        seconds = time.perf_counter() - start
        self.processor = time.process_time() - used
        jax.profiler.stop_trace()
        if enough:
            self.seconds = seconds

    def stop(self) -> None:
        """Ends the recording, wherever it is."""
        self._ended.set()
        self.join()

    def _written(self) -> int:
        return len(list(self._scratch.glob("run/trials/part-*.parquet")))

    def _wait_for(self, batches: int) -> bool:
        while self._written() < batches:
            if self._ended.wait(_POLL_SECONDS):
                return self._written() >= batches
        return True


def lanes_of(planes: Iterable[Any]) -> list[Lane]:
    """Returns when devices computed, from a trace's planes.

    Accelerators have a plane each, with a line for every stream. On a CPU the
    threads that run compiled programs are lines of the host's plane.

    Args:
      planes: As `ProfileData` gives them.
    """
    found: dict[str, list[Interval]] = defaultdict(list)
    for plane in planes:
        on_device = plane.name.startswith("/device:")
        if not (on_device or plane.name.startswith("/host:CPU")):
            continue
        for line in plane.lines:
            if not (on_device or line.name.startswith(_CPU_THREADS)):
                continue
            found[plane.name if on_device else line.name] += [
                (event.start_ns, event.start_ns + event.duration_ns)
                for event in line.events
                if on_device or is_operation(event.name)
            ]
    return [lane_of(name, found[name]) for name in sorted(found) if found[name]]


def is_operation(event: str) -> bool:
    """Whether an event of a CPU thread is an operation of a compiled program.

    >>> [is_operation(name) for name in ("dot.3", "SlinkyThreadPool::Await")]
    [True, False]
    """
    return "::" not in event and "wait" not in event.lower()


def lane_of(name: str, intervals: list[Interval]) -> Lane:
    """Returns the union of intervals in nanoseconds and its longest gaps.

    >>> lane_of("a", [(0, 2e9), (1e9, 3e9), (4e9, 5e9)])
    Lane(name='a', busy=4.0, pauses=[1.0])
    """
    busy, pauses, end = 0.0, [], None
    for start, stop in sorted(intervals):
        if end is not None and start > end:
            pauses.append((start - end) / 1e9)
        if end is None or stop > end:
            busy += stop - (start if end is None else max(start, end))
            end = stop
    return Lane(name, busy / 1e9, sorted(pauses, reverse=True)[:3])


def describe(found: Steady) -> str:
    """Returns the table."""
    used = found.processor / found.seconds / cores()
    lines = [
        f"\n{found.seconds:.2f} s of steady state, {found.written} batches written; "
        f"processor time {used:.1%} of {cores()} cores\n",
        "| device threads | busy s | share of the time | longest pauses ms |",
        "|---|---|---|---|",
    ]
    for lane in found.lanes:
        pauses = ", ".join(f"{1e3 * pause:.1f}" for pause in lane.pauses)
        lines.append(
            f"| {lane.name} | {lane.busy:.2f} | {lane.busy / found.seconds:.1%} "
            f"| {pauses} |"
        )
    lines.append(f"\nall {found.devices} devices together: {found.busy:.1%} busy")
    return "\n".join(lines)


def row(found: Steady, device: str, load: float) -> dict[str, Any]:
    """Returns the recording as a JSON row."""
    return {
        "name": "steady state of budget_sweep",
        "device": device,
        "seconds": found.seconds,
        "batches": found.written,
        "processor_share": found.processor / found.seconds / cores(),
        "devices": found.devices,
        "busy": found.busy,
        "busy_share": {lane.name: lane.busy / found.seconds for lane in found.lanes},
        "longest_pauses_ms": {
            lane.name: [1e3 * pause for pause in lane.pauses] for lane in found.lanes
        },
        "load_average": load,
    }


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
