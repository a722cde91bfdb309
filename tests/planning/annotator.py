"""A played annotator: blobs on disk, and the truth of exactly the listed slices."""

import json

import nibabel as nib
import numpy as np

SHAPE = (32, 32, 8)
AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])
SMALL = ("--width=4", "--depth=2", "--batch=4", "--max_size=32")


def truth_of(number, shape=SHAPE):
    """A ball whose place and size differ from case to case, on slices 1 to 6."""
    rng = np.random.default_rng([7, number])
    centre = np.array([16, 16, 3.5]) + rng.uniform(-3, 3, 3) * [1, 1, 0.2]
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm((grid - centre) / [1, 1, 0.35], axis=-1)
    return (distance < rng.uniform(6, 8)).astype(np.uint8)


def image_of(number, shape=SHAPE):
    """Bright where the structure is, with noise."""
    noise = np.random.default_rng([8, number]).normal(0, 0.3, shape)
    return (truth_of(number, shape) + noise).astype(np.float32)


def save(array, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_scans(folder, cases=10):
    for number in range(cases):
        save(image_of(number), folder / f"case_{number:02d}.nii.gz")
    return folder


def read(path):
    return np.asarray(nib.load(path).dataobj)


def record(plan):
    return json.loads((plan / "plan.json").read_text())


def annotate(plan, labels, truth=lambda case: truth_of(int(case[-2:])), change=None):
    """Copies the truth of listed slices and of whole test cases, nothing else.

    Args:
      plan: Folder of the plan.
      labels: Folder to be made.
      truth: Stored label map of a case.
      change: Called with case, label map and done slices; its result is written.
    """
    content = record(plan)
    planned = {}
    for row in content["rows"]:
        planned.setdefault(row["case"], []).append(row["slice_index"])
    for entry in content["cases"]:
        case, axis = entry["case"], entry["slice_axis"]
        if entry["side"] == "pool" and case not in planned:
            continue
        label = truth(case)
        done = planned.get(case, range(label.shape[axis]))
        sparse = np.zeros_like(label)
        np.moveaxis(sparse, axis, 0)[done] = np.moveaxis(label, axis, 0)[done]
        if change:
            sparse = change(case, sparse, done)
        source = nib.load(f"{content['images']}/{entry['files'][0]}")
        save(sparse, labels / f"{case}.nii.gz", source.affine)
    return planned
