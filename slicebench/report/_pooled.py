"""Findings over several tasks: a forest with what a new task may bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slicebench.report import (
    _forest,
    _frames,
    _inline,
    _palette,
    _part,
    _style,
    _tables,
    _words,
)
from slicebench.report._tables import Column

_TEXT = (
    "One finding over all its tasks: a random-effects mean with its 95 % interval "
    "(Hartung and Knapp). The thin line is the prediction interval, where the effect "
    "in one more task like these would lie; I² is the share of the variance between "
    "tasks that is more than chance."
)
_FEW = "Fewer than 8 tasks: a case series, not a statement about tasks at large."

_NUMBERS = (
    "estimate",
    "low",
    "high",
    "prediction_low",
    "prediction_high",
    "tau2",
    "i2",
    "q",
    "p_heterogeneity",
)


def pooled(summary: Mapping[str, Any], folder: Path) -> _part.Part | None:
    """Returns the section on findings over tasks, None without any.

    Args:
      summary: Content of summary.json, with `pooled`.
      folder: Where figures go.
    """
    entries: Sequence[Mapping[str, Any]] = summary.get("pooled") or ()
    found = [entry for entry in entries if entry.get("estimate") is not None]
    if not found:
        return None
    few = any(entry.get("case_series") for entry in found)
    sentences = tuple(sentence(entry) for entry in found)
    views = [_view(key, part, folder) for key, part in _by_metric(found)]
    return _part.Part(
        id="pooled",
        title="Over all tasks",
        nav="Over tasks",
        text=(*sentences, _TEXT, *((_FEW,) if few else ())),
        figures=tuple(views),
        tables=(_table(found), _members(found)),
    )


def sentence(entry: Mapping[str, Any]) -> str:
    """Returns a pooled finding in words."""
    metric = str(entry["metric"])
    numbers = [_words.edge(metric, entry.get(name)) for name in _NUMBERS[:5]]
    middle, low, high, least, most = numbers
    new = f"; in one more task like these [{least}, {most}]"
    return (
        f"{entry['name']}, {str(entry['dims']).upper()}, over {entry['num_tasks']} "
        f"tasks: {middle} {_style.metric_label(metric)} [{low}, {high}]"
        f"{new if entry.get('prediction_low') is not None else ''}."
    )


def _by_metric(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, pd.DataFrame]]:
    rows = [row for entry in found for row in _rows(entry)]
    groups = _frames.groups(pd.DataFrame(rows), ["metric"])
    return [(str(key["metric"]), part) for key, part in groups]


def _rows(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tasks of a finding and, last, their mean."""
    shared = {
        "heading": f"{entry['name']}, {str(entry['dims']).upper()}",
        "metric": entry["metric"],
        "margin": np.nan,
        "said": "",
    }
    members = [
        {
            **shared,
            **{name: member[name] for name in ("estimate", "low", "high")},
            "label": _words.title({**member, "dims": entry["dims"]}),
            "wide_low": np.nan,
            "wide_high": np.nan,
            "verdict": "exploratory",
            "color": _palette.FAINT,
            "marker": "s",
        }
        for member in entry["members"]
    ]
    mean = {
        **shared,
        **{name: entry[name] for name in ("estimate", "low", "high")},
        "label": f"mean over {entry['num_tasks']} tasks",
        "wide_low": _number(entry.get("prediction_low")),
        "wide_high": _number(entry.get("prediction_high")),
        "verdict": "pooled",
        "color": _palette.INK,
        "marker": "D",
    }
    return [*members, mean]


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _view(metric: str, rows: pd.DataFrame, folder: Path) -> _inline.FigureView:
    name = _style.metric_name(metric)
    told = [
        f"{row['heading']}, {row['label']}: {_words.edge(metric, row['estimate'])} "
        f"[{_words.edge(metric, row['low'])}, {_words.edge(metric, row['high'])}]"
        for row in _frames.records(rows)
    ]
    return _inline.publish(
        _forest.forest_figure(rows, metric=metric),
        folder,
        name=_inline.slug("pooled", metric),
        title=f"Findings over tasks in {name}",
        caption="Squares: tasks; diamonds: their mean, its thin line the prediction "
        "interval.",
        alt=f"Findings over tasks in {name}. {'; '.join(told)}.",
        narrow=_forest.forest_figure(rows, metric=metric, narrow=True),
    )


def _table(found: Sequence[Mapping[str, Any]]) -> _tables.Table:
    names = ("name", "dims", "metric", "claim", "num_tasks", *_NUMBERS, "reason")
    rows = [{name: entry.get(name) for name in names} for entry in found]
    return _tables.Table(
        name="pooled",
        title="Findings over tasks",
        frame=pd.DataFrame(rows, columns=list(names)),
        columns=(
            Column("name", "Finding"),
            Column("dims", "Dims"),
            Column("metric", "Metric"),
            Column("num_tasks", "Tasks", "count"),
            Column("estimate", "Mean [95 %]", "interval"),
            Column("prediction_low", "New task, from", "score"),
            Column("prediction_high", "to", "score"),
            Column("i2", "I²", "share"),
            Column("p_heterogeneity", "p (heterogeneity)", "number"),
            Column("reason", "Remark"),
        ),
        open=True,
    )


def _members(found: Sequence[Mapping[str, Any]]) -> _tables.Table:
    rows = [
        {"name": entry["name"], "dims": entry["dims"], "metric": entry["metric"], **row}
        for entry in found
        for row in entry["members"]
    ]
    columns = ["name", "dims", "metric", "task", "target", "estimate", "low", "high"]
    return _tables.Table(
        name="pooled_members",
        title="Tasks of each finding",
        frame=pd.DataFrame(rows, columns=[*columns, "variance", "weight"]),
        columns=(
            Column("name", "Finding"),
            Column("dims", "Dims"),
            Column("metric", "Metric"),
            Column("task", "Task"),
            Column("estimate", "Estimate [95 %]", "interval"),
            Column("weight", "Weight", "share"),
        ),
    )
