"""Looks of a run that was allowed to stop early, and where it stands."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from slicebench.report import _part, _tables, _words
from slicebench.report._tables import Column

_STATES = {
    "decided": "decided: every planned contrast has its verdict",
    "case-limited": "case-limited: even with any number of seeds, these test cases "
    "would leave an interval across the margin",
    "cap reached": "cap reached: the largest planned number of seeds is done",
}
_TEXT = (
    "Contrasts were looked at after fixed numbers of seeds, against bounds that keep "
    "the error of all looks together at its level (O'Brien and Fleming). Information "
    "is one over the variance of the estimate."
)

_COLUMNS = (
    Column("seeds", "Seeds", "count"),
    Column("place", "Where"),
    Column("name", "Contrast"),
    Column("estimate", "Estimate", "number"),
    Column("information", "Information", "number"),
    Column("verdict", "Verdict", "verdict"),
    Column("state", "State"),
)


def looks(summary: Mapping[str, Any]) -> _part.Part | None:
    """Returns the section on looks, None where the run had none.

    Args:
      summary: Content of summary.json, with `looks`.
    """
    found = summary.get("looks")
    if not found:
        return None
    state = str(found.get("state", ""))
    said = f"State: {_STATES.get(state, state)}." if state else "State: not recorded."
    rows = [
        {
            "seeds": look["seeds"],
            **contrast,
            "place": _words.title({"dims": "", "task": "", **contrast}),
        }
        for look in found.get("looks", ())
        for contrast in look.get("contrasts", ())
    ]
    frame = pd.DataFrame(rows)
    for column in _COLUMNS:
        if column.key not in frame:
            frame[column.key] = None
    table = _tables.Table(
        name="looks",
        title="Every look",
        frame=frame,
        columns=_COLUMNS,
        open=True,
    )
    return _part.Part(
        id="looks",
        title="Looks on the way",
        nav="Looks",
        text=(said, _TEXT),
        tables=(table,),
    )
