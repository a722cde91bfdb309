"""The way back: finished segmentations are checked against the plan, slice by slice."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Integer

from slicebench.data import formats
from slicebench.errors import InputError, gather
from slicebench.planning import segmentations
from slicebench.planning.rounds import SCHEMA, read_plan
from slicebench.planning.segmentations import MOST_LABEL
from slicebench.planning.tools import SEGMENTATIONS
from slicebench.results import read_json

IMPORTED = "imported"
"""Where labels of other formats are kept as NIfTI, relative to the plan."""
STATE_FILE = "worklist_state.json"


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


def read_labels(
    plan_folder: Path,
    labels: Path | Sequence[Path] = (),
    *,
    state: Path | Sequence[Path] | None = None,
    classes: Sequence[str] = (),
    empty_is_done: bool = False,
) -> Imported:
    """Checks every segmentation against the plan.

    A planned slice counts as done if it has foreground, if the worklist's state says
    so, or, with `empty_is_done`, if the case has a file at all. What was given is never
    written to. Segmentations that are no NIfTI file on the image's grid, and cases with
    several files, are put together as NIfTI in the plan's folder `imported`.

    Args:
      plan_folder: Folder of the plan.
      labels: Folders of `<case>.nii.gz`, `.nii`, `.seg.nrrd` or `.nrrd`. A planned
        slice that is empty in the first is taken from the next. None takes the folder
        `segmentations` of the plan and of the rounds before it.
      state: worklist_state.json as the worklist's page saves it, one a round; None
        takes those that lie beside the plans, if any.
      classes: Class names; none takes the plan's, else `class 1`, ... as found.
      empty_is_done: Whether planned slices without foreground count as annotated.

    Raises:
      InputError: With every fault found: geometry, label values, unknown files.
    """
    plan = read_plan(plan_folder)
    folders, states = _sources(plan_folder, plan, labels, state)
    ticked = {tick for path in states for tick in _ticked(path, plan)}
    names = tuple(classes) or tuple(plan["classes"])
    planned = _planned(plan)
    entries = {entry["case"]: entry for entry in plan["cases"]}
    files, faults = _files(folders, set(entries))
    highest = 0
    found: list[CaseState] = []
    for case, (side, slices) in planned.items():
        entry, paths = entries[case], files.get(case, ())
        label = _combined(plan, entry, paths, slices, names, faults)
        if label is None:
            found.append(_state(case, side, None, slices, (), ()))
            continue
        highest = max(highest, int(label.max()))
        if names and label.max() > len(names):
            faults.append(
                f"{paths[0].name}: label value {label.max()}, but {len(names)} "
                f"classes: {', '.join(names)}"
            )
        path = paths[0]
        if not faults and (len(paths) > 1 or path.name.endswith(".nrrd")):
            path = _write(plan_folder, plan, entry, label)
        rest = tuple(axis for axis in range(3) if axis != entry["slice_axis"])
        shown = (label > 0).any(rest)
        marked = {slice_ for name, slice_ in ticked if name == case}
        if empty_is_done or side == "test":
            marked |= set(slices)
        found.append(_state(case, side, path, slices, shown, marked))
    if faults:
        raise gather(", ".join(map(str, folders)), faults)
    names = names or tuple(f"class {value}" for value in range(1, highest + 1))
    return Imported(plan=plan, cases=tuple(found), classes=names)


def _sources(
    plan_folder: Path,
    plan: Mapping[str, Any],
    labels: Path | Sequence[Path],
    state: Path | Sequence[Path] | None,
) -> tuple[list[Path], list[Path]]:
    """Returns folders of segmentations and files of ticks, newest round first."""
    plans = [plan_folder, *(Path(each["folder"]) for each in _earlier(plan))]
    folders = [labels] if isinstance(labels, Path) else [*labels]
    if not folders:
        folders = [each / SEGMENTATIONS for each in plans]
        folders = [each for each in folders if each.is_dir()] or folders[:1]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give one with segmentations")
    if state is None:
        states = [each / STATE_FILE for each in plans]
        return folders, [each for each in states if each.is_file()]
    return folders, [state] if isinstance(state, Path) else [*state]


def _earlier(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rounds before this plan, newest first."""
    return list(plan.get("earlier", []))


