"""What it looks like when a disk takes no more, whichever library wrote."""

import errno
import os

_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_TEXTS = tuple(os.strerror(code) for code in _CODES)


def disk_trouble(error: BaseException) -> str | None:
    """Returns in words what is wrong with a disk; None for any other error.

    Orbax hides the number of the error in its text.
    """
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in _CODES:
            return os.strerror(chain.errno)
        found = next((text for text in _TEXTS if text in str(chain)), None)
        if found is not None:
            return found
        chain = chain.__cause__ or chain.__context__
    return None
