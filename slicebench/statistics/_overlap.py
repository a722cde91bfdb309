"""How alike the slices are that two strategies choose.

Two strategies whose choices coincide cannot differ in score, and the more of a
volume is annotated the less is left to choose. So a contrast of strategies is
read beside the overlap of its choices and their coverage.
"""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Int

from slicebench.results import ListColumn
from slicebench.statistics import _effects, _index

CHOICE_FACTORS = ("volume_strategy", "strategy", "features", "scope")
"""Factors of a trial that decide which slices are annotated."""

MOST_COVERAGE = 0.5
"""Largest share of the chosen volumes' slices at which strategies may be pooled."""

IDENTICAL = "identical choices: the contrast compares nothing"
_TOO_DENSE = f"coverage above {MOST_COVERAGE}: not pooled"

_PLACE = ("task", "target", "dims")
_SIZE = ("budget", "num_volumes")
_NAMED = ("name", "family", *_PLACE, "metric", "primary", "where", "a", "b")
_MEASURES = (
    "jaccard",
    "lowest",
    "highest",
    "num_pairs",
    "expected_jaccard",
    "coverage_a",
    "coverage_b",
)

_Seed = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Choice:
    """The slices of one trial; `coverage` is NaN where it was not recorded."""

    slices: frozenset[int]
    coverage: float


_Choices = dict[_Seed, _Choice]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two choices of one fold and selection seed, compared."""

    jaccard: float
    coverage_a: float
    coverage_b: float


def expected_jaccard(coverage_a: float, coverage_b: float) -> float:
    """Returns the Jaccard index to expect of two independent uniform draws.

    Both draw within the same n volumes of depth d. With equal quotas k a slice is
    in both with probability (k / d)^2, so a volume's expected intersection is
    k^2 / d and its union 2 k - k^2 / d; with c = k / d their ratio is c / (2 - c),
    and with unequal coverage a b / (a + b - a b). Approximate: a ratio of
    expectations, a little below the expected ratio (close from about ten slices
    on), and with unequal depths c is the mean coverage.

    Args:
      coverage_a: Annotated share of the volumes' slices, above 0, at most 1.
      coverage_b: The same of the other draw.

    >>> expected_jaccard(0.5, 0.5), expected_jaccard(1.0, 1.0)
    (0.3333333333333333, 1.0)
    """
    both = coverage_a * coverage_b
    return both / (coverage_a + coverage_b - both)


def contrast_overlaps(
    contrasts: Sequence[Mapping[str, Any]], trials: pd.DataFrame
) -> list[dict[str, Any]]:
    """Returns how alike the choices are of each contrast between strategies.

    Choices are paired as scores are: cell by cell, at the same fold and selection
    seed; training seeds share their choice.

    Args:
      contrasts: Expanded contrasts as in experiment.json. Slopes and differences
        whose sides do not differ in `CHOICE_FACTORS` are passed over.
      trials: Trials table. Trials without `chosen_slices` (older results, the
        ceiling) have nothing to compare.

    Returns:
      One mapping a contrast, JSON-ready: its name, family, task, target, dims,
      metric, primary, where, a and b; `jaccard` |A and B| / |A or B|, the mean over
      pairs, `lowest` and `highest` of them, `num_pairs`; `expected_jaccard`, None
      where the sides choose different volumes; `coverage_a`, `coverage_b`, means;
      `identical` (Jaccard 1 in every pair); `poolable` (coverage at most
      `MOST_COVERAGE` on both sides of every pair of cells, and not identical; None
      where unknown); `reason`, why nothing is compared or pooled, None where it is.
    """
    recorded = _Recorded(trials)
    return [
        {name: contrast.get(name) for name in _NAMED} | _contrast(contrast, recorded)
        for contrast in contrasts
        if has_overlap(contrast)
    ]


def overlap_matrix(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns how alike the choices are of every two strategies of an allocation.

    What else a trial may differ in (interpolation, steps, training seed) does not
    touch its choice: each choice counts once.

    Args:
      trials: Trials table, as for `contrast_overlaps`.

    Returns:
      One row two strategies of a task, target, dims, budget and num_volumes:
      these, `slices_per_volume` (the mean quota in scope `pooled`),
      `CHOICE_FACTORS` with the endings `_a` and `_b`, and jaccard, lowest, highest,
      num_pairs, expected_jaccard, coverage_a and coverage_b as `contrast_overlaps`
      has them (NaN for None). Each pair is there once; pairs that share no fold
      and selection seed are not.
    """
    sides = [f"{name}_{side}" for side in "ab" for name in CHOICE_FACTORS]
    rows: list[dict[str, Any]] = []
    for group, arms in _grouped(_Recorded(trials)):
        place = {
            **dict(zip((*_PLACE, *_SIZE), group, strict=True)),
            "slices_per_volume": group[-2] // group[-1],
        }
        for a, b in itertools.combinations(sorted(arms), 2):
            pairs = list(_compare(arms[a], arms[b]))
            if pairs:
                named = dict(zip(sides, (*a, *b), strict=True))
                measured = _measure(pairs, same_volumes=_same_volumes(a, b))
                rows.append({**place, **named, **measured})
    columns = [*_PLACE, *_SIZE, "slices_per_volume", *sides, *_MEASURES]
    table = pd.DataFrame(rows, columns=columns)
    # None would turn a column without any number into one of objects.
    numbers = [name for name in _MEASURES if name != "num_pairs"]
    return table.astype(dict.fromkeys(numbers, float))


