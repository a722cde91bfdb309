"""Verdicts as the page and the tables show them."""

from typing import Any

import pandas as pd

from slicebench.report import _conventions, _reading, _words
from slicebench.report._tables import Column, Table

_SHOWN = (
    Column("place", "Where"),
    Column("compared", "What"),
    Column("metric", "Metric"),
    Column("estimate", "Estimate [interval]", "interval"),
    Column("margin", "Margin", "score"),
    Column("p_superior", "p superior", "number"),
    Column("p_inferior", "p inferior", "number"),
    Column("p_noninferior", "p noninferior", "number"),
    Column("p_equivalent", "p equivalent", "number"),
    Column("num_seeds", "Seeds", "count"),
    Column("num_cases", "Cases", "count"),
    Column("verdict", "Verdict", "verdict"),
)


def groups(run: _reading.Run, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns verdicts by task and dims, those without verdict apart."""
    found: dict[str, dict[str, Any]] = {}
    for contrast in summary["contrasts"]:
        task = run.task(str(contrast["task"]))
        title = _words.title(contrast)
        group = found.setdefault(
            title,
            {
                "title": title,
                "synthetic": task["synthetic"],
                "expected": task.get("expected") if task["synthetic"] else None,
                "rows": [],
                "exploratory": [],
            },
        )
        explored = contrast["verdict"] == "exploratory"
        item = {
            "verdict": contrast["verdict"],
            "where": ", ".join(_words.factors(contrast.get("where") or {})),
            "sentence": _words.sentence(contrast),
            "notes": "; ".join(_words.notes(contrast)),
        }
        group["exploratory" if explored else "rows"].append(item)
    return list(found.values())


def table(summary: dict[str, Any]) -> Table:
    """Returns every contrast with its tests."""
    rows = [
        {
            **contrast,
            "place": _words.place(contrast),
            "compared": _words.subject(contrast),
        }
        for contrast in summary["contrasts"]
    ]
    names = [column.key for column in _SHOWN]
    frame = pd.DataFrame(rows)
    for name in [*names, "low", "high"]:
        if name not in frame:
            frame[name] = None
    return Table(name="contrasts", title="All contrasts", frame=frame, columns=_SHOWN)


def margins(summary: dict[str, Any]) -> dict[str, str]:
    """Returns the margins in use with their source, in words, by task."""
    found: dict[str, dict[str, None]] = {}
    for contrast in summary["contrasts"]:
        if contrast.get("margin") is None:
            continue
        source = str(contrast.get("margin_source") or "see summary.json")
        text = _conventions.margin_text(
            str(contrast["metric"]), float(contrast["margin"]), source
        )
        found.setdefault(_words.title(contrast), {})[text] = None
    return {title: "; ".join(texts) for title, texts in found.items()}
