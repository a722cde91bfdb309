"""Numbers of a page, and the rows of CSV files that explain them."""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d)")
_VOID = ("meta", "use", "path", "image", "rect", "br")

FIXED = (
    r"\d+ % (?:interval|confidence|power)",
    r"95 %",
    r"over 4 times the slices",
    r"Fewer than 8 tasks",
    r"Below 10",
    r"1 is best",
    r"0\.5 being a draw",
    r"coverage of at most 0\.5",
    r"1 where they are the same",
    r"c / \(2 - c\)",
    r"the 3 worst",
)
"""Numbers of fixed sentences, which are no results."""


def numbers(text: str) -> list[str]:
    """Returns the numbers of a text as they are written, fixed ones left out.

    >>> numbers("48 slices in 2D: \u22120.010 [\u22120.030, 0.010], 95 % of them")
    ['48', '-0.010', '-0.030', '0.010']
    """
    return _NUMBER.findall(_without_fixed(text))


def _without_fixed(text: str) -> str:
    text = text.replace("\u2212", "-").replace("\u2013", "-")
    for phrase in FIXED:
        text = re.sub(phrase, " ", text)
    return text


@functools.cache
def _written(value: str) -> frozenset[str]:
    """Returns how a field of a CSV file may stand on a page."""
    found: set[str] = set()
    try:
        parts = [float(value)]
    except ValueError:
        parts = [float(number) for number in numbers(value)]
    for part in parts:
        for number in (part, -part, 100 * part, -100 * part):
            found.update(f"{number:.{places}f}" for places in range(4))
            found.add(f"{number:.4g}")
    return frozenset(found | {"0", "0.000", "0.00"} & {f.lstrip("-") for f in found})


def written(row: Mapping[str, str]) -> set[str]:
    """Returns how the numbers of a row may stand on a page."""
    return set().union(*(_written(value) for value in row.values() if value))


def unexplained(text: str, rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Returns the numbers of a text that no single row explains together.

    The row that explains most of them counts.
    """
    asked = numbers(text)
    if not asked:
        return []
    left = asked
    for row in rows:
        known = written(row)
        missing = [number for number in asked if number not in known]
        left = missing if len(missing) < len(left) else left
        if not left:
            break
    return left


class Page(HTMLParser):
    """What a page shows: tables, verdicts, prose and figures.

    Attributes:
      tables: Name of the CSV file and the rows of fields, each text and value.
      verdicts: Sentence and anchor of the evidence.
      prose: Texts of facts, warnings, leads and captions, with the section's id.
      figures: Name of the figure, its alternative text and the texts drawn in it
        outside its axes and legends.
    """

    def __init__(self, text: str):
        super().__init__()
        self.tables: list[tuple[str, list[list[tuple[str, str | None]]]]] = []
        self.verdicts: list[tuple[str, str]] = []
        self.prose: list[tuple[str, str]] = []
        self.figures: dict[str, tuple[str, list[str]]] = {}
        self._open: list[tuple[str, dict[str, Any]]] = []
        self._words: list[str] = []
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in _VOID:
            return
        self._open.append((tag, values))
        if tag in ("section", "header"):
            self._section = values.get("id") or tag
        elif tag == "table":
            self.tables.append(("", []))
        elif tag == "tr" and self._inside("tbody"):
            self.tables[-1][1].append([])
        elif tag == "svg":
            self.figures[self._figure()] = (values["aria-label"], [])
        if self._starts(tag, values):
            self._words = []

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in _VOID:
            return
        name, values = self._open.pop()
        assert name == tag
        text = " ".join("".join(self._words).split())
        if tag == "td":
            self.tables[-1][1][-1].append((text, values.get("data-value")))
        elif tag == "span" and "file" in values.get("class", ""):
            self._name_table(text)
        elif tag == "li" and "verdict" in values.get("class", ""):
            self.verdicts.append((text, self._evidence))
        elif tag == "text" and not self._inside_axis():
            self.figures[self._figure()][1].append(text)
        elif self._is_prose(tag, values):
            self.prose.append((self._section, text))

    def handle_data(self, data):
        if not self._inside("script") and not self._inside("style"):
            self._words.append(data)

    def _starts(self, tag: str, values: Mapping[str, Any]) -> bool:
        if "evidence" in values.get("class", ""):
            self._evidence = values["href"].lstrip("#")
        kinds = ("td", "text", "li", "figcaption", "caption", "p")
        return tag in kinds or values.get("class") == "file"

    def _is_prose(self, tag: str, values: Mapping[str, Any]) -> bool:
        if tag == "li" and self._section == "header":
            return True
        return tag == "p" and values.get("class") in ("lead", "warning")

    def _inside(self, tag: str) -> bool:
        return any(name == tag for name, _ in self._open)

    def _inside_axis(self) -> bool:
        ids = [str(values.get("id", "")) for _, values in self._open]
        return any("matplotlib.axis" in name or "legend" in name for name in ids)

    def _figure(self) -> str:
        names = [v["id"] for name, v in self._open if name == "figure"]
        phone = any(v.get("class") == "for-narrow" for _, v in self._open)
        return f"{names[-1]}{' narrow' if phone else ''}"

    def _name_table(self, text: str) -> None:
        if text.startswith("tables/") and self.tables and not self.tables[-1][0]:
            name = text.removeprefix("tables/").split(".csv")[0]
            self.tables[-1] = (name, self.tables[-1][1])


def pieces(text: str, separators: Sequence[str]) -> list[str]:
    """Returns the parts of an alternative text that each speak of one thing."""
    parts = re.split("|".join(separators), _without_fixed(text))
    return [part for part in parts if part.strip()]