def _combined(
    plan: Mapping[str, Any],
    entry: Mapping[str, Any],
    paths: Sequence[Path],
    slices: Sequence[int],
    names: Sequence[str],
    faults: list[str],
) -> Integer[np.ndarray, "first second third"] | None:
    """Reads the files of a case; slices that are empty in one come from the next."""
    image = Path(plan["images"]) / entry["files"][0]
    known = tuple(names) or tuple(f"class {n}" for n in range(1, MOST_LABEL + 1))
    read = [segmentations.read(path, image, known, faults) for path in paths]
    if not read or any(label is None for label in read):
        return None
    first, *others = (
        np.moveaxis(x, entry["slice_axis"], 0) for x in read if x is not None
    )
    for other in others:
        for number in slices:
            if not first[number].any():
                first[number] = other[number]
    return np.moveaxis(first, 0, entry["slice_axis"])


def _write(
    plan_folder: Path, plan: Mapping[str, Any], entry: Mapping[str, Any], label: Any
) -> Path:
    """Writes labels on the image's grid: whoever reads them needs NIfTI only."""
    affine = formats.read_header(Path(plan["images"]) / entry["files"][0])[1]
    folder = plan_folder / IMPORTED
    folder.mkdir(exist_ok=True)
    path = folder / f"{entry['case']}.nii.gz"
    partial = folder / f".{path.name}"
    nib.save(  # pyright: ignore[reportPrivateImportUsage]
        nib.Nifti1Image(  # pyright: ignore[reportPrivateImportUsage]
            label.astype(np.uint8), affine
        ),
        partial,
    )
    return partial.replace(path)


def _planned(plan: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns side and slices of every case that has work, pool first."""
    slices: dict[str, list[int]] = {}
    for rows in (plan["rows"], *(each["rows"] for each in _earlier(plan))):
        for row in rows:
            slices.setdefault(row["case"], []).append(int(row["slice_index"]))
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        case: ("pool", tuple(sorted(rows))) for case, rows in slices.items()
    }
    for entry in plan["cases"]:
        if entry["side"] == "test":
            found[entry["case"]] = ("test", tuple(range(entry["slices"])))
    return found


def _files(
    folders: Sequence[Path], cases: set[str]
) -> tuple[dict[str, tuple[Path, ...]], list[str]]:
    """Returns segmentations by case, in order of folders; strangers are faults."""
    found: dict[str, dict[Path, Path]] = {}
    faults: list[str] = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            case = segmentations.case_of(path)
            if case is None:
                continue
            if case not in cases:
                faults.append(f"{path.name}: no case of the plan has this name")
            elif folder in (known := found.setdefault(case, {})):
                faults.append(f"{path.name}: {known[folder].name} is the same case")
            else:
                known[folder] = path
    return {case: tuple(paths.values()) for case, paths in found.items()}, faults


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
    if state.get("plan") not in (plan["digest"], *(e["plan"] for e in _earlier(plan))):
        raise InputError(f"{path}: state of plan {state.get('plan')}, not of this one")
    found: set[tuple[str, int]] = set()
    for item in state.get("done", []):
        case, _, number = str(item).rpartition("/")
        if not case or not number.isdecimal():
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
    if _earlier(imported.plan):
        lines.append(_rounds(imported))
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


def _rounds(imported: Imported) -> str:
    """Says how far each round is, first to last."""
    done = {(case.case, number) for case in imported.cases for number in case.done}
    parts: list[str] = []
    rounds = [imported.plan, *_earlier(imported.plan)][::-1]
    for number, one in enumerate(rounds, start=1):
        rows = {(row["case"], row["slice_index"]) for row in one["rows"]}
        parts.append(f"round {number}: {len(rows & done)} of {len(rows)} slices")
    return ", ".join(parts)


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
