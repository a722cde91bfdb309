"""The user's own slice features, read from a file and checked row by row."""

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from slicebench.errors import InputError, gather

SUFFIXES = (".npz", ".parquet")
MAX_BYTES = 1 << 32
"""Most bytes of one case's features in an .npz file, and of a Parquet table."""
_RATIO = 1100
"""More bytes than deflate can ever make of one."""
_INDEX = re.compile(r"__index_level_\d+__")
_NPZ_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What reading raises on a damaged, encrypted or unusually packed file."""


def load_feature_file(
    path: Path | str,
    cases: Sequence[str],
    depths: Sequence[int],
    others: Collection[str] = (),
) -> tuple[Float[np.ndarray, "_depth feature"], ...]:
    """Reads one row of features for each slice of the pool.

    An `.npz` file holds one array a case, named as the case, of one row a slice
    (no pickled objects). A Parquet file holds the columns `case`, `slice` (from
    0) and f0, f1 ... Rows may stand in any order.

    Args:
      path: The file.
      cases: Names of the pool's cases.
      depths: Slices of each of them.
      others: Further cases of the dataset (development, test): the file may
        hold them, they are not read.

    Returns:
      Features of each case's slices, float64.

    Raises:
      InputError: If the file cannot be read, a slice is missing, there twice or
        too many, or a feature is not a finite number; all are named.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: features are read from {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    read = _read_npz if path.suffix == ".npz" else _read_parquet
    known = {*cases, *others}
    found = read(path, list(cases), list(depths))
    faults = [
        f"case {name} is not in the dataset" for name in found if name not in known
    ]
    faults += [f"case {name} is missing" for name in cases if name not in found]
    for case, depth in zip(cases, depths, strict=True):
        if case in found:
            faults += _faults(case, depth, found[case])
    if faults:
        raise gather(f"features in {path}", faults)
    rows = tuple(found[case].astype(np.float64) for case in cases)
    columns = {len(part[0]) for part in rows}
    if len(columns) > 1 or 0 in columns:
        raise InputError(
            f"features in {path}: {sorted(columns)} columns; every case needs the "
            "same number, 1 or more"
        )
    return rows


def _faults(case: str, depth: int, rows: np.ndarray) -> list[str]:
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.number):
        return [
            f"case {case} is {rows.dtype} of shape {rows.shape}, not rows of numbers"
        ]
    if np.iscomplexobj(rows):
        return [f"case {case} has complex numbers"]
    if len(rows) != depth:
        return [f"case {case} has {depth} slices but {len(rows)} rows"]
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    return [f"case {case} slice {index} holds NaN or infinity" for index in bad]


def _read_npz(path: Path, cases: list[str], depths: list[int]) -> dict[str, np.ndarray]:
    """Returns the array of each case; other cases' names with empty arrays."""
    del depths
    wanted = set(cases)
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as file:
            for entry in file.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in found:
                    raise ValueError(f"array {name} is there twice")
                if name in wanted:
                    found[name] = _read_array(file, entry)
                else:
                    found[name] = np.empty(0)
    except _NPZ_DAMAGE as error:
        raise InputError(
            f"{path}: not an .npz file of plain arrays ({error})"
        ) from error
    return found


def _read_array(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Reads one array whose header agrees with the bytes that are there."""
    most = min(MAX_BYTES, _RATIO * entry.compress_size)
    if entry.file_size > most:
        raise ValueError(
            f"{entry.filename} announces {entry.file_size} bytes, allowed are {most}"
        )
    with file.open(entry) as stream:
        plain = io.BytesIO(stream.read(entry.file_size))
    shape, fortran, kind = _header(plain)
    size = math.prod(shape) * kind.itemsize
    left = len(plain.getbuffer()) - plain.tell()
    if kind.hasobject or min(shape, default=0) < 0 or size != left:
        what = "pickled objects" if kind.hasobject else f"{left} bytes"
        raise ValueError(f"{entry.filename} of shape {shape} holds {what}")
    array = np.frombuffer(plain.getbuffer(), kind, math.prod(shape), plain.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def _header(plain: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, order and number type of an array in NumPy's own format."""
    version = np.lib.format.read_magic(plain)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(plain)
    return np.lib.format.read_array_header_2_0(plain)


def _read_parquet(
    path: Path, cases: list[str], depths: list[int]
) -> dict[str, np.ndarray]:
    """Returns the rows of each case in slice order; checks that they are there."""
    table = _load_parquet(path)
    columns = [f"f{number}" for number in range(len(table.columns) - 2)]
    if set(table.columns) != {"case", "slice", *columns} or not columns:
        raise InputError(
            f"{path}: columns {', '.join(map(str, table.columns))}; "
            "case, slice, f0, f1 ... are needed"
        )
    if not pd.api.types.is_integer_dtype(table["slice"]):
        raise InputError(
            f"{path}: column slice holds {table['slice'].dtype}, not integers"
        )
    names, slices = table["case"].astype(str).to_numpy(), table["slice"].to_numpy()
    values = table[columns].to_numpy()
    found = {name: np.empty(0) for name in np.unique(names).tolist()}
    faults: list[str] = []
    for case, depth in zip(cases, depths, strict=True):
        if case in found:
            places = np.flatnonzero(names == case)
            places = places[np.argsort(slices[places], kind="stable")]
            faults += _slice_faults(case, depth, slices[places])
            found[case] = values[places]
    if faults:
        raise gather(f"features in {path}", faults)
    return found


def _load_parquet(path: Path) -> pd.DataFrame:
    try:
        file: Any = pq.ParquetFile(path, page_checksum_verification=True)
        cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > MAX_BYTES // 8:
            raise ValueError(f"announces {cells} cells, allowed are {MAX_BYTES // 8}")
        odd = [f.name for f in file.schema_arrow if not _plain(f.type)]
        if odd:
            raise ValueError(f"column {odd[0]} holds neither text nor numbers")
        # Row numbers that pandas has kept are no features.
        wanted = [n for n in file.schema_arrow.names if not _INDEX.fullmatch(n)]
        return file.read(columns=wanted).to_pandas(ignore_metadata=True)
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a Parquet file of features ({reason})"
        ) from error


def _plain(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _slice_faults(case: str, depth: int, slices: np.ndarray) -> list[str]:
    """Names the slices that are missing, there twice or too many."""
    names, counts = np.unique(slices, return_counts=True)
    missing = sorted(set(range(depth)) - set(names.tolist()))
    return [
        *(f"case {case} slice {index} is missing" for index in missing),
        *(f"case {case} slice {index} is there twice" for index in names[counts > 1]),
        *(
            f"case {case} slice {index} is too many, the case has {depth}"
            for index in names[(names < 0) | (names >= depth)]
        ),
    ]
