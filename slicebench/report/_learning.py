"""Learning curves: the running loss of training, averaged over trials."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slicebench import statistics
from slicebench.report import (
    _cells,
    _curves,
    _frames,
    _inline,
    _palette,
    _part,
    _reading,
    _style,
    _tables,
    _words,
)
from slicebench.report._tables import Column
from slicebench.results import ListColumn

_TEXT = (
    "The running loss on the labelled slices (cross-entropy and soft Dice), averaged "
    "over the trials of a strategy, interpolation and budget. A line that still falls "
    "at its end says that more steps would fit the labels better, not that they would "
    "score better on test cases."
)
_KEYS = [*_cells.GROUP, "budget", "steps", "strategy", "interpolation"]


def learning(run: _reading.Run) -> _part.Part | None:
    """Returns the section on learning curves, None where none are stored."""
    if "loss_curve" not in run.trials:
        return None
    known = run.trials["loss_curve"].notna() & (run.trials["status"] == "ok")
    curves = _frames.keep(_frames.columns(run.trials, [*_KEYS, "loss_curve"]), known)
    frame = _means(curves)
    if frame.empty:
        return None
    views = []
    for index, (key, part) in enumerate(_frames.groups(frame, _cells.GROUP)):
        title = _words.title(key)
        views.append(
            _inline.publish(
                learning_figure(part),
                run.workdir / "figures",
                name=f"learning-{_inline.slug(key['task'], key['dims'], index)}",
                title=f"{title}: training loss",
                caption="Mean of trials, one line a strategy; dashed with "
                "interpolated masks, which are labels, too.",
                alt=_alt(part, title),
                narrow=learning_figure(part, narrow=True),
            )
        )
    return _part.Part(
        id="learning",
        title="Learning curves",
        nav="Learning",
        text=(_TEXT,),
        figures=tuple(views),
        tables=(_table(frame),),
    )


def _means(trials: pd.DataFrame) -> pd.DataFrame:
    rows: list[_frames.Record] = []
    for key, part in _frames.groups(trials, _KEYS):
        column: Any = part["loss_curve"]
        lists = ListColumn(column)
        curves = [lists[row].astype(float) for row in range(len(part))]
        points = min(len(curve) for curve in curves)
        if not points:
            continue
        mean = np.mean([curve[:points] for curve in curves], 0)
        for place, value in enumerate(mean, start=1):
            step = int(key["steps"]) * place / points
            named = {"step": step, "loss": float(value), "num_trials": len(curves)}
            rows.append({**key, **named})
    return pd.DataFrame(rows, columns=[*_KEYS, "step", "loss", "num_trials"])


def learning_figure(curves: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Training loss over steps, one panel a budget, one line an arm.

    Args:
      curves: One row a point: `budget`, `strategy`, `interpolation`, `steps`, `step`
        and `loss`.
      narrow: One panel below the other, for a phone.

    Returns:
      The figure.
    """
    budgets = sorted(curves["budget"].unique())
    looks = _palette.looks(curves["strategy"])
    filled = sorted(set(curves["interpolation"]) - {"none"})
    dashes = {name: place for place, name in enumerate(["none", *filled])}
    with _style.house():
        figure, grid = _curves.panels(len(budgets), 3, 2.0, narrow=narrow)
        for axes, budget in zip(grid, budgets, strict=True):
            part = _frames.where(curves, {"budget": budget})
            for key, line in _frames.groups(part, [*_ARM, "steps"]):
                at: Float[np.ndarray, " point"] = _frames.floats(line, "step")
                look = {
                    "color": looks[key["strategy"]].color,
                    "linestyle": _style.dash(dashes[key["interpolation"]]),
                }
                axes.plot(at, _frames.floats(line, "loss"), lw=1.3, **look)
            whole = set(part["strategy"]) == {"all"}
            axes.set_title("all labels" if whole else f"{budget} annotated slices")
            axes.set_xlabel("step")
            axes.grid(axis="y", color=_palette.GRID, linewidth=0.7)
        grid[0].set_ylabel("loss")
        handles = [
            Line2D(
                [],
                [],
                color=looks[key["strategy"]].color,
                linestyle=_style.dash(dashes[key["interpolation"]]),
                label=_arm(key),
            )
            for key, _ in _frames.groups(curves, _ARM)
        ]
        _curves.legend(figure, handles, "")
    return figure


_ARM = ["strategy", "interpolation"]


def _arm(key: _frames.Record) -> str:
    if key["strategy"] == statistics.CEILING:
        return "all labels"
    filled = key["interpolation"] != "none"
    more = f", {_style.words(key['interpolation'])} interpolation" if filled else ""
    return f"{_style.words(key['strategy'])}{more}"


def _alt(part: pd.DataFrame, title: str) -> str:
    parts = []
    for key, line in _frames.groups(part, ["budget", "steps", *_ARM]):
        first, last = (float(line["loss"].iloc[end]) for end in (0, -1))
        parts.append(f"{key['budget']} slices, {_arm(key)}: {first:.3f} to {last:.3f}")
    return f"Training loss over steps, {title}. {'; '.join(parts)}."


def _table(frame: pd.DataFrame) -> _tables.Table:
    last: Any = frame.groupby(_KEYS, sort=False)["step"].transform("max")
    return _tables.Table(
        name="learning_curves",
        title="Loss at the end of training",
        frame=frame.assign(is_last=frame["step"] == last),
        columns=(
            Column("task", "Task"),
            Column("dims", "Dims"),
            Column("budget", "Budget", "count"),
            Column("strategy", "Strategy"),
            Column("interpolation", "Interpolation"),
            Column("steps", "Steps", "count"),
            Column("loss", "Loss", "number"),
            Column("num_trials", "Trials", "count"),
        ),
        only=(("is_last", True),),
    )
