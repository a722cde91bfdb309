"""Uploads beside a run: a thread that looks for finished files every few seconds."""

import logging
import threading

from slicebench.remote._mirror import Mirror
from slicebench.remote._place import RemoteError

_log = logging.getLogger(__name__)

POLL_SECONDS = 5.0


class Uploads:
    """Pushes a mirror until it is told to finish; training never waits for it.

    Args:
      mirror: What is pushed.
    """

    def __init__(self, mirror: Mirror):
        self._mirror = mirror
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begins to look for finished files."""
        self._thread.start()

    def finish(self) -> None:
        """Pushes what is left, with the report.

        Raises:
          RemoteError: Not all of it could be written; it is kept here.
        """
        self._end.set()
        self._thread.join()
        self._mirror.push(report=True)

    def stop(self) -> None:
        """Ends the thread; nothing more is pushed."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        failing = False
        while not self._end.wait(POLL_SECONDS):
            try:
                self._mirror.push()
            except (RemoteError, OSError) as error:
                if not failing:
                    _log.warning(
                        "%s; the run goes on, its rows are kept in %s and tried again",
                        *(error, self._mirror.folder),
                    )
                failing = True
            else:
                if failing:
                    _log.info("%s can be written again", self._mirror.place.url)
                failing = False
