"""Tiny made-up dataset folders."""

import json
import os
import pathlib

import nibabel as nib
import numpy as np
import pytest

SHAPE = (10, 12, 5)
REAL = pathlib.Path(
    os.environ.get(
        "SLICEBENCH_DATA",
        pathlib.Path(__file__).parents[3] / "shared" / "data",
    )
)


def real_folder(name):
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set SLICEBENCH_DATA")
    return folder


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4) if affine is None else affine
    nib.save(nib.Nifti1Image(array, affine), path)


def draw_case(number, shape=SHAPE, dtype=np.float32):
    """An image and a label with classes 1 and 2, different for every number."""
    rng = np.random.default_rng(number)
    label = np.zeros(shape, np.uint8)
    label[2:6, 3:8, 1:4] = 1
    label[4:8, 6:10, 2:5] = 2
    image = 100 * label + rng.normal(50, 10, shape)
    return image.astype(dtype), label


def write_json(folder, **changes):
    """Writes dataset.json in nnU-Net form; a change to None removes the key."""
    document = {
        "channel_names": {"0": "T1w MRI"},
        "labels": {"background": 0, "front": 1, "back": 2},
        "numTraining": 12,
        "file_ending": ".nii.gz",
        "licence": "CC0",
        "citation": "Nobody (2020)",
    } | changes
    document = {key: value for key, value in document.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(document))


def write_nnunet(folder, cases=12, shape=SHAPE, affine=None, **changes):
    """A sound nnU-Net v2 raw folder with cases c00, c01, ..."""
    write_json(folder, numTraining=cases, **changes)
    channels = len(changes.get("channel_names", "1"))
    for number in range(cases):
        image, label = draw_case(number, shape)
        for channel in range(channels):
            path = folder / f"imagesTr/c{number:02d}_{channel:04d}.nii.gz"
            save(path, image + 1000 * channel, affine)
        save(folder / f"labelsTr/c{number:02d}.nii.gz", label, affine)
    return folder


def write_msd(folder, cases=12, channels=1, **changes):
    """A sound Decathlon folder; several channels lie on a fourth axis."""
    training = []
    for number in range(cases):
        image, label = draw_case(number)
        if channels > 1:
            image = np.stack([image + 1000 * c for c in range(channels)], axis=-1)
        name = f"c{number:02d}.nii.gz"
        save(folder / "imagesTr" / name, image)
        save(folder / "labelsTr" / name, label)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document = {
        "name": "Made Up",
        "modality": {str(channel): f"MRI {channel}" for channel in range(channels)},
        "labels": {"0": "background", "1": "front", "2": "back"},
        "numTraining": cases,
        "training": training,
    } | changes
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder
