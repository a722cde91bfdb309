"""Times the scores of one trial against other ways to get the same numbers.

    python -m benchmarks.metrics [--data=FOLDER] [--quick] [--json=FILE]

Scores one prediction of each of 60 cases (quick: 20): Dice, surface Dice at 1 mm
and HD95 of every class. The cases are phantoms of the hippocampus's size, or,
with `--data=FOLDER`, labels in nnU-Net layout; predictions are the truth after a
smooth random deformation of about a voxel, with a stray blob in every fifth
case.

The other sides: `scipy` is what a user would write, two distance transforms of
the whole volume a class; `ITK` is the same with ITK's Maurer transform;
`surface-distance` and `MONAI` are those packages. What cannot be imported is
named and left out. Answers are compared before anything is timed. MONAI
measures HD95 between boundary voxels and not between surface elements, so there
only its surface Dice can agree. All sides run in turns on one thread; printed
are the median and range over rounds of seconds and of ratios.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks._machine import announce, spread
from benchmarks._runs import write_rows
from slicebench.evaluation import CaseTruth, prepare_truth, score_case
from slicebench.evaluation.surfaces import Spacing, element_areas

TOLERANCE_MM = 1.0
AGREEMENT = 1e-4
"""Largest difference, in Dice or mm, that counts as the same answer."""

Answers = dict[tuple[int, str], float]


class Case(NamedTuple):
    """Truth and prediction of one case; class indices, slices first."""

    label: np.ndarray
    prediction: np.ndarray
    spacing: Spacing


Way = Callable[[Case], Answers]
Transform = Callable[[np.ndarray, Spacing], np.ndarray]


def main(argv: Sequence[str] | None = None) -> None:
    """Checks that all sides agree, times them in turns and prints a table."""
    parser = argparse.ArgumentParser(description="Times the scores of one trial.")
    parser.add_argument("--data", type=Path, help="a folder in nnU-Net layout")
    parser.add_argument("--cases", type=int, help="default 60, quick 20")
    parser.add_argument("--rounds", type=int, help="default 7, quick 3")
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds")
    parser.add_argument("--json", help="file for the rows")
    arguments = parser.parse_args(argv)
    device, load = announce()
    number = arguments.cases or (20 if arguments.quick else 60)
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    labels = read_labels(arguments.data) if arguments.data else draw_labels()
    rng = np.random.default_rng(0)
    cases = [
        Case(label, deform(label, rng, stray=index % 5 == 0), spacing)
        for index, (label, spacing) in enumerate(itertools.islice(labels, number))
    ]
    start = time.perf_counter()
    truths = [prepare(case) for case in cases]
    prepared = time.perf_counter() - start
    ways = {"slicebench": by_slicebench(cases, truths), "scipy": by_scipy()}
    libraries = importable()
    ways |= {name: way for name, way in libraries.items() if way is not None}
    describe(cases, ways["slicebench"], prepared)
    absent = [name for name, way in libraries.items() if way is None]
    if absent:
        print(f"cannot be imported: {', '.join(absent)}")
    check(cases, ways)
    seconds = race(cases, ways, rounds)
    print_table(seconds)
    row = best_row(seconds, len(cases), prepared)
    print(f"\nours over the best peer ({row['peer_name']}): {row['ratio']:.1f}")
    write_rows(arguments.json, [{**row, "device": device, "load_average": load}])


def draw_labels() -> Iterator[tuple[np.ndarray, Spacing]]:
    """Yields two touching ellipsoids in a volume of 35 x 50 x 36 voxels of 1 mm."""
    rng = np.random.default_rng(1)
    grid = np.indices((35, 50, 36)).astype(float)
    while True:
        label = np.zeros(grid.shape[1:], np.uint8)
        for value, centre, radii in (
            (1, (17, 32, 18), (8, 10, 8)),
            (2, (17, 17, 18), (6, 12, 7)),
        ):
            middle = np.add(centre, rng.normal(size=3))
            axes = np.multiply(radii, rng.uniform(0.8, 1.2, 3))
            steps = (grid - middle[:, None, None, None]) / axes[:, None, None, None]
            label[(steps**2).sum(axis=0) < 1] = value
        yield label, (1.0, 1.0, 1.0)


def read_labels(folder: Path) -> Iterator[tuple[np.ndarray, Spacing]]:
    """Yields label maps and spacings of a folder in nnU-Net layout."""
    axis = json.loads((folder / "dataset.json").read_text()).get("slice_axis", 2)
    for file in sorted((folder / "labelsTr").glob("*.nii.gz")):
        image: Any = nib.load(file)  # pyright: ignore[reportPrivateImportUsage]
        order = [axis, *(other for other in range(3) if other != axis)]
        label = np.ascontiguousarray(np.asarray(image.dataobj).transpose(order))
        first, second, third = (float(image.header.get_zooms()[i]) for i in order)
        yield label.astype(np.uint8), (first, second, third)


def deform(label: np.ndarray, rng: np.random.Generator, *, stray: bool) -> np.ndarray:
    """Returns a label map as a fair network might predict it."""
    noise = rng.normal(size=(3, *label.shape))
    moves = np.stack([ndimage.gaussian_filter(axis, 4) for axis in noise])
    where = np.indices(label.shape) + moves / moves.std()
    prediction = ndimage.map_coordinates(label, where, order=0, mode="nearest")
    if stray:
        prediction[:3, :3, -4:] = label.max()
    return prediction


def prepare(case: Case) -> CaseTruth:
    """Does the work on the truth that trials share."""
    return prepare_truth(case.label, case.spacing, int(case.label.max()), TOLERANCE_MM)


def by_slicebench(cases: list[Case], truths: list[CaseTruth]) -> Way:
    """Scores against truths prepared before."""
    known = {id(case): truth for case, truth in zip(cases, truths, strict=True)}

    def way(case: Case) -> Answers:
        rows = score_case(known[id(case)], case.prediction)
        return {(row.class_index, row.metric): row.score for row in rows}

    return way


def by_scipy(transform: Transform | None = None) -> Way:
    """Scores from distance transforms of the whole volume.

    Args:
      transform: Distance in mm of every voxel to the nearest one of a mask;
        None takes SciPy's.
    """
    measure = transform or scipy_transform

    def way(case: Case) -> Answers:
        answers: Answers = {}
        for value in classes_of(case):
            truth, prediction = case.label == value, case.prediction == value
            both = 2 * (truth & prediction).sum() / (truth.sum() + prediction.sum())
            codes = [neighbour_codes(mask) for mask in (truth, prediction)]
            borders = [(code > 0) & (code < 255) for code in codes]
            areas = [
                element_areas(case.spacing)[code[border]]
                for code, border in zip(codes, borders, strict=True)
            ]
            distances = [
                measure(other, case.spacing)[border]
                for border, other in zip(borders, reversed(borders), strict=True)
            ]
            near = sum(
                area[distance <= TOLERANCE_MM].sum()
                for area, distance in zip(areas, distances, strict=True)
            )
            answers[value, "dice"] = float(both)
            answers[value, "nsd"] = near / sum(area.sum() for area in areas)
            answers[value, "hd95"] = max(map(percentile_95, distances, areas))
        return answers

    return way


def scipy_transform(mask: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Returns the distance in mm to the nearest voxel of a mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing))


def itk_transform(package: Any) -> Transform:
    """Returns the same by ITK's signed Maurer distance map (Maurer et al. 2003)."""
    package.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)

    def measure(mask: np.ndarray, spacing: Spacing) -> np.ndarray:
        image = package.image_view_from_array(mask.astype(np.uint8))
        # ITK counts axes from the fastest one.
        image.SetSpacing(spacing[::-1])
        signed = package.signed_maurer_distance_map_image_filter(
            image, squared_distance=False, use_image_spacing=True
        )
        # Inside is negative there, and 0 here.
        return np.maximum(package.array_from_image(signed), 0.0)

    return measure


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Returns the neighbour code at every corner of the volume's grid."""
    padded = np.pad(mask, 1).astype(np.uint8)
    depth, height, width = (size - 1 for size in padded.shape)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit, (i, j, k) in enumerate(itertools.product((0, 1), repeat=3)):
        codes += padded[i : i + depth, j : j + height, k : k + width] << bit
    return codes


