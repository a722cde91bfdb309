"""Label maps as NIfTI, one scan after another; what is there is not made again."""

import gzip
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import UInt8

from slicebench.data import formats
from slicebench.errors import InputError
from slicebench.predict.networks import Ensemble
from slicebench.predict.scans import TurnedScan
from slicebench.predict.weights import Trained
from slicebench.results import read_json, write_json_atomic

RECORD_FILE = "prediction.json"
_SUFFIX = ".nii.gz"


def predict_folder(
    trained: Trained,
    scans: Sequence[TurnedScan],
    out: Path,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Predicts every scan that has no label map yet.

    Args:
      trained: Networks and their training.
      scans: From `find_turned_scans`.
      out: Folder of the label maps; the same networks go on in it.
      tell: Called with a line of progress.

    Returns:
      What was written, in words.

    Raises:
      InputError: The folder holds the scans, or predictions of other networks.
    """
    _refuse_mixtures(trained, scans, out)
    out.mkdir(parents=True, exist_ok=True)
    write_json_atomic(out / RECORD_FILE, _record(trained))
    for partial in out.glob(f".*{_SUFFIX}"):
        partial.unlink()
    left = [scan for scan in scans if not (out / f"{scan.name}{_SUFFIX}").exists()]
    ensemble, start = Ensemble(trained), time.monotonic()
    for number, scan in enumerate(left, start=1):
        write_label(out / f"{scan.name}{_SUFFIX}", ensemble.predict(scan), scan)
        spent = time.monotonic() - start
        seconds = spent / number * (len(left) - number)
        tell(f"{number} of {len(left)} scans, {seconds:.0f} s left")
    there = len(scans) - len(left)
    return [f"{len(left)} scans predicted, {there} were there already: {out}"]


def _refuse_mixtures(trained: Trained, scans: Sequence[TurnedScan], out: Path) -> None:
    folders = {path.parent.resolve() for scan in scans for path in scan.image_paths}
    if out.resolve() in folders:
        raise InputError(f"--out={out}: holds the scans; give another folder")
    path = out / RECORD_FILE
    if path.exists():
        known = read_json(path).get("networks")
        if known != list(trained.trial_ids):
            raise InputError(
                f"--out={out}: holds predictions of other networks ({known}); give a "
                "new folder"
            )
    elif out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out}: holds files; give a new or empty folder")


def _record(trained: Trained) -> dict[str, Any]:
    names = enumerate(trained.classes, start=1)
    return {
        "schema_version": 1,
        "weights": str(trained.run.resolve()),
        "networks": list(trained.trial_ids),
        "labels": {"background": 0, **{name: value for value, name in names}},
    }


def write_label(
    path: Path, label: UInt8[np.ndarray, "first second third"], scan: TurnedScan
) -> None:
    """Writes a label map with the affine of its scan; it appears whole or not at all.

    Args:
      path: Ends in `.nii.gz`.
      label: In the order of the scan's file.
      scan: Whose place in space it takes.
    """
    image: Any = nib.Nifti1Image(label, scan.affine, _header(scan))
    image.set_data_dtype(np.uint8)
    temporary = path.with_name(f".{path.name}")
    # Without a time stamp equal predictions are equal bytes.
    temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    temporary.replace(path)


def _header(scan: TurnedScan) -> Any:
    """Returns codes and units of a NIfTI scan, so that viewers place both alike."""
    source = scan.image_paths[0]
    if source.is_dir():
        return None
    stored: Any = nib.load(source)  # pyright: ignore[reportPrivateImportUsage]
    header: Any = nib.Nifti1Header()
    for name in ("sform", "qform"):
        matrix, code = getattr(stored.header, f"get_{name}")(coded=True)
        if matrix is not None:
            getattr(header, f"set_{name}")(matrix, int(code))
    header.set_data_shape(formats.read_header(source)[0][:3])
    header.set_xyzt_units(*stored.header.get_xyzt_units())
    return header
