"""A series of single-frame DICOM images as one volume.

Only what MR and CT series need is read: uncompressed little-endian files with
one grey value a pixel (DICOM PS3.5, PS3.3 C.7.6.2). Everything else is refused
with the transfer syntax, so that no voxel is guessed.
"""

import pathlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from slicebench.errors import read_regular

_SYNTAXES = {"1.2.840.10008.1.2": False, "1.2.840.10008.1.2.1": True}
"""Readable transfer syntaxes; whether value types are explicit."""
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV")
_LONG += (b"UC", b"UN", b"UR", b"UT", b"UV")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX, _PIXELS = 0x00020010, 0x7FE00010
MAX_FILE = 1 << 30
"""Most bytes of one image's file."""
_HEAD = 1 << 16
_NUMBERS = {
    "samples": 0x00280002,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "bits": 0x00280100,
    "signed": 0x00280103,
}
_TEXTS = {
    "position": (0x00200032, 3),
    "orientation": (0x00200037, 6),
    "spacing": (0x00280030, 2),
    "intercept": (0x00281052, 1),
    "slope": (0x00281053, 1),
}
_OPTIONAL = {"intercept": (0.0,), "slope": (1.0,), "samples": 1, "signed": 0}
_TILT = 1e-3
_CUT = (IndexError, KeyError, RecursionError, struct.error)
"""What parsing raises where content ends early or is no DICOM."""


class Slice(NamedTuple):
    """Header of one image.

    Attributes:
      path: Its file.
      rows: Number of rows.
      columns: Number of columns.
      kind: Number type of a stored pixel.
      position: Centre of the first pixel in mm (LPS+).
      orientation: Directions of rising column and of rising row.
      spacing: Distance between rows, then between columns, in mm.
      slope: Factor to the real value.
      intercept: Offset to the real value.
    """

    path: pathlib.Path
    rows: int
    columns: int
    kind: str
    position: Float64[np.ndarray, " 3"]
    orientation: Float64[np.ndarray, " 6"]
    spacing: tuple[float, float]
    slope: float
    intercept: float


