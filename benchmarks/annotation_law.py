"""Tests the annotation law on finished work folders, as docs/annotation_law.md states.

    python -m benchmarks.annotation_law --workdirs=runs/a,runs/b --out=FOLDER

writes `errors.csv` (each way of telling effective slices, each task), `gaps.csv`
(measured and predicted gap of each budget) and `annotation_law.png`, and prints both
tables as Markdown. Images are read again by the commands that the work folders hold.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._law_figure import draw
from benchmarks._law_tasks import Cell, LawTask, read_tasks
from benchmarks._markdown import markdown
from slicebench.planning.cluster import best_slices, kish
from slicebench.statistics import AnnotationLaw, fit_law

_FLAGS = flags.FlagValues()
_WORKDIRS = flags.DEFINE_list(
    "workdirs", None, "Finished work folders.", required=True, flag_values=_FLAGS
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder for tables and figure.", required=True, flag_values=_FLAGS
)
_RESAMPLES = flags.DEFINE_integer(
    "resamples", 500, "Resamples of seeds.", lower_bound=1, flag_values=_FLAGS
)

LAW = "correlation by distance"
PRICES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Prices of opening a volume, in slices."""

_LEVEL = (0.025, 0.975)

Worth = Mapping[int, float]
"""Effective slices of one volume, by slices per volume."""

Means = Mapping[tuple[int, int], float]
"""Mean Dice by budget and slices per volume."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errors:
    """How far off one way of telling effective slices is on a task.

    Attributes:
      gap: Mean absolute error of the gap over budgets; NaN where none is predicted.
      regret: Mean Dice lost by its choice of density; NaN where nothing could be
        compared.
    """

    gap: float
    regret: float


def worths(task: LawTask, others: Sequence[LawTask]) -> dict[str, list[Worth]]:
    """Returns effective slices of a volume in every way that is compared.

    Errors are averaged over the list; only "another task's correlation" has several.
    """
    cells = {
        d: [c for (_, k), c in task.cells.items() if k == d] for d in task.densities
    }

    def mean(of: Callable[[Cell], float]) -> Worth:
        return {d: float(np.mean([of(c) for c in found])) for d, found in cells.items()}

    foreign = [
        mean(lambda cell, other=other: task.worth(cell, other.correlations))
        for other in others
    ]
    return {
        LAW: [mean(task.worth)],
        "no correlation": [mean(lambda cell: float(cell.density))],
        "one correlation (Kish)": [mean(lambda cell: kish(cell.density, task.icc))],
        "neighbours' correlation": [
            mean(lambda cell: kish(cell.density, task.neighbour))
        ],
        "another task's correlation": foreign,
    }


def predicted_gap(
    task: LawTask, means: Means, worth: Worth, budget: int
) -> tuple[float, AnnotationLaw]:
    """Returns the gap in Dice at a budget, told from other budgets' sparse cells."""
    sparse = [b for b in task.budgets if b != budget and (b, 1) in means]
    law = fit_law(
        np.array(sparse, float) * worth[1],
        np.array([means[b, 1] for b in sparse]),
        task.ceiling,
    )
    top = task.densities[-1]
    effective = np.array([budget * worth[1], budget / top * worth[top]])
    sparse_dice, dense_dice = law.predict(effective)
    return float(sparse_dice - dense_dice), law


def gaps(task: LawTask, means: Means, worth: Worth) -> pd.DataFrame:
    """Returns measured and predicted gap by budget."""
    top = task.densities[-1]
    rows = [
        {
            "budget": budget,
            "measured": means[budget, 1] - means[budget, top],
            "predicted": predicted_gap(task, means, worth, budget)[0],
        }
        for budget in task.budgets
        if (budget, 1) in means and (budget, top) in means
    ]
    return pd.DataFrame(rows)


def regrets(
    budgets: Sequence[int],
    curves: Mapping[int, AnnotationLaw],
    choose: Callable[[float, Mapping[int, float]], int],
) -> list[float]:
    """Returns the Dice lost by a choice of density, over prices and costs.

    Args:
      budgets: Budgets that were run, ascending.
      curves: Measured Dice over slices, by density.
      choose: From price and, by density, affordable slices to a density.
    """
    low, high = budgets[0], budgets[-1]
    found = []
    for price in PRICES:
        for budget in budgets:
            cost = budget / 2 * price + budget
            slices = {d: cost / (price + d) * d for d in curves}
            slices = {d: n for d, n in slices.items() if low <= n <= high}
            if len(slices) < 2:
                continue
            dice = {d: float(curves[d].predict(np.array(n))) for d, n in slices.items()}
            found.append(max(dice.values()) - dice[choose(price, slices)])
    return found


def _curve(task: LawTask, means: Means, density: int) -> AnnotationLaw:
    budgets = [b for b in task.budgets if (b, density) in means]
    scores = np.array([means[b, density] for b in budgets])
    return fit_law(np.array(budgets, float), scores, task.ceiling)


def by_law(
    task: LawTask, means: Means, worth: Worth
) -> Callable[[float, Mapping[int, float]], int]:
    """Returns the choice of the density with the highest predicted Dice."""
    sparse = [b for b in task.budgets if (b, 1) in means]
    scores = np.array([means[b, 1] for b in sparse])
    law = fit_law(np.array(sparse, float) * worth[1], scores, task.ceiling)

    def choose(_: float, slices: Mapping[int, float]) -> int:
        return max(
            slices, key=lambda d: law.predict(np.array(slices[d] / d * worth[d]))
        )

    return choose


