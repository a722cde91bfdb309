"""Tables of estimates: which columns of them are shown, and how."""

import json
from typing import Any

import pandas as pd

from slicebench.report import _frames, _style, _words
from slicebench.report._tables import Column, Table

_PLACE = (
    Column("task", "Task"),
    Column("dims", "Dims"),
    Column("budget", "Budget", "count"),
    Column("num_volumes", "Volumes", "count"),
    Column("slices_per_volume", "Slices each", "count"),
    Column("arm", "Strategy"),
)


def cell_view(cells: pd.DataFrame, metric: str) -> Table:
    """Returns the table of every cell in one metric."""
    name = _style.metric_label(metric)
    share = (Column("share_of_ceiling", "Of ceiling", "share"),)
    filled = (Column("interpolated_share", "Interpolated", "share"),)
    marked = (Column("extent_marks", "Extent marks", "count"),)
    return Table(
        name="cells",
        title=f"{name} of every cell",
        frame=cells,
        columns=(
            *_PLACE,
            Column("estimate", f"{name} [95 %]", "interval"),
            Column("sd_seeds", "SD of seeds", "score"),
            Column("num_seeds", "Seeds", "count"),
            Column("num_cases", "Cases", "count"),
            Column("share_diverged", "Diverged", "share"),
            *(share if not _style.metric_unit(metric) else ()),
            *(
                filled
                if (_frames.floats(cells, "interpolated_share") > 0).any()
                else ()
            ),
            *(marked if (_frames.floats(cells, "extent_marks") > 0).any() else ()),
        ),
        metric=metric,
        only=(("metric", metric),),
    )


def class_view(classes: pd.DataFrame) -> Table:
    """Returns the table of Dice by class."""
    return Table(
        name="classes",
        title="Dice by class",
        frame=classes,
        columns=(
            *_PLACE,
            Column("class_name", "Class"),
            Column("estimate", "Dice [95 %]", "interval"),
            Column("sd_seeds", "SD of seeds", "score"),
            Column("num_cases", "Cases", "count"),
        ),
        metric="dice",
        only=(("metric", "dice"),),
    )


def ceiling_view(ceilings: pd.DataFrame) -> Table:
    """Returns the table of ceilings and of the best cell below each."""
    return Table(
        name="ceilings",
        title="Dice of the same network on all labels, and of the best cell",
        frame=ceilings,
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("estimate", "All labels [95 %]", "interval"),
            Column("num_seeds", "Seeds", "count"),
            Column("best_cell", "Best cell"),
            Column("best_estimate", "Its Dice", "score"),
            Column("share_of_ceiling", "Share", "share"),
        ),
        metric="dice",
    )


def best_view(allocations: pd.DataFrame, section: _frames.Record) -> Table:
    """Returns the allocations of one section that may be the best."""
    return Table(
        name="allocations",
        title="Allocations that may be the best of their budget",
        frame=allocations,
        columns=(
            Column("contrast", "Compared in"),
            Column("budget", "Budget", "count"),
            Column("num_volumes", "Volumes", "count"),
            Column("slices_per_volume", "Slices each", "count"),
            Column("metric", "Metric"),
            Column("estimate", "Score [95 %]", "interval"),
            Column("p_best", "p of being best", "number"),
        ),
        only=(*section.items(), ("in_set", True)),
    )


_TESTS = ("superior", "inferior", "noninferior", "equivalent")

_CONTRAST = (
    Column("place", "Where"),
    Column("compared", "What"),
    Column("metric", "Metric"),
    Column("estimate", "Estimate [95 %]", "interval"),
    Column("verdict", "Verdict", "verdict"),
    Column("margin", "Margin", "score"),
    *(Column(f"p_{name}", f"p {name}", "number") for name in _TESTS),
    Column("num_seeds", "Seeds", "count"),
    Column("num_cases", "Cases", "count"),
    Column("reason", "Remark"),
)


def contrast_view(summary: dict[str, Any]) -> Table:
    """Returns every contrast with its tests."""
    return Table(
        name="contrasts",
        title="All contrasts",
        frame=_contrast_frame(summary["contrasts"], _CONTRAST),
        columns=_CONTRAST,
        row_ids=_words.ROWS,
    )


