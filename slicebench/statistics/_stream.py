"""Scores of a work folder into dense arrays, part by part.

Beside the trials table, memory holds eight bytes for each place where a score may
be: a trial, a case of its fold, a class and a metric.
"""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from slicebench.errors import InputError
from slicebench.results import Piece, Store, read_trials_compactly, stream_scores
from slicebench.statistics._index import PLACE, CellTable, Place, ScoreIndex, Scores

_AT_ONCE = 1 << 16
"""Trials that a pass over an array takes at a time."""


def read_index(store: Store) -> ScoreIndex:
    """Reads all trials and scores of a work folder.

    False positives of both kinds stand apart, as `split_false_positives` has them.

    Raises:
      InputError: A part cannot be read or is missing, or a row is there twice.
    """
    trials = read_trials_compactly(store)
    rows = dict(zip(trials["trial_id"], range(len(trials)), strict=True))
    places = _Places(trials)
    for piece in stream_scores(store):
        places.add(piece, rows)
    del rows
    return ScoreIndex(trials, places.scores())


class _Sorted(NamedTuple):
    """Trials of one task, target and dims, sorted by id."""

    key: tuple[str, str, str]
    at: Int[np.ndarray, " trial"]


class _Places:
    """Arrays that fill up while parts are read."""

    def __init__(self, trials: pd.DataFrame):
        self._trials = trials
        self._fold = trials["fold"].to_numpy(int)
        self._place = np.zeros(len(trials), np.int32)
        self._row = np.zeros(len(trials), np.int32)
        self._groups: list[_Sorted] = []
        ids = trials["trial_id"].to_numpy(object)
        columns: Any = trials[list(PLACE)]
        factorized: Any = pd.factorize(pd.MultiIndex.from_frame(columns.astype(str)))
        codes, found = factorized
        for number, key in enumerate(found):
            members = np.flatnonzero(codes == number)
            members = members[np.argsort(ids[members], kind="stable")]
            self._place[members] = number
            self._row[members] = np.arange(len(members))
            self._groups.append(_Sorted(key, members))
        self._arrays: dict[tuple[int, str], _Array] = {}

    def add(self, piece: Piece, rows: dict[str, int]) -> None:
        """Takes the scores of a piece of a part in."""
        try:
            known = np.array([rows[name] for name in piece.trial.texts], np.int64)
        except KeyError as error:
            raise InputError(
                f"{piece.path}: holds scores of trial {error.args[0]}, which has no "
                "row in trials/"
            ) from error
        trial = known[piece.trial.codes]
        for number in np.unique(self._place[known]).tolist():
            mine = self._place[trial] == number
            for code, metric in enumerate(piece.metric.texts):
                chosen = np.flatnonzero(mine & (piece.metric.codes == code))
                if len(chosen):
                    self._array(number, metric).put(
                        piece, chosen, self._row[trial[chosen]]
                    )

    def _array(self, number: int, metric: str) -> "_Array":
        if (number, metric) not in self._arrays:
            folds = self._fold[self._groups[number].at]
            self._arrays[number, metric] = _Array(folds)
        return self._arrays[number, metric]

    def scores(self) -> dict[Place, Scores]:
        """Returns what was read, false positives split; the arrays are given away."""
        found: dict[Place, Scores] = {}
        for number, group in enumerate(self._groups):
            table = CellTable(self._trials, group.at)
            mine = [metric for n, metric in self._arrays if n == number]
            arrays = {metric: self._arrays.pop((number, metric)) for metric in mine}
            for array in arrays.values():
                array.sort()
            if "fp_ml" in arrays:
                arrays |= _split(arrays["fp_ml"], arrays.get("dice"))
            for metric, array in arrays.items():
                rows = np.flatnonzero(array.held())
                if len(rows):
                    whole = len(rows) == len(table)
                    found[(*group.key, metric)] = Scores(
                        table=table if whole else table.subset(rows),
                        values=array.values,
                        at=rows,
                        cases={f: tuple(names) for f, names in array.cases.items()},
                        classes=tuple(array.classes),
                    )
        return found


