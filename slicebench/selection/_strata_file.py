"""The user's own column that volume strategy `stratified` balances."""

import collections
import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from slicebench.errors import MAX_JSON, InputError, gather, read_regular, shown

SUFFIXES = {".csv": ",", ".tsv": "\t"}
_CASE = "case"


def load_strata_file(
    path: Path | str,
    column: str | None,
    cases: Sequence[str],
    others: Collection[str] = (),
) -> tuple[str, ...]:
    """Reads the stratum of each case of the pool, such as its scanner or site.

    Args:
      path: A `.csv` or `.tsv` file with a header, a column `case` and one or more
        others.
      column: The column that holds the stratum; None where there is one other only.
      cases: Names of the pool's cases.
      others: Further cases of the dataset (development, test) that the file may
        hold.

    Returns:
      Stratum of each case of the pool.

    Raises:
      InputError: If the file cannot be read, has no such column, or a case is
        missing, unknown, there twice or without a value; all are named.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: strata are read from {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    header, rows = _read(path)
    chosen = _column(path, column, header)
    names, values = (
        [row[header.index(name)] for row in rows] for name in (_CASE, chosen)
    )
    known = {*cases, *others}
    counts = collections.Counter(names)
    twice = sorted(name for name, times in counts.items() if times > 1)
    faults = [f"case {name} is there twice" for name in twice]
    faults += [
        f"case {name} is not in the dataset" for name in names if name not in known
    ]
    strata = dict(zip(names, values, strict=True))
    faults += [f"case {name} is missing" for name in cases if name not in strata]
    faults += [
        f"case {name} has no {chosen}" for name in cases if strata.get(name) == ""
    ]
    if faults:
        raise gather(f"strata in {path}", faults)
    return tuple(strata[name] for name in cases)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Returns column names and rows, every row as long as the header."""
    try:
        text = read_regular(path, MAX_JSON).decode("utf-8-sig")
        table = csv.reader(
            io.StringIO(text, newline=""), delimiter=SUFFIXES[path.suffix], strict=True
        )
        rows = [row for row in table if row]
        if not rows:
            raise ValueError("it is empty")
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of text ({reason})") from error
    header = rows[0]
    if len(set(header)) < len(header):
        raise InputError(f"{path}: two columns have one name: {shown(header)}")
    faults = [
        f"row {number} has {len(row)} cells, the header has {len(header)}"
        for number, row in enumerate(rows[1:], start=2)
        if len(row) != len(header)
    ]
    if faults:
        raise gather(str(path), faults)
    return header, rows[1:]


def _column(path: Path, column: str | None, found: list[str]) -> str:
    if _CASE not in found:
        raise InputError(f"{path}: columns {', '.join(found)}; {_CASE} is needed")
    rest = [name for name in found if name != _CASE]
    if column is None and len(rest) == 1:
        return rest[0]
    if column not in rest:
        what = "no column is named" if column is None else f"no column {column!r}"
        raise InputError(
            f"--strata_file={path}: {what}; allowed: FILE:COLUMN with one of "
            f"{', '.join(rest) or 'the columns, of which there are none'}"
        )
    return column
