"""ATLAS R2.0, stroke lesions on T1-weighted MRI (Liew et al. 2022).

A BIDS derivative: `sub-rXXXsYYY/ses-N/anat/` holds the scan in MNI space and
the lesion mask. The encrypted archive unpacks either to `derivatives/ATLAS` or
to one folder a cohort, `Training/RXXX`; both are read. Subjects of `Testing`
have no public masks and play no part.
"""

import pathlib
import re

from slicebench.data._layout import CaseFiles, Layout

_ROOTS = (
    ".",
    "derivatives/ATLAS",
    "Training",
    "Training/derivatives/ATLAS",
    "ATLAS_2/Training",
)
_SPACE = "space-MNI152NLin2009aSym"
_IMAGE = f"{_SPACE}_T1w.nii.gz"
_LABEL = f"{_SPACE}_label-L_desc-T1lesion_mask.nii.gz"
_SUBJECT = re.compile(r"sub-r\d+s\d+")


def _subjects(folder: pathlib.Path) -> list[pathlib.Path]:
    """Every subject folder, directly below a root or one cohort folder deeper."""
    found: list[pathlib.Path] = []
    for root in (folder / name for name in _ROOTS):
        for pattern in ("sub-r*", "R[0-9]*/sub-r*"):
            found += [
                path
                for path in root.glob(pattern)
                if path.is_dir() and _SUBJECT.fullmatch(path.name)
            ]
    return sorted(set(found))


def _matches(folder: pathlib.Path) -> bool:
    return bool(_subjects(folder))


def _scan(folder: pathlib.Path, faults: list[str]) -> list[CaseFiles]:
    """Pairs scan and mask of each session; scan and mask may have two roots."""
    sessions: dict[str, list[pathlib.Path]] = {}
    for subject in _subjects(folder):
        parts = [path for path in sorted(subject.glob("ses-*")) if path.is_dir()]
        if not parts:
            faults.append(f"{subject.relative_to(folder).as_posix()}: no folder ses-1")
        for session in parts:
            name = f"{subject.name}_{session.name}"
            sessions.setdefault(name, []).append(session / "anat")
    cases: list[CaseFiles] = []
    for name, places in sorted(sessions.items()):
        image, label = (
            _one(folder, places, f"{name}_{ending}", faults)
            for ending in (_IMAGE, _LABEL)
        )
        if image is not None and label is not None:
            cases.append(CaseFiles(name, (image,), label, group=name.split("_")[0]))
    return cases


def _one(
    folder: pathlib.Path, places: list[pathlib.Path], name: str, faults: list[str]
) -> pathlib.Path | None:
    """The one file of a name; none or several are faults."""
    found = [place / name for place in places if (place / name).is_file()]
    if len(found) == 1:
        return found[0]
    where = (found or [places[0] / name])[0].relative_to(folder).as_posix()
    if found:
        other = found[1].relative_to(folder).as_posix()
        faults.append(f"{where} is there twice, also as {other}; keep one")
    else:
        faults.append(f"{where} is missing")
    return None


ATLAS_R2 = Layout(
    name="ATLAS_R2.0",
    expects=(
        "sub-rXXXsYYY/ses-1/anat/ below derivatives/ATLAS or Training/RXXX (ATLAS R2.0)"
    ),
    instructions=(
        "Sign the data use agreement at "
        "https://fcon_1000.projects.nitrc.org/indi/retro/atlas.html, download and "
        "decrypt ATLAS R2.0 and give the folder that holds derivatives/ATLAS (or "
        "Training), with sub-rXXXsYYY/ses-1/anat/"
        f"sub-rXXXsYYY_ses-1_{_IMAGE} and sub-rXXXsYYY_ses-1_{_LABEL} below it."
    ),
    channels=("T1w MRI",),
    labels=(("stroke lesion", 1),),
    regions=(),
    flip=True,
    attribution=(
        "Licence: by data use agreement; Citation: Liew S-L et al. A large, curated, "
        "open-source stroke neuroimaging dataset to improve lesion segmentation "
        "algorithms. Sci Data 9:320 (2022)"
    ),
    matches=_matches,
    scan=_scan,
)
"""ATLAS R2.0's layout; a patient is a subject, whatever the session."""
