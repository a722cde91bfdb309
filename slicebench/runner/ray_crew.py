"""The workers of a run as its driver sees them: asked for, listened to, replaced."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

from slicebench.runner.dispatch import Line, Unit
from slicebench.runner.options import Options
from slicebench.runner.ray_cluster import Size, absolute
from slicebench.runner.ray_worker import Setup, Worker

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


@dataclasses.dataclass(eq=False)
class Hand:
    """A worker.

    Attributes:
      number: Its number, from 1.
      actor: Ray's handle.
      call: The call under way, if any.
      job: What it does: None before it is ready, a line whose program is planned, or
        batches.
      ready: Whether it has made the study.
      last: Line that it trained last.
      steps: Trial-steps of the call under way, as far as it has told.
      poll: Question about progress that is not yet answered.
    """

    number: int
    actor: Any
    call: Any = None
    job: Line | Unit | None = None
    ready: bool = False
    last: Line | None = None
    steps: int = 0
    poll: Any = None


@dataclasses.dataclass(frozen=True)
class Ended:
    """A call that has ended.

    Attributes:
      hand: Whose.
      job: What it was; None for the first call of a worker.
      result: What it returned; None where the worker is lost.
      reason: Why it is lost.
    """

    hand: Hand
    job: Line | Unit | None
    result: Any
    reason: str = ""


class Crew:
    """All workers of a run.

    Args:
      ray: The module `ray`, connected to a cluster.
      size: What a worker needs.
      options: The run's.
      setup: What else a worker has to know.
    """

    def __init__(self, ray: Any, size: Size, options: Options, setup: Setup):
        self.hands: list[Hand] = []
        self._ray, self._size = ray, size
        self._options, self._setup = absolute(options), setup
        self._count = 0

    def hire(self) -> None:
        """Asks for one more worker; it comes when there is a place for it."""
        remote = self._ray.remote(
            num_cpus=self._size.cpus,
            num_gpus=self._size.gpus,
            # One call that works, one that asks or stops.
            max_concurrency=2,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(Worker)
        self._count += 1
        hand = Hand(self._count, remote.remote(self._options, self._setup))
        hand.call = hand.actor.ready.remote()
        self.hands.append(hand)

    def ready(self) -> int:
        """Returns how many workers have made the study."""
        return sum(hand.ready for hand in self.hands)

    def busy(self) -> list[Hand]:
        """Returns the workers that plan or train."""
        return [hand for hand in self.hands if hand.job is not None]

    def idle(self) -> list[Hand]:
        """Returns the workers that wait for work."""
        return [hand for hand in self.hands if hand.ready and hand.job is None]

    def plan(self, hand: Hand, line: Line) -> None:
        """Lets a worker choose the plan of a line's program."""
        hand.job, hand.call = line, hand.actor.plan.remote(line)

    def train(self, hand: Hand, unit: Unit, record: dict[str, Any]) -> None:
        """Lets a worker train batches under a plan."""
        hand.job, hand.last = unit, unit.line
        hand.call = hand.actor.train.remote(unit, record)

    def ask_to_stop(self, number: int) -> None:
        """Lets busy workers end what they do after a checkpoint."""
        for hand in self.busy():
            hand.actor.stop.remote(number)

    def ended(self) -> Iterator[Ended]:
        """Waits a moment, and returns the calls that have ended.

        Lost workers are no part of the crew from then on.

        Raises:
          Exception: What a worker's call has raised.
        """
        calls = {hand.call: hand for hand in self.hands if hand.call is not None}
        if not calls:
            return
        ready, _ = self._ray.wait(list(calls), timeout=_POLL_SECONDS)
        for call in ready:
            yield self._end(calls[call])

    def _end(self, hand: Hand) -> Ended:
        call, job = hand.call, hand.job
        hand.call, hand.job, hand.steps = None, None, 0
        errors = self._ray.exceptions
        try:
            return Ended(hand, job, self._ray.get(call))
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise
        except errors.RayError as error:
            self._let_go(hand)
            reason = " ".join(str(error).split())
            _log.warning("worker %d is lost (%s)", hand.number, reason[-200:])
            return Ended(hand, job, None, reason)

    def _let_go(self, hand: Hand) -> None:
        self.hands.remove(hand)
        with contextlib.suppress(self._ray.exceptions.RayError):
            # It may be alive behind a broken line.
            self._ray.kill(hand.actor)

    def listen(self) -> None:
        """Takes what busy workers say of their progress, and shows their log lines."""
        for hand in self.hands:
            if hand.poll is not None:
                ended, _ = self._ray.wait([hand.poll], timeout=0)
                if not ended:
                    continue
                with contextlib.suppress(self._ray.exceptions.RayError):
                    steps, lines = self._ray.get(hand.poll)
                    hand.steps = steps if isinstance(hand.job, Unit) else 0
                    for level, line in lines:
                        _log.log(level, "worker %d: %s", hand.number, line)
            hand.poll = hand.actor.progress.remote() if hand.job is not None else None

    def end(self) -> None:
        """Ends all workers at once."""
        for hand in list(self.hands):
            self._let_go(hand)
