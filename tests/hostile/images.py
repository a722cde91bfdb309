"""Damaged and hostile image files."""

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


def _big_endian(folder):
    image = folders.draw_case(1)[0].astype(np.int16)
    found = nib.Nifti1Header(endianness=">")
    found.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(image, np.eye(4), found), folder / IMAGE)


def _fifo(path):
    os.mkfifo(path)


def _closed(folder):
    (folder / IMAGE).chmod(0)


def _closed_folder(folder):
    (folder / "imagesTr").chmod(0)


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
)
