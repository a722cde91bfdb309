"""The way back: finished segmentations are checked against the plan, slice by slice."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from slicebench.data import formats, nifti, validate
from slicebench.data._metadata import FILE_ENDINGS
from slicebench.errors import InputError, gather
from slicebench.planning.writing import PLAN_FILE, SCHEMA
from slicebench.results import read_json

MOST_LABEL = 254
"""Largest label value: one more is needed for what nobody annotated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseState:
    """How far one case is.

    Attributes:
      case: Case name.
      side: `pool` or `test`.
      label: Its segmentation; None where there is no file.
      planned: Slices that were to be done; all of them in a test case.
      done: Planned slices that count as annotated.
      empty: Of these, slices without foreground that the state says are done.
      open: Planned slices that are not done: no foreground, and nothing says that this
        is the annotation.
      outside: Slices with foreground that were not planned; they are not used.
    """

    case: str
    side: str
    label: Path | None
    planned: tuple[int, ...]
    done: tuple[int, ...]
    empty: tuple[int, ...]
    open: tuple[int, ...]
    outside: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """A plan with what came back.

    Attributes:
      plan: Content of plan.json.
      cases: State of every case of the worklist and of the test set.
      classes: Class names, for label values 1, 2, ...
    """

    plan: dict[str, Any]
    cases: tuple[CaseState, ...]
    classes: tuple[str, ...]

    def image_paths(self, case: str) -> list[Path]:
        """Returns the image files of a case."""
        entry = next(c for c in self.plan["cases"] if c["case"] == case)
        return [Path(self.plan["images"]) / name for name in entry["files"]]

    def slice_axis(self, case: str) -> int:
        """Returns the stored axis that runs over slices."""
        entry = next(c for c in self.plan["cases"] if c["case"] == case)
        return int(entry["slice_axis"])


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


def read_labels(
    plan_folder: Path,
    labels: Path,
    *,
    state: Path | None = None,
    classes: Sequence[str] = (),
    empty_is_done: bool = False,
) -> Imported:
    """Checks every segmentation of a folder against the plan; nothing is written.

    A planned slice counts as done if it has foreground, if the worklist's state says
    so, or, with `empty_is_done`, if the case has a file at all.

    Args:
      plan_folder: Folder of the plan.
      labels: Folder of `<case>.nii.gz` or `<case>.nii`.
      state: worklist_state.json as the worklist's page saves it.
      classes: Class names; none takes the plan's, else `class 1`, ... as found.
      empty_is_done: Whether planned slices without foreground count as annotated.

    Raises:
      InputError: With every fault found: geometry, label values, unknown files.
    """
    plan = read_plan(plan_folder)
    if not labels.is_dir():
        raise InputError(f"{labels}: no such folder; give one with segmentations")
    ticked = _ticked(state, plan) if state else set[tuple[str, int]]()
    names = tuple(classes) or tuple(plan["classes"])
    planned = _planned(plan)
    files, faults = _files(labels, {entry["case"] for entry in plan["cases"]})
    highest = 0
    found: list[CaseState] = []
    for case, (side, slices) in planned.items():
        path = files.get(case)
        if path is None:
            found.append(_state(case, side, None, slices, (), ()))
            continue
        entry = next(c for c in plan["cases"] if c["case"] == case)
        label = _read(path, Path(plan["images"]) / entry["files"][0], faults)
        if label is None:
            continue
        highest = max(highest, int(label.max()))
        if names and label.max() > len(names):
            faults.append(
                f"{path.name}: label value {label.max()}, but {len(names)} classes: "
                f"{', '.join(names)}"
            )
        rest = tuple(axis for axis in range(3) if axis != entry["slice_axis"])
        shown = (label > 0).any(rest)
        marked = {slice_ for name, slice_ in ticked if name == case}
        if empty_is_done or side == "test":
            marked |= set(slices)
        found.append(_state(case, side, path, slices, shown, marked))
    if faults:
        raise gather(str(labels), faults)
    names = names or tuple(f"class {value}" for value in range(1, highest + 1))
    return Imported(plan=plan, cases=tuple(found), classes=names)


