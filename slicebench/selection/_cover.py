"""Greedy maximum cover, one pick at a time, without a matrix of all pairs."""

from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from slicebench.selection._similarity import SUM_DECIMALS, Similarity, blocks

DENSE_ROWS = 1448
"""Up to this many rows the similarities are kept: 16 MiB in double precision."""

MOST_AT_ONCE = 32
"""Most gains that are brought up to date in one go."""


@final
class Cover:
    """Greedy maximum of F(S) = sum over rows i of max over j in S of k(i, j).

    Gains only shrink as the cover grows, so an outdated gain is an upper bound
    and few need to be computed anew for a pick (lazy greedy; Minoux,
    "Accelerated greedy algorithms for maximizing submodular set functions",
    Optimization Techniques 1978). Rounding is monotone as well, so that the
    bound holds to the last bit. Ties go to the lowest row.

    Attributes:
      members: Rows of the pool that want to be covered and may be picked.
      gain: What the last pick added to F.
    """

    def __init__(
        self,
        members: Int[np.ndarray, " member"],
        similarity: Similarity,
        floor: float,
    ):
        """Starts without a pick.

        Args:
          members: Rows of the pool, ascending.
          similarity: k between members, by their place in `members`.
          floor: What k(i, j) is at least: the cover of a row before any pick.
        """
        self.members = members
        self.gain = 0.0
        self._similarity = similarity
        self._floor = floor
        if len(members) <= DENSE_ROWS:
            matrix = similarity(np.arange(len(members)))
            self._similarity = lambda index: matrix[index]
        self._first_gains = self._gains_alone()
        self.restart()

    def restart(self) -> None:
        """Forgets all picks: nothing is covered any more."""
        self._bound = self._first_gains.copy()
        self._covered = np.full(len(self.members), self._floor)
        self._current = np.zeros(len(self.members), dtype=np.int64)
        self._picks = 0

    def _gains_alone(self) -> Float[np.ndarray, " member"]:
        count = len(self.members)
        sums = [
            (self._similarity(block) - self._floor).sum(axis=1)
            for block in blocks(count, count)
        ]
        return np.round(np.concatenate(sums), SUM_DECIMALS)

    def next(self, is_open: Bool[np.ndarray, " row"]) -> int:
        """Returns the open row of the pool that adds most, and adds it.

        Args:
          is_open: Which rows may be picked; a closed row never opens again.
        """
        self._bound[~is_open[self.members]] = -1.0
        at_once = 1
        while True:
            best = int(np.argmax(self._bound))
            if self._current[best] == self._picks:
                break
            self._update(self._outdated(at_once))
            at_once = min(2 * at_once, MOST_AT_ONCE)
        self.gain = float(self._bound[best])
        row = self._similarity(np.array([best]))[0]
        np.maximum(self._covered, row, out=self._covered)
        self._picks += 1
        return int(self.members[best])

    def _outdated(self, count: int) -> Int[np.ndarray, " _count"]:
        """Returns the rows of the highest bounds that are out of date."""
        bound = np.where(self._current < self._picks, self._bound, -np.inf)
        if count == 1:
            return np.array([np.argmax(bound)])
        count = min(count, len(bound))
        top = np.argpartition(bound, len(bound) - count)[len(bound) - count :]
        return top[bound[top] >= 0.0]

    def _update(self, index: Int[np.ndarray, " block"]) -> None:
        added = self._similarity(index) - self._covered
        np.maximum(added, 0.0, out=added)
        self._bound[index] = np.round(added.sum(axis=1), SUM_DECIMALS)
        self._current[index] = self._picks
