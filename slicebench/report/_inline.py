"""Figures as files and as parts of one HTML page."""

import html
import re
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from slicebench.report import _palette, _style


class FigureView(NamedTuple):
    """A figure as the page shows it.

    Attributes:
      name: File name without its ending, also its anchor.
      title: What it shows, in a few words.
      caption: How to read it.
      svg: Markup with the alternative text inside.
      narrow: The same for a phone, empty where the first one does.
      width: Full width on a wide screen, in CSS pixels.
      least: Width below which its text could not be read any more.
    """

    name: str
    title: str
    caption: str
    svg: Markup
    narrow: Markup
    width: int
    least: int


def publish(
    figure: Figure,
    folder: Path,
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    narrow: Figure | None = None,
) -> FigureView:
    """Writes a figure as PNG and SVG and returns it for the page.

    Args:
      figure: A figure of this package.
      folder: Where the files go.
      name: File name without its ending.
      title: What it shows.
      caption: How to read it.
      alt: What a reader who cannot see it should be told.
      narrow: The figure arranged for a phone; for the page alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(_style.png_bytes(figure))
    # What the layout found for the PNG holds for the SVG: it takes half the time.
    figure.set_layout_engine("none")
    svg = _style.svg_text(figure)
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    inches = float(figure.get_size_inches()[0])
    return FigureView(
        name=name,
        title=title,
        caption=caption,
        svg=inline(svg, name, alt),
        narrow=_phone(narrow, name, alt),
        width=round(inches * 105),
        least=round(inches * 84) if inches > 6 else 300,
    )


def _phone(figure: Figure | None, name: str, alt: str) -> Markup:
    if figure is None:
        return Markup()
    return inline(_style.svg_text(figure), f"{name}-narrow", alt)


def inline(svg: str, name: str, alt: str) -> Markup:
    """Returns an SVG file as an element of an HTML page.

    Its ids get the figure's name in front, so that they are unique on the page;
    its metadata, addresses of namespaces and page-wide style are left out, and its
    colours follow the page.

    Args:
      svg: SVG file written by matplotlib.
      name: Unique name on the page.
      alt: Alternative text.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(?::\w+)?="[^"]*"', "", body)
    body = _compact(_palette.adaptive(body))
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = body.replace("xlink:href=", "href=")
    label = html.escape(alt, quote=True)
    return Markup(body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


_TAG = re.compile(r"<[^>]+>")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")


def _compact(svg: str) -> str:
    """Returns a drawing in fewer bytes: no comments, two decimals of a point.

    Text stays as it is; so do scales of images, which need every digit. The page
    sets the font.
    """
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)

    def shorter(match: re.Match[str]) -> str:
        tag = match[0]
        if "matrix(" in tag or "scale(" in tag or "base64" in tag:
            return tag
        tag = _FAMILY.sub("", tag)
        return _LONG.sub(lambda number: f"{float(number[0]):.2f}", tag)

    return _TAG.sub(shorter, svg)


def slug(*parts: object) -> str:
    """Returns parts joined to a name fit for files and anchors.

    >>> slug("dice", "My task/1", "2d")
    'dice-my-task-1-2d'
    """
    text = "-".join(str(part) for part in parts).lower()
    return re.sub(r"[^a-z0-9_]+", "-", text).strip("-") or "figure"
