"""Command line of the planner.

python -m slicebench.planning --images=FOLDER --budget=N --out=DIR
python -m slicebench.planning import --plan=DIR --labels=FOLDER [--export=DATASET]
python -m slicebench.planning import --plan=DIR --labels=FOLDER --prefill=NAME --out=DIR
python -m slicebench.planning train --plan=DIR --labels=FOLDER --out=RUN
python -m slicebench.planning score --plan=DIR --labels=FOLDER --predictions=FOLDER
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from slicebench.errors import InputError
from slicebench.planning import prevalence
from slicebench.planning.bids import read_filter
from slicebench.planning.bids_export import export_bids
from slicebench.planning.costs import Costs
from slicebench.planning.dicom import convert, holds_dicom
from slicebench.planning.evidence import Evidence, read_evidence, shipped
from slicebench.planning.exporting import export_nnunet
from slicebench.planning.importing import (
    Imported,
    progress_lines,
    read_labels,
    to_json,
)
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.prefill import prefill
from slicebench.planning.rounds import read_plan
from slicebench.planning.telling import lines
from slicebench.planning.tools import geometry_notes
from slicebench.planning.train_command import define_flags, run_training
from slicebench.planning.writing import check_empty, write_plan

# Flags of its own: other programs of the suite define the same names.
FLAGS = flags.FlagValues()
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of unlabelled scans.", flag_values=FLAGS
)
_OUT = flags.DEFINE_string("out", None, "Folder to be made.", flag_values=FLAGS)
_BUDGET = flags.DEFINE_integer("budget", None, "Slices to annotate.", flag_values=FLAGS)
_MINUTES = flags.DEFINE_float(
    "minutes", None, "Annotator's time instead.", flag_values=FLAGS
)
_EVIDENCE = flags.DEFINE_list(
    "evidence",
    None,
    "Work folders to rest on (default: the shipped table).",
    flag_values=FLAGS,
)
_DENSITY = flags.DEFINE_integer(
    "slices_per_volume", None, "Overrides the recommendation.", flag_values=FLAGS
)
_STRATEGY = flags.DEFINE_string(
    "strategy", "stratified", "Slice strategy.", flag_values=FLAGS
)
_VOLUMES = flags.DEFINE_string(
    "volume_strategy", "random", "Volume strategy.", flag_values=FLAGS
)
_FEATURES = flags.DEFINE_string(
    "features", "intensity", "Slice features.", flag_values=FLAGS
)
_TEST = flags.DEFINE_integer(
    "test_patients", 10, "Patients kept for a dense test set.", flag_values=FLAGS
)
_GROUPS = flags.DEFINE_string(
    "groups",
    None,
    "FILE or FILE:COLUMN with the patient of each case.",
    flag_values=FLAGS,
)
_CLASSES = flags.DEFINE_list(
    "classes", None, "Names of the structures.", flag_values=FLAGS
)
_CHANNELS = flags.DEFINE_list(
    "channels", None, "Channel names, such as CT.", flag_values=FLAGS
)
_AXIS = flags.DEFINE_integer(
    "slice_axis", None, "Array axis over slices.", flag_values=FLAGS
)
_DIMS = flags.DEFINE_enum(
    "dims", "2d", ["2d", "3d"], "Networks to come.", flag_values=FLAGS
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of every draw.", flag_values=FLAGS)
_EXCLUDE = flags.DEFINE_list(
    "exclude",
    None,
    "Folders of earlier plans: their slices are not chosen again, their test patients "
    "stay.",
    flag_values=FLAGS,
)
_SERIES = flags.DEFINE_string(
    "series",
    None,
    "DICOM: part of the description of the series that are meant.",
    flag_values=FLAGS,
)
_BIDS = flags.DEFINE_list(
    "bids_filter",
    None,
    "BIDS: KEY=VALUE of the images that are meant, such as suffix=T1w; suffixes that "
    "are channels of one scan are joined with +.",
    flag_values=FLAGS,
)
_PLAN = flags.DEFINE_string(
    "plan", None, "import: folder of the plan.", flag_values=FLAGS
)
_LABELS = flags.DEFINE_list(
    "labels",
    None,
    "import: folders of finished segmentations (default: those of the plan).",
    flag_values=FLAGS,
)
_STATE = flags.DEFINE_list(
    "state", None, "import: worklist_state.json of the page.", flag_values=FLAGS
)
_EMPTY = flags.DEFINE_bool(
    "empty_is_done",
    False,
    "import: planned slices without foreground are annotated, too.",
    flag_values=FLAGS,
)
_EXPORT = flags.DEFINE_string(
    "export", None, "import: nnU-Net v2 raw dataset to be made.", flag_values=FLAGS
)
_EXPORT_BIDS = flags.DEFINE_string(
    "export_bids", None, "import: BIDS derivative to be made.", flag_values=FLAGS
)
_PREFILL = flags.DEFINE_string(
    "prefill",
    None,
    "import: interpolation that fills slices between annotated ones, into --out.",
    flag_values=FLAGS,
)
_PREVALENCE = flags.DEFINE_list(
    "prevalence",
    None,
    "Share of slices that show the structures: one number, or NAME=SHARE for each.",
    flag_values=FLAGS,
)
_PATIENTS = flags.DEFINE_list(
    "patients_with",
    None,
    "NAME=SHARE of patients who have a structure at all (default: every patient).",
    flag_values=FLAGS,
)
_THEORY = flags.DEFINE_bool(
    "theory",
    True,
    "Set two-stage sampling beside the evidence; reads up to 12 scans.",
    flag_values=FLAGS,
)
_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "score: folder of label maps.", flag_values=FLAGS
)
_TOLERANCE = flags.DEFINE_float(
    "tolerance_mm",
    None,
    "score: distance that NSD forgives (default: median in-plane spacing).",
    flag_values=FLAGS,
)
_COSTS = {
    name: flags.DEFINE_float(
        f"cost_{name}",
        getattr(Costs(), name),
        f"Minutes or share: {name}.",
        flag_values=FLAGS,
    )
    for name in (
        field.name
        for field in dataclasses.fields(Costs)
        if field.name not in ("classes", "prevalence")
    )
}

define_flags(FLAGS)


def main(argv: Sequence[str]) -> None:
    """Writes a plan, or checks what came back, and prints what it says."""
    if argv[1:] == ["import"]:
        found = _import()
    elif argv[1:] == ["train"]:
        imported = _imported()
        found = [
            *progress_lines(imported)[:2],
            *run_training(
                imported, _folder("out", _OUT.value), FLAGS.flag_values_dict()
            ),
        ]
    elif argv[1:] == ["score"]:
        found = _score()
    elif len(argv) > 1:
        raise InputError(
            f"unexpected argument {argv[1]!r}; allowed: import, train, score"
        )
    else:
        found = _plan()
    print("\n".join(found))  # noqa: T201 - this is its output


def _imported() -> Imported:
    return read_labels(
        _folder("plan", _PLAN.value),
        [Path(folder) for folder in _LABELS.value or ()],
        state=[Path(path) for path in _STATE.value] if _STATE.value else None,
        classes=_CLASSES.value or (),
        empty_is_done=_EMPTY.value,
    )


def _import() -> list[str]:
    """Checks segmentations against a plan; exports and pre-fills where asked to."""
    imported = _imported()
    found = progress_lines(imported)
    if _PREFILL.value:
        found += prefill(imported, _PREFILL.value, _folder("out", _OUT.value))
    if _EXPORT.value:
        found += export_nnunet(imported, Path(_EXPORT.value))
        record = Path(_EXPORT.value) / "annotations.json"
        record.write_text(to_json(imported), encoding="utf-8")
        found.append(_EXPORT.value)
    if _EXPORT_BIDS.value:
        found += export_bids(imported, Path(_EXPORT_BIDS.value))
    return found


def _score() -> list[str]:
    """Scores label maps of test cases; writes tables where a folder is given."""
    # Scoring loads what plans do not need.
    from slicebench.planning import score

    folder = _folder("predictions", _PREDICTIONS.value)
    scores, rows, tolerance = score.score_predictions(
        _imported(), folder, _TOLERANCE.value
    )
    if _OUT.value:
        score.write_scores(scores, rows, Path(_OUT.value))
    return score.in_words(rows, tolerance)


def _plan() -> list[str]:
    out = _folder("out", _OUT.value)
    request = _request()
    costs = _costs(request)
    check_empty(out)
    with tempfile.TemporaryDirectory(prefix=".images-", dir=_parent(out)) as made:
        converted = None
        if holds_dicom(request.images):
            target = Path(made) / "images"
            converted = convert(request.images, target, series=request.series)
        plan = make_plan(request, _table(), costs, converted=converted)
        notes = geometry_notes(plan)
        path = write_plan(plan, out, tell=_progress)
    sys.stderr.write("\n")
    skipped = converted.skipped if converted else ()
    return [*skipped, *lines(plan), *notes, str(path)]


def _costs(request: Request) -> Costs:
    share, classes = 1.0, float(max(1, len(request.classes)))
    if request.structures:
        share, classes = prevalence.shown(request.structures)
    return Costs(
        **{name: float(flag.value or 0) for name, flag in _COSTS.items()},
        classes=classes,
        prevalence=share,
    )


def _parent(out: Path) -> Path:
    """Returns a folder on the disk of the plan that exists."""
    return next(folder for folder in out.absolute().parents if folder.is_dir())


def _images() -> Path:
    """Returns the folder of scans; by default that of the last excluded plan."""
    if not _IMAGES.value and _EXCLUDE.value:
        return Path(read_plan(Path(_EXCLUDE.value[-1]))["images"])
    return _folder("images", _IMAGES.value)


def _classes() -> tuple[str, ...]:
    """Returns the structures; by default those of the last excluded plan.

    Without either they are those that `--prevalence` names.
    """
    if not _CLASSES.value and _EXCLUDE.value:
        return tuple(read_plan(Path(_EXCLUDE.value[-1]))["classes"])
    named = [part.partition("=")[0] for part in _PREVALENCE.value or () if "=" in part]
    return tuple(_CLASSES.value or named)


def _bids_filter() -> tuple[tuple[str, str], ...]:
    """Returns which images are meant; by default those of the last excluded plan."""
    if _BIDS.value is None and _EXCLUDE.value:
        known = read_plan(Path(_EXCLUDE.value[-1]))["request"].get("bids_filter", ())
        return tuple((key, value) for key, value in known)
    return tuple(read_filter(_BIDS.value or ()).items())


def _request() -> Request:
    channels, classes = _CHANNELS.value, _classes()
    return Request(
        images=_images(),
        budget=_BUDGET.value,
        minutes=_MINUTES.value,
        slices_per_volume=_DENSITY.value,
        strategy=_STRATEGY.value,
        volume_strategy=_VOLUMES.value,
        features=_FEATURES.value,
        test_patients=_TEST.value,
        groups=_GROUPS.value,
        classes=classes,
        channels=tuple(channels) if channels else None,
        slice_axis=_AXIS.value,
        dims=_DIMS.value,
        seed=_SEED.value,
        series=_SERIES.value,
        exclude=tuple(Path(folder) for folder in _EXCLUDE.value or ()),
        structures=prevalence.structures(
            classes, _PREVALENCE.value or (), _PATIENTS.value or ()
        ),
        theory=_THEORY.value,
        bids_filter=_bids_filter(),
    )


def _folder(flag: str, value: str | None) -> Path:
    if not value:
        raise InputError(f"--{flag}: not given; a folder is needed")
    return Path(value)


def _table() -> tuple[Evidence, ...]:
    if not _EVIDENCE.value:
        return shipped()
    return tuple(e for folder in _EVIDENCE.value for e in read_evidence(Path(folder)))


def _progress(line: str) -> None:
    sys.stderr.write(f"\r{line}")
    sys.stderr.flush()


def run() -> None:
    """Runs `main`; bad input ends with exit status 2 and one line."""
    try:
        app.run(main, flags_parser=_parse)
    except InputError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(FLAGS(list(argv), known_only=True))
    except flags.Error as error:
        raise InputError(str(error)) from error


if __name__ == "__main__":
    run()