class _Recorded:
    """Trials whose choice is known; choices are made when they are looked at.

    Sets of all slices at once would take many times the memory of the trials.
    """

    def __init__(self, trials: pd.DataFrame):
        self.trials = trials
        self.at = np.zeros(0, np.int64)
        if "chosen_slices" in trials.columns:
            column: Any = trials["chosen_slices"]
            self._slices = ListColumn(column)
            self.at = np.flatnonzero(self._slices.filled)
        self._coverage = np.full(len(trials), math.nan)
        if "coverage" in trials.columns:
            self._coverage = trials["coverage"].to_numpy(float, na_value=math.nan)
        self._seeds = [trials[n].to_numpy(int) for n in ("fold", "selection_seed")]
        self._tables: dict[tuple[Any, ...], _index.CellTable] = {}

    def table(self, place: tuple[Any, ...]) -> _index.CellTable:
        """Returns the trials of a task, target and dims."""
        if place not in self._tables:
            shown = self.trials[list(_PLACE)].iloc[self.at]
            mask = _index.select(shown, dict(zip(_PLACE, place, strict=True)))
            self._tables[place] = _index.CellTable(self.trials, self.at[mask])
        return self._tables[place]

    def choices(self, rows: Int[np.ndarray, " trial"]) -> _Choices:
        """Returns the choices of some rows by seed; training seeds share theirs."""
        return {
            (int(self._seeds[0][row]), int(self._seeds[1][row])): _Choice(
                slices=frozenset(self._slices[row].tolist()),
                coverage=float(self._coverage[row]),
            )
            for row in rows.tolist()
        }


def has_overlap(contrast: Mapping[str, Any]) -> bool:
    """Returns whether a contrast is one of choices: its sides make their own."""
    a, b = contrast["a"], contrast["b"]
    differ = any(a.get(name) != b.get(name) for name in CHOICE_FACTORS)
    return contrast["kind"] == "difference" and differ


def _contrast(contrast: Mapping[str, Any], recorded: _Recorded) -> dict[str, Any]:
    unknown = dict.fromkeys((*_MEASURES, "identical", "poolable"))
    unknown["num_pairs"] = 0
    table = recorded.table(tuple(contrast[name] for name in _PLACE))
    if not len(table):
        return {**unknown, "reason": "no chosen slices are recorded"}
    try:
        cells = list(_paired_cells(table, contrast))
    except _index.NotComparableError as error:
        return {**unknown, "reason": str(error)}
    by_cells: list[list[_Pair]] = []
    for pair in cells:
        sides = [recorded.choices(table.at[table.rows[cell]]) for cell in pair]
        by_cells.append(list(_compare(*sides)))
    pairs = list(itertools.chain(*by_cells))
    if not pairs:
        return {**unknown, "reason": "the cells share no selection seed"}
    same = all(_same_volumes(_arm(a), _arm(b)) and _sizes(a, b) for a, b in cells)
    found = _measure(pairs, same_volumes=same)
    identical = found["lowest"] == 1.0
    poolable, reason = False, IDENTICAL
    if not identical:
        poolable = _poolable(by_cells)
        reason = None if poolable is not False else _TOO_DENSE
    return {**found, "identical": identical, "poolable": poolable, "reason": reason}


