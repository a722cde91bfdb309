"""Licences of everything that runs with the suite, from the installed packages.

    python -m benchmarks.licences [--page=docs/dependencies.md]

Follows the requirements of pyproject.toml, extras left out, through all that they
require in turn on this machine.
"""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
from absl import app, flags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks._flags import parser
from benchmarks._markdown import markdown

_FLAGS = flags.FlagValues()
_PAGE = flags.DEFINE_string("page", None, "Page to be written.", flag_values=_FLAGS)
_LONGEST = 60
_OWN = "slicebench"

PURPOSE = {
    "absl-py": "command line flags",
    "array-record": "files of prepared tasks",
    "edt": "distance transforms",
    "flax": "networks",
    "fsspec": "work folders by URL",
    "jax": "compiled, batched training",
    "jaxtyping": "array shapes in signatures",
    "jinja2": "report page",
    "matplotlib": "figures",
    "pillow": "thumbnails",
    "nibabel": "NIfTI files",
    "numpy": "arrays",
    "optax": "optimiser",
    "orbax-checkpoint": "checkpoints and kept weights",
    "pandas": "tables",
    "pyarrow": "Parquet parts",
    "scikit-learn": "clustering",
    "scipy": "statistics, interpolation",
    "tensorflow-datasets": "prepared tasks on disk",
    "threadpoolctl": "threads of linear algebra",
    "tqdm": "progress",
}
"""What each direct requirement is used for."""


def direct() -> dict[str, frozenset[str]]:
    """Returns name and extras of what pyproject.toml requires."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    needed = map(Requirement, project["project"]["dependencies"])
    return {canonicalize_name(one.name): frozenset(one.extras) for one in needed}


def closure() -> dict[str, set[str]]:
    """Returns installed packages that run with the suite, and what asks for each."""
    found: dict[str, set[str]] = {name: {_OWN} for name in direct()}
    left = [*direct().items()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        asking, extras = left.pop()
        if (asking, extras) in seen:
            continue
        seen.add((asking, extras))
        for text in importlib.metadata.requires(asking) or ():
            needed = Requirement(text)
            asked = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if needed.marker and not any(map(needed.marker.evaluate, asked)):
                continue
            child = canonicalize_name(needed.name)
            if _installed(child):
                found.setdefault(child, set()).add(asking)
                left.append((child, frozenset(needed.extras)))
    return found


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def licence(name: str) -> str:
    """Returns the licence as the package states it: expression, text or classifier."""
    data: Any = importlib.metadata.metadata(name)
    given = data.get("License-Expression") or ""
    if not given:
        classes = [
            value.rpartition(" :: ")[2]
            for value in data.get_all("Classifier") or ()
            if value.startswith("License ::")
        ]
        stated = (data.get("License") or "").strip()
        short = stated if 0 < len(stated) <= _LONGEST else ""
        given = short or ", ".join(classes) or stated.split("\n")[0][:_LONGEST]
    return re.sub(r"\s+", " ", given) or "not stated"


def table() -> pd.DataFrame:
    """Returns one row a package, direct requirements first."""
    needed = closure()
    rows = [
        {
            "name": name,
            "version": importlib.metadata.version(name),
            "licence": licence(name),
            "what for": PURPOSE.get(name) or f"needed by {', '.join(sorted(asking))}",
            "direct": _OWN in asking,
        }
        for name, asking in needed.items()
    ]
    frame = pd.DataFrame(rows).sort_values(["direct", "name"], ascending=[False, True])
    return frame.assign(direct=["yes" if own else "" for own in frame["direct"]])


def main(_: list[str]) -> None:
    """Prints the table, or writes the page."""
    found = table()
    strict = found[found["licence"].str.contains("GPL|General Public", regex=True)]
    named = zip(strict["name"], strict["licence"], strict=True)
    copyleft = ", ".join(f"{name} ({text})" for name, text in named) or "none"
    text = f"""# Dependencies

Written by `python -m benchmarks.licences`: the {len(found)} packages that the suite
runs with, extras left out, with the licence that each package states.
Licences of the GPL family among them: {copyleft}.

{markdown(found)}

Known vulnerabilities: not done, no network where this was written. With a
network, `pip-audit -r requirements.txt` compares the
pinned versions with the public advisories.
"""
    if _PAGE.value:
        Path(_PAGE.value).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
