"""The worklist: one row a slice, in the order in which they are to be done."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slicebench.data.formats import read_header
from slicebench.data.volumes import Scan
from slicebench.planning.choose import Choice
from slicebench.planning.costs import Costs
from slicebench.planning.geometry import place

THUMBNAILS = "thumbnails"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One slice to annotate; the columns of worklist.csv in order.

    Attributes:
      rank: Place in the order of work, from 1.
      case: Case name.
      file: First image file, relative to the images' folder.
      array_axis: Axis of the stored array that runs over slices.
      slice_index: Slice along it, from 0.
      display_number: The same, from 1.
      num_slices: Slices of the volume.
      anatomical_axis: Nearest anatomical plane.
      direction: Where rising slice numbers lead.
      tilt_degrees: Angle between the slice and that plane.
      x_ras_mm: Centre of the slice, to the right.
      y_ras_mm: To anterior.
      z_ras_mm: To superior.
      x_lps_mm: The same, to the left.
      y_lps_mm: To posterior.
      z_lps_mm: To superior.
      strategy: Which strategy chose it.
      minutes: Expected minutes, the opening of the volume counted with its first slice.
      thumbnail: Small picture, relative to the worklist.
    """

    rank: int
    case: str
    file: str
    array_axis: int
    slice_index: int
    display_number: int
    num_slices: int
    anatomical_axis: str
    direction: str
    tilt_degrees: float
    x_ras_mm: float
    y_ras_mm: float
    z_ras_mm: float
    x_lps_mm: float
    y_lps_mm: float
    z_lps_mm: float
    strategy: str
    minutes: float
    thumbnail: str


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


def make_rows(
    folder: Path, choices: Sequence[Choice], strategy: str, costs: Costs
) -> tuple[Row, ...]:
    """Returns the rows of chosen slices, volume by volume.

    Args:
      folder: The images' folder.
      choices: Chosen slices in the order of work.
      strategy: Which strategy chose them.
      costs: What a slice costs.
    """
    rows: list[Row] = []
    for choice in choices:
        scan = choice.scan
        shape, affine = read_header(scan.image_paths[0])
        minutes = costs.of_slices(choice.slices)
        for index, spent in zip(choice.slices, minutes, strict=True):
            where = place(affine, shape[:3], scan.slice_axis, index)
            rows.append(
                Row(
                    rank=len(rows) + 1,
                    case=scan.name,
                    file=scan.image_paths[0].relative_to(folder).as_posix(),
                    array_axis=scan.slice_axis,
                    slice_index=index,
                    display_number=index + 1,
                    num_slices=shape[scan.slice_axis],
                    anatomical_axis=where.plane,
                    direction=where.direction,
                    tilt_degrees=round(where.tilt, 2),
                    **_coordinates("ras", where.ras),
                    **_coordinates("lps", where.lps),
                    strategy=strategy,
                    minutes=round(spent, 2),
                    thumbnail=thumbnail_name(scan, index),
                )
            )
    return tuple(rows)


def _coordinates(system: str, values: tuple[float, float, float]) -> dict[str, float]:
    return {
        f"{name}_{system}_mm": round(value, 4) + 0.0
        for name, value in zip("xyz", values, strict=True)
    }


def thumbnail_name(scan: Scan, index: int) -> str:
    """Returns where the small picture of a slice lies, relative to the worklist."""
    return f"{THUMBNAILS}/{scan.name}_slice{index:04d}.png"


def to_csv(rows: Sequence[Row]) -> str:
    """Returns worklist.csv."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_safe(dataclasses.asdict(row)) for row in rows)
    return stream.getvalue()


def test_cases_csv(scans: Sequence[Scan], folder: Path, costs: Costs) -> str:
    """Returns test_cases.csv: volumes to be labelled densely, with their cost."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case", "group", "file", "num_slices", "minutes"])
    for scan in scans:
        depth = scan.shape[0]
        file = scan.image_paths[0].relative_to(folder).as_posix()
        row = {"case": scan.name, "group": scan.group, "file": file}
        minutes = round(sum(costs.of_slices(range(depth))), 1)
        writer.writerow([*_safe(row).values(), depth, minutes])
    return stream.getvalue()


def _safe(row: dict[str, Any]) -> dict[str, Any]:
    """Keeps spreadsheets from taking a text that starts like a formula for one."""
    return {
        key: f"'{value}"
        if isinstance(value, str) and value[:1] in ("=", "+", "-", "@")
        else value
        for key, value in row.items()
    }