class _Array:
    """Scores of one place and metric.

    Attributes:
      folds: Fold of every trial.
      values: Scores; grows with cases and classes that are met.
      cases: Number of every case, by fold.
      classes: Number of every class.
    """

    def __init__(self, folds: Int[np.ndarray, " trial"]):
        self.folds = folds
        self.values = np.zeros((len(folds), 0, 0))
        self.cases: dict[int, dict[str, int]] = {}
        self.classes: dict[str, int] = {}

    def put(
        self, piece: Piece, chosen: Int[np.ndarray, " n"], rows: Int[np.ndarray, " n"]
    ) -> None:
        """Takes some scores of a piece in."""
        folds, case = self.folds[rows], piece.case.codes[chosen]
        places = np.zeros(len(chosen), np.int64)
        for fold in np.unique(folds).tolist():
            here = folds == fold
            numbers = self.cases.setdefault(fold, {})
            places[here] = _numbered(numbers, piece.case.texts, case[here])
        kinds = _numbered(
            self.classes, piece.class_name.texts, piece.class_name.codes[chosen]
        )
        self.grow()
        _, height, width = self.values.shape
        flat = (rows.astype(np.int64) * height + places) * width + kinds
        target = self.values.reshape(-1)
        fresh = np.isnan(target[flat])
        if len(np.unique(flat)) < len(flat) or not fresh.all():
            trial = piece.trial.texts[piece.trial.codes[chosen[np.argmin(fresh)]]]
            raise InputError(f"{piece.path.parents[1]}: trial {trial} is there twice")
        target[flat] = piece.score[chosen]

    def grow(self) -> None:
        """Makes room for all cases and classes that have a number."""
        shape = (
            len(self.folds),
            max(map(len, self.cases.values()), default=0),
            len(self.classes),
        )
        if shape != self.values.shape:
            grown = np.full(shape, np.nan)
            _, height, width = self.values.shape
            grown[:, :height, :width] = self.values
            self.values = grown

    def sort(self) -> None:
        """Brings cases and classes into the order of their names."""
        for fold, numbers in self.cases.items():
            names = sorted(numbers)
            order = [numbers[name] for name in names]
            if order != list(range(len(order))):
                for rows in _pieces(np.flatnonzero(self.folds == fold)):
                    part = self.values[rows]
                    part[:, : len(order)] = part[:, order]
                    self.values[rows] = part
            self.cases[fold] = _numbers(names)
        order = [self.classes[name] for name in sorted(self.classes)]
        if order != list(range(len(order))):
            for rows in _pieces(np.arange(len(self.folds))):
                self.values[rows] = self.values[rows][:, :, order]
        self.classes = _numbers(sorted(self.classes))

    def held(self) -> Bool[np.ndarray, " trial"]:
        """Marks the trials that have a score."""
        found = np.zeros(len(self.values), bool)
        for rows in _pieces(np.arange(len(found))):
            found[rows] = np.isfinite(self.values[rows]).any((1, 2))
        return found


def _numbered(
    numbers: dict[str, int], texts: list[str], codes: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Returns the number of each text, new ones numbered in order of their names."""
    used = np.unique(codes).tolist()
    for name in sorted(texts[code] for code in used):
        numbers.setdefault(name, len(numbers))
    table = np.zeros(len(texts), np.int64)
    for code in used:
        table[code] = numbers[texts[code]]
    return table[codes]


def _pieces(rows: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " piece"]]:
    return np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE))


def _split(false: _Array, dice: _Array | None) -> dict[str, _Array]:
    """Takes false positives apart by whether the truth has the class.

    Args:
      false: `fp_ml`; what is left of it becomes `fp_ml_slices`.
      dice: There where the truth has the class; None: it never has.
    """
    lacking = {
        fold: np.zeros((len(names), len(false.classes)), bool)
        for fold, names in false.cases.items()
    }
    for fold, rows in _by_fold(false):
        lacking[fold] |= _absent(false, dice, fold, rows).any(0)
    empty = _Array(false.folds)
    kept = np.logical_or.reduce([part.any(0) for part in lacking.values()])
    kinds = np.flatnonzero(kept)
    empty.classes = _numbers(np.array([*false.classes], object)[kinds].tolist())
    places = {fold: np.flatnonzero(part.any(1)) for fold, part in lacking.items()}
    for fold, chosen in places.items():
        names = np.array([*false.cases[fold]], object)
        empty.cases[fold] = _numbers(names[chosen].tolist())
    empty.grow()
    for fold, rows in _by_fold(false):
        absent = _absent(false, dice, fold, rows)
        count, values = len(false.cases[fold]), false.values[rows]
        gone = np.where(absent, values[:, :count], np.nan)
        empty.values[rows, : len(places[fold])] = gone[:, places[fold]][:, :, kinds]
        values[:, :count][absent] = np.nan
        false.values[rows] = values
    rate = _Array(false.folds)
    rate.cases, rate.classes = empty.cases, empty.classes
    rate.values = np.where(np.isnan(empty.values), np.nan, empty.values > 0)
    return {"fp_ml": empty, "fp_rate": rate, "fp_ml_slices": false}


def _by_fold(array: _Array) -> Iterator[tuple[int, Int[np.ndarray, " piece"]]]:
    for fold in array.cases:
        for rows in _pieces(np.flatnonzero(array.folds == fold)):
            yield fold, rows


def _absent(
    false: _Array, dice: _Array | None, fold: int, rows: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, "n case class"]:
    """Marks the false positives of trials where the truth lacks the class."""
    absent = np.isfinite(false.values[rows, : len(false.cases[fold])])
    if dice is None:
        return absent
    known = dice.cases.get(fold, {})
    pairs = [(n, known[name]) for name, n in false.cases[fold].items() if name in known]
    for name, kind in false.classes.items():
        if name in dice.classes and pairs:
            mine, other = (list(side) for side in zip(*pairs, strict=True))
            present = np.isfinite(dice.values[rows[:, None], other, dice.classes[name]])
            absent[:, mine, kind] &= ~present
    return absent


def _numbers(names: list[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
