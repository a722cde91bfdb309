"""Reading a NIfTI file of which nothing is taken for granted.

Before voxels are read, the header bounds how far a compressed file may unpack
and is checked for a sound spacing and for two maps to world coordinates that
contradict each other.
"""

import gzip
import io
import logging
import math
import struct
import zlib
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
)
"""What reading raises on a file that is not sound."""
MAX_BYTES = 1 << 32
"""Most bytes that the voxels of one file may take."""
MAX_FILE = MAX_BYTES + (1 << 28)
"""Most bytes of a file: its voxels, and what may stand before and after them."""
SPACING = (1e-4, 1e4)
"""Smallest and largest distance between voxels in mm."""
_MAX_OFFSET = 1 << 26
"""Most bytes before the voxels: header and extensions."""
_SLACK = 1 << 20
"""Bytes that may follow the voxels, such as padding."""
_RATIO = 1100
"""More bytes than deflate can ever make of one."""
# nibabel logs each thing that is odd about a header, several times; messages here say
# what is wrong with a file, once.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)
_DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error)
_RIGID = 2
"""Codes up to this one mean scanner space; higher ones mean a template's."""


def parse(content: bytes, *, compressed: bool) -> Any:
    """Parses the content of a single-file NIfTI-1 or NIfTI-2 image.

    Args:
      content: All bytes of the file.
      compressed: Whether they are gzip compressed.

    Raises:
      ValueError: With the reason, where it is not a sound file.
    """
    try:
        plain = _unpack(content) if compressed else content
    except _DAMAGE as error:
        raise ValueError(f"truncated or damaged gzip file: {error}") from None
    try:
        image_class, header = _header(plain)
        _refuse_short(_announced(header), len(plain))
        # Unchecked, since nibabel's check sets a spacing of 0 to 1.
        _check_spacing(type(header)(plain[: header.sizeof_hdr], check=False))
        _check_maps(header)
        stored = image_class.from_stream(io.BytesIO(plain))
        np.asanyarray(stored.dataobj)
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"not a sound NIfTI file: {reason}") from None
    return stored


def _unpack(content: bytes) -> bytes:
    """Unpacks as much as the header announces, and little more."""
    with gzip.open(io.BytesIO(content)) as stream:
        head = stream.read(540)
        try:
            size = _announced(_header(head)[1])
        except READ_ERRORS:
            return head  # parsing it again says what is wrong
        # Before memory is filled: no gzip file of this length can hold that much.
        _refuse_short(size, len(content) * _RATIO)
        rest = stream.read(max(0, size - len(head)))
        # Reading to the end checks the gzip file's own sum.
        if len(stream.read(_SLACK + 1)) > _SLACK:
            raise ValueError(
                f"unpacks to more than the {size} bytes that its header announces"
            )
    return head + rest


def _header(content: bytes) -> tuple[Any, Any]:
    """Returns image class and header."""
    for image_class in (Nifti1Image, Nifti2Image):
        header_class: Any = image_class.header_class
        size = header_class.sizeof_hdr
        if content[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")):
            return image_class, header_class(content[:size])
    raise ValueError("the file does not start with a NIfTI header")


def _refuse_short(announced: int, there: int) -> None:
    if announced > there:
        raise ValueError(
            f"truncated: its header announces {announced} bytes, it holds {there} at "
            "most"
        )


def _announced(header: Any) -> int:
    """Bytes up to the end of the voxels.

    Raises:
      ValueError: More than `MAX_BYTES`, or voxels that begin nowhere sensible.
    """
    shape = tuple(int(size) for size in header.get_data_shape())
    size = math.prod(shape) * int(header.get_data_dtype().itemsize)
    if size > MAX_BYTES or min(shape, default=0) < 0:
        raise ValueError(
            f"its header announces {size} bytes of voxels, shape {shape}; allowed "
            f"are {MAX_BYTES}"
        )
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MAX_OFFSET:
        raise ValueError(
            f"its voxels begin at byte {offset:g} (vox_offset); allowed are 0 to "
            f"{_MAX_OFFSET}"
        )
    return int(header.get_data_offset()) + size


def _check_spacing(header: Any) -> None:
    """Refuses a spacing that is no number, or that the affine is made of and is 0."""
    sizes = np.array(header["pixdim"][1:4], float)
    made = int(header["sform_code"]) == 0
    if not np.isfinite(sizes).all() or (made and (sizes <= 0).any()):
        raise ValueError(
            f"spacing (pixdim) {', '.join(f'{s:g}' for s in sizes)}; expected three "
            "positive numbers"
        )


def _check_maps(header: Any) -> None:
    """Refuses a qform and an sform of one space that contradict each other.

    Two maps with different codes may lead to different spaces (NIfTI-1), but
    in scanner space a voxel has one size. Everything here follows the sform.
    """
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if sform is None or qform is None or not np.isfinite([sform, qform]).all():
        return  # one map only, or an affine that is reported elsewhere
    if max(sform_code, qform_code) > _RIGID and sform_code != qform_code:
        return
    sizes, others = voxel_sizes(sform), voxel_sizes(qform)
    if not np.allclose(sizes, others, rtol=0.02):
        raise ValueError(
            f"spacing is {_few(sizes)} mm by its sform, {_few(others)} mm by its "
            "qform; correct one of them"
        )
    shape = np.array((*header.get_data_shape(), 1, 1, 1)[:3]) - 1
    corners = np.c_[np.array([*np.ndindex(2, 2, 2)]) * shape, np.ones(8)]
    shift = np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max()
    if sform_code == qform_code and shift > sizes.min():
        raise ValueError(
            f"its sform and qform have one code ({int(sform_code)}) but place voxels "
            f"up to {shift:.3g} mm apart; correct one of them"
        )


def _few(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