def _poolable(by_cells: Sequence[Sequence[_Pair]]) -> bool | None:
    """Returns whether every cell leaves enough to choose; None where unknown.

    The mean over all cells could hide a density at which hardly a slice is left.
    """
    most = float(np.max([_coverages(pairs) for pairs in by_cells if pairs]))
    return None if math.isnan(most) else most <= MOST_COVERAGE


def _paired_cells(
    table: _index.CellTable, contrast: Mapping[str, Any]
) -> Iterator[tuple[_index.Cell, _index.Cell]]:
    """Yields each cell of side a with its partner, paired as scores are."""
    sides = contrast["where"], contrast["a"], contrast["b"]
    weights = _effects.difference_weights(table, *sides)
    for first, second in _effects.paired_cells(table, *sides):
        if weights[first] > 0 > weights[second]:
            yield first, second


def _grouped(
    recorded: _Recorded,
) -> Iterator[tuple[tuple[Any, ...], dict[tuple[str, ...], _Choices]]]:
    """Yields choices by place and size, in their order, by what made them."""
    frame = recorded.trials.iloc[recorded.at][[*_PLACE, *_SIZE, *CHOICE_FACTORS]]
    rows = pd.Series(recorded.at, frame.index)
    keys = [frame[name].astype(object) for name in (*_PLACE, *_SIZE)]
    for group, members in rows.groupby(keys, sort=True):
        at = members.to_numpy()
        made = frame.loc[members.index, list(CHOICE_FACTORS)]
        arms: dict[tuple[str, ...], list[int]] = {}
        names = zip(*(made[name].tolist() for name in CHOICE_FACTORS), strict=True)
        for place, arm in enumerate(names):
            arms.setdefault(arm, []).append(place)
        yield (
            cast(Any, group),
            {arm: recorded.choices(at[found]) for arm, found in arms.items()},
        )


def _compare(a: _Choices, b: _Choices) -> Iterator[_Pair]:
    for seed in sorted(a.keys() & b.keys()):
        one, other = a[seed], b[seed]
        yield _Pair(
            jaccard=len(one.slices & other.slices) / len(one.slices | other.slices),
            coverage_a=one.coverage,
            coverage_b=other.coverage,
        )


def _measure(pairs: Sequence[_Pair], *, same_volumes: bool) -> dict[str, Any]:
    values = [pair.jaccard for pair in pairs]
    coverage_a, coverage_b = _coverages(pairs)
    known = same_volumes and not math.isnan(coverage_a + coverage_b)
    expected = [expected_jaccard(p.coverage_a, p.coverage_b) for p in pairs]
    return {
        "jaccard": float(np.mean(values)),
        "lowest": min(values),
        "highest": max(values),
        "num_pairs": len(pairs),
        "expected_jaccard": float(np.mean(expected)) if known else None,
        "coverage_a": None if math.isnan(coverage_a) else coverage_a,
        "coverage_b": None if math.isnan(coverage_b) else coverage_b,
    }


def _coverages(pairs: Sequence[_Pair]) -> tuple[float, float]:
    """Returns the mean coverage of each side."""
    return (
        float(np.mean([pair.coverage_a for pair in pairs])),
        float(np.mean([pair.coverage_b for pair in pairs])),
    )


def _arm(cell: _index.Cell) -> tuple[str, ...]:
    return tuple(cell[_index.FACTORS.index(name)] for name in CHOICE_FACTORS)


def _sizes(a: _index.Cell, b: _index.Cell) -> bool:
    position = _index.FACTORS.index("num_volumes")
    return a[position] == b[position]


def _same_volumes(a: Sequence[str], b: Sequence[str]) -> bool:
    """Returns whether two arms draw their slices from the same volumes.

    The same volume strategy and seed give the same volumes, unless it looks at
    features and these differ. Features named `none` say that it does not look.
    """
    one, other = (dict(zip(CHOICE_FACTORS, arm, strict=True)) for arm in (a, b))
    features = {one["features"], other["features"]}
    blind = one["volume_strategy"] == "random" or "none" in features
    same = one["volume_strategy"] == other["volume_strategy"]
    return same and (blind or len(features) == 1)
