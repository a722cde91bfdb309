"""From evidence and costs to an allocation, with what would change it."""

import dataclasses
import math
from collections.abc import Sequence

from slicebench.planning.costs import Costs
from slicebench.planning.evidence import Cell, Evidence

FEWEST_VOLUMES = 12
"""Volumes below which the studies behind the evidence plan no test."""
FAR = 2.0
"""Ratio of budgets beyond which evidence is not carried over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One allocation that the evidence can speak to.

    Attributes:
      slices_per_volume: Slices of a volume.
      num_volumes: Volumes for the user's budget.
      dice: Mean Dice of the evidence at the nearest budget.
      low: Lower end of its 95 % interval.
      high: Upper end.
      sd_seeds: Its spread over seeds.
      minutes: What it costs at the user's budget.
      chosen: Whether it is recommended.
      reason: Why not, in a few words.
    """

    slices_per_volume: int
    num_volumes: int
    dice: float
    low: float
    high: float
    sd_seeds: float
    minutes: float
    chosen: bool
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to annotate, and how sure that is.

    Attributes:
      slices_per_volume: Slices of a volume.
      options: Every allocation that was weighed, few slices a volume first.
      evidence_budget: Budget of the evidence that was read; None without evidence.
      words: Reasons and limits, one sentence each.
    """

    slices_per_volume: int
    options: tuple[Option, ...]
    evidence_budget: int | None
    words: tuple[str, ...]


def without_evidence(budget: int, pool: int) -> Recommendation:
    """Returns the cautious default: at least 12 volumes, where there are as many."""
    volumes = min(pool, max(FEWEST_VOLUMES, math.ceil(budget / 2)))
    each = max(1, math.ceil(budget / volumes))
    return Recommendation(
        slices_per_volume=each,
        options=(),
        evidence_budget=None,
        words=(
            "No evidence from a task like this one: random or stratified slices of at "
            f"least {FEWEST_VOLUMES} volumes are the cautious choice.",
            "Run a pilot on what you annotate first, then plan again with --evidence.",
        ),
    )


def recommend(
    evidence: Evidence, budget: int, pool: int, costs: Costs
) -> Recommendation:
    """Chooses slices per volume by measured Dice, and by cost among equals.

    At the evidence's nearest budget, allocations count as equal whose mean Dice is
    within the evidence's margin of the best; of those with at least 12 volumes (where
    any has) the one that takes the fewest minutes is taken.

    Args:
      evidence: Nearest task.
      budget: Slices to annotate.
      pool: Volumes that may be annotated.
      costs: Minutes of a volume and of a slice.
    """
    near = min(evidence.budgets, key=lambda one: abs(math.log(one / budget)))
    ratio = max(near / budget, budget / near)
    if ratio > FAR:
        plain = without_evidence(budget, pool)
        words = (
            f"The evidence on {evidence.name} has budgets of "
            f"{_listed(evidence.budgets)} slices; {budget} is too far from them.",
        )
        return dataclasses.replace(plain, words=(*words, *plain.words))
    cells = sorted(
        (cell for cell in evidence.cells if cell.budget == near),
        key=lambda cell: cell.slices_per_volume,
    )
    possible = [c for c in cells if _volumes(c, budget) <= pool]
    if not possible:
        return without_evidence(budget, pool)
    chosen = _cheapest(possible, budget, evidence.margin, costs)
    options = tuple(
        _option(cell, cells, chosen, budget, pool, evidence.margin, costs)
        for cell in cells
    )
    return Recommendation(
        slices_per_volume=chosen.slices_per_volume,
        options=options,
        evidence_budget=near,
        words=_words(evidence, chosen, near, budget),
    )


def _volumes(cell: Cell, budget: int) -> int:
    return math.ceil(budget / cell.slices_per_volume)


def _equals(cells: Sequence[Cell], margin: float) -> list[Cell]:
    best = max(cell.dice for cell in cells)
    return [cell for cell in cells if cell.dice >= best - margin]


def _cheapest(cells: Sequence[Cell], budget: int, margin: float, costs: Costs) -> Cell:
    equal = _equals(cells, margin)
    wide = [cell for cell in equal if _volumes(cell, budget) >= FEWEST_VOLUMES]
    widest = max(equal, key=lambda cell: _volumes(cell, budget))

    def price(cell: Cell) -> tuple[float, float]:
        volumes = _volumes(cell, budget)
        return costs.of_allocation(volumes, budget / volumes), -cell.dice

    return min(wide or [widest], key=price)


def _option(
    cell: Cell,
    cells: Sequence[Cell],
    chosen: Cell,
    budget: int,
    pool: int,
    margin: float,
    costs: Costs,
) -> Option:
    volumes = _volumes(cell, budget)
    if cell is chosen:
        reason = "recommended"
    elif volumes > pool:
        reason = f"needs {volumes} volumes, the pool has {pool}"
    elif cell not in _equals([c for c in cells if _volumes(c, budget) <= pool], margin):
        reason = f"lower Dice by more than {margin:.3f}"
    elif volumes < FEWEST_VOLUMES:
        reason = f"fewer than {FEWEST_VOLUMES} volumes"
    else:
        reason = "as good, takes longer"
    return Option(
        slices_per_volume=cell.slices_per_volume,
        num_volumes=volumes,
        dice=cell.dice,
        low=cell.low,
        high=cell.high,
        sd_seeds=cell.sd_seeds,
        minutes=costs.of_allocation(volumes, budget / volumes),
        chosen=cell is chosen,
        reason=reason,
    )


def _words(evidence: Evidence, chosen: Cell, near: int, budget: int) -> tuple[str, ...]:
    words = [
        f"Evidence: {evidence.name}, {near} slices as {chosen.num_volumes} x "
        f"{chosen.slices_per_volume}: Dice {chosen.dice:.3f} [{chosen.low:.3f}, "
        f"{chosen.high:.3f}], mean of {chosen.num_seeds} seeds.",
        "Whoever annotates once gets one draw: single networks scattered around that "
        f"mean with a standard deviation of {chosen.sd_seeds:.3f}.",
    ]
    if near != budget:
        words.append(f"Your budget is {budget}: figures at {near} are the nearest.")
    if evidence.ceiling is not None:
        words.append(
            f"The same network on all labels of its pool: {evidence.ceiling:.3f}."
        )
    if chosen.num_seeds < _FEW_SEEDS:
        words.append(f"{chosen.num_seeds} seeds are few; the order may change.")
    return tuple(words)


_FEW_SEEDS = 20


def _listed(values: Sequence[int]) -> str:
    *rest, last = map(str, values)
    return f"{', '.join(rest)} and {last}" if rest else last
