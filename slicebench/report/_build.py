"""Builds a report: estimates, figures and tables, then the page."""

from pathlib import Path
from typing import Any

import pandas as pd

from slicebench.report import (
    _cells,
    _choices,
    _conventions,
    _estimates,
    _fitting,
    _frames,
    _gallery,
    _gaps,
    _inline,
    _interpolation,
    _learning,
    _methods,
    _overview,
    _palette,
    _pooled,
    _ranking,
    _reading,
    _seed_plan,
    _sequential,
    _setup,
    _spread,
    _strategies,
    _style,
    _tables,
    _verdicts,
    _views,
    _words,
)

_SENSITIVITY = {
    "drop_diverged": "Contrasts that change without diverged trials",
    "drop_unseen": "Contrasts that change without trials that never saw a class",
}
_METRICS = ("dice", "nsd", "hd95")
_FACTS = ("cells", "seeds a cell", "test cases", "tasks")


def write_report(workdir: Path, *, images: bool = True) -> Path:
    """Rebuilds summary.json, report.html, tables/ and figures/ of a run.

    The same results give the same bytes. A run that is not finished is reported
    as far as it has come, and the report says what is missing.

    Args:
      workdir: Work folder of a run.
      images: Whether the example pictures, which show patients, are part of it;
        without them, those of an earlier report are removed from figures/.

    Returns:
      Path of report.html.

    Raises:
      InputError: The folder holds no run, a file of it is damaged, or the page
        would be too large to be opened; tables/ and figures/ are written then.
    """
    run = _reading.read_run(workdir, images=images)
    if not images:
        _remove_pictures(workdir / "figures")
    numbers = _estimates.estimate(run)
    differences = _strategies.differences(run, numbers.cells, numbers.summary)
    sections = _sections(run, numbers, differences)
    choices = _choices.choices(run)
    context = {
        **_opening(run, numbers, choices),
        "tasks": sections,
        "differences": _strategies.view(differences),
        "cells": _cell_tables(numbers),
        **_comparisons(run, numbers),
        "choices": choices,
        "ranking": _ranking.rankings(run),
        "examples": _examples(run),
        "gaps": _gaps.gaps(run),
        "pooled": _pooled.pooled(numbers.summary, workdir / "figures"),
        "parts": [
            part
            for part in (
                _interpolation.interpolation(run, numbers.cells, numbers.summary),
                _sequential.looks(numbers.summary),
                _seed_plan.seed_plan(numbers.summary),
                _spread.spread(run, numbers.cells),
                _learning.learning(run),
            )
            if part is not None
        ],
        "methods": _methods.methods(run, numbers.summary),
        "palette": _palette.css(),
        "conventions": _conventions.conventions(run.experiment),
        "margins": _views.margin_view(numbers.summary),
        "command": run.experiment["command"],
        "rebuild": _setup.rebuild(run.experiment, images=images),
        "setup": _setup.setup_tables(run),
        "splits": _setup.splits(run.experiment),
    }
    _tables.write_tables(workdir / "tables", _all_tables(context, run))
    target = workdir / "report.html"
    temporary = target.with_name(".report.html.tmp")
    temporary.write_text(_fitting.page(context), encoding="utf-8")
    temporary.replace(target)
    return target


def _remove_pictures(folder: Path) -> None:
    for path in sorted(folder.glob("examples-*")):
        path.unlink()


def _opening(
    run: _reading.Run, numbers: _estimates.Numbers, choices: _choices.Choices | None
) -> dict[str, Any]:
    """Returns title, question, the counts under it, warnings and verdicts."""
    cells = len(numbers.cells.drop_duplicates(_estimates.FACTORS))
    counts = _overview.run_counts(run, cells)
    done, planned = counts["trials finished"], counts["trials planned"]
    facts = [
        ("trials" if done == planned else f"of {planned} trials", done),
        *((name, counts[name]) for name in _FACTS),
    ]
    verdicts = _verdicts.groups(
        run, numbers.summary, choices.identical if choices else ()
    )
    facts = [(name.removesuffix("s") if v == 1 else name, v) for name, v in facts]
    return {
        "title": _style.words(run.experiment["experiment"]),
        "question": run.experiment["question"],
        "facts": [{"name": name, "value": value} for name, value in facts],
        "warnings": _warnings(run, counts),
        "verdicts": verdicts,
        "overview": _overview.overview(run, cells, verdicts),
    }


