"""What the files of a work folder must look like before anything relies on them."""

# pyright: strict

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from slicebench.errors import gather, shown

Form = Any
"""A type; a list of one form; a mapping of names to forms, all of them free to be
missing; or one of the marks below."""


class Need(NamedTuple):
    """An entry that must be there."""

    form: Form


class Maybe(NamedTuple):
    """A value that may be null."""

    form: Form


class Each(NamedTuple):
    """A mapping of any names to one form."""

    form: Form


_NAME = Need(str)
_CELL = {"task": str, "dims": str, "strategy": str, "budget": int}
_CONTRAST = {
    "name": _NAME,
    "family": str,
    "claim": str,
    "kind": str,
    "metric": _NAME,
    "task": _NAME,
    "target": _NAME,
    "dims": _NAME,
    "primary": bool,
    "where": Need(dict),
    "a": Need(dict),
    "b": Need(dict),
}
_TASK = {
    "name": _NAME,
    "target": str,
    "fold": int,
    "classes": [str],
    "channels": [str],
    "grid": [int],
    "spacing": [float],
    "median_slices": float,
    "synthetic": bool,
    "context": str,
    "expected": Maybe(str),
    "orientation": Maybe(str),
    "attribution": str,
    "split": Each([str]),
    "provenance": dict,
}
_PROGRAM = {
    "name": _NAME,
    "dims": str,
    "network": dict,
    "training": dict,
    "grid": [int],
    "volumetric": Maybe(dict),
    "precision": str,
}
_EXPERIMENT = {
    "experiment": str,
    "question": str,
    "command": str,
    "smoke": bool,
    "tasks": [_TASK],
    "axes": Each(Each(list)),
    "num_seeds": int,
    "ceiling_seeds": int,
    "nsd_tolerance_mm": Each(float),
    "programs": [_PROGRAM],
    "cells_left_out": [{"cell": Need(_CELL), "reason": _NAME}],
    "contrasts": [_CONTRAST],
    "contrasts_dropped": [{"name": _NAME, "reason": str}],
    "versions": Each(str),
    "device": dict,
    "plan": {"name": str, "programs": Each(dict)},
    "num_trials": int,
    "looks": Each([int]),
}
_ROW = {"case": _NAME, "slice_index": Need(int)}
_PLAN = {
    "images": _NAME,
    "classes": Need([str]),
    "channels": [str],
    "digest": _NAME,
    "cases": Need(
        [
            {
                "case": _NAME,
                "group": _NAME,
                "side": _NAME,
                "files": Need([str]),
                "slice_axis": Need(int),
                "slices": Need(int),
                "digests": [str],
            }
        ]
    ),
    "rows": Need([_ROW]),
    "earlier": [{"plan": _NAME, "folder": _NAME, "rows": Need([_ROW])}],
}

FORMS: dict[str, Form] = {
    "experiment.json": _EXPERIMENT,
    "compute.json": {"wall_seconds": Maybe(float)},
    "looks.json": {
        "units": [
            {
                "task": _NAME,
                "dims": _NAME,
                "seeds": Need([int]),
                "looks_taken": Need(int),
            }
        ],
        "looks": [{"contrasts": Need([dict])}],
    },
    "plan.json": _PLAN,
    "summary.json": {"contrasts": [{"name": _NAME, "verdict": str}]},
    "worklist_state.json": {"plan": str, "done": [str]},
}
"""Form of each file of the suite's own, by its name."""


def check_form(path: Path, content: Mapping[str, Any], form: Form) -> None:
    """Compares what a file holds with the form it must have.

    Args:
      path: The file, for the message.
      content: What it holds.
      form: What it must look like.

    Raises:
      InputError: With every entry that is missing or of another type.
    """
    faults = list(_faults(content, form, ""))
    if faults:
        raise gather(str(path), faults)


def _faults(value: Any, form: Form, where: str) -> Iterator[str]:
    if isinstance(form, Need):
        yield from _faults(value, form.form, where)
    elif isinstance(form, Maybe):
        if value is not None:
            yield from _faults(value, form.form, where)
    elif isinstance(form, type):
        if not _is(value, form):
            yield f"{where}: {shown(value, 60)} where {_words(form)} is needed"
    elif isinstance(form, list):
        (inner,) = cast(list[Form], form)
        if not isinstance(value, list):
            yield f"{where}: {shown(value, 60)} where a list is needed"
            return
        for number, item in enumerate(cast(list[Any], value)):
            yield from _faults(item, inner, f"{where}[{number}]")
    else:
        yield from _entry_faults(value, form, where)


def _entry_faults(value: Any, form: Form, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {shown(value, 60)} where an object is needed"
        return
    content = cast(dict[str, Any], value)
    named: Mapping[str, Form] = (
        dict.fromkeys(content, form.form) if isinstance(form, Each) else form
    )
    for name, inner in named.items():
        place = f"{where}.{name}" if where else name
        if name in content:
            yield from _faults(content[name], inner, place)
        elif isinstance(inner, Need):
            yield f"{place} is missing"


def _is(value: Any, form: type) -> bool:
    """Whole numbers count as decimal ones; true and false are no numbers."""
    if form in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if form is float else form)


def _words(form: type) -> str:
    words = {str: "a text", int: "a whole number", float: "a number"}
    words |= {bool: "true or false", list: "a list", dict: "an object"}
    return words[form]
