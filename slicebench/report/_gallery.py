"""Which figures a report has, with their captions and alternative texts."""

from pathlib import Path

import pandas as pd

from slicebench.report import (
    _cells,
    _curves,
    _examples,
    _forest,
    _frames,
    _inline,
    _maps,
    _reading,
    _style,
    _tables,
    _words,
)

_MOST_ROWS = 80
"""Contrasts beyond which those without verdict stand in the table only."""

_BARS = "Bars are 95 % intervals over seeds and cases."


def section_figures(
    cells: pd.DataFrame, folder: Path, *, section: str, place: str, metric: str
) -> list[_inline.FigureView]:
    """Draws what one task, dims and metric have to show.

    Args:
      cells: Cells of that section and metric, with arms.
      folder: Where the files go.
      section: Name of the section in file names.
      place: Task and dims in words.
      metric: Score that is drawn.

    Returns:
      Score over density always; for Dice also the map of allocations and, with
      two budgets or more, score over budget.
    """
    drawn = _cells.swept(cells)
    if drawn.empty:
        return []
    level = _cells.ceiling_level(cells)
    name = _style.metric_name(metric)
    dashed = " Dashed: the same network on all labels." if level else ""
    views = [
        _inline.publish(
            _curves.density_figure(drawn, metric=metric, ceiling=level),
            folder,
            name=f"{metric}-over-density-{section}",
            title=f"{place}: {name} over slices per volume at fixed budget",
            caption=f"{_BARS}{dashed} The lower line of ticks gives volumes "
            f"{_style.TIMES} slices.",
            alt=_density_alt(drawn, place, metric, level),
            narrow=_curves.density_figure(
                drawn, metric=metric, ceiling=level, narrow=True
            ),
        )
    ]
    if metric != "dice":
        return views
    if len(set(drawn["budget"])) > 1:
        views.append(_budget(drawn, folder, section, place, level))
    if _several_allocations(drawn):
        views.append(_map(drawn, folder, section, place, metric))
    return views


def _several_allocations(drawn: pd.DataFrame) -> bool:
    """Returns whether a map would show more than one field an arm."""
    return any(len(part) > 1 for _, part in _frames.groups(drawn, ["arm"]))


def _budget(
    drawn: pd.DataFrame,
    folder: Path,
    section: str,
    place: str,
    level: _curves.Level | None,
) -> _inline.FigureView:
    dashed = " Dashed: the same network on all labels." if level else ""
    return _inline.publish(
        _curves.budget_figure(drawn, metric="dice", ceiling=level),
        folder,
        name=f"dice-over-budget-{section}",
        title=f"{place}: Dice over budget",
        caption=f"{_BARS}{dashed} The first colours of the legend: few slices in each "
        "of many volumes.",
        alt=f"Dice over annotated slices in {place}, one line a number of slices per "
        "volume; the values stand in cells.csv.",
        narrow=_curves.budget_figure(drawn, metric="dice", ceiling=level, narrow=True),
    )


def _map(
    drawn: pd.DataFrame, folder: Path, section: str, place: str, metric: str
) -> _inline.FigureView:
    name = _style.metric_name(metric)
    framed = " A frame marks what may be its budget's best allocation."
    return _inline.publish(
        _maps.allocation_figure(drawn, metric=metric),
        folder,
        narrow=_maps.allocation_figure(drawn, metric=metric, narrow=True),
        name=f"{metric}-allocations-{section}",
        title=f"{place}: {name} of every allocation",
        caption="Mean score and half the width of its 95 % interval; budgets lie on "
        f"the diagonals.{framed if any(drawn['in_best_set']) else ''}",
        alt=f"{name} of {place} over volumes and slices per volume; the values stand "
        "in cells.csv.",
    )


def _density_alt(drawn: pd.DataFrame, place: str, metric: str, level) -> str:
    """Returns the course of every line: its first and last value."""
    parts = []
    ordered = _frames.ordered(drawn, "budget", "slices_per_volume")
    for key, line in _frames.groups(ordered, ["budget", "arm"]):
        rows = _frames.records(line)
        ends = [
            f"{_style.decimals(metric, row['estimate'])} at {row['slices_per_volume']}"
            for row in (rows[0], rows[-1])
        ]
        course = " to ".join(dict.fromkeys(ends))
        arm = _style.words(key["arm"])
        parts.append(f"{key['budget']} slices, {arm}: {course} per volume")
    name = _style.metric_name(metric)
    top = f" All labels: {_style.decimals(metric, level.estimate)}." if level else ""
    return f"{name} over slices per volume, {place}. {'; '.join(parts)}.{top}"


def forest_figures(contrasts: pd.DataFrame, folder: Path) -> list[_inline.FigureView]:
    """Draws the planned contrasts, one figure a metric.

    Args:
      contrasts: As for `forest_figure`, with the column `metric`.
      folder: Where the files go.
    """
    views = []
    drawn = contrasts.dropna(subset=["estimate", "low", "high"])
    if len(drawn) > _MOST_ROWS:
        drawn = _frames.keep(drawn, drawn["verdict"] != "exploratory")
    for key, part in _frames.groups(drawn, ["metric"]):
        metric = str(key["metric"])
        name = _style.metric_name(metric)
        lines = [
            f"{row['heading']}, {row['label']}: "
            f"{_style.decimals(metric, row['estimate'])}, {row['verdict']}"
            for row in _frames.records(part)
        ]
        views.append(
            _inline.publish(
                _forest.forest_figure(part, metric=metric),
                folder,
                name=_inline.slug("contrasts", metric),
                title=f"Contrasts in {name}",
                caption="Estimate and 95 % interval; right of zero favours the side "
                "named first. Shaded: the margin. Open: inconclusive or exploratory.",
                alt=f"Contrasts in {name}. {'; '.join(lines)}.",
                narrow=_forest.forest_figure(part, metric=metric, narrow=True),
            )
        )
    return views


def example_view(
    examples: _examples.Examples,
    classes: tuple[str, ...],
    folder: Path,
    *,
    section: str,
    place: str,
) -> _inline.FigureView:
    """Draws one task's example predictions."""
    count, networks = examples.predictions.shape[:2]
    return _inline.publish(
        _examples.example_figure(examples, classes),
        folder,
        name=f"examples-{section}",
        title="",
        caption="Coloured: classes. White outline: the truth over each prediction.",
        alt=f"{count} test slices of {place} with the truth and the predictions of "
        f"{networks} networks: {', '.join(examples.column_titles)}.",
    )


def example_table(run: _reading.Run) -> _tables.Table:
    """Returns which slices and networks the example pictures show, for their file."""
    rows = [
        {"task": task, "row": row, "slice": title, "column": column, "network": network}
        for task, examples in run.examples.items()
        for row, title in enumerate(examples.row_titles, start=1)
        for column, network in enumerate(examples.column_titles, start=1)
    ]
    return _tables.Table(
        name="examples",
        title="Example predictions",
        frame=pd.DataFrame(rows),
        columns=(),
    )


def contrast_rows(contrasts: list[_words.Row]) -> pd.DataFrame:
    """Returns planned contrasts as figures and tables want them."""
    keys = ("metric", "estimate", "low", "high", "margin", "verdict")
    rows = [
        {
            "heading": _words.title(contrast),
            "label": _words.label(contrast),
            **{key: contrast.get(key) for key in keys},
        }
        for contrast in contrasts
    ]
    frame = pd.DataFrame(rows, columns=["heading", "label", *keys])
    numbers = ["estimate", "low", "high", "margin"]
    return frame.astype(dict.fromkeys(numbers, float))
