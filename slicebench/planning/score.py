"""Scores of predictions on test cases that are labelled by now, with their interval.

For networks of any origin, nnU-Net's for one: label maps in, scores out. Cases are the
test set's alone, because slices that were trained on say nothing.
"""

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.stats import t as student

from slicebench.data.volumes import Volume
from slicebench.errors import InputError, gather
from slicebench.evaluation import prepare_truth, score_case
from slicebench.planning import segmentations
from slicebench.planning.annotated import labelled_volume
from slicebench.planning.importing import Imported

METRICS = ("dice", "nsd", "hd95")
ALL = "all"
FEW_PATIENTS = 20
"""Patients below which the interval is said to rest on few."""
_LEVEL = 0.95
_TITLES = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95 (mm)"}


class CaseScore(NamedTuple):
    """One score; the columns of scores.csv.

    Attributes:
      case: Test case.
      patient: Whose it is.
      class_name: Class.
      metric: `dice`, `nsd`, `hd95` or `fp_ml`.
      score: Its value.
    """

    case: str
    patient: str
    class_name: str
    metric: str
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean over patients; the columns of summary.csv.

    Attributes:
      class_name: Class; `all` for the mean over the classes that a case has.
      metric: Score.
      mean: Mean over patients, of each the mean over scans.
      low: Lower end of Student's 95 % interval, NaN with one patient.
      high: Upper end.
      sd: Standard deviation over patients, NaN with one.
      patients: Patients that have the class.
      cases: Their scans.
      missed: Scans in which nothing of a class was predicted; surface distances then
        are the diagonal of the scan.
    """

    class_name: str
    metric: str
    mean: float
    low: float
    high: float
    sd: float
    patients: int
    cases: int
    missed: int


def score_predictions(
    imported: Imported, predictions: Path, tolerance_mm: float | None = None
) -> tuple[list[CaseScore], list[Summary], float]:
    """Scores the label map of every test case that is labelled.

    Args:
      imported: Checked annotations.
      predictions: Folder of `<case>.nii.gz` on the scans' grid, or of what `import`
        reads.
      tolerance_mm: Of the surface Dice; None takes the median in-plane spacing of the
        annotated volumes, as training does.

    Returns:
      Scores, their means, and the tolerance.

    Raises:
      InputError: No test case is labelled, or with every fault of the predictions.
    """
    states = [c for c in imported.cases if c.side == "test" and c.label and not c.open]
    if not states:
        raise InputError(
            "no test case is labelled slice by slice yet: nothing can be scored; "
            "test_cases.csv of the plan lists them"
        )
    volumes = [labelled_volume(imported, state) for state in states]
    guesses = _read(imported, volumes, predictions)
    tolerance = _tolerance(imported) if tolerance_mm is None else tolerance_mm
    names = imported.classes
    scores: list[CaseScore] = []
    missed: set[tuple[str, str]] = set()
    for volume in volumes:
        label = volume.load_label()
        truth = prepare_truth(label, volume.spacing, len(names), tolerance)
        guess = guesses[volume.name]
        scores += [
            CaseScore(
                volume.name, volume.group, names[s.class_index - 1], s.metric, s.score
            )
            for s in score_case(truth, guess)
        ]
        for value, name in enumerate(names, start=1):
            if (label == value).any() and not (guess == value).any():
                missed.add((volume.name, name))
    return scores, summarise(scores, names, missed), tolerance


def _tolerance(imported: Imported) -> float:
    done = [c for c in imported.cases if c.label and c.done]
    trained = [c for c in done if c.side == "pool"] or done
    spacing = [labelled_volume(imported, state).spacing[1:] for state in trained]
    return round(float(np.median(spacing)), 3)


def _read(
    imported: Imported, volumes: Sequence[Volume], folder: Path
) -> dict[str, UInt8[np.ndarray, "_depth _height _width"]]:
    """Reads the predictions of the cases, slices first; faults come together."""
    if not folder.is_dir():
        raise InputError(f"--predictions={folder}: no such folder")
    paths = {
        case: path
        for path in sorted(folder.iterdir())
        if (case := segmentations.case_of(path))
    }
    faults: list[str] = []
    found: dict[str, UInt8[np.ndarray, "_depth _height _width"]] = {}
    for volume in volumes:
        path = paths.get(volume.name)
        if path is None:
            faults.append(f"{volume.name}: no prediction")
            continue
        image = volume.image_paths[0]
        array = segmentations.read(path, image, imported.classes, faults)
        if array is None:
            continue
        if array.max() > len(imported.classes):
            faults.append(
                f"{path.name}: label value {array.max()}, but {len(imported.classes)} "
                f"classes: {', '.join(imported.classes)}"
            )
        moved = np.moveaxis(array, volume.slice_axis, 0)
        found[volume.name] = np.ascontiguousarray(moved).astype(np.uint8)
    if faults:
        raise gather(f"--predictions={folder}", faults)
    return found


def summarise(
    scores: Sequence[CaseScore],
    classes: Sequence[str],
    missed: Iterable[tuple[str, str]] = (),
) -> list[Summary]:
    """Returns means over patients with Student's interval.

    Args:
      scores: Of every case.
      classes: Class names.
      missed: Case and class of empty predictions.
    """
    lost = set(missed)
    rows: list[Summary] = []
    shown = (ALL, *classes) if len(classes) > 1 else (ALL,)
    for metric in METRICS:
        for name in shown:
            mine = [
                s for s in scores if s.metric == metric and name in (ALL, s.class_name)
            ]
            if mine:
                count = sum(
                    (s.case, s.class_name) in lost and s.metric == metric for s in mine
                )
                rows.append(_summary(name, metric, mine, count))
    return rows


def _summary(
    name: str, metric: str, scores: Sequence[CaseScore], missed: int
) -> Summary:
    by_case: dict[tuple[str, str], list[float]] = {}
    for one in scores:
        by_case.setdefault((one.patient, one.case), []).append(one.score)
    by_patient: dict[str, list[float]] = {}
    for (patient, _), values in by_case.items():
        by_patient.setdefault(patient, []).append(float(np.mean(values)))
    means = np.array([np.mean(values) for values in by_patient.values()])
    low, high, sd = _interval(means, math.inf if metric == "hd95" else 1.0)
    return Summary(
        class_name=name,
        metric=metric,
        mean=float(means.mean()),
        low=low,
        high=high,
        sd=sd,
        patients=len(means),
        cases=len(by_case),
        missed=missed,
    )


def _interval(
    values: Float[np.ndarray, " patient"], most: float
) -> tuple[float, float, float]:
    """Returns Student's interval within what the score can be, and the spread."""
    if len(values) < 2:
        return math.nan, math.nan, math.nan
    sd = float(values.std(ddof=1))
    quantile = float(student.ppf((1 + _LEVEL) / 2, len(values) - 1))
    half = quantile * sd / math.sqrt(len(values))
    mean = float(values.mean())
    return max(0.0, mean - half), min(most, mean + half), sd


