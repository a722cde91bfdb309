"""The readers that are fuzzed, each with a sound file."""

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slicebench.data import read_dataset, split_from_file, validate
from slicebench.errors import gather
from slicebench.planning import importing
from slicebench.planning.rounds import read_rounds
from slicebench.report import _examples, _reading
from slicebench.results import Store
from slicebench.selection import load_feature_file, load_strata_file
from tests import made_up
from tests.data import folders, study_folders

_CASES = ("c00", "c01", "c02")
_DEPTH = folders.SHAPE[2]


@dataclasses.dataclass(frozen=True)
class Target:
    """One reader with a sound file for it.

    Attributes:
      path: The file that is damaged.
      read: Reads it.
      content: Sound content.
      wrap: What is done to damaged content before it is written.
      is_json: Whether values are exchanged, too.
    """

    path: Path
    read: Callable[[], Any]
    content: bytes
    wrap: Callable[[bytes], bytes] = bytes
    is_json: bool = False


def _checked(path: Path) -> Callable[[], None]:
    """Reads any file of voxels as validation does."""

    def read() -> None:
        faults: list[str] = []
        validate.read_file(path, path.name, faults)
        if faults:
            raise gather(str(path), faults)

    return read


def make_targets(root: Path) -> dict[str, Target]:
    """Makes a sound file for every reader.

    Args:
      root: Empty folder.
    """
    return {
        **_volumes(root / "volumes"),
        **_declarations(root),
        **_tables(root / "tables"),
        **_run(root / "run"),
        **_plan(root / "plan"),
    }


def _volumes(root: Path) -> dict[str, Target]:
    image = folders.draw_case(1)[0].astype(np.int16)
    folders.save(root / "plain.nii", image)
    plain = (root / "plain.nii").read_bytes()
    duke = study_folders.write_duke(root / "duke", 1)
    mask = sorted(duke.rglob("*_Dense_and_Vessels.seg.nrrd"))[0]
    series = sorted(duke.rglob(study_folders.PRE))[0]
    dicom = sorted(series.iterdir())[1]

    def nifti(name: str, content: bytes, **how: Any) -> Target:
        return Target(root / name, _checked(root / name), content, **how)

    return {
        "NIfTI header": nifti("a.nii", plain[:352], wrap=lambda b: b + plain[352:]),
        "NIfTI": nifti("b.nii", plain),
        "NIfTI, packed after damage": nifti("c.nii.gz", plain, wrap=_packed),
        "NIfTI, packed before damage": nifti("d.nii.gz", gzip.compress(plain)),
        "segmentation (.seg.nrrd)": Target(mask, _checked(mask), mask.read_bytes()),
        "DICOM": Target(dicom, _checked(series), dicom.read_bytes()),
    }


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def _declarations(root: Path) -> dict[str, Target]:
    nnunet = folders.write_nnunet(root / "nnunet", 3, slice_axis=2)
    grouped = folders.write_nnunet(root / "grouped", 3, slice_axis=2)
    msd = folders.write_msd(root / "msd", 3, slice_axis=2)
    groups = grouped / "groups.csv"
    splits = root / "splits.json"
    names = [f"c{number:02d}" for number in range(12)]
    sound = json.dumps([{"train": names[:8], "val": names[8:]}]).encode()

    def declared(folder: Path) -> Target:
        path = folder / "dataset.json"
        read = lambda: read_dataset(folder)  # noqa: E731
        return Target(path, read, path.read_bytes(), is_json=True)

    return {
        "dataset.json (nnU-Net)": declared(nnunet),
        "dataset.json (Decathlon)": declared(msd),
        "groups.csv": Target(
            groups, lambda: read_dataset(grouped), b"case,group\nc00,p\nc01,p\n"
        ),
        "splits_final.json": Target(
            splits,
            lambda: split_from_file(splits, names, names, 0),
            sound,
            is_json=True,
        ),
    }


def _tables(root: Path) -> dict[str, Target]:
    import pandas as pd

    root.mkdir()
    npz, parquet, strata = (root / n for n in ("f.npz", "f.parquet", "s.csv"))
    rng = np.random.default_rng(0)
    np.savez_compressed(npz, **{c: rng.normal(size=(_DEPTH, 2)) for c in _CASES})
    rows = [(c, s, 1.0, 2.0) for c in _CASES for s in range(_DEPTH)]
    table = pd.DataFrame(rows, columns=["case", "slice", "f0", "f1"])
    table.to_parquet(parquet, index=False)
    depths = [_DEPTH] * len(_CASES)
    return {
        "features (.npz)": Target(
            npz, lambda: load_feature_file(npz, _CASES, depths), npz.read_bytes()
        ),
        "features (.parquet)": Target(
            parquet,
            lambda: load_feature_file(parquet, _CASES, depths),
            parquet.read_bytes(),
        ),
        "strata": Target(
            strata,
            lambda: load_strata_file(strata, None, _CASES),
            b"case,site\nc00,a\nc01,b\nc02,a\n",
        ),
    }


def _run(root: Path) -> dict[str, Target]:
    made_up.write_made_up_run(root, seeds=1, cases=2)
    store = Store(root)
    (trials,) = (root / "trials").glob("*.parquet")
    (results,) = (root / "results").glob("*.parquet")
    alone = root.parent / "alone"
    alone.mkdir()
    experiment = alone / "experiment.json"
    examples = root / "examples.npz"
    plane = np.zeros((1, 4, 4), np.uint8)
    np.savez(
        examples,
        image=plane.astype(np.float32),
        truth=plane,
        predictions=plane[None],
        row_titles=np.array(["a"]),
        column_titles=np.array(["b"]),
        spacing=np.ones(2),
    )
    sound = {path: path.read_bytes() for path in (trials, results, examples)}

    def apart(path: Path, read: Callable[[], Any]) -> Callable[[], Any]:
        """Only one of the parts is damaged at a time."""

        def call() -> Any:
            for other in (trials, results):
                if other != path:
                    other.write_bytes(sound[other])
            return read()

        return call

    return {
        "part of trials": Target(
            trials, apart(trials, store.read_trials), sound[trials]
        ),
        "part of results": Target(
            results, apart(results, store.read_results), sound[results]
        ),
        "experiment.json": Target(
            experiment,
            lambda: _reading.read_experiment(alone),
            (root / "experiment.json").read_bytes(),
            is_json=True,
        ),
        "examples (.npz)": Target(
            examples, lambda: _examples.read_examples(examples), sound[examples]
        ),
    }


def _plan(root: Path) -> dict[str, Target]:
    root.mkdir()
    row = {"case": "c00", "slice_index": 1}
    case = {"case": "c00", "group": "c00", "side": "pool", "files": ["c00.nii.gz"]}
    plan = {
        "schema_version": 1,
        "digest": "abc",
        "images": "scans",
        "classes": ["organ"],
        "channels": ["CT"],
        "cases": [case | {"slice_axis": 2, "slices": 5, "digests": ["0"]}],
        "rows": [row],
        "earlier": [{"plan": "def", "folder": "before", "rows": [row]}],
    }
    state = root / "worklist_state.json"
    return {
        "plan.json": Target(
            root / "plan.json",
            lambda: read_rounds([root]),
            json.dumps(plan).encode(),
            is_json=True,
        ),
        "worklist_state.json": Target(
            state,
            lambda: importing._ticked(state, plan),
            json.dumps({"plan": "abc", "done": ["c00/1"]}).encode(),
            is_json=True,
        ),
    }
