"""Copies a finished work folder to a place under docs/results.

    python -m benchmarks.publish --workdir=runs/allocation --to=docs/results/heart

What is copied rebuilds every table and figure (`python -m slicebench.report
--workdir=TO`) and lets the same command go on from there with more seeds:
experiment.json, compute.json, and all trials and results as one part each; report.html,
tables (CSV) and figures (PNG) are made from these. Pictures of patients (`examples`)
are copied with --images only: their licence must allow it.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags

from benchmarks._flags import parser
from slicebench.report import write_report
from slicebench.results import RESULTS, TRIALS, Store
from slicebench.spec import digest

_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Finished work folder.", required=True, flag_values=_FLAGS
)
_TO = flags.DEFINE_string(
    "to", None, "Folder to be made or replaced.", required=True, flag_values=_FLAGS
)
_IMAGES = flags.DEFINE_bool(
    "images", False, "Copy pictures of patients, too.", flag_values=_FLAGS
)

_FILES = ("experiment.json", "compute.json")


def publish(source: Path, target: Path, *, images: bool) -> int:
    """Writes `target` anew from `source`; returns the number of trials.

    Args:
      source: Work folder.
      target: Folder to be made or replaced.
      images: Whether pictures of patients may be copied.

    Raises:
      ValueError: `source` holds no finished trial, or is `target`.
    """
    done = sorted(Store(source).done())
    if not done or source.resolve() == target.resolve():
        raise ValueError(f"{source}: {len(done)} trials to copy to {target}")
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in _FILES:
        if (source / name).exists():
            shutil.copy(source / name, fresh / name)
    if images and (source / "examples").exists():
        # Parts are what pictures of an unfinished task would be made from.
        skipped = shutil.ignore_patterns("parts")
        shutil.copytree(source / "examples", fresh / "examples", ignore=skipped)
    for folder, schema in (("results", RESULTS), ("trials", TRIALS)):
        _merge(source / folder, fresh / folder / f"part-{digest(done)}.parquet", schema)
    if sorted(Store(fresh).done()) != done:
        raise ValueError(f"{fresh}: trials were lost")
    write_report(fresh, images=images)
    for left in (*fresh.glob("figures/*.svg"), *fresh.glob("tables/*.tex")):
        left.unlink()
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return len(done)


def _merge(folder: Path, path: Path, schema: pa.Schema) -> None:
    """Joins the parts of finished batches; columns that came later are filled."""
    trials = folder.parent / "trials"
    parts = [folder / found.name for found in sorted(trials.glob("part-*.parquet"))]
    tables = [pq.read_table(part) for part in parts]
    whole = pa.concat_tables(tables, promote_options="default").select(
        [name for name in schema.names if any(name in t.column_names for t in tables)]
    )
    path.parent.mkdir(parents=True)
    merged = whole.replace_schema_metadata(schema.metadata)
    pq.write_table(merged, path, compression="zstd", write_page_checksum=True)


def main(_: list[str]) -> None:
    """Copies the folder that the flags name."""
    count = publish(Path(_WORKDIR.value), Path(_TO.value), images=_IMAGES.value)
    print(f"{_TO.value}: {count} trials")


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
