"""Rebuilds statistics and report of a run from its results.

python -m slicebench.report --workdir=runs/budget_sweep
python -m slicebench.report --workdir=runs/a,runs/b --out=runs/both
python -m slicebench.report --workdir=runs/sweep    # with shares: unites them all
python -m slicebench.report --workdir=s3://bucket/sweep    # any of these may be a URL
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from slicebench.errors import InputError
from slicebench.remote import RemoteError
from slicebench.report import merge, verdict_lines, write_report
from slicebench.report._places import UNITED, copies
from slicebench.results import read_json

# Flags of its own: other programs of the suite define the same names.
FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_list(
    "workdir",
    None,
    "Work folder of a run (experiment.json and results); several are merged.",
    flag_values=FLAGS,
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Folder for the report and what it is made from; needed for several --workdir.",
    flag_values=FLAGS,
)
_SHARE = re.compile(r"shard-(\d+)-of-(\d+)")
_NO_IMAGES = flags.DEFINE_bool(
    "no_images",
    False,
    "Numbers and plots only: no example pictures, which show patients.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> None:
    """Writes the report, prints verdicts and where it is."""
    if len(argv) > 1:
        raise InputError(
            f"unexpected argument {argv[1]!r}; allowed: --workdir=DIR[,DIR], "
            "--out=DIR, --no_images"
        )
    given = [name for name in _WORKDIR.value or () if name]
    lines = report(given, _OUT.value or None, images=not _NO_IMAGES.value)
    print("\n".join(lines))  # noqa: T201 - this is its output


def report(given: Sequence[str], out: str | None, *, images: bool) -> list[str]:
    """Reports on folders or URLs.

    Args:
      given: Work folders, or what shares of one lie in.
      out: Where a merged report goes.
      images: Whether example pictures are part of it.

    Returns:
      Verdicts, and where the report is.

    Raises:
      InputError: A folder cannot be used.
      RemoteError: A place cannot be read or written.
    """
    with copies(images=images) as made:
        target = made.target(out) if out else None
        workdir = _folder([made.source(name) for name in given], target, images)
        made.name_sources(workdir)
        path = write_report(workdir, images=images)
        experiment = read_json(workdir / "experiment.json")
        lines = verdict_lines(read_json(workdir / "summary.json"), experiment)
        made.publish(workdir)
        return [*lines, made.shown(str(path))]


def _folder(workdirs: Sequence[Path], out: Path | None, images: bool) -> Path:
    """Returns the folder to report on, several folders merged into --out."""
    if not workdirs:
        raise InputError("--workdir: not given; give the folder of a run")
    # False for a name that is too long, where Path.exists would raise.
    is_run = os.path.exists(workdirs[0] / "experiment.json")
    if len(workdirs) == 1 and os.path.isdir(workdirs[0]) and not is_run:
        shares = _shares(workdirs[0])
        out = out or (workdirs[0] / UNITED if shares else None)
        workdirs = shares or workdirs
    if out is not None:
        merge(workdirs, out, images=images)
        return out
    if len(workdirs) > 1:
        raise InputError(
            f"--workdir={','.join(map(str, workdirs))}: {len(workdirs)} folders; give "
            "--out=DIR, where the merged report goes"
        )
    return workdirs[0]


def _shares(workdir: Path) -> list[Path]:
    """Returns the folders of the shares that `--shard` has trained there.

    Raises:
      InputError: Shares of different numbers lie there, or one is missing.
    """
    found = {path: _SHARE.fullmatch(path.name) for path in workdir.glob("shard-*-of-*")}
    shares = {path: match for path, match in found.items() if match}
    counts = sorted({int(match[2]) for match in shares.values()})
    if not counts:
        return []
    if len(counts) > 1:
        raise InputError(
            f"{workdir}: shares of {' and of '.join(map(str, counts))}; one number of "
            "shares is allowed in a folder"
        )
    missing = {*range(counts[0])} - {int(m[1]) for m in shares.values()}
    if missing:
        raise InputError(
            f"{workdir}: of {counts[0]} shares these are missing: "
            f"{', '.join(map(str, sorted(missing)))}; name the folders that are there "
            "in --workdir, and --out, for a report of those"
        )
    return sorted(shares, key=lambda path: int(shares[path][1]))


def run() -> None:
    """Runs `main`; bad input ends with exit status 2 and one line."""
    try:
        app.run(main, flags_parser=_parse)
    except InputError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except RemoteError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(1)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(FLAGS(list(argv), known_only=True))
    except flags.Error as error:
        raise InputError(str(error)) from error


if __name__ == "__main__":
    run()