def series_files(folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Every DICOM file of a series folder by name."""
    return tuple(sorted(folder.glob("*.dcm")))


def read_geometry(
    folder: pathlib.Path,
) -> tuple[tuple[int, int, int], Float64[np.ndarray, "4 4"], list[Slice]]:
    """Reads the headers of a series.

    Returns:
      Shape as columns, rows and slices; the map from such indices to world mm
      (RAS+); and the slices by rising position along their normal.

    Raises:
      ValueError: Not one evenly spaced stack of equal slices.
      OSError: A file cannot be read.
    """
    slices = [_read_head(path) for path in series_files(folder)]
    if len(slices) < 2:
        raise ValueError(f"holds {len(slices)} DICOM slices; expected two or more")
    first = slices[0]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    for item in slices:
        same = (item.rows, item.columns, item.kind) == first[1:4]
        close = np.allclose(item.orientation, first.orientation, atol=_TILT)
        if not same or not close or item.spacing != first.spacing:
            raise ValueError(f"{item.path.name} and {first.path.name} differ in grid")
    slices.sort(key=lambda item: float(item.position @ normal))
    places = np.array([item.position for item in slices])
    step = (places[-1] - places[0]) / (len(slices) - 1)
    off = np.abs(np.diff(places, axis=0) - step).max()
    if not np.linalg.norm(step) > 0 or off > 0.05 * np.linalg.norm(step):
        raise ValueError(
            f"slices are missing, repeated or unevenly spaced (off by {off:.3g} mm)"
        )
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = places[0]
    affine[:2] *= -1  # LPS+ to RAS+
    return (first.columns, first.rows, len(slices)), affine, slices


def read_series(
    folder: pathlib.Path,
) -> tuple[np.ndarray, Float64[np.ndarray, "4 4"]]:
    """Reads a series as columns x rows x slices, and its map to world mm.

    Raises:
      ValueError: As `read_geometry`, or too few pixels.
      OSError: A file cannot be read.
    """
    shape, affine, slices = read_geometry(folder)
    array = np.empty(shape, np.float32, order="F")
    for index, item in enumerate(slices):
        content = read_regular(item.path, MAX_FILE)
        *_, (_, start, size) = _elements(content)
        count = item.rows * item.columns
        if min(size, len(content) - start) < count * np.dtype(item.kind).itemsize:
            raise ValueError(f"{item.path.name}: fewer pixels than rows x columns")
        pixels = np.frombuffer(content, item.kind, count, start)
        plane = pixels.reshape(item.rows, item.columns).T
        array[:, :, index] = plane * np.float32(item.slope) + np.float32(item.intercept)
    return array, affine


def _read_head(path: pathlib.Path) -> Slice:
    content = read_regular(path, MAX_FILE, most=_HEAD)
    try:
        try:
            found = _parse(path, content)
        except _CUT:  # a long private header
            found = _parse(path, read_regular(path, MAX_FILE))
    except _CUT:
        raise ValueError(f"{path.name}: not a whole DICOM image") from None
    # Before an array is made for it.
    if path.stat().st_size < found.rows * found.columns * np.dtype(found.kind).itemsize:
        raise ValueError(f"{path.name}: fewer pixels than rows x columns")
    return found


def _parse(path: pathlib.Path, content: bytes) -> Slice:
    """Raises KeyError, IndexError or struct.error where something is missing."""
    if content[128:132] != b"DICM":
        raise ValueError(f"{path.name}: not a DICOM file")
    places = {tag: (start, size) for tag, start, size in _elements(content)}
    places[_PIXELS]  # a header is whole where the pixels begin

    def number(name: str) -> int:
        place = places.get(_NUMBERS[name])
        if place is None and name in _OPTIONAL:
            return _OPTIONAL[name]
        return struct.unpack_from("<H", content, places[_NUMBERS[name]][0])[0]

    def texts(name: str) -> tuple[float, ...]:
        tag, count = _TEXTS[name]
        if tag not in places and name in _OPTIONAL:
            return _OPTIONAL[name]
        start, size = places[tag]
        values = tuple(float(v) for v in content[start : start + size].split(b"\\"))
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError(f"{path.name}: {name} {values}; expected {count} numbers")
        return values

    if number("samples") != 1 or number("bits") not in (8, 16):
        raise ValueError(
            f"{path.name}: {number('samples')} values of {number('bits')} bits a "
            "pixel; readable is one of 8 or 16 bits"
        )
    spacing = texts("spacing")
    return Slice(
        path=path,
        rows=number("rows"),
        columns=number("columns"),
        kind=f"<{'i' if number('signed') else 'u'}{number('bits') // 8}",
        position=np.array(texts("position")),
        orientation=np.array(texts("orientation")),
        spacing=(spacing[0], spacing[1]),
        slope=texts("slope")[0],
        intercept=texts("intercept")[0],
    )


def _elements(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, start and length of each top-level element up to the pixels."""
    at, explicit = 132, True
    while at < len(content):
        tag = _tag(content, at)
        if tag >> 16 != 2:
            break
        start, size = _value(content, at, explicit=True)
        if tag == _SYNTAX:
            syntax = content[start : start + size].rstrip(b"\0 ").decode("ascii")
            if syntax not in _SYNTAXES:
                raise ValueError(
                    f"transfer syntax {syntax} is compressed or big-endian; convert "
                    "the files to explicit little endian"
                )
            explicit = _SYNTAXES[syntax]
        at = start + size
    while at + 8 <= len(content):
        tag = _tag(content, at)
        start, size = _value(content, at, explicit=explicit)
        yield tag, start, size
        if tag == _PIXELS:
            return
        if size == _UNDEFINED:
            # Of unknown type (UN), its items are implicit (PS3.5, 6.2.2).
            inner = explicit and content[start - 8 : start - 6] != b"UN"
            at = _skip(content, start, inner)
        else:
            at = start + size


def _tag(content: bytes, at: int) -> int:
    group, element = struct.unpack_from("<HH", content, at)
    return group << 16 | element


def _value(content: bytes, at: int, *, explicit: bool) -> tuple[int, int]:
    """Start and length of an element's value."""
    kind = content[at + 4 : at + 6]
    if _tag(content, at) >> 16 == 0xFFFE or not explicit:
        return at + 8, struct.unpack_from("<I", content, at + 4)[0]
    if kind in _LONG:
        return at + 12, struct.unpack_from("<I", content, at + 8)[0]
    return at + 8, struct.unpack_from("<H", content, at + 6)[0]


def _skip(content: bytes, at: int, explicit: bool) -> int:
    """End of a sequence, or item, of undefined length whose content begins here."""
    while True:
        tag = _tag(content, at)
        start, size = _value(content, at, explicit=explicit)
        if tag in (_ITEM_END, _SEQUENCE_END):
            return start
        at = _skip(content, start, explicit) if size == _UNDEFINED else start + size
