"""What annotation costs, in minutes: the price of opening a volume and of a slice."""

import dataclasses
import math
from collections.abc import Sequence

from slicebench.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Minutes that an annotator spends.

    The defaults are assumptions, not measurements: time a few slices of your own first.

    Attributes:
      volume: To open a volume and find one's way in it.
      empty_slice: To see that a slice shows none of the structures.
      foreground_slice: To outline one class on a slice that shows it.
      classes: Classes that are outlined on a slice that shows the structures, on the
        mean.
      prevalence: Share of slices that show any of the structures.
      adjacent: Share of a slice's time that is left right after its neighbour.
      corrected_slice: To check and correct one class on a slice that is guessed.
      extent_mark: To find and mark the first or the last slice of a volume that
        shows a structure.
    """

    volume: float = 1.0
    empty_slice: float = 0.1
    foreground_slice: float = 1.5
    classes: float = 1.0
    prevalence: float = 1.0
    adjacent: float = 0.6
    corrected_slice: float = 0.5
    extent_mark: float = 0.25

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = 1.0 if field.name in _SHARES else math.inf
            if not 0 <= value <= most or not math.isfinite(value):
                raise InputError(
                    f"--cost_{field.name}={value}: allowed is a number from 0"
                    + (" to 1" if most == 1 else "")
                )
        if self.slice <= 0:
            raise InputError(
                "costs: a slice takes no time; --cost_empty_slice or "
                "--cost_foreground_slice must be above 0"
            )

    @property
    def slice(self) -> float:
        """Expected minutes of a slice that no neighbour was done before."""
        shown = self.prevalence * self.foreground_slice * self.classes
        return shown + (1 - self.prevalence) * self.empty_slice

    def of_slices(self, slices: Sequence[int]) -> list[float]:
        """Returns the minutes of each slice of one volume, ascending.

        Args:
          slices: Slice numbers, ascending. The volume is opened for the first.
        """
        minutes: list[float] = []
        for at, number in enumerate(slices):
            near = at > 0 and number - slices[at - 1] == 1
            minutes.append(self.slice * (self.adjacent if near else 1.0))
        if minutes:
            minutes[0] += self.volume
        return minutes

    def of_corrections(
        self, slices: Sequence[int], shown: Sequence[bool]
    ) -> list[float]:
        """Returns the minutes of correcting each guessed slice of one volume.

        Args:
          slices: Slice numbers, ascending. The volume is opened for the first.
          shown: Whether the guess on each shows a structure; an empty one takes as
            long as an empty slice.

        >>> Costs(volume=1, corrected_slice=0.5, adjacent=0.5).of_corrections(
        ...     [3, 4], [True, True]
        ... )
        [1.5, 0.25]
        """
        minutes: list[float] = []
        for at, (number, seen) in enumerate(zip(slices, shown, strict=True)):
            near = at > 0 and number - slices[at - 1] == 1
            each = self.corrected_slice * self.classes if seen else self.empty_slice
            minutes.append(each * (self.adjacent if near else 1.0))
        if minutes:
            minutes[0] += self.volume
        return minutes

    def of_allocation(self, volumes: int, slices_per_volume: float) -> float:
        """Returns the expected minutes of an allocation of scattered slices."""
        return volumes * (self.volume + slices_per_volume * self.slice)

    @property
    def with_extents(self) -> "Costs":
        """The same where the extent is marked before slices are drawn.

        Two marks are made when a volume is opened: the first and the last slice that
        show a structure, whichever, as the oracles of `slicebench.selection` are told
        them and `extent_marks` of a run counts them. Every slice that is then drawn
        shows structures.
        """
        marks = 2 * self.extent_mark
        return dataclasses.replace(self, volume=self.volume + marks, prevalence=1.0)

    def affordable(self, minutes: float, slices_per_volume: int) -> int:
        """Returns how many slices fit into a time, volumes of that many each.

        The last volume may be left with fewer.

        >>> Costs(volume=1, foreground_slice=2).affordable(12, 2)
        4
        """
        each = self.of_allocation(1, slices_per_volume)
        whole = int(minutes / each + _SLACK)
        rest = int((minutes - whole * each - self.volume) / self.slice + _SLACK)
        return whole * slices_per_volume + max(0, rest)


def hours(minutes: float) -> str:
    """Returns a duration in words.

    >>> hours(95)
    '1 h 35 min'
    """
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


_SHARES = ("prevalence", "adjacent")
_SLACK = 1e-9
