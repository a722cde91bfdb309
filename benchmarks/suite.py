"""Which part of the test suite takes how long.

    python -m pytest --numprocesses=2 --junitxml=suite.xml
    python -m benchmarks.suite --junit=suite.xml [--slowest=10]

prints the number of tests and the seconds of each folder of `tests` (set-up of shared
fixtures counts to the test that made them), its share, and the slowest tests. With
two processes the suite takes about half the sum.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._markdown import markdown

_FLAGS = flags.FlagValues()
_JUNIT = flags.DEFINE_string(
    "junit", None, "File that pytest wrote.", required=True, flag_values=_FLAGS
)
_SLOWEST = flags.DEFINE_integer(
    "slowest", 10, "Tests that are named.", lower_bound=0, flag_values=_FLAGS
)


_COLUMNS = ["part", "test", "seconds"]


def read_times(path: Path) -> pd.DataFrame:
    """Returns one row a test: part, name, seconds."""
    rows = [
        {
            "part": part_of(case.get("classname", "")),
            "test": f"{case.get('classname', '')}::{case.get('name', '')}",
            "seconds": float(case.get("time", 0)),
        }
        for case in ET.parse(path).getroot().iter("testcase")
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def part_of(module: str) -> str:
    """Returns the folder of a test, `doctests` for those of the package itself.

    >>> part_of("tests.runner.test_ray"), part_of("tests.test_main")
    ('tests/runner', 'tests')
    >>> part_of("slicebench.spec")
    'doctests'
    """
    words = module.split(".")
    if words[0] != "tests":
        return "doctests"
    return "/".join(words[: 2 if len(words) > 2 else 1])


def by_part(times: pd.DataFrame) -> pd.DataFrame:
    """Returns tests, seconds and share of each part, the longest first."""
    grouped: Any = times.groupby("part")["seconds"]
    found: Any = pd.DataFrame({"tests": grouped.size(), "seconds": grouped.sum()})
    found = found.sort_values("seconds", ascending=False).reset_index()
    whole = max(float(found["seconds"].sum()), 1e-9)
    found["share"] = [f"{value / whole:.0%}" for value in found["seconds"]]
    found["seconds"] = found["seconds"].round().astype(int)
    return found


def main(_: list[str]) -> None:
    """Prints both tables."""
    times = read_times(Path(_JUNIT.value))
    print(markdown(by_part(times)))
    slowest: Any = times.nlargest(_SLOWEST.value, "seconds")
    print("\n" + markdown(slowest[["test", "seconds"]]))


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
