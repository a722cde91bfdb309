"""Which batches a worker trains next: pieces that shrink towards the end."""

import dataclasses
from collections.abc import Iterable

_SHARE = 0.5
"""Part of an even share of what is left that a worker gets at once."""

_MOST_BATCHES = 32


@dataclasses.dataclass(frozen=True)
class Line:
    """Trials that share a compiled program and the arrays of a task."""

    task: str
    fold: int
    program: str


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch that waits for a worker.

    Attributes:
      name: Digest of its trials, the name of its parts.
      ids: Its trials.
      cost: Estimated work, in any unit.
    """

    name: str
    ids: tuple[str, ...]
    cost: float


@dataclasses.dataclass(frozen=True)
class Unit:
    """What a worker is given at once."""

    line: Line
    batches: tuple[Batch, ...]

    @property
    def ids(self) -> set[str]:
        """All its trials."""
        return {trial_id for batch in self.batches for trial_id in batch.ids}


class Queue:
    """Batches that wait for a worker, by line.

    Guided self-scheduling (Polychronopoulos and Kuck, IEEE Transactions on Computers
    36, 1987): a unit is half of an even share of the work that is left, at least one
    batch. Large units first, so that a batch is scored while the next one trains and
    few calls are made; single batches at the end, so that all workers end together.
    """

    def __init__(self) -> None:
        self._waiting: dict[Line, list[Batch]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, line: Line, batches: Iterable[Batch], *, first: bool = False) -> None:
        """Adds batches of a line behind, or before, those that wait."""
        there = self._waiting.pop(line, [])
        new = list(batches)
        merged = new + there if first else there + new
        if merged:
            self._waiting[line] = merged

    def drop(self, program: str) -> None:
        """Forgets the batches of a program, which will be cut anew."""
        self._waiting = {
            line: batches
            for line, batches in self._waiting.items()
            if line.program != program
        }

    def take(self, last: Line | None, workers: int) -> Unit | None:
        """Returns what a worker does next; None where nothing waits.

        Args:
          last: What the worker did before: it goes on with that, or with another fold
            of the program that it has compiled, or with the line of most work.
          workers: How many share the work.
        """
        if not self._waiting:
            return None
        line = max(
            self._waiting,
            key=lambda line: (
                line == last,
                last is not None and line.program == last.program,
                self._cost(line),
            ),
        )
        share = _SHARE * sum(map(self._cost, self._waiting)) / max(workers, 1)
        waiting, taken, cost = self._waiting.pop(line), 0, 0.0
        while taken < min(len(waiting), _MOST_BATCHES):
            cost += waiting[taken].cost
            if taken and cost > share:
                break
            taken += 1
        self.put(line, waiting[taken:], first=True)
        return Unit(line, tuple(waiting[:taken]))

    def _cost(self, line: Line) -> float:
        return sum(batch.cost for batch in self._waiting[line])
