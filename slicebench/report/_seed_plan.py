"""Variance components, what the run could resolve, and how many seeds would do."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from slicebench.report import _part, _tables, _words
from slicebench.report._tables import Column

_TEXT = (
    "Standard deviations of Dice and the like by source: the luck of the selection "
    "seed and of the training seed (first weights, order of batches) where they were "
    "varied apart, else of both together; the difficulty of test cases; and the rest.",
    "Resolvable: the smallest difference that the seeds and cases of this run show "
    "with 80 % power. Seeds needed: for 80 % power at the margin with these cases. "
    "Cases needed: the same with these seeds. Where one of them alone can never be "
    "enough, the other one limits.",
)

_COMPONENTS = (
    Column("place", "Where"),
    Column("budget", "Budget", "count"),
    Column("slices_per_volume", "Slices each", "count"),
    Column("strategy", "Strategy"),
    Column("interpolation", "Interpolation"),
    Column("metric", "Metric"),
    Column("sd_selection", "Selection", "number"),
    Column("sd_training", "Training", "number"),
    Column("sd_seed", "Both seeds", "number"),
    Column("sd_case", "Case", "number"),
    Column("sd_residual", "Rest", "number"),
    Column("num_seeds", "Seeds", "count"),
    Column("num_cases", "Cases", "count"),
    Column("reason", "Remark"),
)

_PLAN = (
    Column("place", "Where"),
    Column("compared", "What"),
    Column("metric", "Metric"),
    Column("margin", "Margin", "number"),
    Column("resolvable", "Resolvable", "number"),
    Column("seeds_said", "Seeds needed"),
    Column("cases_said", "Cases needed"),
    Column("num_seeds", "Seeds", "count"),
    Column("num_cases", "Cases", "count"),
    Column("sd_seed", "SD seed", "number"),
    Column("sd_case", "SD case", "number"),
    Column("sd_residual", "SD rest", "number"),
)


def seed_plan(summary: Mapping[str, Any]) -> _part.Part | None:
    """Returns the section, None where the summary holds neither part of it.

    Args:
      summary: Content of summary.json: `variance`, and with each contrast
        `components`, `resolvable`, `seeds_needed` and `cases_needed`.
    """
    components = _components(summary.get("variance") or ())
    planned = [c for c in summary["contrasts"] if c.get("components")]
    tables = []
    if planned:
        tables.append(_plan(planned))
    if components is not None:
        tables.append(components)
    if not tables:
        return None
    return _part.Part(
        id="seed-plan",
        title="Variance, and how many seeds and cases it takes",
        nav="Seeds",
        text=_TEXT,
        tables=tuple(tables),
    )


def _components(rows: Sequence[Mapping[str, Any]]) -> _tables.Table | None:
    if not rows:
        return None
    shown = [{**_flat(row), "place": _words.title(row)} for row in rows]
    return _tables.Table(
        name="variance",
        title="Variance components (standard deviations)",
        frame=_frame(shown, _COMPONENTS),
        columns=_COMPONENTS,
        open=len(rows) <= 12,
    )


def _plan(contrasts: Sequence[Mapping[str, Any]]) -> _tables.Table:
    rows = [
        {
            "name": contrast["name"],
            "place": _words.place(contrast),
            "compared": _words.subject(contrast),
            **{name: contrast.get(name) for name in ("metric", "margin", "resolvable")},
            **{name: contrast.get(name) for name in ("seeds_needed", "cases_needed")},
            "seeds_said": _needed(contrast, "seeds_needed", "limited by cases"),
            "cases_said": _needed(contrast, "cases_needed", "limited by seeds"),
            **{name: contrast[name] for name in ("num_seeds", "num_cases")},
            **(contrast.get("components") or {}),
        }
        for contrast in contrasts
    ]
    return _tables.Table(
        name="seed_plan",
        title="What this run could resolve, and what it would take",
        frame=_frame(rows, _PLAN),
        columns=_PLAN,
        open=True,
    )


def _needed(contrast: Mapping[str, Any], name: str, limited: str) -> str | None:
    if contrast.get("margin") is None:
        return None
    value = contrast.get(name)
    return limited if value is None else str(value)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if isinstance(value, (dict, list)) else value
        for name, value in row.items()
    }


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Any:
    frame = pd.DataFrame(list(rows))
    for column in columns:
        if column.key not in frame:
            frame[column.key] = None
    return frame
