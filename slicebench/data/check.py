"""Checks a dataset folder: `python -m slicebench.data.check FOLDER`.

Prints cases, shapes, spacing, classes, slice axis and split sizes, or every
fault found; the exit status is 2 on faults. With `--target_labels` the task is
prepared as well, and grid, memory and the occurrence of each class are printed.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np

from slicebench import errors
from slicebench.data import loading, prepared, readers, splits


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check and returns the exit status.

    Args:
      arguments: Command line without the program's name.
    """
    parser = argparse.ArgumentParser(
        prog="python -m slicebench.data.check",
        description="Checks every file of a dataset folder, voxels included.",
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--slice_axis", type=int, help="axis that runs over slices")
    parser.add_argument("--split_seed", type=int, default=0)
    parser.add_argument("--splits_file", type=pathlib.Path, help="splits_final.json")
    parser.add_argument("--target_labels", help="also prepare this task, fold 0")
    options = parser.parse_args(arguments)
    minimum = splits.MIN_PATIENTS if options.splits_file is None else 0
    try:
        dataset, checked = loading.checked_dataset(
            options.folder, options.slice_axis, minimum, None
        )
        split = loading.choose_split(
            dataset, checked, options.split_seed, 0, options.splits_file
        )
        text = _summary(dataset, split)
        if options.target_labels is not None:
            start = time.perf_counter()
            task = loading.load_task(
                options.folder,
                target_labels=options.target_labels,
                slice_axis=options.slice_axis,
                split_seed=options.split_seed,
                splits_file=options.splits_file,
            )
            text += _task_summary(task, time.perf_counter() - start)
    except errors.InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


def _summary(dataset: readers.Dataset, split: splits.Split) -> str:
    cases = dataset.volumes
    patients = len({case.group for case in cases})
    classes = ", ".join(f"{name} ({value})" for name, value in dataset.labels)
    sizes = ", ".join(f"{side} {len(names)}" for side, names in split.sides.items())
    shapes = _span(np.array([case.shape for case in cases]))
    spacing = _span(np.array([case.spacing for case in cases]))
    return (
        f"{dataset.name}: no faults\n"
        f"cases       {len(cases)} of {patients} patients\n"
        f"channels    {', '.join(dataset.channels)}\n"
        f"classes     {classes}\n"
        f"slice axis  {dataset.slice_axis} of the stored arrays\n"
        f"shape       {shapes} (depth, height, width)\n"
        f"spacing     {spacing} mm\n"
        f"split       {sizes} (fold 0 of {split.num_folds})\n"
        f"attribution {dataset.attribution}\n"
    )


def _task_summary(task: prepared.PreparedTask, seconds: float) -> str:
    """Grid and memory, and in how many cases and slices each class occurs."""
    cases = [case for side in task.sides for case in side]
    depths = [case.depth for case in cases]
    size = sum(
        array.nbytes for c in cases for array in (c.image, c.label, c.native_label)
    )
    lines = [
        f"target      {task.target}",
        f"grid        {task.grid[0]} x {task.grid[1]}, {task.spacing[1]:.4g} x "
        f"{task.spacing[2]:.4g} mm",
        f"depth       {min(depths)}-{max(depths)} slices, {sum(depths)} in all",
        f"memory      {size / 2**20:.1f} MB in one fold",
        f"seconds     {seconds:.1f}",
    ]
    for index, name in enumerate(task.classes, start=1):
        held = [(case.label == index).any(axis=(1, 2)) for case in cases]
        lines.append(
            f"class       {name}: in {sum(h.any() for h in held)} cases and "
            f"{sum(int(h.sum()) for h in held)} slices"
        )
    return "\n".join(lines) + "\n"


def _span(values: np.ndarray) -> str:
    """Smallest to largest value along each axis."""
    pairs = zip(values.min(axis=0), values.max(axis=0), strict=True)
    return " x ".join(
        f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}" for low, high in pairs
    )


if __name__ == "__main__":
    sys.exit(main())
