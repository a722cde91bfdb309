"""What the C library is told so that training steps run at full speed."""

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of mallopt(3) in the GNU C library."""


@functools.cache
def keep_memory() -> bool:
    """Makes freed memory stay with the process.

    On a CPU, XLA allocates the temporary buffers of a step anew at every call
    (tens of megabytes). The GNU C library gives blocks of that size back to the
    system when they are freed, so every step would take thousands of page
    faults to get them again: a fifth of a step on one core, more on several.

    Returns:
      Whether the C library took the advice; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return False
    advise = getattr(ctypes.CDLL(None), "mallopt", None)
    if advise is None:
        return False
    return bool(advise(_MMAP_MAX, 0) and advise(_TRIM_THRESHOLD, 2**31 - 1))
