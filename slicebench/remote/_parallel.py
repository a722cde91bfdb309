"""A few transfers at a time; the first error ends them all."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_AT_ONCE = 8
_T = TypeVar("_T")


def in_parallel(call: Callable[[_T], object], items: Iterable[_T]) -> None:
    """Calls a function with every item, on a few threads.

    Raises:
      Exception: The first that a call raised; calls not begun by then are left out.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
