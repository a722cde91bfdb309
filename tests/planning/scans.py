"""Made-up scans on disk: a gradient in every direction, so that each voxel is known."""

import nibabel as nib
import numpy as np

from tests.planning.test_geometry import affine_of

AFFINE = affine_of((0, 1, 2), (1, -1, 1))


def write_scan(path, shape=(12, 10, 8), affine=AFFINE, seed=0, channels=1):
    """Brightness tells the slice along the last axis and the place in the plane."""
    rows, columns, slices = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = 100.0 * slices + 3 * rows + columns
    image = image + np.random.default_rng(seed).normal(0, 0.5, shape)
    if channels > 1:
        image = np.stack([image] * channels, axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), path)
    return path


def write_folder(folder, cases=16, **changes):
    for number in range(cases):
        write_scan(folder / f"case_{number:02d}.nii.gz", seed=number, **changes)
    return folder
