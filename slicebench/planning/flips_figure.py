"""Figure of the best slices per volume over the price of opening one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slicebench.planning.flips import Flip
from slicebench.report import _inline, _palette, _style

_ZERO = 0.0625
"""Where a ratio of 0 is drawn on the logarithmic axis."""


def flips_figure(found: Sequence[Flip], own: float) -> Figure:
    """Draws best densities at equal time beside the time of equal slices.

    Args:
      found: Of `flips`.
      own: The user's own ratio.
    """
    with _style.house():
        figure = Figure(figsize=(_style.WIDE * 0.92, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        _best(left, found)
        _minutes(right, found)
        for axes in (left, right):
            _ratios(axes, found)
            axes.axvline(_place(own), color=_palette.FAINT, linewidth=0.8, zorder=0)
            axes.annotate(
                "yours",
                (_place(own), 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                va="top",
                color=_palette.FAINT,
                fontsize=7.5,
            )
    return figure


def publish_flips(found: Sequence[Flip], own: float, out: Path) -> Markup:
    """Writes flips.png and flips.svg; returns the figure as an element of a page.

    Args:
      found: Of `flips`.
      own: The user's own ratio.
      out: Folder.
    """
    return _inline.publish(
        flips_figure(found, own),
        out,
        name="flips",
        title="Best slices per volume over the price of opening one",
        caption="",
        alt="Best slices per volume and minutes over the price of opening a volume; "
        "the numbers are in flips.csv",
    ).svg


def _place(ratio: float) -> float:
    return max(ratio, _ZERO)


def _ratios(axes: Axes, found: Sequence[Flip]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        [_place(flip.ratio) for flip in found], [f"{flip.ratio:g}" for flip in found]
    )
    axes.minorticks_off()
    axes.set_xlabel("opening a volume / annotating a slice (minutes)")
    axes.grid(axis="y", color=_palette.GRID, linewidth=0.6)


def _best(axes: Axes, found: Sequence[Flip]) -> None:
    densities = sorted(found[0].slices)
    color = _palette.looks(["random"])["random"].color
    left = [(_place(flip.ratio), each) for flip in found for each in flip.left]
    known = [(_place(flip.ratio), flip.best) for flip in found if flip.best]
    for points, size, face, name in (
        (left, 70, "none", "evidence, equal time: not ruled out"),
        (known, 18, color, "... highest measured Dice"),
    ):
        if points:
            axes.scatter(
                *zip(*points, strict=True),
                s=size,
                facecolors=face,
                edgecolors=color,
                linewidths=1.0,
                label=name,
            )
    _draw_quickest(axes, found)
    _draw_theory(axes, found)
    axes.set_yscale("log", base=2)
    axes.set_yticks(densities, [str(each) for each in densities])
    axes.set_ylim(min(densities) / 1.25, max(densities) * 1.6)
    axes.set_ylabel("slices of each volume")
    axes.set_title("Best slices per volume")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _draw_quickest(axes: Axes, found: Sequence[Flip]) -> None:
    points = [(_place(flip.ratio), flip.quickest) for flip in found if flip.quickest]
    if points:
        axes.plot(
            [ratio for ratio, _ in points],
            [each for _, each in points],
            color=_palette.looks(["k_center"])["k_center"].color,
            linestyle=_style.dash(2),
            label="equal slices: recommended",
        )


def _draw_theory(axes: Axes, found: Sequence[Flip]) -> None:
    drawn: list[tuple[float, Any, Any, Any]] = [
        (_place(flip.ratio), flip.theory, flip.theory_low, flip.theory_high)
        for flip in found
        if flip.theory is not None
    ]
    if not drawn:
        return
    ratio, best, low, high = zip(*drawn, strict=True)
    color = _palette.looks(["representative"])["representative"].color
    axes.plot(
        ratio, best, color=color, linestyle=_style.dash(1), label="two-stage sampling"
    )
    axes.fill_between(ratio, low, high, color=color, alpha=0.15, linewidth=0)


def _minutes(axes: Axes, found: Sequence[Flip]) -> None:
    densities = sorted(found[0].minutes)
    for each, color in zip(densities, _palette.shades(len(densities)), strict=True):
        axes.plot(
            [_place(flip.ratio) for flip in found],
            [flip.minutes[each] for flip in found],
            color=color,
            label=f"{each}",
        )
    chosen = [flip for flip in found if flip.quickest]
    axes.plot(
        [_place(flip.ratio) for flip in chosen],
        [flip.minutes[flip.quickest or 1] for flip in chosen],
        linestyle="",
        marker="^",
        color=_palette.looks(["k_center"])["k_center"].color,
        label="recommended",
    )
    axes.set_yscale("log")
    axes.set_ylabel("minutes")
    axes.set_title("Time of the planned slices")
    axes.legend(
        title="slices of each volume",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        ncols=len(densities) + 1,
    )
