"""Writes a plan's folder: worklist, test cases, pictures, page and record."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from slicebench import spec
from slicebench.errors import InputError
from slicebench.planning import flips, page, precision, prevalence, worklist
from slicebench.planning.pictures import Planes, png
from slicebench.planning.plan import Plan
from slicebench.planning.rounds import PLAN_FILE, SCHEMA, digests
from slicebench.planning.tools import tool_files
from slicebench.results import write_json_atomic

IMAGES = "images"
"""Scans made from DICOM, relative to the plan."""
_EPOCH = time.gmtime(0)


def write_plan(
    plan: Plan, out: Path, *, tell: Callable[[str], None] = lambda _: None
) -> Path:
    """Writes everything into a folder that holds nothing yet.

    Args:
      plan: What is to be annotated.
      out: Folder to be made.
      tell: Called with a line of progress.

    Returns:
      Path of worklist.html.

    Raises:
      InputError: The folder exists and holds something.
    """
    check_empty(out)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / worklist.THUMBNAILS).mkdir(parents=True)
    costs, folder = plan.costs, plan.folder.folder
    _write(partial / "worklist.csv", worklist.to_csv(plan.rows))
    cases = worklist.test_cases_csv(plan.test, folder, costs)
    _write(partial / "test_cases.csv", cases)
    # Scans made from DICOM move into the plan's folder once it is whole.
    images = out / IMAGES if plan.converted else folder
    record = _record(plan, images.resolve())
    figure = _tables(plan, partial)
    digest = spec.digest([record["rows"], record["seed"]])
    write_json_atomic(partial / PLAN_FILE, {**record, "digest": digest})
    write_json_atomic(partial / "worklist.json", {"rows": record["rows"]})
    shown = IMAGES if plan.converted else record["images"]
    for name, text in tool_files(plan, shown, digest).items():
        _write(partial / name, text)
    sprites = _pictures(plan, partial, tell)
    _write(partial / "worklist.html", page.render(plan, sprites, digest, figure))
    if plan.converted:
        folder.replace(partial / IMAGES)
    if out.exists():
        out.rmdir()
    partial.replace(out)
    return out / "worklist.html"


def _tables(plan: Plan, out: Path) -> Markup:
    """Writes what is expected; returns the figure of flips, empty where none is."""
    if plan.expected:
        _write(out / "structures.csv", prevalence.to_csv(plan.expected))
    if plan.precision:
        _write(out / "test_set.csv", precision.to_csv(plan.precision))
    if not plan.flips:
        return Markup()
    # matplotlib takes a second to load.
    from slicebench.planning.flips_figure import publish_flips

    _write(out / "flips.csv", flips.to_csv(plan.flips))
    return publish_flips(plan.flips, plan.costs.volume / plan.costs.slice, out)


def check_empty(out: Path) -> None:
    """Raises InputError where a folder holds something, or is a file."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out}: is a file; give a new or empty folder")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out={out}: holds files; give a new or empty folder")


def _pictures(
    plan: Plan, out: Path, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Writes thumbnails and contact sheet; returns the page's pictures."""
    by_case: dict[str, list[worklist.Row]] = {}
    for row in plan.rows:
        by_case.setdefault(row.case, []).append(row)
    sprites: list[dict[str, Any]] = []
    shown: list[tuple[worklist.Row, Image.Image]] = []
    for number, choice in enumerate(plan.choices, start=1):
        planes = Planes(choice.scan, plan.folder.channels[0], page.LONGEST)
        for row in by_case[choice.scan.name]:
            picture = planes.picture(row.slice_index)
            (out / row.thumbnail).write_bytes(png(picture))
            shown.append((row, picture))
        sprites.append(page.sprite(planes))
        tell(f"pictures of {number} of {len(plan.choices)} volumes")
    first, *rest = page.contact_sheet(shown)
    first.save(
        out / "contact_sheet.pdf",
        save_all=True,
        append_images=rest,
        resolution=100,
        title="Contact sheet",
        creationDate=_EPOCH,
        modDate=_EPOCH,
    )
    return sprites


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def _record(plan: Plan, images: Path) -> dict[str, Any]:
    """Returns plan.json: all that the way back and a second round need."""
    request = dataclasses.asdict(plan.request)
    request["images"] = str(plan.request.images)
    request["exclude"] = [str(folder) for folder in plan.request.exclude]
    advice = dataclasses.asdict(plan.recommendation)
    content = {
        "schema_version": SCHEMA,
        "seed": plan.request.seed,
        "request": request,
        "images": str(images),
        "channels": list(plan.folder.channels),
        "classes": list(plan.request.classes),
        "budget": plan.budget,
        "minutes": round(plan.minutes, 2),
        "test_minutes": round(plan.test_minutes, 1),
        "costs": dataclasses.asdict(plan.costs),
        "recommendation": advice,
        "evidence": plan.evidence.name if plan.evidence else None,
        "differs_by_factor": plan.factors,
        "flips": [dataclasses.asdict(flip) for flip in plan.flips],
        "structures": [dataclasses.asdict(one) for one in plan.expected],
        "test_set": [dataclasses.asdict(one) for one in plan.precision],
        "cases": [
            {
                "case": scan.name,
                "group": scan.group,
                "side": side,
                "files": [
                    path.relative_to(plan.folder.folder).as_posix()
                    for path in scan.image_paths
                ],
                "slice_axis": scan.slice_axis,
                "slices": scan.shape[0],
                "digests": digests(scan),
            }
            for side, scans in (("test", plan.test), ("pool", plan.pool))
            for scan in scans
        ],
        "rows": [dataclasses.asdict(row) for row in plan.rows],
        "earlier": [one.record() for one in plan.earlier],
    }
    return json.loads(json.dumps(content))
