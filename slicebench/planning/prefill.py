"""Guessed masks between annotated slices, for an annotator to correct."""

import csv
import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import UInt8

from slicebench.data import formats
from slicebench.errors import InputError
from slicebench.interpolation import INTERPOLATIONS, interpolate
from slicebench.planning.annotated import labelled_volume
from slicebench.planning.costs import Costs
from slicebench.planning.importing import CaseState, Imported
from slicebench.results import write_json_atomic

ANNOTATED, GUESSED = "annotated", "guessed"
RECORD_FILE = "prefill.json"
TABLE_FILE = "prefill.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilledSlice:
    """One guessed slice; the columns of prefill.csv in order.

    Attributes:
      case: Case name.
      slice_index: Slice along the case's slice axis, from 0.
      display_number: The same, from 1.
      gap_mm: Distance to the nearest annotated slice.
      foreground: Whether the guess shows a structure.
      minutes: Expected minutes of correcting it.
    """

    case: str
    slice_index: int
    display_number: int
    gap_mm: float
    foreground: bool
    minutes: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An annotated slice that was guessed from its neighbours alone.

    Attributes:
      case: Case name.
      slice_index: Slice from 0.
      gap_mm: Distance to the nearer of the two annotated neighbours.
      dice: Dice of the guess by class name, for classes that the annotation shows.
    """

    case: str
    slice_index: int
    gap_mm: float
    dice: dict[str, float]


def prefill(imported: Imported, name: str, out: Path) -> list[str]:
    """Writes guesses between annotated slices, apart from what is annotated.

    `annotated/<case>.nii.gz` holds the annotator's labels on done slices,
    `guessed/<case>.nii.gz` the guesses on slices between them; neither holds anything
    on the other's slices, so a viewer shows them as two layers. How good guesses are is
    measured on the annotations themselves: each slice between two annotated ones is
    left out and guessed, which spans a wider gap than the guesses that are written.

    Args:
      imported: Checked annotations.
      name: Name in `slicebench.interpolation.INTERPOLATIONS`.
      out: Folder to be made.

    Returns:
      What was written, in words.

    Raises:
      InputError: An unknown name, a folder that holds something, or no volume with
        slices between annotated ones.
    """
    if name not in INTERPOLATIONS or name == "none":
        allowed = ", ".join(sorted(set(INTERPOLATIONS) - {"none"}))
        raise InputError(f"--prefill={name}: no such interpolation; allowed: {allowed}")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out}: holds files; give a new or empty folder")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for folder in (ANNOTATED, GUESSED):
        (partial / folder).mkdir(parents=True)
    costs = _costs(imported)
    filled: list[FilledSlice] = []
    left_out: list[LeftOut] = []
    for state in imported.cases:
        if state.side == "pool" and len(state.done) > 1:
            case = _Case(imported, state)
            filled += case.write(name, partial, costs)
            left_out += case.leave_out(name)
    if not filled:
        shutil.rmtree(partial)
        raise InputError(
            "no volume has slices between two annotated ones: nothing to pre-fill"
        )
    words = _words(filled, left_out, name)
    record = {
        "schema_version": 1,
        "plan": imported.plan["digest"],
        "interpolation": name,
        "reference": INTERPOLATIONS[name].reference,
        "classes": list(imported.classes),
        "left_out": [dataclasses.asdict(item) for item in left_out],
        "words": words,
    }
    write_json_atomic(partial / RECORD_FILE, record)
    (partial / TABLE_FILE).write_text(_to_csv(filled), encoding="utf-8", newline="")
    if out.exists():
        out.rmdir()
    partial.replace(out)
    return [*words, str(out)]


def _costs(imported: Imported) -> Costs:
    """The plan's prices; plans made before a price existed take its default."""
    known = {field.name for field in dataclasses.fields(Costs)}
    given = imported.plan["costs"]
    return Costs(**{name: value for name, value in given.items() if name in known})


