"""Damaged and hostile NIfTI files, as images and as labels."""

import gzip
import os
import pathlib

import nibabel as nib
import numpy as np

from tests.data import folders
from tests.hostile.base import (
    IMAGE,
    LABEL,
    array,
    content,
    header,
    linked,
    replaced,
    spoilt,
    unpacked,
)
from tests.hostile.kind import Kind

_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def _cut(folder):
    data = (folder / IMAGE).read_bytes()
    (folder / IMAGE).write_bytes(data[: len(data) // 2])


def _flip(folder):
    data = bytearray((folder / IMAGE).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / IMAGE).write_bytes(data)


def _half(folder):
    (folder / IMAGE).write_bytes(gzip.compress(unpacked(folder / IMAGE)[:200]))


def _bomb_behind(folder):
    plain = unpacked(folder / IMAGE)
    (folder / IMAGE).write_bytes(gzip.compress(plain + bytes(1 << 25), 1))


def _bomb_announced(folder):
    """4 GB of zeros would follow a header that announces them, in a small file."""
    plain = bytearray(unpacked(folder / IMAGE)[:352])
    found = nib.Nifti1Header(bytes(plain[:348]), check=False)
    found["dim"] = [3, 1000, 1000, 1000, 1, 1, 1, 1]
    plain[:348] = found.binaryblock
    (folder / IMAGE).write_bytes(gzip.compress(bytes(plain) + bytes(1 << 16)))


def _nan_affine(folder):
    plain = bytearray(unpacked(folder / IMAGE))
    plain[280:284] = np.float32(np.nan).tobytes()
    (folder / IMAGE).write_bytes(gzip.compress(bytes(plain)))


def _extension(folder):
    """An extension that says it is 2 GB long."""
    plain = bytearray(unpacked(folder / IMAGE))
    plain[348:352] = b"\1\0\0\0"
    found = nib.Nifti1Header(bytes(plain[:348]), check=False)
    found["vox_offset"] = 368
    plain[:348] = found.binaryblock
    extra = np.array([2**31 - 16, 4], "<i4").tobytes() + bytes(8)
    plain[352:352] = extra
    (folder / IMAGE).write_bytes(gzip.compress(bytes(plain)))


def _with(value, count=1):
    def make(image, label):
        image.flat[:count] = value
        return image

    return make


def _label(value, kind=np.int32):
    def make(image, label):
        label = label.astype(kind)
        label[0, 0, 0] = value
        return label

    return make


def _big_endian(folder):
    image = folders.draw_case(1)[0].astype(np.int16)
    found = nib.Nifti1Header(endianness=">")
    found.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(image, np.eye(4), found), folder / IMAGE)


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


def _fifo(path):
    os.mkfifo(path)


def _closed(folder):
    (folder / IMAGE).chmod(0)


def _closed_folder(folder):
    (folder / "imagesTr").chmod(0)


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
    Kind("empty file", "an image of 0 bytes", content(IMAGE, b""), (IMAGE,)),
    Kind(
        "folder as file",
        "a folder where a label should be",
        replaced(LABEL, pathlib.Path.mkdir),
        (LABEL,),
    ),
    Kind("pipe", "a named pipe as image", replaced(IMAGE, _fifo), (IMAGE, "pipe")),
    Kind(
        "device",
        "an image that links to /dev/zero",
        linked(IMAGE, "/dev/zero"),
        (IMAGE, "link"),
    ),
    Kind(
        "link to nowhere",
        "an image that links to a file that is not there",
        linked(IMAGE, "absent.nii.gz"),
        (IMAGE, "No such file"),
    ),
    Kind(
        "link to itself",
        "a label that links to itself",
        linked(LABEL, "c01.nii.gz"),
        (LABEL, "Too many levels"),
    ),
    Kind(
        "link out of the dataset",
        "an image that links to a file elsewhere",
        linked(IMAGE, "/etc/hostname"),
        (IMAGE, "leads out", "SLICEBENCH_LINKS=follow"),
    ),
    Kind(
        "unreadable file",
        "an image that the user may not read",
        spoilt(_closed),
        (IMAGE, "Permission denied"),
        nobody=True,
    ),
    Kind(
        "unreadable folder",
        "imagesTr that the user may not list",
        spoilt(_closed_folder),
        ("imagesTr", "Permission denied"),
        nobody=True,
    ),
    Kind(
        "text as image",
        "plain text under a NIfTI name",
        content(IMAGE, b"hello\n" * 99),
        (IMAGE, "gzip"),
    ),
    Kind(
        "noise as image",
        "random bytes, packed by gzip",
        content(IMAGE, gzip.compress(np.random.default_rng(0).bytes(4000))),
        (IMAGE, "not a sound NIfTI file"),
    ),
    Kind("cut file", "the second half is missing", spoilt(_cut), (IMAGE, "truncated")),
    Kind("flipped byte", "one byte differs", spoilt(_flip), (IMAGE, "damaged gzip")),
    Kind("half a header", "200 bytes", spoilt(_half), (IMAGE, "NIfTI")),
    Kind(
        "gzip bomb behind the voxels",
        "32 MiB of zeros follow",
        spoilt(_bomb_behind),
        (IMAGE, "unpacks to more than"),
    ),
    Kind(
        "gzip bomb in the header",
        "a file of 1 KB whose header announces 4 GB",
        spoilt(_bomb_announced),
        (IMAGE, "truncated: its header announces 4000000352 bytes"),
    ),
    Kind(
        "absurd dimensions",
        "32000 voxels along each axis",
        header(IMAGE, dim=[3, 32000, 32000, 32000, 1, 1, 1, 1]),
        (IMAGE, "announces", "allowed are"),
    ),
    Kind(
        "negative dimension",
        "-5 slices",
        header(IMAGE, dim=[3, 10, 12, -5, 1, 1, 1, 1]),
        (IMAGE, "shape (10, 12, -5)"),
    ),
    Kind(
        "no voxels",
        "0 slices",
        header(IMAGE, dim=[3, 10, 12, 0, 1, 1, 1, 1]),
        (IMAGE, "shape (0,)"),
    ),
    Kind(
        "voxels far away",
        "voxels that begin at byte 1e30",
        header(IMAGE, vox_offset=1e30),
        (IMAGE, "vox_offset"),
    ),
    Kind(
        "voxels nowhere",
        "voxels that begin at byte NaN",
        header(IMAGE, vox_offset=np.nan),
        (IMAGE, "vox_offset"),
    ),
    Kind(
        "unknown number type",
        "a data type code that does not exist",
        header(IMAGE, datatype=7777),
        (IMAGE, "7777"),
    ),
    Kind(
        "endless extension",
        "a header extension of 2 GB",
        spoilt(_extension),
        (IMAGE, "NIfTI"),
    ),
    Kind(
        "infinite offset",
        "infinity is added to every stored value",
        header(IMAGE, scl_slope=1, scl_inter=np.inf),
        (IMAGE,),
    ),
    Kind(
        "spacing zero",
        "0 mm between slices",
        header(IMAGE, pixdim=[1, 1, 1, 0, 0, 0, 0, 0], sform_code=0),
        (IMAGE, "spacing (pixdim) 1, 1, 0"),
    ),
    Kind(
        "spacing NaN",
        "no number between slices",
        header(IMAGE, pixdim=[1, 1, 1, np.nan, 0, 0, 0, 0]),
        (IMAGE, "spacing (pixdim) 1, 1, nan"),
    ),
    Kind(
        "spacing negative",
        "-1 mm between slices",
        header(IMAGE, pixdim=[1, 1, 1, -1, 0, 0, 0, 0], sform_code=0),
        (IMAGE, "spacing (pixdim) 1, 1, -1"),
    ),
    Kind(
        "spacing absurd",
        "a millionth of a mm between voxels",
        array(IMAGE, lambda i, _: i, affine=np.diag([1e-6, 1e-6, 1e-6, 1])),
        (IMAGE, "spacing is", "allowed are 0.0001 to 10000 mm"),
    ),
    Kind(
        "singular affine",
        "two axes in one direction",
        header(IMAGE, srow_x=[0, 0, 0, 0], qform_code=0),
        (IMAGE, "not finite and invertible"),
    ),
    Kind("NaN affine", "no place", spoilt(_nan_affine), (IMAGE, "affine")),
    Kind(
        "two spacings",
        "qform and sform with other spacings",
        header(IMAGE, qform_code=2, pixdim=[1, 1, 1, 3, 0, 0, 0, 0]),
        (IMAGE, "sform", "qform", "correct one"),
    ),
    Kind(
        "two places",
        "qform and sform of one code that disagree",
        header(IMAGE, qform_code=2, sform_code=2, quatern_d=1),
        (IMAGE, "have one code (2)"),
    ),
    Kind(
        "2-D image",
        "a single plane",
        array(IMAGE, lambda i, _: i[..., 0]),
        (IMAGE, "shape (10, 12); expected 3 axes"),
    ),
    Kind(
        "5-D image",
        "five axes",
        array(IMAGE, lambda i, _: np.stack([i, i])[None]),
        (IMAGE, "expected 3 axes"),
    ),
    Kind(
        "RGB image",
        "three bytes a voxel",
        array(IMAGE, lambda i, _: np.zeros(i.shape, _COLOUR)),
        (IMAGE, "voxels of type colours"),
    ),
    Kind(
        "complex image",
        "complex numbers",
        array(IMAGE, lambda i, _: i.astype(np.complex64)),
        (IMAGE, "voxels of type complex64"),
    ),
    Kind(
        "big-endian image",
        "bytes in the other order: sound, and taken",
        spoilt(_big_endian),
        ("no faults",),
        status=0,
    ),
    Kind(
        "NaN image",
        "three voxels are NaN",
        array(IMAGE, _with(np.nan, 3)),
        (IMAGE, "3 voxels are NaN"),
    ),
    Kind(
        "infinite image",
        "one voxel is infinite",
        array(IMAGE, _with(np.inf)),
        (IMAGE, "1 voxels are NaN or infinite"),
    ),
    Kind(
        "constant image",
        "every voxel is 7",
        array(IMAGE, lambda i, _: 0 * i + 7),
        (IMAGE, "every voxel is 7"),
    ),
    Kind(
        "other channel count",
        "two channels where one is declared",
        array(IMAGE, lambda i, _: np.stack([i, i], -1)),
        (IMAGE, "holds 2 channels, dataset.json lists 1"),
    ),
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
