"""Ranking of the strategies: critical differences, and who may be first."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench import statistics
from slicebench.report import (
    _inline,
    _palette,
    _reading,
    _style,
    _tables,
    _words,
)
from slicebench.report._tables import Column

_TEXT = (
    "Strategies that differ in nothing else, ranked under each seed by their mean Dice "
    "over test cases (1 is best; Friedman's test over seeds). Strategies whose bars "
    "overlap are not told apart: mean ranks closer than Nemenyi's critical difference. "
    "“First” is how often a strategy has the best mean when seeds and cases are drawn "
    "anew; “beats random” how likely one of its trainings beats one with random slices "
    "on a case, 0.5 being a draw. Ranks say nothing of sizes and take these cases as "
    "given; the verdicts above come first."
)
_MOST_FIGURES = 48
"""Comparisons that are drawn; beyond, they stand in the table alone."""

_ROW = 0.27
"""Height of a strategy in inches."""

_COLUMNS = ("task", "target", "dims", "budget", "num_volumes", "slices_per_volume")


class Rankings(NamedTuple):
    """The section of the report about ranks.

    Attributes:
      text: How to read it.
      table: One row a strategy and comparison.
      figures: Critical differences and shares of being first.
    """

    text: str
    table: _tables.Table
    figures: list[_inline.FigureView]


def rankings(run: _reading.Run) -> Rankings | None:
    """Ranks strategies and writes the figures.

    Returns:
      None where no three strategies differ in nothing else.
    """
    found = statistics.rank_strategies(run.results, run.trials)
    if not found:
        return None
    rows = [_row(ranking, arm) for ranking in found for arm in ranking.arms]
    left = len(found) - _MOST_FIGURES
    return Rankings(
        text=f"{_TEXT} {left} more stand in the table alone." if left > 0 else _TEXT,
        table=_tables.Table(
            name="ranking",
            title="Strategies by mean rank",
            frame=pd.DataFrame(rows),
            columns=(
                Column("place", "Where"),
                Column("words", "Strategy"),
                Column("mean_rank", "Mean rank", "number"),
                Column("mean", "Dice", "score"),
                Column("iqm", "Interquartile mean", "score"),
                Column("p_best", "First", "share"),
                Column("improvement", "Beats random", "number"),
                Column("p_friedman", "p (Friedman)", "number"),
                Column("num_seeds", "Seeds", "count"),
            ),
            metric="dice",
            open=True,
        ),
        figures=[
            _figure(ranking, run.workdir / "figures", index)
            for index, ranking in enumerate(found[:_MOST_FIGURES])
        ],
    )


def _row(ranking: statistics.Ranking, arm: dict[str, Any]) -> dict[str, Any]:
    place = ranking.place
    return {
        **{name: place[name] for name in _COLUMNS},
        "place": _place(place),
        "words": name_of(ranking, arm),
        **arm,
        "p_friedman": ranking.test.p,
        "critical_difference": ranking.test.critical_difference,
        "num_seeds": ranking.num_seeds,
        "num_cases": ranking.num_cases,
    }


def _place(place: dict[str, Any]) -> str:
    allocation = f"{place['num_volumes']} {_style.TIMES} {place['slices_per_volume']}"
    return f"{_words.title(place)}, {allocation}"


def name_of(ranking: statistics.Ranking, arm: dict[str, Any]) -> str:
    """Returns a strategy in words, with its features where that tells it apart."""
    alike = [other for other in ranking.arms if other["strategy"] == arm["strategy"]]
    words = _style.words(arm["strategy"])
    return words if len(alike) == 1 else f"{words}, {_style.words(arm['features'])}"


def _figure(
    ranking: statistics.Ranking, folder: Path, index: int
) -> _inline.FigureView:
    place = ranking.place
    first, last = ranking.arms[0], ranking.arms[-1]
    return _inline.publish(
        ranking_figure(ranking),
        folder,
        narrow=ranking_figure(ranking, narrow=True),
        name=f"ranking-{_inline.slug(place['task'], place['dims'], index)}",
        title=f"{_place(place)}: ranks of the strategies",
        caption=(
            f"Left: mean rank over {ranking.num_seeds} seeds, bars half a "
            "critical difference to either side. Right: share of redrawn seeds and "
            "cases in which a strategy has the best mean."
        ),
        alt=(
            f"Ranks of {len(ranking.arms)} strategies, {_place(place)}: best "
            f"{name_of(ranking, first)} with mean rank {first['mean_rank']:.2f}, last "
            f"{name_of(ranking, last)} with {last['mean_rank']:.2f}; critical "
            f"difference {ranking.test.critical_difference:.2f}."
        ),
    )


def ranking_figure(ranking: statistics.Ranking, *, narrow: bool = False) -> Figure:
    """Mean ranks with critical differences, and shares of being first.

    Args:
      ranking: Strategies, best first.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure, one row a strategy.
    """
    looks = _palette.looks(arm["strategy"] for arm in ranking.arms)
    with _style.house():
        height = 0.9 + _ROW * len(ranking.arms)
        size = (_style.NARROW, 2 * height) if narrow else (8.0, height)
        figure = Figure(figsize=size, layout="constrained")
        if narrow:
            left, right = figure.subplots(2, 1, sharey=True)
        else:
            left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for row, arm in enumerate(ranking.arms):
            color = looks[arm["strategy"]].color
            half = ranking.test.critical_difference / 2
            left.plot(
                [arm["mean_rank"] - half, arm["mean_rank"] + half],
                [row, row],
                color=color,
                linewidth=3,
                alpha=0.35,
                solid_capstyle="butt",
            )
            marker = looks[arm["strategy"]].marker
            left.plot(arm["mean_rank"], row, marker=marker, color=color)
            right.barh(row, arm["p_best"], height=0.6, color=color)
        _finish(left, right, ranking)
    return figure


def _finish(left: Axes, right: Axes, ranking: statistics.Ranking) -> None:
    names = [name_of(ranking, arm) for arm in ranking.arms]
    left.set_yticks(np.arange(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set_xlabel("mean rank (1 is best)")
    left.grid(axis="x", color=_palette.GRID)
    right.set_xlim(0, 1)
    right.set_xlabel("share of redraws in which it is first")
    right.tick_params(axis="y", length=0)
    right.grid(axis="x", color=_palette.GRID)
