"""How narrow the Dice of a dense test set will be, and what that costs."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from scipy.stats import t as student

from slicebench.data.volumes import Scan
from slicebench.planning.costs import Costs, hours
from slicebench.planning.evidence import Evidence

_LADDER = (3, 5, 10, 20, 40, 80)
"""Sizes of test sets that are shown beside the planned one."""
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """A test set of some size; the columns of test_set.csv.

    Attributes:
      patients: Test patients.
      minutes: What their dense labels cost, at the mean of all patients.
      width: Expected width of the 95 % interval of the mean Dice.
      sd_cases: Spread over cases that it follows from.
      source: Task that the spread was measured on.
      planned: Whether it is the planned size.
    """

    patients: int
    minutes: float
    width: float
    sd_cases: float
    source: str
    planned: bool


def interval_width(patients: int, sd_cases: float) -> float:
    """Returns the expected width of Student's 95 % interval of a mean over patients.

    Args:
      patients: Independent patients, at least two.
      sd_cases: Standard deviation of their Dice.

    >>> round(interval_width(10, 0.1), 4)
    0.1431
    """
    quantile = float(student.ppf((1 + _LEVEL) / 2, patients - 1))
    return 2 * quantile * sd_cases / math.sqrt(patients)


def spreads(
    evidence: Evidence | None, table: Sequence[Evidence], slices_per_volume: int
) -> dict[str, float]:
    """Returns measured spreads over cases by task.

    The nearest task speaks alone: the median over its allocations with that many slices
    a volume, or over all of them. Without a near one every task of the table is given.

    Args:
      evidence: Nearest task.
      table: All evidence of such networks.
      slices_per_volume: The plan's.
    """
    found: dict[str, float] = {}
    for one in table if evidence is None else (evidence,):
        known = [
            (cell.sd_cases, cell.slices_per_volume == slices_per_volume)
            for cell in one.cells
            if cell.sd_cases is not None
        ]
        like = sorted(sd for sd, same in known if same)
        values = like or sorted(sd for sd, _ in known)
        if values:
            found[one.name] = values[len(values) // 2]
    return found


def precisions(
    scans: Sequence[Scan], planned: int, costs: Costs, spread: dict[str, float]
) -> tuple[Precision, ...]:
    """Returns test sets of several sizes, for each measured spread.

    Scans of one patient count as one: the width is that of independent patients.

    Args:
      scans: All scans, test set and pool.
      planned: Patients of the planned test set.
      costs: What a dense scan costs.
      spread: Spread over cases by task.
    """
    patients = len({scan.group for scan in scans})
    total = sum(sum(costs.of_slices(range(scan.shape[0]))) for scan in scans)
    sizes = {size for size in _LADDER if size < patients} | {planned}
    return tuple(
        Precision(
            patients=size,
            minutes=size * total / patients,
            width=interval_width(size, sd),
            sd_cases=sd,
            source=name,
            planned=size == planned,
        )
        for name, sd in spread.items()
        for size in sorted(sizes)
        if size > 1
    )


def to_csv(rows: Sequence[Precision]) -> str:
    """Returns test_set.csv."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Precision)])
    writer.writerows(
        [
            row.patients,
            round(row.minutes, 1),
            round(row.width, 4),
            round(row.sd_cases, 4),
            row.source,
            int(row.planned),
        ]
        for row in rows
    )
    return stream.getvalue()


def in_words(rows: Sequence[Precision], near: bool) -> list[str]:
    """Returns how sure the test set can be, and what more patients would give.

    Args:
      rows: Of `precisions`.
      near: Whether the spread is that of a near task.
    """
    now = [row for row in rows if row.planned]
    if not now:
        return []
    if not near:
        low, high = min(row.width for row in now), max(row.width for row in now)
        return [
            f"test set: on {now[0].patients} patients the 95 % interval of the mean "
            f"Dice is about {low:.2f} to {high:.2f} wide, if cases scatter as on one "
            f"of {', '.join(row.source for row in now)}; none of them is near"
        ]
    lines = [
        f"test set: on {now[0].patients} patients the 95 % interval of the mean Dice "
        f"is about {now[0].width:.2f} wide (SD over cases {now[0].sd_cases:.3f}, "
        f"measured on {now[0].source}; Student's t, patients independent)"
    ]
    more = [row for row in rows if row.patients > now[0].patients]
    lines += [
        f"test set of {row.patients} patients: {row.width:.2f} wide, about "
        f"{hours(row.minutes)}"
        for row in more[:_MORE]
    ]
    return lines


_MORE = 2
