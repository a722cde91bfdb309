"""Damaged segmentations, DICOM, features, strata, and tasks that cannot be learnt."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data import folders, study_folders
from tests.hostile.base import CASES, spoilt, template
from tests.hostile.kind import Kind, Make

_DEPTH = folders.SHAPE[2]


def _mask(**changes: Any) -> Make:
    """The second mask of the first patient is written with other header fields."""

    def change(folder: Path) -> None:
        _, label = study_folders.draw_duke(1)
        vessels = np.where(label == 2, np.uint8(1), np.uint8(0))
        path = _mask_of(folder)
        study_folders.write_nrrd(path, vessels, {"Vessels": 1, "Dense": 2}, **changes)

    return spoilt(change, "duke")


def _mask_of(folder: Path) -> Path:
    return sorted(folder.rglob("*_Dense_and_Vessels.seg.nrrd"))[0]


def _mask_bytes(change: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path) -> None:
        path = _mask_of(folder)
        path.write_bytes(change(path.read_bytes()))

    return spoilt(make, "duke")


def _slice(change: Callable[[bytes], bytes]) -> Make:
    """One DICOM file of the first patient gets other bytes."""

    def make(folder: Path) -> None:
        path = sorted(sorted(folder.rglob(study_folders.PRE))[0].iterdir())[2]
        path.write_bytes(change(path.read_bytes()))

    return spoilt(make, "duke")


def _gone_slice(folder: Path) -> None:
    sorted(sorted(folder.rglob(study_folders.PRE))[0].iterdir())[2].unlink()


def _rows(content: bytes) -> bytes:
    """65,535 rows are announced."""
    head = struct.pack("<HH", 0x0028, 0x0010) + b"US" + struct.pack("<H", 2)
    at = content.index(head) + len(head)
    return content[:at] + b"\xff\xff" + content[at + 2 :]


_PLAN = (
    "--dry_run",
    "--smoke",
    "--experiment=strategy_comparison",
    "--budgets=2",
    "--slices_per_volume=1",
)
_FEATURES = ("--strategies=random,k_center", "--features=file")


def _task(change: Callable[[Path], Any], *flags: str) -> Make:
    """A dataset that is sound file by file, given to the main command."""

    def make(folder: Path) -> list[str]:
        (dataset,) = spoilt(change)(folder)
        return [f"--data={dataset}", f"--workdir={folder / 'run'}", *_PLAN, *flags]

    return make


def _relabel(sides: slice) -> Callable[[Path], None]:
    """Class `back` is taken out of the cases of one side of the split."""

    def change(folder: Path) -> None:
        splits = [{"train": _names(slice(0, 6)), "val": _names(slice(6, CASES))}]
        (folder / "splits.json").write_text(pd.Series(splits).to_json(orient="values"))
        for name in _names(sides):
            path = folder / f"labelsTr/{name}.nii.gz"
            label = np.asarray(nib.load(path).dataobj).copy()
            label[label == 2] = 0
            folders.save(path, label)

    return change


def _names(sides: slice) -> list[str]:
    return [f"c{number:02d}" for number in range(CASES)][sides]


def _split_task(sides: slice) -> Make:
    def make(folder: Path) -> list[str]:
        flags = _task(_relabel(sides))(folder)
        return [*flags, f"--splits_file={folder / 'D/splits.json'}"]

    return make


def _table(name: str, write: Callable[[Path], Any], *flags: str) -> Make:
    """A sound dataset, and a file of the user's own for a selection."""

    def make(folder: Path) -> list[str]:
        path = folder / name
        write(path)
        data = f"--data={template('nnunet')}"
        given = [flag.format(path=path) for flag in flags]
        return [data, f"--workdir={folder / 'run'}", *_PLAN, *given]

    return make


def _features(name: str, write: Callable[[Path], Any]) -> Make:
    return _table(name, write, *_FEATURES, "--feature_file={path}")


def _strata(text: str | bytes, name: str = "strata.csv") -> Make:
    data = text.encode() if isinstance(text, str) else text
    return _table(
        name,
        lambda path: path.write_bytes(data),
        "--volume_strategies=stratified",
        "--strata_file={path}",
    )


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(_DEPTH, 3)) for name in _names(slice(None))}


def _pickled(path: Path) -> None:
    """Would run a command when unpickled."""

    class Evil:
        def __reduce__(self):
            return (print, ("unpickled",))

    held = np.array([Evil()], dtype=object)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, **dict.fromkeys(_names(slice(None)), held))


def _bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"c00": 1}))


