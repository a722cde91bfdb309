"""Damaged labels, hostile case names, and many faults at once."""

import os

import numpy as np

from tests.data import folders
from tests.hostile.base import IMAGE, LABEL, array, spoilt
from tests.hostile.kind import Kind


def _label(value, kind=np.int32):
    def make(image, label):
        label = label.astype(kind)
        label[0, 0, 0] = value
        return label

    return make


def _named(name):
    def change(folder):
        image, label = folders.draw_case(77)
        for path, part in (
            (f"imagesTr/{name}_0000.nii.gz", image),
            (f"labelsTr/{name}.nii.gz", label),
        ):
            folders.save(folder / "plain.nii.gz", part)
            os.rename(folder / "plain.nii.gz", os.path.join(folder, path))

    return spoilt(change)


def _many(folder):
    """Ten faults in one dataset."""
    image, label = folders.draw_case(1)
    (folder / "labelsTr/c00.nii.gz").unlink()
    (folder / "imagesTr/c01_0000.nii.gz").write_bytes(b"")
    folders.save(folder / "labelsTr/c02.nii.gz", label[:, :, :4])
    folders.save(folder / "labelsTr/c03.nii.gz", label, np.diag([1, 1, 3.0, 1]))
    folders.save(folder / "labelsTr/c04.nii.gz", label.astype(np.float32) / 2)
    folders.save(folder / "labelsTr/c05.nii.gz", label * np.uint8(40))
    folders.save(folder / "imagesTr/c06_0000.nii.gz", image * np.float32(np.nan))
    folders.save(folder / "imagesTr/c07_0000.nii.gz", image[..., 0])
    (folder / "groups.csv").write_text("case,group\nc99,p\n")


KINDS = (
    Kind(
        "label of halves",
        "label values 0, 0.5 and 1",
        array(LABEL, lambda _, x: x.astype(np.float32) / 2),
        (LABEL, "not integers: 0.5"),
    ),
    Kind(
        "label NaN",
        "a label value that is no number",
        array(LABEL, _label(np.nan, np.float32)),
        (LABEL, "not integers: nan"),
    ),
    Kind("label 300", "a value above 255", array(LABEL, _label(300)), (LABEL, "300")),
    Kind("label -1", "a negative value", array(LABEL, _label(-1)), (LABEL, "-1")),
    Kind(
        "label not listed",
        "value 9, which dataset.json does not list",
        array(LABEL, _label(9)),
        (LABEL, "9 are not listed", "lists 0, 1, 2"),
    ),
    Kind(
        "label of another shape",
        "a slice less than the image",
        array(LABEL, lambda _, x: x[:, :, :4]),
        (LABEL, "shape (10, 12, 4) differs from (10, 12, 5)"),
    ),
    Kind(
        "label elsewhere",
        "another affine than the image",
        array(LABEL, lambda _, x: x, affine=np.diag([1, 1, 3.0, 1])),
        (LABEL, "affine differs", "allowed are 0.1 mm"),
    ),
    Kind(
        "label with channels",
        "a label of two channels",
        array(LABEL, lambda _, x: np.stack([x, x], -1)),
        (LABEL, "label has 2 channels, not 1"),
    ),
    Kind(
        "image without label",
        "a label is missing",
        spoilt(lambda folder: (folder / LABEL).unlink()),
        (IMAGE, "has no label", LABEL),
    ),
    Kind(
        "label without image",
        "an image is missing",
        spoilt(lambda folder: (folder / IMAGE).unlink()),
        (LABEL, "has no image", IMAGE),
    ),
    Kind(
        "name with terminal commands",
        "a case name that would clear the screen",
        _named("a\x1b[2Jb"),
        ("a\\x1b[2Jb", "printable"),
    ),
    Kind(
        "name with a line break", "a case name of two lines", _named("a\nb"), ("a\\nb",)
    ),
    Kind(
        "name that is not UTF-8",
        "a case name with byte 0xFF",
        _named(os.fsdecode(b"a\xff")),
        ("udcff", "printable"),
    ),
    Kind(
        "endless name",
        "a case name of 200 letters",
        _named("n" * 200),
        ("at most 120 characters",),
    ),
    Kind(
        "name of another script",
        "a case name in Chinese with blanks: sound, and taken",
        _named("患者 1"),
        ("no faults",),
        status=0,
    ),
    Kind(
        "nine faults at once",
        "nine files of nine cases spoilt in nine ways",
        spoilt(_many),
        (
            "c00_0000.nii.gz has no label",
            "c01_0000.nii.gz",
            "c02.nii.gz: shape",
            "c03.nii.gz: affine differs",
            "c04.nii.gz: label values are not integers",
            "c05.nii.gz: label values 40, 80 are not listed",
            "c06_0000.nii.gz: 600 voxels are NaN",
            "c07_0000.nii.gz: shape (10, 12)",
            "usable patients; the split needs 9",
        ),
    ),
)
