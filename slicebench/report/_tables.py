"""Tables of the report: one frame is both the CSV file and the rows shown."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from slicebench.report import _latex, _style

Kind = Literal[
    "text", "count", "number", "share", "score", "interval", "range", "verdict"
]


class Column(NamedTuple):
    """One column as it is shown.

    Attributes:
      key: Column of the frame.
      label: Its head.
      kind: How a value is written; an `interval` shows the frame's `low` and
        `high` beside its value, a `range` its `lowest` and `highest`.
    """

    key: str
    label: str
    kind: Kind = "text"

    @property
    def numeric(self) -> bool:
        """Whether the column is sorted as numbers and stands to the right."""
        return self.kind not in ("text", "verdict")


class Cell(NamedTuple):
    """One field: what is read, and the exact value that it stands for."""

    text: str
    value: str
    numeric: bool
    badge: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report and its CSV file.

    Attributes:
      name: Name of the CSV file.
      title: Heading.
      frame: Content of the CSV file, every column.
      columns: What is shown of it.
      metric: Whose decimals scores get; None: the row's `metric` column.
      only: Values that rows must have to be shown, by column.
      open: Whether the fold that holds it starts open.
      row_ids: What the anchors of its rows start with, before the row's number in
        the frame; empty: rows have none.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    metric: str | None = None
    only: tuple[tuple[str, Any], ...] = ()
    open: bool = False
    row_ids: str = ""

    @property
    def ids(self) -> list[str]:
        """Anchor of every row that is shown, empty strings without anchors."""
        numbers: list[Any] = self._shown().index.tolist()
        return [f"{self.row_ids}-{n}" if self.row_ids else "" for n in numbers]

    @property
    def rows(self) -> list[list[Cell]]:
        """Fields to be shown, row by row."""
        records: list[dict[Any, Any]] = self._shown().to_dict("records")
        return [[self._cell(row, column) for column in self.columns] for row in records]

    def _shown(self) -> Any:
        shown: Any = self.frame
        for column, value in self.only:
            shown = shown[shown[column] == value]
        return shown

    def _cell(self, row: dict[Any, Any], column: Column) -> Cell:
        value = row[column.key]
        metric = self.metric or str(row.get("metric", "dice"))
        text = _text(row, value, column.kind, metric)
        exact = csv_value(value) if column.numeric else ""
        badge = str(value) if column.kind == "verdict" else ""
        return Cell(text, exact, column.numeric, badge)


def csv_value(value: Any) -> str:
    """Returns a value as CSV files hold it: shortest digits that read back.

    >>> csv_value(0.1), csv_value(3), csv_value(None)
    ('0.1', '3', '')
    """
    if _absent(value):
        return ""
    if isinstance(value, float):
        return repr(float(value))
    return str(value)


def write_tables(folder: Path, tables: list[Table]) -> None:
    """Writes each frame once, one CSV file a name, and what is shown as LaTeX.

    Several views of one frame have a LaTeX file each, named by their rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {table.name: table.frame for table in tables}.items():
        text = frame.map(csv_value) if len(frame) else frame
        text.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    for table in tables:
        if table.columns and len(table.frame):
            rows = [[cell.text for cell in row] for row in table.rows]
            heads = [(column.label, column.numeric) for column in table.columns]
            text = _latex.tabular(heads, rows, table.title)
            (folder / f"{_latex_name(table)}.tex").write_text(text, encoding="utf-8")


def _latex_name(table: Table) -> str:
    parts = [str(value) for _, value in table.only if isinstance(value, str)]
    return re.sub(r"[^a-z0-9_]+", "-", "-".join([table.name, *parts]).lower())


def _absent(value: Any) -> bool:
    return bool(pd.isna(value))


def _text(row: dict[Any, Any], value: Any, kind: Kind, metric: str) -> str:
    if _absent(value):
        return _style.ABSENT
    if kind == "interval":
        return _interval(row, value, metric)
    if kind == "range":
        ends = (_style.decimals(metric, row[end]) for end in ("lowest", "highest"))
        return f"{_style.decimals(metric, value)} ({' to '.join(ends)})"
    return _plain(value, kind, metric)


def _plain(value: Any, kind: Kind, metric: str) -> str:
    match kind:
        case "score":
            return _style.decimals(metric, value)
        case "share":
            return f"{100 * value:.1f} %"
        case "count":
            return f"{int(value)}"
        case "number":
            return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _interval(row: dict[Any, Any], value: float, metric: str) -> str:
    edges = (row["low"], row["high"])
    text = _style.decimals(metric, value)
    if any(_absent(edge) or not math.isfinite(edge) for edge in edges):
        return f"{text} [{_style.ABSENT}]"
    return f"{text} [{', '.join(_style.decimals(metric, edge) for edge in edges)}]"
