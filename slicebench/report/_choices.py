"""What the strategies chose: overlap and coverage, as tables and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from slicebench import statistics
from slicebench.report import (
    _cells,
    _frames,
    _inline,
    _overlap_map,
    _palette,
    _reading,
    _style,
    _tables,
    _views,
    _words,
)

Key = tuple[str, ...]

_TEXT = (
    "Overlap is the Jaccard index of two choices at the same seed: slices in both over "
    "slices in either, 1 where they are the same. By chance: about what two "
    "independent uniform draws within the same volumes have, c / (2 − c) at coverage "
    "c. Coverage is the share of the chosen volumes' slices that is annotated: the "
    "more of them, the less is left to choose. Findings about strategies may be "
    f"pooled over contrasts with coverage of at most {statistics.MOST_COVERAGE} only."
)
_LONG = 24
"""Rows beyond which the table of contrasts starts folded."""

_NAMED = {"volume_strategy": "volumes {}"}


class Choices(NamedTuple):
    """The section of the report about choices.

    Attributes:
      text: How to read it.
      contrasts: Overlap and coverage, one row a contrast of strategies.
      matrix: Overlap of every two strategies, for its file.
      maps: The same over budgets, as the figures show it, for its file.
      figures: The same as maps, one a task and dims.
      identical: Contrasts whose sides chose the same slices.
    """

    text: str
    contrasts: _tables.Table
    matrix: _tables.Table
    maps: _tables.Table
    figures: list[_inline.FigureView]
    identical: frozenset[Key]

    @property
    def tables(self) -> tuple[_tables.Table, ...]:
        """What is written as CSV."""
        return self.contrasts, self.matrix, self.maps


def choices(run: _reading.Run) -> Choices | None:
    """Returns what the strategies chose, and writes its figures.

    Returns:
      None where there is nothing to compare: a single strategy, or results that
      do not hold the chosen slices.
    """
    overlaps = statistics.contrast_overlaps(run.experiment["contrasts"], run.trials)
    pairs = with_arms(statistics.overlap_matrix(run.trials))
    if pairs.empty and not any(row["num_pairs"] for row in overlaps):
        return None
    return Choices(
        text=_TEXT,
        contrasts=_views.overlap_view(overlaps, opened=len(overlaps) <= _LONG),
        matrix=_views.matrix_view(pairs),
        maps=_maps(pairs),
        figures=_figures(pairs, run.workdir / "figures"),
        identical=frozenset(key(row) for row in overlaps if row["identical"]),
    )


def key(contrast: Mapping[str, Any]) -> Key:
    """Returns what tells a contrast from the others of its run."""
    return tuple(str(contrast[name]) for name in ("name", *_cells.GROUP, "metric"))


def with_arms(pairs: pd.DataFrame) -> pd.DataFrame:
    """Names both sides of each pair, the suite's own strategies first.

    An arm is named by its strategy, and by those further factors that take more
    than one value for this strategy in this task.

    Args:
      pairs: What `statistics.overlap_matrix` returns.

    Returns:
      The rows with `arm_a` and `arm_b`; sides are swapped where the second one
      comes first.
    """
    rows: list[_frames.Record] = []
    for _, part in _frames.groups(pairs, _cells.GROUP):
        found = _frames.records(part)
        names = _names({_arm(row, side) for row in found for side in "ab"})
        ranks = {
            arm: (_palette.rank(arm[_STRATEGY]), name) for arm, name in names.items()
        }
        ordered = [_swapped(row, ranks) for row in found]
        ordered.sort(key=lambda row: [row[name] for name in ("budget", "num_volumes")])
        for row in ordered:
            arms = {f"arm_{side}": names[_arm(row, side)] for side in "ab"}
            rows.append({**row, **arms})
    return pd.DataFrame(rows, columns=[*pairs.columns, "arm_a", "arm_b"])


_STRATEGY = statistics.CHOICE_FACTORS.index("strategy")


def _arm(row: Mapping[str, Any], side: str) -> Key:
    return tuple(str(row[f"{name}_{side}"]) for name in statistics.CHOICE_FACTORS)


def _names(arms: set[Key]) -> dict[Key, str]:
    named: dict[Key, str] = {}
    for arm in arms:
        alike = [other for other in arms if other[_STRATEGY] == arm[_STRATEGY]]
        parts = [arm[_STRATEGY]]
        for position, name in enumerate(statistics.CHOICE_FACTORS):
            if len({other[position] for other in alike}) > 1:
                value = _style.words(arm[position])
                parts.append(_NAMED.get(name, "{}").format(value))
        named[arm] = ", ".join(parts)
    return named


def _swapped(row: _frames.Record, ranks: Mapping[Key, Any]) -> _frames.Record:
    if ranks[_arm(row, "a")] <= ranks[_arm(row, "b")]:
        return row
    other = {"_a": "_b", "_b": "_a"}
    turned = {
        name[:-2] + other[name[-2:]] if name[-2:] in other else name: value
        for name, value in row.items()
    }
    return {name: turned[name] for name in row}


def _maps(pairs: pd.DataFrame) -> _tables.Table:
    """Returns what the maps show: overlaps over budgets, and the means below them."""
    rows: list[_frames.Record] = []
    for place, part in _frames.groups(pairs, _cells.GROUP):
        drawn = over_budgets(part)
        for _, panel in _frames.groups(drawn, ["slices_per_volume"]):
            means = {
                f"panel_{name}": float(np.nanmean(_frames.floats(panel, name)))
                for name in ("expected_jaccard", "coverage")
                if np.isfinite(_frames.floats(panel, name)).any()
            }
            rows += [{**place, **row, **means} for row in _frames.records(panel)]
    return _tables.Table(
        name="overlap_by_density",
        title="Overlap of every two strategies, over budgets",
        frame=pd.DataFrame(rows),
        columns=(),
    )


def _figures(pairs: pd.DataFrame, folder: Path) -> list[_inline.FigureView]:
    views = []
    for index, (place, part) in enumerate(_frames.groups(pairs, _cells.GROUP)):
        title = _words.title(place)
        drawn = over_budgets(part)
        budgets = len(set(part["budget"]))
        views.append(
            _inline.publish(
                _overlap_map.overlap_figure(drawn, arms=arm_order(part)),
                folder,
                narrow=_overlap_map.overlap_figure(
                    drawn, arms=arm_order(part), narrow=True
                ),
                name=f"overlap-{_inline.slug(place['task'], place['dims'], index)}",
                title=f"{title}: overlap of the chosen slices",
                caption="Mean Jaccard index over seeds"
                f"{' and budgets' if budgets > 1 else ''}, light where choices are "
                "alike, one scale for all panels; below each, what chance gives and "
                "how much of the chosen volumes is annotated. The values stand in "
                "tables/overlap_by_density.csv, each budget in overlap_matrix.csv.",
                alt=_alt(drawn, title),
            )
        )
    return views


def over_budgets(pairs: pd.DataFrame) -> pd.DataFrame:
    """Returns one row two arms and number of slices per volume.

    Overlap and coverage depend on slices per volume, hardly on how many volumes
    there are: budgets are averaged, each pair of choices counting the same.

    Args:
      pairs: Pairs of one section, with arms.

    Returns:
      The columns that `overlap_figure` wants.
    """
    rows: list[_frames.Record] = []
    keys = ["slices_per_volume", "arm_a", "arm_b"]
    for found, part in _frames.groups(pairs, keys):
        weights = _frames.floats(part, "num_pairs")
        sides = [_frames.floats(part, f"coverage_{side}") for side in "ab"]
        means = {
            name: float(np.average(values, weights=weights))
            for name, values in (
                ("jaccard", _frames.floats(part, "jaccard")),
                ("expected_jaccard", _frames.floats(part, "expected_jaccard")),
                ("coverage", np.mean(sides, 0)),
            )
        }
        rows.append({**found, **means})
    return _frames.ordered(pd.DataFrame(rows), "slices_per_volume")


def arm_order(pairs: pd.DataFrame) -> list[str]:
    """Returns the arms of pairs, the suite's own strategies first."""
    found = {
        row[f"arm_{side}"]: _rank(row[f"strategy_{side}"], row[f"arm_{side}"])
        for row in _frames.records(pairs)
        for side in "ab"
    }
    return sorted(found, key=lambda arm: found[arm])


def _rank(strategy: str, arm: str) -> tuple[tuple[int, str], str]:
    return _palette.rank(strategy), arm


def _alt(drawn: pd.DataFrame, title: str) -> str:
    """Returns the least and the most alike choices at every density."""
    parts = []
    for found, part in _frames.groups(drawn, ["slices_per_volume"]):
        rows = _frames.records(_frames.ordered(part, "jaccard"))
        ends = [
            f"{row['jaccard']:.2f} ({_style.words(row['arm_a'])} and "
            f"{_style.words(row['arm_b'])})"
            for row in (rows[0], rows[-1])
        ]
        course = " to ".join(dict.fromkeys(ends))
        parts.append(f"{found['slices_per_volume']} per volume: {course}")
    return f"Overlap of the slices chosen by strategies, {title}. {'; '.join(parts)}."
