"""How the best number of slices per volume turns with the price of opening one.

Measured evidence is read at equal time and at equal slices; beside it stands what
two-stage sampling says (`slicebench.planning.cluster`), whose test on the suite's own
runs is told in docs/annotation_law.md.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np

from slicebench.planning.cluster import DepthCorrelation, best_slices
from slicebench.planning.costs import Costs
from slicebench.planning.evidence import Evidence
from slicebench.planning.recommend import recommend

RATIOS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Minutes of opening a volume over minutes of a slice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flip:
    """What evidence says at one price of opening a volume.

    Attributes:
      ratio: Minutes of opening a volume over minutes of a slice.
      slices: Slices that the time buys, by slices per volume.
      dice: Evidence's Dice there; None where it says nothing.
      best: Slices per volume of the highest known Dice; None where nothing is known.
      left: Slices per volume that cannot be ruled out: within the evidence's margin of
        the best, or not known and not surely worse.
      minutes: Time of the slice budget, by slices per volume.
      quickest: Recommended slices per volume at that budget; None without evidence
        near it.
      theory: Slices per volume by two-stage sampling; None where not estimated.
      theory_low: At the upper end of the correlation's interval.
      theory_high: At its lower end.
      regret: Dice that is lost at equal time by the measured density nearest to the
        theory's; None where either is not known.
    """

    ratio: float
    slices: dict[int, int]
    dice: dict[int, float | None]
    best: int | None
    left: tuple[int, ...]
    minutes: dict[int, float]
    quickest: int | None
    theory: float | None = None
    theory_low: float | None = None
    theory_high: float | None = None
    regret: float | None = None


def dice_at(evidence: Evidence, slices_per_volume: int, budget: float) -> float | None:
    """Returns the evidence's Dice for slices per volume, between its budgets.

    Straight in log2(budget) between measured budgets; None outside them or where that
    density was not run at two of them.
    """
    cells = {
        cell.budget: cell.dice
        for cell in evidence.cells
        if cell.slices_per_volume == slices_per_volume
    }
    if not cells or not min(cells) <= budget <= max(cells):
        return None
    known = sorted(cells)
    values = [cells[one] for one in known]
    return float(np.interp(math.log2(budget), np.log2(known), values))


def flips(
    evidence: Evidence,
    minutes: float,
    costs: Costs,
    *,
    budget: int,
    pool: int,
    correlation: DepthCorrelation | None = None,
    depth: int = 1,
) -> tuple[Flip, ...]:
    """Returns how the best density depends on the price of opening a volume.

    Args:
      evidence: Nearest task.
      minutes: Time of the annotator, for the comparison at equal time.
      costs: Minutes of a slice; the price of a volume is varied.
      budget: Slices, for the comparison at equal slices.
      pool: Volumes that may be annotated.
      correlation: Of the slices of the user's own scans; None leaves theory out.
      depth: Slices of a volume.
    """
    return tuple(
        _with_theory(
            _flip(evidence, minutes, ratio, costs, budget, pool), correlation, depth
        )
        for ratio in RATIOS
    )


def _flip(
    evidence: Evidence,
    minutes: float,
    ratio: float,
    costs: Costs,
    budget: int,
    pool: int,
) -> Flip:
    densities = sorted({cell.slices_per_volume for cell in evidence.cells})
    priced = dataclasses.replace(costs, volume=ratio * costs.slice)
    slices = {k: priced.affordable(minutes, k) for k in densities}
    possible = {k: n for k, n in slices.items() if n and math.ceil(n / k) <= pool}
    dice = {k: dice_at(evidence, k, n) for k, n in possible.items()}
    known = {k: value for k, value in dice.items() if value is not None}
    left: tuple[int, ...] = ()
    if known:
        least = max(known.values()) - evidence.margin
        left = tuple(k for k, n in possible.items() if _most(evidence, k, n) >= least)
    advice = recommend(evidence, budget, pool, priced)
    return Flip(
        ratio=ratio,
        slices=slices,
        dice={k: dice.get(k) for k in densities},
        best=max(known, key=lambda k: known[k]) if known else None,
        left=left,
        minutes={
            k: budget * priced.slice + math.ceil(budget / k) * priced.volume
            for k in densities
        },
        quickest=advice.slices_per_volume if advice.options else None,
    )


def _most(evidence: Evidence, slices_per_volume: int, budget: float) -> float:
    """Returns the Dice that some slices reach at most: more slices are not worse.

    Beyond measured budgets, nothing is known and nothing ruled out.
    """
    known = dice_at(evidence, slices_per_volume, budget)
    if known is not None:
        return known
    cells = [c for c in evidence.cells if c.slices_per_volume == slices_per_volume]
    lowest = min(cells, key=lambda cell: cell.budget)
    return lowest.dice if budget < lowest.budget else math.inf


def _with_theory(flip: Flip, correlation: DepthCorrelation | None, depth: int) -> Flip:
    if correlation is None:
        return flip
    best, low, high = (
        best_slices(flip.ratio, icc, depth)
        for icc in (correlation.icc, correlation.icc_high, correlation.icc_low)
    )
    known = {k: value for k, value in flip.dice.items() if value is not None}
    followed = min(flip.dice, key=lambda k: abs(math.log(k / best)))
    regret = None
    if len(known) > 1 and followed in known:
        regret = max(known.values()) - known[followed]
    return dataclasses.replace(
        flip, theory=best, theory_low=low, theory_high=high, regret=regret
    )


def turns(steps: Iterable[tuple[float, tuple[int, ...]]]) -> str:
    """Returns where the answer changes, in words.

    Args:
      steps: Ratio and slices per volume, ratios ascending.

    >>> turns([(0.5, (1,)), (1.0, (1,)), (2.0, (2, 4, 8)), (4.0, ())])
    '1 at 0.5 to 1; 2, 4 or 8 at 2; not known at 4'
    """
    runs: list[tuple[tuple[int, ...], float, float]] = []
    for ratio, best in steps:
        if runs and runs[-1][0] == best:
            runs[-1] = (best, runs[-1][1], ratio)
        else:
            runs.append((best, ratio, ratio))
    parts: list[str] = []
    for best, first, last in runs:
        span = f"{first:g}" if first == last else f"{first:g} to {last:g}"
        *rest, final = map(str, best or ("not known",))
        answer = f"{', '.join(rest)} or {final}" if rest else final
        parts.append(f"{answer} at {span}")
    return "; ".join(parts)


def in_words(found: Sequence[Flip], costs: Costs) -> list[str]:
    """Returns when the recommendation flips, and what theory says of it."""
    if not found:
        return []
    own = costs.volume / costs.slice
    lines = [
        "slices a volume that cannot be ruled out at equal time, by minutes of opening "
        f"a volume over minutes of a slice (yours: {own:.2g}): "
        + turns((flip.ratio, flip.left) for flip in found),
    ]
    if any(flip.quickest for flip in found):
        lines.append(
            "recommended at equal slices: "
            + turns(
                (flip.ratio, (flip.quickest,) if flip.quickest else ())
                for flip in found
            )
        )
    if found[0].theory is not None:
        lines.append(_theory_in_words(found))
    return lines


def _theory_in_words(found: Sequence[Flip]) -> str:
    theory = turns((flip.ratio, (round(flip.theory or 1),)) for flip in found)
    lost = [flip.regret for flip in found if flip.regret is not None]
    against = (
        f"following it at equal time would lose {max(lost):.3f} Dice at most in the "
        f"evidence ({len(lost)} of {len(found)} ratios can be told)"
        if lost
        else "the evidence cannot tell at equal time what following it would lose"
    )
    return f"two-stage sampling, from your unlabelled scans: {theory}; {against}"


COLUMNS = (
    "ratio",
    "slices_per_volume",
    "equal_time_slices",
    "equal_time_dice",
    "equal_time_best",
    "equal_time_not_ruled_out",
    "equal_slices_minutes",
    "equal_slices_recommended",
    "theory_slices_per_volume",
    "theory_low",
    "theory_high",
    "theory_regret",
)


def to_csv(found: Sequence[Flip]) -> str:
    """Returns flips.csv: one row a ratio and density; empty where nothing is known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for flip in found:
        theory = (flip.theory, flip.theory_low, flip.theory_high, flip.regret)
        for each, slices in flip.slices.items():
            writer.writerow(
                [
                    flip.ratio,
                    each,
                    slices,
                    _text(flip.dice[each]),
                    int(each == flip.best),
                    int(each in flip.left),
                    round(flip.minutes[each], 1),
                    int(each == flip.quickest),
                    *map(_text, theory),
                ]
            )
    return stream.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
