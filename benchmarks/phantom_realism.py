"""Measures real tasks and phantoms alike and prints one table.

    python -m benchmarks.phantom_realism --data=FOLDER[,FOLDER...]

Each folder is a data set in nnU-Net layout. A target is every class together,
or, with `FOLDER:3+4`, the classes named. A folder of labels other than
`labelsTr` stands behind `@`, as in `FOLDER:1@labelsTr_PTV70`. The first
channel is cropped to the box of its non-zero voxels, so that empty frames do
not count as what patients have in common or apart, z-scored per volume and,
like the phantoms, measured without resampling. `docs/phantoms.md` holds the
table.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from slicebench.data import phantom_measures, phantoms


def main() -> None:
    """Prints the table of measures as Markdown."""
    parser = argparse.ArgumentParser(description="Measures of slices and patients.")
    parser.add_argument("--data", default="", help="comma list of FOLDER[:CLASSES]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = {
        target: measure_folder(target) for target in arguments.data.split(",") if target
    }
    for name in phantoms.PHANTOMS:
        task = phantoms.make_phantom(name, seed=arguments.seed)
        rows[name] = measure_scaled(
            [case.image[..., 0] for case in task.pool],
            [case.label > 0 for case in task.pool],
        )
    print_table(rows)


def measure_folder(target: str) -> phantom_measures.TaskMeasures:
    """Measures a data set in nnU-Net layout, as the module's page says."""
    text, _, labels = target.partition("@")
    folder, _, classes = text.partition(":")
    root = Path(folder)
    wanted = [int(number) for number in classes.split("+") if number]
    axis = json.loads((root / "dataset.json").read_text()).get("slice_axis", 2)
    images, masks = [], []
    for path in sorted((root / (labels or "labelsTr")).glob("*.nii.gz")):
        stem = path.name.removesuffix(".nii.gz")
        label = _slices_first(path, axis).round().astype(int)
        image = _slices_first(root / "imagesTr" / f"{stem}_0000.nii.gz", axis)
        box = ndimage.find_objects((image != 0).astype(np.uint8))[0]
        images.append(image[box])
        masks.append((np.isin(label, wanted) if wanted else label > 0)[box])
    return measure_scaled(images, masks)


def measure_scaled(
    images: list[np.ndarray], masks: list[np.ndarray]
) -> phantom_measures.TaskMeasures:
    """Measures after per-volume z-score, so that all tasks are comparable."""
    scaled = [phantom_measures.z_score(image) for image in images]
    return phantom_measures.measure(scaled, masks)


def print_table(rows: dict[str, phantom_measures.TaskMeasures]) -> None:
    """Prints one Markdown row a task, one column a measure."""
    names = [f.name for f in dataclasses.fields(phantom_measures.TaskMeasures)]
    print("| task | " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for task, row in rows.items():
        cells = [f"{getattr(row, name):.4g}" for name in names]
        cells = [f"{float(c):.2f}" if "." in c else c for c in cells]
        print(f"| {Path(task).name} | " + " | ".join(cells) + " |")


def _slices_first(path: Path, axis: int) -> np.ndarray:
    volume = np.asarray(nib.load(path).dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    return np.moveaxis(volume, axis, 0)


if __name__ == "__main__":
    main()