def percentile_95(distances: np.ndarray, areas: np.ndarray) -> float:
    """Returns the smallest distance that covers 95 % of the area."""
    order = np.argsort(distances)
    share = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order[np.searchsorted(share, 0.95)]])


def importable() -> Mapping[str, Way | None]:
    """Returns the other packages' ways, None for each that is not there."""
    found: dict[str, Way | None] = dict.fromkeys(("ITK", "surface-distance", "MONAI"))
    with contextlib.suppress(ImportError):
        found["ITK"] = by_scipy(itk_transform(importlib.import_module("itk")))
    with contextlib.suppress(ImportError):
        found["surface-distance"] = by_surface_distance(
            importlib.import_module("surface_distance.metrics")
        )
    # Deprecations inside the package are not ours to show.
    warnings.filterwarnings("ignore", module="monai")
    with contextlib.suppress(ImportError):
        found["MONAI"] = by_monai(importlib.import_module("monai.metrics"))
    return found


def by_surface_distance(package: Any) -> Way:
    """Scores by the package of Nikolov et al."""

    def way(case: Case) -> Answers:
        answers: Answers = {}
        for value in classes_of(case):
            pair = case.label == value, case.prediction == value
            distances = package.compute_surface_distances(*pair, case.spacing)
            dice = package.compute_dice_coefficient(*pair)
            nsd = package.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)
            answers[value, "dice"] = dice
            answers[value, "nsd"] = nsd
            answers[value, "hd95"] = package.compute_robust_hausdorff(distances, 95)
        return answers

    return way


