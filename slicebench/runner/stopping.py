"""SIGINT and SIGTERM: what is under way is kept before the process ends."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818
    """The process was asked to end, and everything done so far is kept.

    Attributes:
      number: Of the signal.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class Stop:
    """Whether the process has been asked to end.

    Attributes:
      asked: Number of the signal; None as long as none came.
    """

    def __init__(self) -> None:
        self.asked: int | None = None

    def agree(self, late: bool) -> tuple[bool, int | None]:
        """Returns what is due now; several processes agree on it.

        Args:
          late: Whether the last checkpoint is too long ago.

        Returns:
          Whether to write a checkpoint for that reason, and the signal by which the
          run was asked to end, None if it was not.
        """
        return late, self.asked

    def check(self) -> None:
        """Ends the run where that was asked for.

        Raises:
          Stopped: It was.
        """
        if self.asked is not None:
            raise Stopped(self.asked)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Turns the first SIGINT or SIGTERM into a wish; a second one acts at once.

    Only the main thread can set handlers: elsewhere signals act as before.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, _: FrameType | None) -> None:
        stop.asked = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        _log.warning(
            "%s: stops after a checkpoint; a second one stops at once",
            signal.Signals(number).name,
        )

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