_OVERLAP = (
    Column("place", "Where"),
    Column("compared", "What"),
    Column("jaccard", "Overlap (range)", "range"),
    Column("expected_jaccard", "By chance", "score"),
    Column("coverage_a", "Coverage, first", "score"),
    Column("coverage_b", "Coverage, second", "score"),
    Column("num_pairs", "Pairs", "count"),
    Column("may_be_pooled", "May be pooled"),
    Column("reason", "Remark"),
)


def overlap_view(overlaps: list[dict[str, Any]], *, opened: bool) -> Table:
    """Returns how alike the choices of each contrast are.

    Args:
      overlaps: What `statistics.contrast_overlaps` returns.
      opened: Whether its fold starts open.
    """
    said = {True: "yes", False: "no", None: None}
    rows = [{**row, "may_be_pooled": said[row["poolable"]]} for row in overlaps]
    frame = _contrast_frame(rows, _OVERLAP)
    return Table(
        name="overlap",
        title="Overlap and coverage of the choices of each contrast",
        frame=frame.drop(columns=["low", "high", "poolable"], errors="ignore"),
        columns=_OVERLAP,
        metric="dice",
        open=opened,
    )


def matrix_view(pairs: pd.DataFrame) -> Table:
    """Returns the overlap of every two strategies; only its file is written.

    Args:
      pairs: What `statistics.overlap_matrix` returns, with arms.
    """
    return Table(
        name="overlap_matrix",
        title="Overlap of every two strategies",
        frame=pairs,
        columns=(),
    )


def sensitivity_view(summary: dict[str, Any], option: str, title: str) -> Table:
    """Returns the contrasts that change where some trials are left out.

    Args:
      summary: Content of summary.json.
      option: Which trials are left out, as summary.json names it.
      title: The same in words.
    """
    columns = (
        Column("name", "Contrast"),
        Column("task", "Task"),
        Column("dims", "Dims"),
        Column("metric", "Metric"),
        Column("estimate", "Estimate [95 %]", "interval"),
        Column("num_seeds", "Seeds", "count"),
        Column("verdict", "Verdict", "verdict"),
        Column("verdict_of_all_trials", "With all trials", "verdict"),
        Column("reason", "Remark"),
    )
    rows = [
        {"option": entry["option"], **row}
        for entry in summary["sensitivity"]
        for row in entry["contrasts"]
    ]
    names = ["option", *(column.key for column in columns), "target", "low", "high"]
    return Table(
        name="sensitivity",
        title=title,
        frame=pd.DataFrame(rows, columns=names),
        columns=columns,
        only=(("option", option),),
    )


def family_view(summary: dict[str, Any]) -> Table:
    """Returns whether all contrasts of a family hold together."""
    columns = (
        Column("family", "Family"),
        Column("claim", "Claim"),
        Column("num_contrasts", "Contrasts", "count"),
        Column("p_all", "p that all hold", "number"),
        Column("all_hold", "All hold"),
    )
    rows = [
        {**row, "all_hold": "yes" if row["all_hold"] else "not shown"}
        for row in summary["families"]
    ]
    names = [column.key for column in columns]
    return Table(
        name="families",
        title="Families",
        frame=pd.DataFrame(rows, columns=names),
        columns=columns,
    )


def margin_view(summary: dict[str, Any]) -> Table:
    """Returns the margins with their sources."""
    columns = (
        Column("task", "Task"),
        Column("dims", "Dims"),
        Column("metric", "Metric"),
        Column("value", "Margin", "number"),
        Column("source", "Source"),
        Column("fixed", "Fixed margin beside it", "number"),
    )
    rows = [
        {**row, "fixed": row["alternatives"].get("fixed")} for row in summary["margins"]
    ]
    names = [column.key for column in columns]
    return Table(
        name="margins",
        title="Margins",
        frame=pd.DataFrame(rows, columns=[*names, "target", "gain"]),
        columns=columns,
        open=True,
    )


def _contrast_frame(
    contrasts: list[dict[str, Any]], columns: tuple[Column, ...]
) -> pd.DataFrame:
    rows = []
    for contrast in contrasts:
        row = {
            name: json.dumps(value) if isinstance(value, dict) else value
            for name, value in contrast.items()
        }
        saved = contrast.get("slices_saved") or {}
        row |= {f"slices_saved_{end}": share for end, share in saved.items()}
        row.pop("slices_saved", None)
        row["place"] = _words.place(contrast)
        row["compared"] = _words.subject(contrast)
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in (*(column.key for column in columns), "low", "high"):
        if name not in frame:
            frame[name] = None
    return frame
