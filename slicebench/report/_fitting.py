"""The page as text, small enough to be sent by mail and opened on a phone."""

from collections.abc import Callable
from typing import Any

import jinja2

from slicebench.errors import InputError

LARGEST = 4_900_000
"""Bytes of a page: it is to be sent by mail and opened on a phone."""

_MOST_ROWS = 2000
_FEW_ROWS = 150
_FEWEST_ROWS = 20
"""Rows of a table on the page, and where they would make it too large."""

_Context = dict[str, Any]


def page(context: _Context) -> str:
    """Returns the page, shortened step by step until it is small enough.

    What the page lacks then stands beside it, in figures/ and tables/, and a
    warning on top says so.

    Args:
      context: What the templates name, but for how much of it is shown.

    Raises:
      InputError: The page is too large without a single figure and with the first
        rows of its tables only.
    """
    context = {"most_rows": _MOST_ROWS, "phone": True, "pictures": True, **context}
    text = _render(context)
    for shorten in _STEPS:
        if len(text.encode()) <= LARGEST:
            return text
        context = shorten(context)
        text = _render(context)
    size = len(text.encode())
    if size > LARGEST:
        raise InputError(
            f"report.html: {size / 1e6:.1f} MB without any figure, at most "
            f"{LARGEST / 1e6:.1f} MB are allowed ({_largest(context)}); tables/, "
            "figures/ and summary.json are written: report on fewer tasks or "
            "budgets, each from a work folder of its own"
        )
    return text


def _largest(context: _Context) -> str:
    """Returns what there is most of, as a hint at what to leave out."""
    contrasts = sum(
        len(group["rows"]) + len(group["exploratory"]) for group in context["verdicts"]
    )
    tasks = len(context["tasks"])
    return f"contrasts: {contrasts}, tasks and dims: {tasks}"


def _without_examples(context: _Context) -> _Context:
    note = "Example pictures stand in figures/ alone: the page would be too large."
    return _noted({**context, "examples": []}, note)


def _without_more(context: _Context) -> _Context:
    note = "Figures of NSD and HD95 stand in figures/ alone: the page would be large."
    sections = [{**section, "more": []} for section in context["tasks"]]
    return _noted({**context, "tasks": sections}, note)


def _with_short_tables(context: _Context) -> _Context:
    return {**context, "most_rows": _FEW_ROWS}


def _without_phone(context: _Context) -> _Context:
    note = "Figures are arranged for wide screens only: the page would be too large."
    return _noted({**context, "phone": False}, note)


def _without_pictures(context: _Context) -> _Context:
    note = "All figures stand in figures/ alone: the page would be too large."
    return _noted({**context, "pictures": False}, note)


def _with_shortest_tables(context: _Context) -> _Context:
    return {**context, "most_rows": _FEWEST_ROWS}


_STEPS: tuple[Callable[[_Context], _Context], ...] = (
    _without_examples,
    _without_more,
    _with_short_tables,
    _without_phone,
    _without_pictures,
    _with_shortest_tables,
)


def _noted(context: _Context, note: str) -> _Context:
    return {**context, "warnings": [*context["warnings"], note]}


def _render(context: _Context) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slicebench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(context)
