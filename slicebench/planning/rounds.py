"""Further rounds: plans of the same scans whose slices are not chosen again."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slicebench.data import formats
from slicebench.data.scans import ScanFolder
from slicebench.data.volumes import Scan
from slicebench.errors import InputError, gather
from slicebench.results import read_json

SCHEMA = 1
PLAN_FILE = "plan.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """One earlier plan.

    Attributes:
      folder: Its folder.
      digest: Its name.
      rows: Case and slice of every row of its worklist.
      cases: Its scans as in plan.json; none where only a later plan tells of it.
    """

    folder: Path
    digest: str
    rows: tuple[tuple[str, int], ...]
    cases: tuple[dict[str, Any], ...] = ()

    @property
    def test(self) -> frozenset[str]:
        """Cases that are kept for testing."""
        return frozenset(e["case"] for e in self.cases if e["side"] == "test")

    def record(self) -> dict[str, Any]:
        """Returns what a later plan.json keeps of it."""
        rows = [{"case": case, "slice_index": number} for case, number in self.rows]
        return {"plan": self.digest, "folder": str(self.folder), "rows": rows}


def read_plan(folder: Path) -> dict[str, Any]:
    """Reads plan.json of a plan's folder.

    Raises:
      InputError: No plan, or one of another version.
    """
    plan = read_json(folder / PLAN_FILE)
    if plan.get("schema_version") != SCHEMA:
        raise InputError(
            f"{folder / PLAN_FILE}: schema_version {plan.get('schema_version')}, this "
            f"version reads {SCHEMA}"
        )
    return plan


def read_rounds(folders: Sequence[Path]) -> tuple[Round, ...]:
    """Reads earlier plans, and those that they were made after.

    Args:
      folders: Folders of plans, first to last.

    Returns:
      One round a plan, newest first.

    Raises:
      InputError: No plan, or plans that do not keep the same test patients.
    """
    given: list[Round] = []
    implied: list[Round] = []
    for folder in reversed(folders):
        plan = read_plan(folder)
        given.append(
            Round(
                folder=folder.resolve(),
                digest=plan["digest"],
                rows=_rows(plan["rows"]),
                cases=tuple(plan["cases"]),
            )
        )
        implied += [
            Round(
                folder=Path(each["folder"]),
                digest=each["plan"],
                rows=_rows(each["rows"]),
            )
            for each in plan.get("earlier", [])
        ]
    for one in given[1:]:
        if one.test != given[0].test:
            raise InputError(
                f"--exclude: {one.folder} and {given[0].folder} keep different scans "
                "for testing; plans that follow each other keep the same"
            )
    found: dict[str, Round] = {}
    for one in (*given, *implied):
        found.setdefault(one.digest, one)
    return tuple(found.values())


def _rows(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((str(row["case"]), int(row["slice_index"])) for row in rows)


def with_groups(folder: ScanFolder, groups: Mapping[str, str]) -> ScanFolder:
    """Returns the folder with the patient of each case that is given."""
    scans = tuple(
        dataclasses.replace(scan, group=groups.get(scan.name, scan.group))
        for scan in folder.scans
    )
    return dataclasses.replace(folder, scans=scans)


def same_scans(folder: ScanFolder, earlier: Round, *, keep_groups: bool) -> ScanFolder:
    """Checks that an earlier plan's scans are still the same, byte by byte.

    New scans may have come: they join the pool, or the test set where their patient is
    in it.

    Args:
      folder: The scans now.
      earlier: The plan before.
      keep_groups: Whether patients were given anew; else they are taken from the plan.

    Raises:
      InputError: With every scan that is gone or has changed.
    """
    if not keep_groups:
        groups = {entry["case"]: entry["group"] for entry in earlier.cases}
        folder = with_groups(folder, groups)
    now = {scan.name: scan for scan in folder.scans}
    faults: list[str] = []
    for entry in earlier.cases:
        scan = now.get(entry["case"])
        if scan is None:
            faults.append(f"{entry['case']}: is gone")
        elif scan.group != entry["group"]:
            faults.append(
                f"{scan.name}: its patient was {entry['group']}, is {scan.group}"
            )
        elif scan.slice_axis != entry["slice_axis"]:
            faults.append(
                f"{scan.name}: slices ran along axis {entry['slice_axis']}, now "
                f"{scan.slice_axis}"
            )
        elif digests(scan) != entry.get("digests"):
            faults.append(f"{scan.name}: its image has changed")
    if faults:
        raise gather(f"--exclude={earlier.folder}: scans have changed", faults)
    return folder


def digests(scan: Scan) -> list[str]:
    """Returns SHA-256 of every image file of a scan."""
    return [formats.digest(path) for path in scan.image_paths]


def same_test(
    scans: Sequence[Scan], earlier: Round
) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Returns test scans and pool: the test patients of an earlier plan stay."""
    groups = {entry["group"] for entry in earlier.cases if entry["side"] == "test"}
    test = tuple(scan for scan in scans if scan.group in groups)
    return test, tuple(scan for scan in scans if scan.group not in groups)


def slices_done(
    pool: Sequence[Scan], earlier: Sequence[Round]
) -> tuple[frozenset[int], ...]:
    """Returns the slices of each volume of the pool that earlier rounds planned."""
    found: dict[str, set[int]] = {}
    for one in earlier:
        for case, number in one.rows:
            found.setdefault(case, set()).add(number)
    return tuple(frozenset(found.get(scan.name, ())) for scan in pool)
