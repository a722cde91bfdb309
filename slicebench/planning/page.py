"""worklist.html: look through the chosen volumes, tick off slices, keep the state."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from slicebench.planning import flips, precision, prevalence
from slicebench.planning.choose import Choice
from slicebench.planning.costs import hours
from slicebench.planning.pictures import Planes, jpeg
from slicebench.planning.plan import Plan
from slicebench.planning.worklist import Row
from slicebench.report import _palette

LONGEST = 192
"""Pixels of the longer side of a slice in the page."""
_COLUMNS = 8
_MOST_PIXELS = 16_000_000
"""Browsers refuse pictures much larger than this."""


def sprite(planes: Planes) -> dict[str, Any]:
    """Returns every slice of a scan as one JPEG, row by row, with its measures."""
    width, height = planes.size
    columns = min(_COLUMNS, planes.depth)
    rows = math.ceil(planes.depth / columns)
    scale = min(1.0, math.sqrt(_MOST_PIXELS / (columns * width * rows * height)))
    size = max(1, int(width * scale)), max(1, int(height * scale))
    sheet = Image.new("L", (columns * size[0], rows * size[1]))
    for index in range(planes.depth):
        row, column = divmod(index, columns)
        shown = planes.picture(index)
        shown = shown if shown.size == size else shown.resize(size)
        sheet.paste(shown, (column * size[0], row * size[1]))
    return {
        "src": "data:image/jpeg;base64," + base64.b64encode(jpeg(sheet)).decode(),
        "width": size[0],
        "height": size[1],
        "columns": columns,
        "depth": planes.depth,
    }


def render(
    plan: Plan,
    sprites: Sequence[dict[str, Any]],
    digest: str,
    figure: Markup = Markup(),  # noqa: B008 - cannot be changed
) -> str:
    """Returns the page.

    Args:
      plan: What is to be annotated.
      sprites: One `sprite` a choice, in order.
      digest: Names the plan; ticks are kept in the browser under it.
      figure: Of flips; empty without evidence.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slicebench.planning"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    volumes = [
        {**image, **volume}
        for image, volume in zip(sprites, _volumes(plan), strict=True)
    ]
    return environment.get_template("worklist.html.j2").render(
        plan=plan,
        title=f"Worklist: {plan.budget} slices of {len(plan.choices)} volumes",
        volumes=volumes,
        payload=_script_safe({"plan": digest, "volumes": volumes}),
        options=plan.recommendation.options,
        hours=hours,
        figure=figure,
        colors=_palette.css(),
        structures=prevalence.in_words(plan.expected),
        precision=precision.in_words(plan.precision, near=plan.evidence is not None),
        flips=flips.in_words(plan.flips, plan.costs),
    )


def _volumes(plan: Plan) -> list[dict[str, Any]]:
    by_case: dict[str, list[Row]] = {}
    for row in plan.rows:
        by_case.setdefault(row.case, []).append(row)
    return [_volume(choice, by_case[choice.scan.name]) for choice in plan.choices]


def _volume(choice: Choice, rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    return {
        "case": choice.scan.name,
        "file": first.file,
        "plane": first.anatomical_axis,
        "direction": first.direction,
        "spacing": [round(step, 3) for step in choice.scan.spacing],
        "rows": [
            {
                "rank": row.rank,
                "slice": row.slice_index,
                "minutes": row.minutes,
                "ras": [row.x_ras_mm, row.y_ras_mm, row.z_ras_mm],
            }
            for row in rows
        ],
    }


def _script_safe(value: Any) -> str:
    """Returns JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def contact_sheet(
    pictures: Sequence[tuple[Row, Image.Image]],
) -> list[Image.Image]:
    """Returns printable pages (A4 at 100 dots an inch) of every chosen slice.

    Args:
      pictures: Rows of the worklist with their pictures.
    """
    cell = (_SHEET[0] - 2 * _EDGE) // _ACROSS
    down = (_SHEET[1] - 2 * _EDGE) // (cell + _TEXT)
    pages: list[Image.Image] = []
    for start in range(0, len(pictures), _ACROSS * down):
        page = Image.fromarray(np.full((_SHEET[1], _SHEET[0]), 255, np.uint8))
        for at, (row, picture) in enumerate(pictures[start : start + _ACROSS * down]):
            _place(page, row, picture, at, cell)
        pages.append(page)
    return pages


_SHEET, _EDGE, _ACROSS, _TEXT = (827, 1169), 40, 5, 44


def _place(
    page: Image.Image, row: Row, picture: Image.Image, at: int, cell: int
) -> None:
    down, across = divmod(at, _ACROSS)
    corner = _EDGE + across * cell, _EDGE + down * (cell + _TEXT)
    shown = picture.copy()
    shown.thumbnail((cell - 8, cell - 8))
    page.paste(shown, corner)
    pen = ImageDraw.Draw(page)
    name = row.case if len(row.case) <= 22 else row.case[:21] + "…"
    pen.text((corner[0], corner[1] + cell - 6), f"{row.rank}. {name}", fill=0)
    pen.text(
        (corner[0], corner[1] + cell + 8),
        f"slice {row.display_number} of {row.num_slices}",
        fill=0,
    )
