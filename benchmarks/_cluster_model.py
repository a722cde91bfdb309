"""A cluster that trains a study, simulated: workers, batches, losses, one store."""

import dataclasses
import heapq
import itertools
import math
import random
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """What a worker and the store need.

    Attributes:
      flop_per_second: Useful training work of a worker.
      compile_seconds: A program that no worker has compiled yet.
      cache_seconds: The same program read from the shared folder.
      checkpoint_every: Seconds between checkpoints; what a lost worker repeats at most.
      restart_seconds: From the loss of a worker to its next step.
      loss_hours: Mean time between two losses of a worker.
      rows_seconds: Making the rows of a batch, on the worker.
      commit_seconds: Syncing the two parts of a batch, on the store, one after another.
      spread: Standard deviation of the logarithm of a batch's duration.
    """

    flop_per_second: float
    compile_seconds: float
    cache_seconds: float = 2.0
    checkpoint_every: float = 60.0
    restart_seconds: float = 60.0
    loss_hours: float = 24.0
    rows_seconds: float = 0.3
    commit_seconds: float = 0.01
    spread: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Trials of one program that train together.

    Attributes:
      program: Its name.
      flop: Work of all its trials.
      trials: How many.
      checkpoint_bytes: Weights and moments of all trials.
    """

    program: str
    flop: float
    trials: int
    checkpoint_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated run took.

    Attributes:
      hours: From the first step to the last part.
      idle: Share of worker time without training: nothing left to do, compilation
        and losses not counted, rows and the store counted.
      losses: Workers lost.
      checkpoint_rate: Bytes a second, mean over the run.
      commits: Parts a second at the busiest minute, pairs counted once.
      store_busy: Share of the busiest minute in which the store writes parts.
    """

    hours: float
    idle: float
    losses: int
    checkpoint_rate: float
    commits: float
    store_busy: float


def cut(trials: Sequence[tuple[str, float, int]], size: int) -> list[Batch]:
    """Cuts trials into batches of one program each, in their order.

    Args:
      trials: Program, work in FLOP and bytes of a checkpoint of each.
      size: Most trials of a batch.
    """
    by_program: dict[str, list[tuple[str, float, int]]] = {}
    for trial in trials:
        by_program.setdefault(trial[0], []).append(trial)
    return [
        Batch(
            program=name,
            flop=sum(flop for _, flop, _ in part),
            trials=len(part),
            checkpoint_bytes=sum(size for _, _, size in part),
        )
        for name, of in by_program.items()
        for start in range(0, len(of), size)
        if (part := of[start : start + size])
    ]


class Cluster:
    """Workers that take batches until none is left.

    Args:
      workers: How many.
      costs: What they need.
      seed: Of durations and losses.
    """

    def __init__(self, workers: int, costs: Costs, seed: int = 0):
        self.workers = workers
        self.costs = costs
        self._random = random.Random(seed)

    def run(self, batches: Sequence[Batch], *, shared_queue: bool) -> Outcome:
        """Simulates the run.

        Args:
          batches: What there is to do.
          shared_queue: Whether each worker takes the largest batch that is left (Ray),
            or has its share dealt beforehand, largest first to the least loaded
            (job arrays).
        """
        order = sorted(batches, key=lambda batch: -batch.flop)
        shares = [order] if shared_queue else self._deal(order)
        queues = [list(reversed(share)) for share in shares]
        compiled, known = set[str](), [set[str]() for _ in range(self.workers)]
        ready = [(0.0, worker) for worker in range(self.workers)]
        heapq.heapify(ready)
        busy, losses, written, store_free = 0.0, 0, 0.0, 0.0
        ends: list[float] = []
        while ready:
            now, worker = heapq.heappop(ready)
            queue = queues[0] if shared_queue else queues[worker]
            if not queue:
                continue
            batch = queue.pop()
            needed, lost = self._duration(batch, compiled, known[worker])
            busy += needed
            losses += lost
            written += batch.checkpoint_bytes * needed / self.costs.checkpoint_every
            # One store takes parts one after another.
            rows = now + needed + self.costs.rows_seconds
            store_free = max(rows, store_free) + self.costs.commit_seconds
            ends.append(store_free)
            heapq.heappush(ready, (store_free, worker))
        seconds = max(ends)
        peak = _busiest_minute(ends)
        return Outcome(
            hours=seconds / 3600,
            idle=1 - busy / (seconds * self.workers),
            losses=losses,
            checkpoint_rate=written / seconds,
            commits=peak / 60,
            store_busy=min(peak * self.costs.commit_seconds / 60, 1.0),
        )

    def _deal(self, order: Sequence[Batch]) -> list[list[Batch]]:
        """Shares of about equal work (Graham, 1969)."""
        loads = [(0.0, worker) for worker in range(self.workers)]
        shares: list[list[Batch]] = [[] for _ in range(self.workers)]
        for batch in order:
            load, worker = heapq.heappop(loads)
            shares[worker].append(batch)
            heapq.heappush(loads, (load + batch.flop, worker))
        return shares

    def _duration(
        self, batch: Batch, compiled: set[str], known: set[str]
    ) -> tuple[float, int]:
        """Returns seconds of a batch, with losses of its worker, and how many."""
        costs = self.costs
        spread = self._random.lognormvariate(-(costs.spread**2) / 2, costs.spread)
        seconds = batch.flop / costs.flop_per_second * spread
        if batch.program not in known:
            cached = batch.program in compiled
            seconds += costs.cache_seconds if cached else costs.compile_seconds
            compiled.add(batch.program)
            known.add(batch.program)
        left, lost = seconds, 0
        while (until := self._random.expovariate(1 / (costs.loss_hours * 3600))) < left:
            left -= until
            again = self._random.uniform(0, min(costs.checkpoint_every, until))
            left += again
            seconds += again + costs.restart_seconds
            lost += 1
        return seconds, lost


def _busiest_minute(ends: Sequence[float]) -> int:
    minutes = (math.floor(end / 60) for end in ends)
    return max(len(list(group)) for _, group in itertools.groupby(sorted(minutes)))