def _bomb(path: Path) -> None:
    """An array of 2 GB of zeros in a file of 2 MB."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (_DEPTH, 10**11)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in _names(slice(None)):
            file.writestr(f"{name}.npy", head.getvalue() + bytes(1 << 16))


def _frame(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda t: t) -> Any:
    """Rows of every slice, written as Parquet after a change."""

    def write(path: Path) -> None:
        rows = [
            {"case": name, "slice": number, "f0": 1.0 * number, "f1": 2.0}
            for name in _names(slice(None))
            for number in range(_DEPTH)
        ]
        change(pd.DataFrame(rows)).to_parquet(path, index=False)

    return write


def _long_parquet(path: Path) -> None:
    """A billion equal rows pack into a few kilobytes; their number is what counts."""
    table = pa.table(
        {"case": pa.array(["c00"]), "slice": pa.array([0]), "f0": pa.array([0.0])}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    path.write_bytes(sink.getvalue().to_pybytes()[:-40] + bytes(40))


def _without_slice_2(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.slice != 2]


def _short_arrays() -> dict[str, np.ndarray]:
    return {name: rows[:-1] for name, rows in _arrays().items()}


_STRATA = "".join(f"{name},site\n" for name in _names(slice(None)))

KINDS = (
    Kind("NRRD cut", "half", _mask_bytes(lambda b: b[: len(b) // 2]), (".seg.nrrd",)),
    Kind("NRRD noise", "text", _mask_bytes(lambda _: b"x" * 99), ("not an NRRD file",)),
    Kind(
        "NRRD of absurd size",
        "9999 voxels along each axis",
        _mask(sizes="9999 9999 9999"),
        ("announce 999700029999 bytes",),
    ),
    Kind(
        "NRRD bomb",
        "a gigabyte is announced",
        _mask(sizes="1000 1000 1000"),
        ("cannot hold 1000000000",),
    ),
    Kind(
        "NRRD with voxels elsewhere",
        "a detached file, such as /etc/passwd",
        _mask(data_file="/etc/passwd"),
        ("the voxels are in another file",),
    ),
    Kind(
        "NRRD of floats",
        "another number type",
        _mask(type="float"),
        ("`type` is 'float'", "allowed"),
    ),
    Kind(
        "NRRD off the grid",
        "moved by a third of a voxel",
        _mask(space_origin="(-30.2,20.0,-8.0)"),
        ("do not coincide",),
    ),
    Kind("DICOM cut", "300 bytes", _slice(lambda b: b[:300]), ("not a whole DICOM",)),
    Kind("DICOM noise", "text", _slice(lambda _: b"x" * 500), ("not a DICOM file",)),
    Kind("DICOM of absurd size", "65,535 rows", _slice(_rows), ("fewer pixels",)),
    Kind(
        "DICOM slice missing",
        "a gap in a series",
        spoilt(_gone_slice, "duke"),
        ("slices are missing",),
    ),
    Kind(
        "class absent from training",
        "no pool or development case shows class `back`",
        _split_task(slice(0, 6)),
        ("class back", "pool", "--target_labels"),
        command="main",
    ),
    Kind(
        "test set of background",
        "no test case shows class `back`",
        _split_task(slice(6, CASES)),
        ("class back", "test", "--target_labels"),
        command="main",
    ),
    Kind(
        "unknown target",
        "a class that is not there",
        _task(lambda _: None, "--target_labels=middle"),
        ("'middle'", "front (1)"),
        command="main",
    ),
    Kind(
        "features pickled",
        "an .npz file with a pickled object",
        _features("f.npz", _pickled),
        ("f.npz", "pickled objects"),
        command="main",
    ),
    Kind(
        "a pickle as features",
        "a bare pickle under the name .npz",
        _features("f.npz", _bare_pickle),
        ("f.npz", "not an .npz file"),
        command="main",
    ),
    Kind(
        "features bomb",
        "arrays that announce 4 TB",
        _features("f.npz", _bomb),
        ("f.npz", "holds 65536 bytes"),
        command="main",
    ),
    Kind(
        "features cut",
        "half an .npz file",
        _features("f.npz", lambda p: p.write_bytes(b"PK\3\4" + bytes(50))),
        ("f.npz", "not an .npz file"),
        command="main",
    ),
    Kind(
        "features with a slice too few",
        "an array with a row less than slices",
        _features("f.npz", lambda p: np.savez(p, **_short_arrays())),
        ("rows",),
        command="main",
    ),
    Kind(
        "features with a missing row",
        "a slice is not in the table",
        _features("f.parquet", _frame(_without_slice_2)),
        ("f.parquet", "slice 2 is missing"),
        command="main",
    ),
    Kind(
        "features with NaN",
        "a feature that is no number",
        _features("f.parquet", _frame(lambda t: t.assign(f1=np.nan))),
        ("holds NaN or infinity",),
        command="main",
    ),
    Kind(
        "features of texts",
        "a column of texts",
        _features("f.parquet", _frame(lambda t: t.assign(f1="x"))),
        ("not rows of numbers",),
        command="main",
    ),
    Kind(
        "features with other columns",
        "no column slice",
        _features("f.parquet", _frame(lambda t: t.drop(columns="slice"))),
        ("case, slice, f0",),
        command="main",
    ),
    Kind(
        "features not Parquet",
        "a file whose end is overwritten",
        _features("f.parquet", _long_parquet),
        ("not a Parquet file",),
        command="main",
    ),
    Kind(
        "features of another ending",
        "a .pkl file",
        _features("f.pkl", _bare_pickle),
        (".npz or .parquet",),
        command="main",
    ),
    Kind(
        "strata without a case",
        "no row for a case",
        _strata("case,site\nc00,a\n"),
        ("is missing",),
        command="main",
    ),
    Kind(
        "strata with a case twice",
        "c00 twice",
        _strata(f"case,site\nc00,a\n{_STRATA}"),
        ("case c00 is there twice",),
        command="main",
    ),
    Kind(
        "strata with a column twice",
        "two columns of one name",
        _strata("case,site,site\nc00,a,b\n"),
        ("two columns have one name",),
        command="main",
    ),
    Kind(
        "strata ragged",
        "a row with a cell too many",
        _strata(f"case,site\n{_STRATA}c09,a,b\n"),
        ("row 11 has 3 cells, the header has 2",),
        command="main",
    ),
    Kind(
        "strata not text",
        "bytes that are no UTF-8",
        _strata(b"case,site\n\xff\xfe\n"),
        ("not a table of text",),
        command="main",
    ),
)
