"""The user's own column that volume strategy `stratified` balances."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from slicebench.errors import InputError, gather

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
    table = _read(path)
    chosen = _column(path, column, [str(name) for name in table.columns])
    names, values = (table[name].astype(str).tolist() for name in (_CASE, chosen))
    known = {*cases, *others}
    twice = sorted({name for name in names if names.count(name) > 1})
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


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path, sep=SUFFIXES[path.suffix], dtype=str, keep_default_na=False
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of text ({reason})") from error


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