def errors(
    task: LawTask, ways: Mapping[str, Sequence[Worth]], means: Means
) -> dict[str, Errors]:
    """Returns the errors of the law and of every baseline.

    Args:
      task: The task.
      ways: What `worths` returns.
      means: Its mean Dice.
    """
    found = {}
    curves = {d: _curve(task, means, d) for d in task.densities}
    for name, variants in ways.items():
        if not variants:
            continue
        tables = [gaps(task, means, worth) for worth in variants]
        off = [(t["predicted"] - t["measured"]).abs().mean() for t in tables]
        lost = [
            lost
            for worth in variants
            for lost in regrets(task.budgets, curves, by_law(task, means, worth))
        ]
        found[name] = Errors(gap=float(np.mean(off)), regret=_mean(lost))
    fixed: dict[str, Callable[[float, Mapping[int, float]], int]] = {
        "always one slice a volume": lambda _, slices: min(slices),
        "always the largest density": lambda _, slices: max(slices),
        "Cochran's optimum": lambda price, slices: _nearest(
            best_slices(price, task.icc, round(task.depth)), slices
        ),
    }
    for name, choose in fixed.items():
        lost = regrets(task.budgets, curves, choose)
        found[name] = Errors(gap=float("nan"), regret=_mean(lost))
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _nearest(asked: float, slices: Mapping[int, float]) -> int:
    return min(slices, key=lambda density: abs(np.log(density / asked)))


def resampled(task: LawTask, rng: np.random.Generator) -> Means:
    """Returns mean Dice of one resample of seeds, the same in every cell."""
    size = max(len(cell.dice) for cell in task.cells.values())
    drawn = rng.integers(0, size, size)
    return {
        key: float(cell.dice[drawn[drawn < len(cell.dice)]].mean())
        if (drawn < len(cell.dice)).any()
        else float(cell.dice.mean())
        for key, cell in task.cells.items()
    }


def error_table(tasks: Sequence[LawTask], resamples: int) -> pd.DataFrame:
    """Returns errors with 95 % intervals over seeds, for each task and way."""
    rows = []
    for task in tasks:
        ways = worths(task, [other for other in tasks if other is not task])
        means = {key: float(cell.dice.mean()) for key, cell in task.cells.items()}
        rng = np.random.default_rng(0)
        again = list(_possible(task, ways, rng, resamples))
        for name, found in errors(task, ways, means).items():
            row = {"task": task.name, "synthetic": task.synthetic, "way": name}
            for what in ("gap", "regret"):
                spread = [getattr(one[name], what) for one in again]
                row[f"{what}_error"] = getattr(found, what)
                row[f"{what}_low"], row[f"{what}_high"] = np.quantile(spread, _LEVEL)
            rows.append(row)
    return pd.DataFrame(rows)


def _possible(
    task: LawTask,
    ways: Mapping[str, Sequence[Worth]],
    rng: np.random.Generator,
    resamples: int,
) -> Iterator[dict[str, Errors]]:
    """Returns the errors of resamples; those without a fit are left out."""
    for _ in range(resamples):
        with contextlib.suppress(ValueError):
            yield errors(task, ways, resampled(task, rng))


def reaches_ceiling(task: LawTask) -> str | None:
    """Returns why the law cannot be fitted on a task; None where it can.

    A density whose cells all reach the score of all labels has nothing left to lack.
    """
    for density in task.densities:
        scores = [c.dice.mean() for (_, d), c in task.cells.items() if d == density]
        if min(scores) >= task.ceiling:
            return (
                f"every cell with {density} slices per volume reaches the score of all "
                f"labels ({task.ceiling:.3f})"
            )
    sparse = [task.cells[b, 1].dice.mean() for b in task.budgets]
    if sum(score < task.ceiling for score in sparse) < len(sparse) - 1:
        return (
            "most cells with one slice per volume reach the score of all labels "
            f"({task.ceiling:.3f})"
        )
    return None


def gap_table(tasks: Sequence[LawTask]) -> pd.DataFrame:
    """Returns measured and predicted gaps by task, budget and way."""
    parts = []
    for task in tasks:
        others = [other for other in tasks if other is not task]
        means = {key: float(cell.dice.mean()) for key, cell in task.cells.items()}
        for name, variants in worths(task, others).items():
            for worth in variants[:1]:
                found = gaps(task, means, worth)
                found.insert(0, "way", name)
                found.insert(0, "task", task.name)
                parts.append(found)
    return pd.concat(parts)


def outcome(table: pd.DataFrame) -> dict[str, bool]:
    """Returns on which tasks the law holds, by the rule stated beforehand."""
    found = {}
    for task, rows in table.groupby("task", sort=False):
        mine = rows.loc[rows["way"] == LAW].iloc[0]
        rest = rows.loc[rows["way"] != LAW]
        smaller = mine["gap_error"] < rest["gap_error"].min()
        found[str(task)] = bool(
            smaller and mine["regret_error"] <= rest["regret_error"].min()
        )
    return found


def main(_: list[str]) -> None:
    """Writes tables and figure and prints what came out."""
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    tasks = []
    for task in read_tasks(map(Path, _WORKDIRS.value)):
        reason = reaches_ceiling(task)
        if reason:
            print(f"{task.name}: the law cannot be fitted: {reason}")
        else:
            tasks.append(task)
    table, told = error_table(tasks, _RESAMPLES.value), gap_table(tasks)
    table.to_csv(out / "errors.csv", index=False, float_format="%.4f")
    told.to_csv(out / "gaps.csv", index=False, float_format="%.4f")
    draw(tasks, told, out / "annotation_law.png")
    print(markdown(table))
    print(markdown(told.loc[told["way"] == LAW]))
    for task, holds in outcome(table).items():
        print(f"{task}: the law {'holds' if holds else 'does not hold'}")


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
