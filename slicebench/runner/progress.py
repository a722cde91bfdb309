"""Progress on the terminal: one bar, and log lines that do not break it."""

import logging
import sys
from typing import Any

from tqdm import tqdm


class _AboveTheBar(logging.Handler):
    """Writes log lines to standard error above a running progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def show_logs() -> None:
    """Shows this package's log lines, and only warnings of all others.

    Orbax logs the traces of errors that it raises as well; they are told once.
    """
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("absl").addFilter(_is_told_once)
    ours = logging.getLogger("slicebench")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    if not any(isinstance(handler, _AboveTheBar) for handler in ours.handlers):
        handler = _AboveTheBar()
        handler.setFormatter(logging.Formatter("%(message)s"))
        ours.addHandler(handler)


def _is_told_once(record: logging.LogRecord) -> bool:
    return not (record.exc_info and "orbax" in record.pathname)


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, _: str) -> None:
        """Takes what nobody should read."""

    def flush(self) -> None:
        """Has nothing to write."""


def progress_bar(total: int, initial: int, *, shown: bool = True) -> Any:
    """Returns the bar over trials x steps; in a log file it speaks rarely."""
    return tqdm(
        file=None if shown else _Nowhere(),
        total=total,
        initial=initial,
        unit="step",
        unit_scale=True,
        mininterval=0.5 if sys.stderr.isatty() else 20.0,
    )


def extend_bar(bar: Any, total: int, there: int) -> None:
    """Sets what is to be done, and what was done before and says nothing of speed."""
    found = there - bar.n
    bar.total = total
    bar.initial += found
    bar.n += found
    bar.refresh()
