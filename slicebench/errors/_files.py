"""Reading whole files that may be anything: pipes, devices, far too large, not text."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from slicebench.errors._input import InputError, shown

MAX_JSON = 1 << 27
"""Most bytes of a JSON file."""


def read_regular(
    path: str | os.PathLike[str], limit: int, *, most: int | None = None
) -> bytes:
    """Reads a file whole; never waits for a pipe and never follows a device.

    Args:
      path: The file.
      limit: Most bytes that it may have; they are counted before it is read.
      most: How many of them are read; None reads all.

    Raises:
      OSError: It cannot be opened, is no ordinary file, or is larger.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a path with a zero byte
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file")
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "is a pipe, socket or device, not a file")
        if state.st_size > limit:
            raise OSError(
                errno.EFBIG, f"holds {state.st_size} bytes, allowed are {limit}"
            )
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit if most is None else most)
    finally:
        os.close(handle)


def parse_json(content: bytes) -> Any:
    """Parses JSON as its standard has it.

    Args:
      content: UTF-8 text.

    Raises:
      ValueError: It is no such text, nests too deeply, says NaN or Infinity, or has
        a key twice in one object, of which one would be lost without a word.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json_value(path: str | os.PathLike[str], what: str = "not JSON") -> Any:
    """Reads a JSON file.

    Args:
      path: The file.
      what: What the message says of content that is not JSON.

    Raises:
      InputError: It cannot be read, or is not JSON.
    """
    target = Path(path)
    try:
        return parse_json(read_regular(target, MAX_JSON))
    except FileNotFoundError:
        raise InputError(f"{target}: no such file") from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{target}: cannot be read: {reason}") from None
    except ValueError as error:
        raise InputError(f"{target}: {what} ({error})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {shown(twice)} is there twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
