"""Command line: kept weights on new scans.

python -m slicebench.predict --weights=RUN --images=FOLDER --out=DIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from slicebench.errors import InputError
from slicebench.predict.scans import find_turned_scans
from slicebench.predict.weights import read_trained
from slicebench.predict.writing import predict_folder
from slicebench.runner import show_logs, use_all_cores

# Flags of its own: other programs of the suite define the same names.
FLAGS = flags.FlagValues()
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "Work folder of a training with kept weights.", flag_values=FLAGS
)
_IMAGES = flags.DEFINE_string("images", None, "Folder of scans.", flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "Folder of label maps.", flag_values=FLAGS)
_TRIAL = flags.DEFINE_string(
    "trial",
    None,
    "One network by its id (default: the best by development Dice, with all that were "
    "trained on the same slices).",
    flag_values=FLAGS,
)
_AXIS = flags.DEFINE_integer(
    "slice_axis",
    None,
    "Array axis over slices, for weights that do not record directions.",
    flag_values=FLAGS,
)
_ANY = flags.DEFINE_bool(
    "any_spacing",
    False,
    "Take scans whose spacing or extent is far from training's.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> None:
    """Predicts every scan of a folder and prints what was done."""
    if len(argv) > 1:
        raise InputError(f"unexpected argument {argv[1]!r}: flags are --name=value")
    weights, images, out = (
        _folder(flag.name, flag.value) for flag in (_WEIGHTS, _IMAGES, _OUT)
    )
    show_logs()
    use_all_cores()
    trained = read_trained(weights, _TRIAL.value)
    scans = find_turned_scans(
        images, trained, slice_axis=_AXIS.value, any_spacing=_ANY.value
    )
    _say(trained.words)
    if trained.orientation is None:
        _say(
            "the weights do not record where the axes of training scans lead: scans "
            "are taken as they are stored"
        )
    for line in predict_folder(trained, scans, out, tell=_progress):
        _say(line)


def _folder(flag: str, value: str | None) -> Path:
    if not value:
        raise InputError(f"--{flag}: not given; a folder is needed")
    return Path(value)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
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
