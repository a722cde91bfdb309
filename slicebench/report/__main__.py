"""Rebuilds statistics and report of a run from its results.

python -m slicebench.report --workdir=runs/budget_sweep
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from slicebench.errors import InputError
from slicebench.report import verdict_lines, write_report
from slicebench.results import read_json

# Flags of its own: other programs of the suite define the same names.
FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Work folder of a run: holds experiment.json and results.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> None:
    """Writes the report, prints verdicts and where it is."""
    if len(argv) > 1:
        raise InputError(f"unexpected argument {argv[1]!r}; allowed: --workdir=DIR")
    if not _WORKDIR.value:
        raise InputError("--workdir: not given; give the folder of a run")
    workdir = Path(_WORKDIR.value)
    path = write_report(workdir)
    experiment = read_json(workdir / "experiment.json")
    lines = verdict_lines(read_json(workdir / "summary.json"), experiment)
    print("\n".join([*lines, str(path)]))  # noqa: T201 - this is its output


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
