"""Looks of a run that was allowed to stop early, and where it stands."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from slicebench.report import _part, _tables, _words
from slicebench.report._tables import Column

_STATES = {
    "decided": "decided: every planned contrast has its verdict",
    "case-limited": "case-limited: even with any number of seeds, these test cases "
    "would leave an interval across the margin",
    "cap reached": "cap reached: the largest planned number of seeds is done",
    "going on": "going on: not every planned contrast is settled yet",
}
_NOTHING = (
    "nothing to decide: no planned contrast has a verdict here, so training ended "
    "at the first look. Why contrasts were left out stands under “What is not here”"
)
_TEXT = (
    "Planned contrasts were looked at after fixed numbers of seeds, and training "
    "stopped where nothing was left to decide. Looking often finds differences by "
    "luck, so early looks ask for much more than a single one: bounds of the "
    "O'Brien-Fleming type keep the error of all looks together at its level. The "
    "interval of a look is wider for the same reason, and there is none where a look "
    "is too early to decide anything. Verdicts above are those of the looks."
)

_COLUMNS = (
    Column("place", "Where"),
    Column("seeds", "Seeds", "count"),
    Column("name", "Contrast"),
    Column("metric", "Metric"),
    Column("estimate", "Estimate [interval of the look]", "interval"),
    Column("margin", "Margin", "score"),
    Column("information_fraction", "Of planned information", "share"),
    Column("level_one_sided", "p asked for", "number"),
    Column("p_superior", "p superior", "number"),
    Column("verdict", "Verdict", "verdict"),
    Column("state", "State"),
    Column("reason", "Remark"),
)

_UNITS = (
    Column("place", "Where"),
    Column("looks_taken", "Looks taken", "count"),
    Column("seeds_trained", "Seeds trained", "count"),
    Column("seeds_planned", "Seeds at most", "count"),
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
    rows = _rows(found)
    units = [_unit(unit, rows) for unit in found.get("units", ())]
    said = [f"{unit['place']}: {unit['said']}." for unit in units]
    return _part.Part(
        id="looks",
        title="Looks on the way",
        nav="Looks",
        text=(*(said or [_state(found)]), _TEXT),
        tables=(_units(units), _table(rows)),
    )


def _state(found: Mapping[str, Any]) -> str:
    """Returns the state of all together, for looks that name no units."""
    state = str(found.get("state", "not recorded"))
    return f"State: {_STATES.get(state, state)}."


def _rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one row a contrast and look, each contrast's looks together."""
    rows = [
        {"seeds": look["seeds"], **contrast, "place": _place(contrast)}
        for look in found.get("looks", ())
        for contrast in look.get("contrasts", ())
    ]
    order = {key: n for n, key in enumerate(dict.fromkeys(map(_key, rows)))}
    return sorted(rows, key=lambda row: (order[_key(row)], row["seeds"]))


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["place"], str(row["name"]), str(row.get("metric"))


def _place(row: Mapping[str, Any]) -> str:
    return _words.title({"dims": "", "task": "", **row})


def _unit(unit: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns where a task and dims stand."""
    taken, planned = int(unit["looks_taken"]), list(unit["seeds"])
    trained = planned[taken - 1] if taken else 0
    ours = [r for r in rows if (r["task"], r["dims"]) == (unit["task"], unit["dims"])]
    state = str(unit["state"]) if ours or not taken else "nothing to decide"
    said = _STATES.get(state, _NOTHING)
    if taken:
        said = f"after {trained} of at most {planned[-1]} seeds, {said}"
    return {
        **{name: unit[name] for name in ("task", "dims", "looks_taken")},
        "place": _place(unit),
        "seeds_trained": trained,
        "seeds_planned": planned[-1],
        "state": state,
        "said": said,
    }


def _units(units: Sequence[Mapping[str, Any]]) -> _tables.Table:
    names = [column.key for column in _UNITS]
    return _tables.Table(
        name="looks_units",
        title="Where each task stands",
        frame=pd.DataFrame(list(units), columns=["task", "dims", *names]),
        columns=_UNITS,
        open=len(units) > 1,
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> _tables.Table:
    frame = pd.DataFrame(list(rows))
    for name in (*(column.key for column in _COLUMNS), "low", "high"):
        if name not in frame:
            frame[name] = None
    return _tables.Table(
        name="looks", title="Every look", frame=frame, columns=_COLUMNS, open=True
    )
