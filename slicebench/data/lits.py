"""LiTS17, the Liver Tumor Segmentation challenge (Bilic et al. 2023).

Published as two archives of abdominal CT, "Training Batch 1" and "Training
Batch 2", with `volume-N.nii` and `segmentation-N.nii` for N from 0 to 130;
labels are 1 for liver and 2 for tumour. Scans named `test-volume-N.nii` have
no labels and play no part.
"""

import logging
import pathlib
import re

from slicebench.data._layout import CaseFiles, Layout

_log = logging.getLogger(__name__)

_CASES = 131
_BATCHES = tuple(
    path.format(number)
    for number in (1, 2)
    for path in (
        "Training Batch {0}",
        "Training_Batch{0}",
        # The archives unpack below the path they were packed from.
        "Training_Batch{0}/media/nas/01_Datasets/CT/LITS/Training Batch {0}",
        "media/nas/01_Datasets/CT/LITS/Training Batch {0}",
    )
)
_FILE = re.compile(r"(volume|segmentation)-(\d+)\.nii(?:\.gz)?")


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    candidates = [folder, *(folder / batch for batch in _BATCHES)]
    return [path for path in candidates if path.is_dir()]


def _matches(folder: pathlib.Path) -> bool:
    return any(
        _FILE.fullmatch(path.name)
        for part in _folders(folder)
        for path in part.iterdir()
    )


def _scan(folder: pathlib.Path, faults: list[str]) -> list[CaseFiles]:
    """Pairs `volume-N` with `segmentation-N` over all batch folders."""
    found: dict[str, dict[int, pathlib.Path]] = {"volume": {}, "segmentation": {}}
    for path in (path for part in _folders(folder) for path in sorted(part.iterdir())):
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        kind, number = match[1], int(match[2])
        other = found[kind].setdefault(number, path)
        if other != path:
            faults.append(
                f"{kind}-{number} is there twice: {other.relative_to(folder)} and "
                f"{path.relative_to(folder)}; keep one"
            )
    volumes, labels = found["volume"], found["segmentation"]
    for kind, missing in (
        ("segmentation", sorted(volumes.keys() - labels.keys())),
        ("volume", sorted(labels.keys() - volumes.keys())),
    ):
        faults += [f"{kind}-{number}.nii or .nii.gz is missing" for number in missing]
    both = sorted(volumes.keys() & labels.keys())
    if len(both) < _CASES:
        _log.warning(
            "%s: %d of LiTS17's %d labelled scans are there", folder, len(both), _CASES
        )
    return [
        CaseFiles(f"volume-{number:03d}", (volumes[number],), labels[number])
        for number in both
    ]


LITS17 = Layout(
    name="LiTS17",
    expects=(
        "volume-N.nii[.gz] and segmentation-N.nii[.gz], in the folder itself or in "
        '"Training Batch 1" and "Training Batch 2" (LiTS17)'
    ),
    instructions=(
        "Register at https://competitions.codalab.org/competitions/17094, download "
        "both training archives of LiTS17 and unpack them into one folder, so that it "
        'holds "Training Batch 1" and "Training Batch 2" with volume-N.nii and '
        "segmentation-N.nii, N from 0 to 130 (gzipped or not)."
    ),
    channels=("CT",),
    labels=(("liver without tumour", 1), ("tumour", 2)),
    regions=(("liver", (1, 2)),),
    flip=False,
    attribution=(
        "Licence: CC BY-NC-ND 4.0; Citation: Bilic P et al. The Liver Tumor "
        "Segmentation Benchmark (LiTS). Med Image Anal 84:102680 (2023)"
    ),
    matches=_matches,
    scan=_scan,
)
"""LiTS17's layout; task `liver` is labels 1 and 2, task `tumour` label 2."""