def by_monai(package: Any) -> Way:
    """Scores by MONAI: surface Dice with subvoxels; HD95 of boundary voxels."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)

    def way(case: Case) -> Answers:
        values = classes_of(case)
        every = np.array(values)[:, None, None, None]
        truth, prediction = (
            torch.from_numpy((every == labels)[None].astype(np.float32))
            for labels in (case.label, case.prediction)
        )
        shared = {"include_background": True, "spacing": list(case.spacing)}
        scores = {
            "dice": package.compute_dice(prediction, truth),
            "nsd": package.compute_surface_dice(
                prediction,
                truth,
                class_thresholds=[TOLERANCE_MM] * len(values),
                use_subvoxels=True,
                **shared,
            ),
            "hd95 of boundary voxels": package.compute_hausdorff_distance(
                prediction, truth, percentile=95, **shared
            ),
        }
        return {
            (value, metric): float(score[0, index])
            for metric, score in scores.items()
            for index, value in enumerate(values)
        }

    return way


def classes_of(case: Case) -> list[int]:
    """Returns the classes that both truth and prediction hold."""
    there = np.intersect1d(case.label, case.prediction)
    return [int(value) for value in there if value > 0]


def describe(cases: list[Case], way: Way, prepared: float) -> None:
    """Prints what is scored."""
    shapes = np.array([case.label.shape for case in cases])
    found = [way(case) for case in cases]
    print(
        f"{len(cases)} cases, median shape {np.median(shapes, axis=0).astype(int)}, "
        f"truth prepared once in {prepared:.3f} s"
    )
    for metric in ("dice", "nsd", "hd95"):
        values = [
            v for answers in found for (_, name), v in answers.items() if name == metric
        ]
        print(f"  mean {metric} {statistics.mean(values):.3f}")


def check(cases: list[Case], ways: Mapping[str, Way]) -> None:
    """Prints the largest differences; ends the run if answers differ."""
    ours, *others = ways
    failed = False
    for name in others:
        worst: dict[str, float] = {}
        for case in cases:
            mine, theirs = ways[ours](case), ways[name](case)
            for key in mine.keys() & theirs.keys():
                gap = abs(mine[key] - theirs[key])
                worst[key[1]] = max(worst.get(key[1], 0.0), gap)
        shown = ", ".join(
            f"{metric} {gap:.1e}" for metric, gap in sorted(worst.items())
        )
        print(f"largest difference to {name}: {shown}")
        failed |= any(not gap <= AGREEMENT for gap in worst.values())
    if failed:
        sys.exit(f"answers differ by more than {AGREEMENT}")


def race(
    cases: list[Case], ways: Mapping[str, Way], rounds: int
) -> dict[str, list[float]]:
    """Returns seconds of each way and round; ways take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for case in cases:
                way(case)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def print_table(seconds: Mapping[str, list[float]]) -> None:
    """Prints seconds and ratios to the first way, as Markdown."""
    ours = next(iter(seconds.values()))
    print("\n| way | seconds: median (range) | times slicebench's: median (range) |")
    print("|---|---|---|")
    for name, times in seconds.items():
        ratios = [theirs / mine for theirs, mine in zip(times, ours, strict=True)]
        print(f"| {name} | {spread(times, 3)} | {spread(ratios, 1)} |")


def best_row(
    seconds: Mapping[str, list[float]], cases: int, prepared: float
) -> dict[str, Any]:
    """Returns the comparison with the fastest other side as a JSON row."""
    ours, *others = seconds
    peer = min(others, key=lambda name: statistics.median(seconds[name]))
    ratios = {
        name: [b / a for a, b in zip(seconds[ours], seconds[name], strict=True)]
        for name in others
    }
    return {
        "name": f"Dice, surface Dice and HD95 of {cases} cases",
        "ours": statistics.median(seconds[ours]),
        "peer": statistics.median(seconds[peer]),
        "peer_name": peer,
        "ratio": statistics.median(ratios[peer]),
        "spread": [min(ratios[peer]), max(ratios[peer])],
        "unit": "s",
        "truth_seconds": prepared,
        "ratios": {name: statistics.median(found) for name, found in ratios.items()},
        "seconds": {name: statistics.median(s) for name, s in seconds.items()},
    }


if __name__ == "__main__":
    main()
