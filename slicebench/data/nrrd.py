"""3D Slicer's segmentations in NRRD files with an attached header.

Only what such files hold is read: integers, raw or gzip encoding, up to one
list axis of layers (https://teem.sourceforge.net/nrrd/format.html). Lengths
come from the header, so that a file cannot unpack to more than it announces.
"""

import math
import pathlib
import zlib
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64

from slicebench.errors import read_regular

_TYPES = {
    "unsigned char": "u1",
    "uchar": "u1",
    "uint8": "u1",
    "uint8_t": "u1",
    "signed char": "i1",
    "int8": "i1",
    "short": "i2",
    "int16": "i2",
    "unsigned short": "u2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
}
_SPACES = {  # signs that lead to right-anterior-superior
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}
_MAX_BYTES = 1 << 32
_MAX_FILE = _MAX_BYTES + (1 << 26)
_RATIO = 1100
"""More bytes than deflate can ever make of one."""
_Value = TypeVar("_Value")


class Segments(NamedTuple):
    """Voxels and segments of one file.

    Attributes:
      array: Stored integers; layer first.
      affine: Map from indices of a layer to world mm (RAS+).
      segments: Name, layer and label value of each segment.
    """

    array: np.ndarray
    affine: Float64[np.ndarray, "4 4"]
    segments: tuple[tuple[str, int, int], ...]


def read_segments(path: pathlib.Path) -> Segments:
    """Reads a `.seg.nrrd` file.

    Raises:
      ValueError: Not such a file, or one that holds less than it announces.
      OSError: It cannot be read.
    """
    head, found, body = read_regular(path, _MAX_FILE).partition(b"\n\n")
    if not head.startswith(b"NRRD000") or not found:
        raise ValueError("not an NRRD file with an attached header")
    fields = _fields(head.decode("utf-8", "replace"))
    if "data file" in fields or "datafile" in fields:
        raise ValueError("the voxels are in another file, which is not supported")
    sizes = [int(size) for size in _need(fields, "sizes").split()]
    kind = np.dtype(_choose(fields, "type", _TYPES))
    if fields.get("endian", "little") == "big":
        kind = kind.newbyteorder(">")
    array = np.frombuffer(_content(fields, body, sizes, kind.itemsize), kind)
    directions, axis = _directions(fields, len(sizes))
    array = array.reshape(sizes, order="F")
    layers = array[None] if axis is None else np.moveaxis(array, axis, 0)
    signs = np.array(_choose(fields, "space", _SPACES))
    affine = np.eye(4)
    affine[:3, :3] = directions.T * signs[:, None]
    affine[:3, 3] = _vector(_need(fields, "space origin")) * signs
    return Segments(layers, affine, _segments(fields, len(layers)))


def _fields(head: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in head.splitlines()[1:]:
        for mark in (":=", ": "):
            name, found, value = line.partition(mark)
            if found and not line.startswith("#"):
                fields[name if mark == ":=" else name.lower()] = value.strip()
                break
    return fields


def _need(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise ValueError(f"the NRRD header has no `{name}`")
    return fields[name]


def _choose(fields: dict[str, str], name: str, allowed: dict[str, _Value]) -> _Value:
    given = _need(fields, name).lower()
    if given not in allowed:
        raise ValueError(f"NRRD `{name}` is {given!r}; allowed: {', '.join(allowed)}")
    return allowed[given]


def _content(
    fields: dict[str, str], body: bytes, sizes: list[int], width: int
) -> bytes:
    """Unpacks exactly the announced number of bytes."""
    size = math.prod(sizes) * width
    if not 0 < size <= _MAX_BYTES or min(sizes) < 1:
        raise ValueError(f"NRRD `sizes` {sizes} announce {size} bytes")
    encoding = _need(fields, "encoding").lower()
    if encoding in ("gzip", "gz"):
        if size > len(body) * _RATIO:
            raise ValueError(f"{len(body)} packed bytes cannot hold {size}")
        try:
            body = zlib.decompressobj(31).decompress(body, size)
        except zlib.error as error:
            raise ValueError(f"truncated or damaged gzip voxels: {error}") from None
    elif encoding != "raw":
        raise ValueError(f"NRRD `encoding` is {encoding!r}; allowed: raw, gzip")
    if len(body) < size:
        raise ValueError(f"holds {len(body)} of the {size} bytes it announces")
    return body[:size]


def _directions(
    fields: dict[str, str], axes: int
) -> tuple[Float64[np.ndarray, "3 3"], int | None]:
    """Direction of each spatial axis, a row each, and the layers' axis."""
    text = _need(fields, "space directions").replace(") (", ")|(")
    parts = text.replace("none ", "none|").replace(" none", "|none").split("|")
    spatial = [_vector(part) for part in parts if part.strip() != "none"]
    if len(parts) != axes or len(spatial) != 3:
        raise ValueError(f"NRRD `space directions` {text!r} do not span 3 of its axes")
    lists = [axis for axis, part in enumerate(parts) if part.strip() == "none"]
    return np.array(spatial), lists[0] if lists else None


def _vector(text: str) -> Float64[np.ndarray, " 3"]:
    values = np.array([float(part) for part in text.strip(" ()").split(",")])
    if values.shape != (3,) or not np.isfinite(values).all():
        raise ValueError(f"expected three finite numbers, given {text!r}")
    return values


def _segments(fields: dict[str, str], layers: int) -> tuple[tuple[str, int, int], ...]:
    """Older files have neither layer nor value: one layer a segment, value 1."""
    found: list[tuple[str, int, int]] = []
    for number in range(256):
        name = fields.get(f"Segment{number}_Name")
        if name is None:
            break
        default = number if layers > 1 else 0
        layer = int(fields.get(f"Segment{number}_Layer", default))
        if not 0 <= layer < layers:
            raise ValueError(f"segment {name} is in layer {layer} of {layers}")
        value = int(fields.get(f"Segment{number}_LabelValue", 1))
        found.append((name, layer, value))
    if not found:
        raise ValueError("the NRRD header names no segment")
    return tuple(found)
