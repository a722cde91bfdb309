"""Scores as dense arrays, and the cells of trials worked out once for all uses."""

# pandas ships no complete types; all else is strict.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from slicebench import spec
from slicebench.results import RESULTS

FACTORS = (*spec.CELL_FIELDS[3:], "network", "training")
"""What, beside task, target and dims, tells one cell from another."""

SEED = ("fold", "selection_seed", "training_seed")
PLACE = ("task", "target", "dims")

Cell = tuple[Any, ...]
Place = tuple[str, str, str, str]
"""Task, target, dims and metric."""


class NotComparableError(Exception):
    """A contrast that the results at hand cannot speak to; the text says why."""


class CellTable:
    """Trials of one task, target and dims, and which cell each belongs to.

    Args:
      frame: A trials table.
      at: Which of its rows; all without.
    """

    def __init__(self, frame: pd.DataFrame, at: Int[np.ndarray, " trial"] | None):
        self.frame = frame
        self.at = np.arange(len(frame)) if at is None else at
        self._masks: dict[tuple[str, Any], Bool[np.ndarray, " cell"]] = {}

    def __len__(self) -> int:
        return len(self.at)

    @functools.cached_property
    def trials(self) -> pd.DataFrame:
        """The rows themselves; a copy, to be avoided where there are many."""
        return self.frame.iloc[self.at].reset_index(drop=True)

    def column(self, name: str) -> pd.Series:
        """Returns one column of the trials."""
        return cast(pd.Series, self.frame[name].iloc[self.at])

    @functools.cached_property
    def _coded(self) -> "tuple[Int[np.ndarray, ' trial'], Int[np.ndarray, ' cell']]":
        """Cell of every trial, and the first trial of every cell."""
        codes = np.zeros(len(self), np.int64)
        for name in FACTORS:
            found, texts = pd.factorize(self.column(name))
            # A missing value is a value; numbers stay small because few are in use.
            codes = pd.factorize(codes * (len(texts) + 1) + found + 1)[0]
        return codes, np.unique(codes, return_index=True)[1]

    @property
    def codes(self) -> Int[np.ndarray, " trial"]:
        """Number of the cell of every trial."""
        return self._coded[0]

    @functools.cached_property
    def cells(self) -> list[Cell]:
        """Every cell, values of `FACTORS` with None for null, as they appear."""
        return cell_keys(self.frame.iloc[self.at[self._coded[1]]])

    @functools.cached_property
    def _firsts(self) -> pd.DataFrame:
        """One row a cell: what all its trials share."""
        names = [n for n in (*PLACE, *FACTORS) if n in self.frame.columns]
        return self.frame[names].iloc[self.at[self._coded[1]]]

    @functools.cached_property
    def _ranks(self) -> list[int]:
        """Place of every cell in the order of its JSON."""
        texts = [spec.canonical_json(cell) for cell in self.cells]
        order = sorted(range(len(texts)), key=texts.__getitem__)
        return np.argsort(order).tolist()

    @functools.cached_property
    def rows(self) -> dict[Cell, Int[np.ndarray, " trial"]]:
        """Trials of every cell, ascending."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.cells)))
        parts = np.split(order, ends[:-1])
        return dict(zip(self.cells, parts, strict=False))

    @functools.cached_property
    def _seeds(self) -> list[Int[np.ndarray, " trial"]]:
        return [self.column(name).to_numpy(int) for name in SEED]

    def seeds(self, rows: Int[np.ndarray, " row"]) -> list[tuple[int, ...]]:
        """Returns fold and seeds of some trials."""
        columns = (column[rows].tolist() for column in self._seeds)
        return list(zip(*columns, strict=True))

    @functools.cached_property
    def folds(self) -> Int[np.ndarray, " trial"]:
        """Fold of every trial."""
        return self._seeds[0]

    def matching(self, values: Mapping[str, Any], *, dense: bool = False) -> list[Cell]:
        """Returns the cells of trials with the given values, in a fixed order.

        Args:
          values: As for `select`.
          dense: Only cells with slices per volume.

        Raises:
          NotComparableError: A column is unknown.
        """
        mask = np.ones(len(self.cells), bool)
        others: dict[str, Any] = {}
        for name, value in values.items():
            if name in self._firsts.columns:
                mask &= self._mask(name, value)
            else:
                others[name] = value
        if others:
            names = [name for name in others if name in self.frame.columns]
            rows = select(self.frame[names].iloc[self.at], others)
            mask &= np.isin(np.arange(len(mask)), self.codes[rows])
        if dense:
            mask &= self._firsts["slices_per_volume"].notna().to_numpy()
        found = np.flatnonzero(mask).tolist()
        return [self.cells[n] for n in sorted(found, key=self._ranks.__getitem__)]

    def _mask(self, name: str, value: Any) -> Bool[np.ndarray, " cell"]:
        wanted = value if isinstance(value, list | tuple) else [value]
        masks: list[Any] = [np.zeros(len(self.cells), bool)]
        for item in wanted:
            if (name, item) not in self._masks:
                self._masks[name, item] = select(self._firsts, {name: item})
            masks.append(self._masks[name, item])
        return np.logical_or.reduce(masks)

    def subset(self, rows: Int[np.ndarray, " row"]) -> "CellTable":
        """Returns the table of some of its trials."""
        return CellTable(self.frame, self.at[rows])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Every score of one task, target, dims and metric.

    Attributes:
      table: Its trials.
      values: Scores, NaN where the truth gives none; cases are those of the trial's
        fold, NaN behind the last one.
      at: Row of `values` of every trial.
      cases: Case names, the second axis, by fold.
      classes: Class names, the third axis.
    """

    table: CellTable
    values: Float[np.ndarray, "row case class"]
    at: Int[np.ndarray, " trial"]
    cases: Mapping[int, tuple[str, ...]]
    classes: tuple[str, ...]

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, all columns of the trials table."""
        return self.table.trials

    @property
    def rows(self) -> dict[Cell, Int[np.ndarray, " trial"]]:
        """Trials of every cell."""
        return self.table.rows

    def of(
        self, trials: Sequence[int] | Int[np.ndarray, " row"]
    ) -> Float[np.ndarray, "trial case class"]:
        """Returns the scores of some trials."""
        return self.values[self.at[np.asarray(trials, int)]]

    def of_class(self, position: int) -> "Scores":
        """Returns the scores of one class; nothing is copied."""
        values = self.values[:, :, position : position + 1]
        name = (self.classes[position],)
        return dataclasses.replace(self, values=values, classes=name)


class ScoreIndex(Mapping[Place, Scores]):
    """Scores of a run, read once and shared by all that is estimated from them.

    False positives of both kinds stand apart as `split_false_positives` has them.

    Args:
      trials: Trials table of the run.
      scores: Scores of the same table by task, target, dims and metric.
    """

    def __init__(self, trials: pd.DataFrame, scores: Mapping[Place, Scores]):
        self.trials = trials
        self._scores = dict(sorted(scores.items()))

    def __getitem__(self, place: Place) -> Scores:
        return self._scores[place]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def cases(self) -> set[str]:
        """Names of all cases that have a score."""
        parts = (scores.cases.values() for scores in self.values())
        return {name for cases in parts for names in cases for name in names}

    def among(self, trials: pd.DataFrame) -> "ScoreIndex":
        """Returns the scores of some of the trials, arrays shared.

        Args:
          trials: Rows of the trials table, its other columns changed or not.
        """
        if trials is self.trials:
            return self
        ids = pd.Index(trials["trial_id"])
        # Where each row of the old table is in the new one, -1 where it is not.
        new = ids.get_indexer(pd.Index(self.trials["trial_id"]))
        tables: dict[int, tuple[CellTable, Int[np.ndarray, " kept"]]] = {}
        found: dict[Place, Scores] = {}
        for place, scores in self.items():
            if id(scores.table) not in tables:
                rows = np.flatnonzero(new[scores.table.at] >= 0)
                table = CellTable(trials, new[scores.table.at[rows]])
                tables[id(scores.table)] = (table, rows)
            table, rows = tables[id(scores.table)]
            if len(rows):
                at = scores.at[rows]
                found[place] = dataclasses.replace(scores, table=table, at=at)
        return ScoreIndex(trials, found)

    def where(self, mask: Bool[np.ndarray, " trial"]) -> "ScoreIndex":
        """Returns the scores of the marked trials; arrays and table are shared."""
        found: dict[Place, Scores] = {}
        tables: dict[int, tuple[CellTable, Int[np.ndarray, " kept"]]] = {}
        for place, scores in self.items():
            old = scores.table
            if id(old) not in tables:
                rows = np.flatnonzero(mask[old.at])
                tables[id(old)] = (old.subset(rows), rows)
            table, rows = tables[id(old)]
            if len(rows):
                at = scores.at[rows]
                found[place] = dataclasses.replace(scores, table=table, at=at)
        return ScoreIndex(self.trials, found)

    @functools.cached_property
    def order(self) -> Int[np.ndarray, " trial"]:
        """Rows of the trials table in the order that `Store.read_results` has."""
        shared = [name for name in RESULTS.names if name in self.trials.columns]
        keys = [name for name in shared if name not in ("trial_id", "status")]
        columns: Any = self.trials[[*keys, "status", "trial_id"]]
        numbered = columns.reset_index(drop=True)
        return numbered.sort_values([*keys, "status", "trial_id"]).index.to_numpy()


def index_scores(
    results: "pd.DataFrame | ScoreIndex", trials: pd.DataFrame
) -> Mapping[Place, Scores]:
    """Groups scores by task, target, dims and metric into dense arrays.

    Args:
      results: Tidy scores, as `Store.read_results` gives them, or an index.
      trials: Trials, as `Store.read_trials` gives them; of an index, any of them.

    Returns:
      Scores by (task, target, dims, metric).
    """
    if isinstance(results, ScoreIndex):
        return results.among(trials)
    rows = pd.Index(trials["trial_id"])
    found: dict[Place, Scores] = {}
    for key, frame in results.groupby([*PLACE, "metric"], sort=True):
        trial, ids = pd.factorize(frame["trial_id"], sort=True)
        case, cases = pd.factorize(frame["case"], sort=True)
        group, classes = pd.factorize(frame["class_name"], sort=True)
        values = np.full((len(ids), len(cases), len(classes)), np.nan)
        values[trial, case, group] = frame["score"].to_numpy()
        table = CellTable(trials, rows.get_indexer(pd.Index(ids)))
        found[cast(Place, key)] = Scores(
            table=table,
            values=values,
            at=np.arange(len(ids)),
            cases=dict.fromkeys(table.folds.tolist(), tuple(cases)),
            classes=tuple(classes),
        )
    return found


def select(trials: pd.DataFrame, values: Mapping[str, Any]) -> Bool[np.ndarray, " n"]:
    """Marks the trials that have the given factor values.

    Args:
      trials: Trials table.
      values: Column to value; None matches null, a list any of its values.

    Raises:
      NotComparableError: A column is unknown.
    """
    mask = np.ones(len(trials), bool)
    for name, value in values.items():
        if name not in trials.columns:
            raise NotComparableError(f"no column {name!r} among the trials")
        wanted = list(value) if isinstance(value, list | tuple) else [value]
        known = [item for item in wanted if item is not None]
        hit = trials[name].isin(known).to_numpy(bool)
        if None in wanted:
            hit |= trials[name].isna().to_numpy(bool)
        mask &= hit
    return mask


def cell_keys(trials: pd.DataFrame) -> list[Cell]:
    """Returns the values of `FACTORS` of every trial, None where null."""
    columns = [trials[name].astype(object).tolist() for name in FACTORS]
    rows = zip(*columns, strict=True)
    return [tuple(None if pd.isna(item) else item for item in row) for row in rows]