def write_scores(
    scores: Sequence[CaseScore], rows: Sequence[Summary], out: Path
) -> None:
    """Writes scores.csv and summary.csv into a folder that holds nothing.

    Raises:
      InputError: It holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out}: holds something; give a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    _csv(out / "scores.csv", [score._asdict() for score in scores])
    _csv(out / "summary.csv", [dataclasses.asdict(row) for row in rows])


def _csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else round(value, 6)


def in_words(rows: Sequence[Summary], tolerance: float) -> list[str]:
    """Returns means and intervals, then how far they can be trusted."""
    lines = [_row_in_words(row) for row in rows]
    first = rows[0]
    if first.patients < 2:
        lines.append("one patient: nothing can be said of others")
    elif first.patients < FEW_PATIENTS:
        lines.append(
            f"{first.patients} patients are few: the interval takes their means to "
            "scatter normally, and one more patient can move it"
        )
    lines.append(
        "intervals are over patients, given these networks and annotations; NSD "
        f"forgives {tolerance:g} mm"
    )
    return lines


def _row_in_words(row: Summary) -> str:
    digits = 2 if row.metric == "hd95" else 3
    title = _TITLES[row.metric] + (
        f", {row.class_name}" if row.class_name != ALL else ""
    )
    found = f"{title} {row.mean:.{digits}f}"
    if not math.isnan(row.low):
        found += f" [{row.low:.{digits}f}, {row.high:.{digits}f}]"
    patients = f"{row.patients} patient{'s' if row.patients > 1 else ''}"
    scans = f" ({row.cases} scans)" if row.cases != row.patients else ""
    lost = f"; {row.missed} times nothing was predicted" if row.missed else ""
    return f"{found} over {patients}{scans}{lost}"
