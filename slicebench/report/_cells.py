"""Cells of a run as figures and tables want them: arms, ceilings, shares."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from slicebench.report import _curves, _frames, _palette, _style

GROUP = ["task", "target", "dims"]
"""What one section of the report is about."""

_ARM_FACTORS = (
    "volume_strategy",
    "features",
    "scope",
    "interpolation",
    "pseudo_weight",
)

_NAMED = {
    "volume_strategy": "volumes {}",
    "steps": "{} steps",
    "interpolation": "interpolation {}",
    "pseudo_weight": "pseudo-labels at {}",
}


def with_arms(cells: pd.DataFrame) -> pd.DataFrame:
    """Adds the arm of each cell, and its number among those of its strategy.

    An arm is named by its strategy, and by those further factors that take more
    than one value for this strategy in this task.

    Args:
      cells: One row a cell and metric.

    Returns:
      The rows with the columns `arm` and `style`, sections together, budgets and
      volumes rising, the suite's own strategies first.
    """
    named: list[_frames.Record] = []
    for _, part in _frames.groups(cells, [*GROUP, "strategy"]):
        rows = _frames.records(part)
        varied = _varied(rows)
        arms = [_arm(row, varied) for row in rows]
        places = {arm: place for place, arm in enumerate(sorted(set(arms)))}
        for row, arm in zip(rows, arms, strict=True):
            named.append({**row, "arm": arm, "style": places[arm]})
    named.sort(key=_order)
    return pd.DataFrame(named, columns=[*cells.columns, "arm", "style"])


def _varied(rows: list[_frames.Record]) -> list[str]:
    """Returns the factors that tell arms of one strategy apart.

    Steps may follow from the budget: they count where cells of one allocation
    differ in them.
    """
    varied = [name for name in _ARM_FACTORS if len({row[name] for row in rows}) > 1]
    steps: dict[tuple[Any, ...], set[int]] = {}
    for row in rows:
        key = (row["budget"], row["num_volumes"], *(row[name] for name in varied))
        steps.setdefault(key, set()).add(int(row["steps"]))
    several = any(len(values) > 1 for values in steps.values())
    return [*varied, "steps"] if several else varied


def _arm(row: Mapping[str, Any], varied: list[str]) -> str:
    parts = [str(row["strategy"])]
    for name in varied:
        value = _style.words(row[name])
        parts.append(_NAMED.get(name, "{}").format(value))
    return ", ".join(parts)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    section = tuple(str(row[name]) for name in GROUP)
    size = (int(row["budget"]), -int(row["num_volumes"]))
    return (*section, *size, _palette.rank(str(row["strategy"])), row["arm"])


def is_ceiling(row: Mapping[str, Any]) -> bool:
    """Returns whether a cell has every slice of the pool labelled."""
    return row["strategy"] == "all"


def with_share(cells: pd.DataFrame) -> pd.DataFrame:
    """Adds `share_of_ceiling`: a cell's mean over that of the ceiling.

    Absent where there is no ceiling, and for distances, whose ratio means
    nothing here.
    """
    shares: list[float] = []
    tops: dict[tuple[str, ...], float] = {}
    rows = _frames.records(cells)
    for row in filter(is_ceiling, rows):
        tops.setdefault(_key(row), float(row["estimate"]))
    for row in rows:
        top = tops.get(_key(row), math.nan)
        bounded = not _style.metric_unit(str(row["metric"]))
        shares.append(row["estimate"] / top if bounded and top > 0 else math.nan)
    return cells.assign(share_of_ceiling=shares)


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in (*GROUP, "metric"))


def ceiling_level(cells: pd.DataFrame) -> _curves.Level | None:
    """Returns the ceiling among cells of one section and metric."""
    for row in filter(is_ceiling, _frames.records(cells)):
        return _curves.Level(row["estimate"], row["low"], row["high"])
    return None


def swept(cells: pd.DataFrame) -> pd.DataFrame:
    """Returns the cells with an estimate and a number of slices per volume."""
    known = cells["slices_per_volume"].notna() & cells["estimate"].notna()
    chosen = _frames.keep(cells, known & (cells["strategy"] != "all"))
    return chosen.astype({"slices_per_volume": int})


def ceilings(cells: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a section: its ceiling and its best cell.

    Args:
      cells: Cells with `share_of_ceiling`, Dice only.

    Returns:
      Columns `task target dims`, the ceiling's `estimate low high num_seeds`, and
      `best_cell best_estimate best_low best_high share_of_ceiling`.
    """
    found = []
    for key, part in _frames.groups(cells, GROUP):
        rows = [row for row in _frames.records(part) if not pd.isna(row["estimate"])]
        tops = [row for row in rows if is_ceiling(row)]
        rest = [row for row in rows if not is_ceiling(row)]
        if not tops or not rest:
            continue
        best = max(rest, key=lambda row: row["estimate"])
        found.append(
            {
                **key,
                **{n: tops[0][n] for n in ("estimate", "low", "high", "num_seeds")},
                "best_cell": cell_name(best),
                **{f"best_{n}": best[n] for n in ("estimate", "low", "high")},
                "share_of_ceiling": best["share_of_ceiling"],
            }
        )
    columns = [*GROUP, "estimate", "low", "high", "num_seeds", "best_cell"]
    columns += ["best_estimate", "best_low", "best_high", "share_of_ceiling"]
    return pd.DataFrame(found, columns=columns)


def cell_name(cell: Mapping[str, Any]) -> str:
    """Returns a cell in words: volumes x slices and its arm."""
    arm = _style.words(cell["arm"])
    if pd.isna(cell["slices_per_volume"]):
        return f"{cell['budget']} slices, {arm}"
    slices = int(cell["slices_per_volume"])
    return f"{cell['num_volumes']} {_style.TIMES} {slices}, {arm}"
