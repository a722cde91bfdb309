"""A section of the page: words, figures and tables."""

from typing import NamedTuple

from slicebench.report import _inline, _tables


class Part(NamedTuple):
    """One section of the report.

    Attributes:
      id: Its anchor.
      title: Its heading.
      nav: Its name in the contents.
      text: How to read it, a paragraph each.
      figures: What is drawn.
      tables: What is listed; `open` ones start unfolded.
    """

    id: str
    title: str
    nav: str
    text: tuple[str, ...]
    figures: tuple[_inline.FigureView, ...] = ()
    tables: tuple[_tables.Table, ...] = ()
