"""Places for tests: a flaky one, small runs, and what they hold."""

import pathlib
import shutil

import fsspec
import pandas as pd
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from slicebench.results import Store
from slicebench.runner import Options, Overrides, Session, make_study, work_folder

SMALL = Overrides(budgets=(4,), slices_per_volume=(1, 2), ceiling_seeds=0)


class Flaky(DirFileSystem):
    """A directory whose writes fail a number of times."""

    protocol = "flaky"
    root = ""
    failures = 0

    def __init__(self, **_):
        super().__init__(path=Flaky.root, fs=LocalFileSystem(auto_mkdir=True))

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("flaky://").removeprefix("key:secret@")

    def put_file(self, lpath, rpath, **kwargs):
        if "/trials/" in rpath and Flaky.failures:
            Flaky.failures -= 1
            raise TimeoutError("no answer from key:secret")
        super().put_file(lpath, rpath, **kwargs)


fsspec.register_implementation("flaky", Flaky, clobber=True)


def options(url, **more):
    given = {"experiment": "budget_sweep", "smoke": True, "overrides": SMALL} | more
    return Options(workdir=pathlib.Path("unused"), url=url, **given)


def train(given):
    with work_folder(given) as here:
        Session(make_study(here), here).run()


def fill(workdir, source):
    """Writes another run's rows as a training would."""
    for folder in ("results", "trials"):
        shutil.copytree(source / folder, workdir / folder)
    shutil.copyfile(source / "experiment.json", workdir / "experiment.json")


def same_rows(one, other):
    scores = [Store(folder).read_results() for folder in (one, other)]
    pd.testing.assert_frame_equal(*scores)
    names = [sorted(p.name for p in (f / "trials").iterdir()) for f in (one, other)]
    assert names[0] == names[1]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def kept_in(machine):
    return [path for path in machine.iterdir() if path.is_dir()]
