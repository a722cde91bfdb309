"""Bookkeeping of strategies that pick slices one by one over many volumes."""

from typing import final

import numpy as np
from jaxtyping import Int

from slicebench.selection._types import Picks


@final
class Ledger:
    """Which slices of a view are still open while a strategy picks.

    Rows number the slices of all volumes one after another, so the lowest row
    is the lowest slice of the lowest volume.

    Attributes:
      open: Per row, whether it may be picked: not picked yet and in a volume
        whose quota is not filled.
    """

    def __init__(self, depths: tuple[int, ...], quotas: Int[np.ndarray, " volume"]):
        self._starts = np.concatenate([[0], np.cumsum(depths)])
        self._left = np.array(quotas)
        self._picked = np.zeros(int(self._starts[-1]), dtype=bool)
        self.open = np.repeat(self._left > 0, depths)

    def pick(self, row: int) -> None:
        """Records a pick; closes its volume when the quota is filled."""
        volume, start, stop = self._volume(row)
        self._picked[row] = True
        self._left[volume] -= 1
        self.open[row] = False
        if not self._left[volume]:
            self.open[start:stop] = False

    def release(self, row: int) -> None:
        """Takes a pick back; its volume has room again."""
        volume, start, stop = self._volume(row)
        self._picked[row] = False
        self._left[volume] += 1
        self.open[start:stop] = ~self._picked[start:stop]

    def _volume(self, row: int) -> tuple[int, int, int]:
        volume = int(np.searchsorted(self._starts, row, side="right")) - 1
        start, stop = self._starts[volume : volume + 2]
        return volume, int(start), int(stop)

    def picks(self) -> Picks:
        """Returns what was picked so far, ascending in each volume."""
        parts = np.split(self._picked, self._starts[1:-1])
        return tuple(np.flatnonzero(part) for part in parts)
