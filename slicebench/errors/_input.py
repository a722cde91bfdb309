"""The one exception that a user's input can cause."""

from collections.abc import Sequence
from typing import Any

_MOST = 6000
"""Characters of a message; a hostile file must not fill the screen."""


class InputError(ValueError):
    """Bad input: a folder, file, flag or experiment that cannot be used.

    The message is one line of printable characters, whatever names and values a file
    has put into it: terminal commands, line breaks and half characters are escaped.

    Args:
      message: What was given and what is allowed.
    """

    def __init__(self, message: str):
        text = _printable(" ".join(message.split("\n")))
        if len(text) > _MOST:
            text = f"{text[:_MOST]} ... ({len(text) - _MOST} more characters)"
        super().__init__(text)


def gather(subject: str, faults: Sequence[str], limit: int = 12) -> InputError:
    """Combines several faults of one subject into one error.

    Args:
      subject: What the faults belong to, such as a folder.
      faults: One clause a fault.
      limit: How many are spelled out; the rest are counted.

    Returns:
      An `InputError` whose message is one line.
    """
    spelled = "; ".join(_cut(fault, _MOST // limit) for fault in faults[:limit])
    rest = len(faults) - limit
    more = f"; and {rest} more" if rest > 0 else ""
    return InputError(f"{subject}: {spelled}{more}")


def shown(value: Any, limit: int = 120) -> str:
    """Returns a value as a message shows it: its Python form, cut where it is long.

    >>> shown({"a": [1, 2]})
    "{'a': [1, 2]}"
    """
    return _cut(repr(value), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