def _warnings(run: _reading.Run, counts: dict[str, int]) -> list[str]:
    warnings = []
    missing = counts["trials missing"]
    if missing:
        warnings.append(
            f"Partial results: {missing} of {run.experiment['num_trials']} planned "
            "trials have not finished. What is missing stands under “What is not here”."
        )
    diverged = counts["trials diverged"]
    if diverged:
        warnings.append(
            f"{diverged} trial{'s' if diverged > 1 else ''} diverged and count"
            f"{'' if diverged > 1 else 's'} as empty predictions."
        )
    seeds = run.most_seeds
    if 0 < seeds < _words.FEW_SEEDS:
        warnings.append(
            f"Few seeds: {seeds} a cell. Below {_words.FEW_SEEDS}, intervals are wide "
            "and rest on few degrees of freedom."
        )
    return warnings


def _sections(
    run: _reading.Run, numbers: _estimates.Numbers, differences: pd.DataFrame
) -> list[dict[str, Any]]:
    """Returns one section a task and dims, its figures written."""
    sections = []
    folder = run.workdir / "figures"
    found = _frames.groups(numbers.cells, _cells.GROUP)
    for index, (key, chosen) in enumerate(found):
        section = _inline.slug(key["task"], key["dims"], index)
        place = _words.title(key)
        views = {
            metric: _gallery.section_figures(
                _frames.where(chosen, {"metric": metric}),
                folder,
                section=section,
                place=place,
                metric=metric,
            )
            for metric in _METRICS
        }
        task = run.task(str(key["task"]))
        sections.append(
            {
                "id": f"task-{section}",
                "title": place,
                "synthetic": task["synthetic"],
                "expected": task.get("expected"),
                "lines": _lead(numbers.ceilings, key),
                "figures": views["dice"],
                "strategies": _strategies.figures(
                    _frames.where(
                        differences, {name: key[name] for name in _cells.GROUP}
                    ),
                    folder,
                    section=section,
                    place=place,
                ),
                "best": _views.best_view(numbers.allocations, key),
                "more": [view for m in _METRICS[1:] for view in views[m]],
                "more_names": " and ".join(
                    _style.metric_name(m) for m in _METRICS[1:] if views[m]
                ),
            }
        )
    return sections


def _lead(ceilings: pd.DataFrame, key: _frames.Record) -> list[str]:
    """Returns how near the best cell comes to the ceiling."""
    lines = []
    for row in _frames.records(ceilings):
        if all(row[name] == key[name] for name in _cells.GROUP):
            best, low, high, top = (
                _style.decimals("dice", row[name])
                for name in ("best_estimate", "best_low", "best_high", "estimate")
            )
            lines.append(
                f"Best cell: {row['best_cell']}: Dice {best} [{low}, {high}] = "
                f"{100 * row['share_of_ceiling']:.1f} % of the same network on all "
                f"labels ({top})."
            )
    return lines


def _cell_tables(numbers: _estimates.Numbers) -> list[_tables.Table]:
    present = set(numbers.cells["metric"])
    return [
        _views.cell_view(numbers.cells, metric)
        for metric in _METRICS
        if metric in present
    ]


def _comparisons(run: _reading.Run, numbers: _estimates.Numbers) -> dict[str, Any]:
    rows = _gallery.contrast_rows(numbers.summary["contrasts"])
    return {
        "forests": _gallery.forest_figures(rows, run.workdir / "figures"),
        "contrasts": _views.contrast_view(numbers.summary),
        "families": _views.family_view(numbers.summary),
        "sensitivity": [
            _views.sensitivity_view(numbers.summary, option, title)
            for option, title in _SENSITIVITY.items()
        ],
        "ceilings": _views.ceiling_view(numbers.ceilings),
        "classes": _views.class_view(numbers.classes),
    }


def _examples(run: _reading.Run) -> list[dict[str, Any]]:
    shown = []
    for index, (name, examples) in enumerate(run.examples.items()):
        task = run.task(name)
        view = _gallery.example_view(
            examples,
            tuple(task["classes"]),
            run.workdir / "figures",
            section=_inline.slug(name, index),
            place=name,
        )
        shown.append(
            {
                "title": name,
                "synthetic": task["synthetic"],
                "view": view,
                "attribution": task.get("attribution") or "not recorded",
            }
        )
    return shown


def _all_tables(context: dict[str, Any], run: _reading.Run) -> list[_tables.Table]:
    return [
        context["overview"],
        *context["cells"],
        *(context[name] for name in ("contrasts", "families", "ceilings", "classes")),
        *context["sensitivity"],
        *(context["choices"].tables if context["choices"] else ()),
        *([context["ranking"].table] if context["ranking"] else ()),
        context["margins"],
        *(section["best"] for section in context["tasks"]),
        *(gap.table for gap in context["gaps"]),
        *context["setup"],
        _setup.split_table(run.experiment),
        *([_gallery.example_table(run)] if run.examples else ()),
        context["differences"],
        *(context["pooled"].tables if context["pooled"] else ()),
        *(table for part in context["parts"] for table in part.tables),
    ]