def _planned(plan: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns side and slices of every case that has work, pool first."""
    slices: dict[str, list[int]] = {}
    for row in plan["rows"]:
        slices.setdefault(row["case"], []).append(int(row["slice_index"]))
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        case: ("pool", tuple(sorted(rows))) for case, rows in slices.items()
    }
    for entry in plan["cases"]:
        if entry["side"] == "test":
            found[entry["case"]] = ("test", tuple(range(entry["slices"])))
    return found


def _files(labels: Path, cases: set[str]) -> tuple[dict[str, Path], list[str]]:
    """Returns segmentations by case; files of no case are faults."""
    found: dict[str, Path] = {}
    faults: list[str] = []
    for path in sorted(labels.iterdir()):
        if not path.name.endswith(FILE_ENDINGS) or path.name.startswith("."):
            continue
        case = path.name.removesuffix(".gz").removesuffix(".nii")
        if case not in cases:
            faults.append(f"{path.name}: no case of the plan has this name")
        elif case in found:
            faults.append(f"{path.name}: {found[case].name} is the same case")
        found[case] = path
    return found, faults


def _read(
    path: Path, image: Path, faults: list[str]
) -> Integer[np.ndarray, "first second third"] | None:
    """Reads one segmentation in stored order, or notes what is wrong with it."""
    read = validate.read_file(path, path.name, faults)
    if read is None:
        return None
    stored = read[1]
    try:
        shape, affine = formats.read_header(image)
    except nifti.READ_ERRORS as error:
        faults.append(f"{image}: {' '.join(str(error).split())}")
        return None
    fault = None
    if stored.array.ndim != 3:
        fault = f"{stored.array.shape[3]} channels; a segmentation has none"
    if fault is None:
        values = np.unique(stored.array)
        if not np.isin(values, range(MOST_LABEL + 1)).all():
            fault = f"label values are not integers from 0 to {MOST_LABEL}"
    if fault:
        faults.append(f"{path.name}: {fault}")
        return None
    before = len(faults)
    reference = image.name, tuple(shape[:3]), affine
    validate.check_geometry(path.name, *stored, reference, faults)
    return stored.array.astype(np.int64) if len(faults) == before else None


def _state(
    case: str,
    side: str,
    path: Path | None,
    planned: tuple[int, ...],
    shown: Any,
    marked: Any,
) -> CaseState:
    has = {int(number) for number in np.flatnonzero(shown)}
    done = tuple(s for s in planned if path is not None and (s in has or s in marked))
    return CaseState(
        case=case,
        side=side,
        label=path,
        planned=planned,
        done=done,
        empty=tuple(number for number in done if number not in has),
        open=tuple(number for number in planned if number not in done),
        outside=tuple(sorted(has - set(planned))),
    )


def _ticked(path: Path, plan: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Returns case and slice of every tick.

    Raises:
      InputError: Not such a file, or one of another plan.
    """
    state = read_json(path)
    if state.get("plan") != plan["digest"]:
        raise InputError(f"{path}: state of plan {state.get('plan')}, not of this one")
    found: set[tuple[str, int]] = set()
    for item in state.get("done", []):
        case, _, number = str(item).rpartition("/")
        if not case or not number.isdigit():
            raise InputError(f"{path}: {item!r} is not <case>/<slice>")
        found.add((case, int(number)))
    return found


def progress_lines(imported: Imported) -> list[str]:
    """Returns how far the work is, in words: totals, then what is open."""
    lines: list[str] = []
    for side, name in (("pool", "slices"), ("test", "test slices")):
        cases = [case for case in imported.cases if case.side == side]
        done = sum(len(case.done) for case in cases)
        planned = sum(len(case.planned) for case in cases)
        full = sum(not case.open for case in cases)
        lines.append(f"{done} of {planned} {name}, {full} of {len(cases)} cases done")
    for case in imported.cases:
        if case.label is None:
            lines.append(f"{case.case}: no segmentation")
        elif case.open:
            numbers = ", ".join(str(number + 1) for number in case.open)
            lines.append(f"{case.case}: nothing on slices {numbers} (counted from 1)")
        if case.outside:
            numbers = ", ".join(str(number + 1) for number in case.outside)
            lines.append(f"{case.case}: not used, as not planned: slices {numbers}")
    return lines


def to_json(imported: Imported) -> str:
    """Returns annotations.json: state of every case."""
    cases = [
        {**dataclasses.asdict(case), "label": case.label and case.label.name}
        for case in imported.cases
    ]
    content = {
        "schema_version": SCHEMA,
        "plan": imported.plan["digest"],
        "classes": list(imported.classes),
        "cases": cases,
    }
    return json.dumps(content, indent=1) + "\n"