class _Case:
    """One volume with at least two annotated slices."""

    def __init__(self, imported: Imported, state: CaseState):
        self._state, self._classes = state, imported.classes
        self._volume = labelled_volume(imported, state)
        self._label = self._volume.load_label()
        self._image: np.ndarray | None = None

    def write(self, name: str, out: Path, costs: Costs) -> list[FilledSlice]:
        """Writes both label maps; returns the guessed slices."""
        guess, filled = self._fill(name, self._state.done)
        done = np.zeros(len(self._label), bool)
        done[list(self._state.done)] = True
        mask = done[:, None, None]
        self._save(out / ANNOTATED, np.where(mask, self._label, 0))
        self._save(out / GUESSED, np.where(filled[:, None, None], guess, 0))
        places = np.flatnonzero(filled).tolist()
        shown = [bool(guess[place].any()) for place in places]
        minutes = costs.of_corrections(places, shown)
        return [
            FilledSlice(
                case=self._state.case,
                slice_index=place,
                display_number=place + 1,
                gap_mm=round(self._gap(place, self._state.done), 3),
                foreground=seen,
                minutes=round(spent, 2),
            )
            for place, seen, spent in zip(places, shown, minutes, strict=True)
        ]

    def leave_out(self, name: str) -> list[LeftOut]:
        """Guesses each slice that has annotated ones on both sides without it."""
        found: list[LeftOut] = []
        done = self._state.done
        for before, place, after in zip(done, done[1:], done[2:], strict=False):
            guess, _ = self._fill(name, (before, after))
            truth = self._label[place]
            dice = {
                title: _dice(guess[place] == value, truth == value)
                for value, title in enumerate(self._classes, start=1)
                if (truth == value).any()
            }
            gap = round(self._gap(place, (before, after)), 3)
            found.append(
                LeftOut(case=self._state.case, slice_index=place, gap_mm=gap, dice=dice)
            )
        return found

    def _fill(
        self, name: str, annotated: tuple[int, ...]
    ) -> tuple[UInt8[np.ndarray, "depth height width"], np.ndarray]:
        marks = np.isin(np.arange(len(self._label)), annotated)
        pseudo = interpolate(
            name, self._label, marks, self._volume.spacing, image=self._load(name)
        )
        return pseudo.hard().astype(np.uint8), pseudo.filled

    def _load(self, name: str) -> np.ndarray | None:
        if self._image is None and INTERPOLATIONS[name].uses_image:
            self._image = np.moveaxis(self._volume.load_image(), 0, -1)
        return self._image

    def _gap(self, place: int, annotated: tuple[int, ...]) -> float:
        nearest = min(abs(place - number) for number in annotated)
        return nearest * self._volume.spacing[0]

    def _save(self, folder: Path, label: np.ndarray) -> None:
        stored = np.moveaxis(label.astype(np.uint8), 0, self._volume.slice_axis)
        affine = formats.read_header(self._volume.image_paths[0])[1]
        image: Any = nib.Nifti1Image(np.ascontiguousarray(stored), affine)
        nib.save(image, folder / f"{self._state.case}.nii.gz")


def _dice(guess: np.ndarray, truth: np.ndarray) -> float:
    both = np.count_nonzero(guess & truth)
    return 2 * both / (np.count_nonzero(guess) + np.count_nonzero(truth))


def _words(filled: list[FilledSlice], left_out: list[LeftOut], name: str) -> list[str]:
    cases = len({item.case for item in filled})
    minutes = sum(item.minutes for item in filled)
    words = [
        f"{len(filled)} slices of {cases} volumes are guessed ({name}); correcting "
        f"them takes about {minutes:.0f} min"
    ]
    dice = [value for item in left_out for value in item.dice.values()]
    if not dice:
        words.append(
            "how good the guesses are is not known: no annotated slice with a "
            "structure lies between two others"
        )
        return words
    gaps = [item.gap_mm for item in left_out if item.dice]
    widest = max(item.gap_mm for item in filled)
    words.append(
        "annotated slices that were left out and guessed reach Dice "
        f"{np.mean(dice):.3f} (lowest {min(dice):.3f}, {len(dice)} masks, "
        f"{min(gaps):g} to {max(gaps):g} mm from the nearest annotation); guesses are "
        f"up to {widest:g} mm from theirs"
    )
    return words


def _to_csv(filled: list[FilledSlice]) -> str:
    stream = io.StringIO()
    columns = [field.name for field in dataclasses.fields(FilledSlice)]
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(item) for item in filled)
    return stream.getvalue()
