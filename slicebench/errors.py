"""The one exception that a user's input can cause.

The command line turns it into exit status 2 and its message, without a
traceback. Messages name the file or flag, what was given and what is allowed.
"""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input: a folder, file, flag or experiment that cannot be used."""


def gather(subject: str, faults: Sequence[str], limit: int = 12) -> InputError:
    """Combines several faults of one subject into one error.

    Args:
      subject: What the faults belong to, such as a folder.
      faults: One clause a fault.
      limit: How many are spelled out; the rest are counted.

    Returns:
      An `InputError` whose message is one line.
    """
    shown = "; ".join(faults[:limit])
    rest = len(faults) - limit
    more = f"; and {rest} more" if rest > 0 else ""
    return InputError(f"{subject}: {shown}{more}")
