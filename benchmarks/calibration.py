"""Do the intervals cover, and do the verdicts err as rarely as they say?

    python -m benchmarks.calibration

simulates paired differences of known mean (`_calibration_scenarios`, fixed before any
method was run) for 5 to 40 seeds and 10 to 60 cases, and counts for each interval
method: coverage of the 95 % interval, false superiority or inferiority (true difference
0), false equivalence and false noninferiority (true difference at the margin), and the
power to see a difference of one margin. Writes every row as CSV and a figure of the
coverage beside it; the method of the primary interval is the one with the fewest
breaches of the targets.

    python -m benchmarks.calibration --looks --simulations=500

counts how often two equal arms are decided when a run is looked at after 8, 16 and 32
seeds (`_calibration_looks`); no more than 2.5 % may be superior.
"""

import csv
import math
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

from benchmarks import _calibration_looks
from benchmarks import _calibration_scenarios as scenarios
from benchmarks._calibration_scenarios import CASES, MARGIN, SCENARIOS, SEEDS
from benchmarks._flags import parser
from slicebench.statistics import estimate_mean, resample

_FLAGS = flags.FlagValues()
_SIMULATIONS = flags.DEFINE_integer(
    "simulations",
    2000,
    "Simulations of each population and size.",
    lower_bound=2,
    flag_values=_FLAGS,
)
_RESAMPLES = flags.DEFINE_integer(
    "resamples",
    1000,
    "Resamples of the bootstraps; 0 leaves them out.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "CSV to be written, docs/results/calibration.csv by default; the figure has the "
    "same name, ending in .png. With --looks docs/results/calibration_looks.csv, and "
    "no figure.",
    flag_values=_FLAGS,
)
_LOOKS = flags.DEFINE_bool(
    "looks",
    False,
    "Two equal arms through the looks of --stop_when_decided instead.",
    flag_values=_FLAGS,
)

METHODS = ("two-way t", "crossed bootstrap", "studentised bootstrap")
LEVELS = (0.95, 0.90)
"""Levels of the interval and of the one that equivalence is read from."""

_INK = ("#0072b2", "#e69f00", "#009e73")

LOWEST, HIGHEST = 0.93, 0.97
"""Target of coverage from 10 seeds x 20 cases on."""


def intervals(
    matrix: np.ndarray,
    effective: float | None,
    resamples: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Returns the ends of every method's intervals.

    Args:
      matrix: One seed x case matrix.
      effective: Cases that its degrees of freedom go by; None for all.
      resamples: Resamples of the bootstraps; 0 leaves them out.
      generator: Source of all randomness.

    Returns:
      Array of method, level and end.
    """
    estimate = estimate_mean([matrix], effective_cases=[effective])
    if not resamples:
        return np.array([[estimate.interval(level) for level in LEVELS]])
    drawn = resample([matrix], resamples, generator)
    rows = (
        [estimate.interval(level) for level in LEVELS],
        [drawn.percentile(level) for level in LEVELS],
        [drawn.studentised(estimate, level) for level in LEVELS],
    )
    return np.array(rows)


def count(found: np.ndarray) -> list[dict[str, float]]:
    """Returns rates of each method from the intervals of simulations of mean 0.

    An effect is a constant, and every method moves with it, so one set of intervals
    tells of every effect.

    Args:
      found: Array of simulation, method, level and end.
    """
    low, high = found[:, :, 0, 0], found[:, :, 0, 1]
    low90, high90 = found[:, :, 1, 0], found[:, :, 1, 1]
    rates = {
        "coverage": (low <= 0) & (high >= 0),
        "false_superior": low > 0,
        "false_inferior": high < 0,
        "false_noninferior": low > 0,
        "false_equivalent": (low90 + MARGIN > -MARGIN) & (high90 + MARGIN < MARGIN),
        "power_superior": low + MARGIN > 0,
        "power_equivalent": (low90 > -MARGIN) & (high90 < MARGIN),
        "width": high - low,
    }
    return [
        {name: float(values[:, method].mean()) for name, values in rates.items()}
        for method in range(found.shape[1])
    ]


def run(simulations: int, resamples: int, seed: int = 0) -> list[dict[str, Any]]:
    """Returns one row a population, size and method."""
    rows: list[dict[str, Any]] = []
    for number, scenario in enumerate(SCENARIOS):
        for seeds in SEEDS:
            for cases in CASES:
                rng = np.random.default_rng([seed, number, seeds, cases])
                pairs = zip(
                    *scenario.simulate(rng, simulations, seeds, cases), strict=True
                )
                found = np.stack([intervals(*pair, resamples, rng) for pair in pairs])
                rows += [
                    {
                        "scenario": scenario.name,
                        "regular": scenario.regular,
                        "seeds": seeds,
                        "cases": cases,
                        "method": method,
                        **rates,
                    }
                    for method, rates in zip(METHODS, count(found), strict=False)
                ]
        print(f"{scenario.name}: done", flush=True)
    return rows


def breaches(row: dict[str, Any], simulations: int) -> list[str]:
    """Names the targets that a row misses by more than two simulation errors."""

    def above(rate: float, nominal: float) -> bool:
        return rate > nominal + 2 * math.sqrt(nominal * (1 - nominal) / simulations)

    found = [
        name
        for name, nominal in (
            ("false_superior", 0.025),
            ("false_inferior", 0.025),
            ("false_noninferior", 0.025),
            ("false_equivalent", 0.05),
        )
        if above(row[name], nominal)
    ]
    large = (
        row["seeds"] >= scenarios.TARGET_SEEDS
        and row["cases"] >= scenarios.TARGET_CASES
    )
    if large:
        error = 2 * math.sqrt(LOWEST * (1 - LOWEST) / simulations)
        if not LOWEST - error <= row["coverage"] <= HIGHEST + error:
            found.append("coverage")
    return found


def table(rows: list[dict[str, Any]], simulations: int) -> str:
    """Returns breaches and ranges of each method, as Markdown."""
    lines = [
        "| method | populations | rows | with a breach | coverage (from 10 x 20) | "
        "largest false superiority | largest false equivalence | mean width |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in [m for m in METHODS if any(r["method"] == m for r in rows)]:
        for regular in (True, False):
            ours = [r for r in rows if (r["method"], r["regular"]) == (method, regular)]
            large = [
                r["coverage"]
                for r in ours
                if r["seeds"] >= scenarios.TARGET_SEEDS
                and r["cases"] >= scenarios.TARGET_CASES
            ]
            missed = sum(bool(breaches(row, simulations)) for row in ours)
            false = max(max(r["false_superior"], r["false_inferior"]) for r in ours)
            lines.append(
                f"| {method} | {'regular' if regular else 'irregular'} | {len(ours)} | "
                f"{missed} | {min(large):.3f} to {max(large):.3f} | {false:.3f} | "
                f"{max(r['false_equivalent'] for r in ours):.3f} | "
                f"{np.mean([r['width'] for r in ours]):.4f} |"
            )
    return "\n".join(lines)


def write_rows(path: Path, rows: list[dict[str, Any]], simulations: int) -> None:
    """Writes every row, with the targets that it misses."""
    with path.open("w", newline="") as file:
        names = [*rows[0], "simulations", "breaches"]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            short = {
                k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()
            }
            missed = " ".join(breaches(row, simulations))
            writer.writerow({**short, "simulations": simulations, "breaches": missed})


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draws the coverage of each method, one dot a size, from the targets' size on."""
    names = [scenario.name for scenario in SCENARIOS]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    axes.axhspan(LOWEST, HIGHEST, color="0.93", label="target")
    axes.axhline(LEVELS[0], color="0.6", linewidth=1)
    for place, method in enumerate(METHODS):
        mine = [
            (names.index(row["scenario"]) + 0.22 * (place - 1), row["coverage"])
            for row in rows
            if row["method"] == method
            and row["seeds"] >= scenarios.TARGET_SEEDS
            and row["cases"] >= scenarios.TARGET_CASES
        ]
        if mine:
            axes.scatter(
                *zip(*mine, strict=True), s=16, label=method, color=_INK[place]
            )
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylabel("coverage of the 95 % interval")
    axes.set_title(
        "10 to 40 seeds x 20 and 60 cases; irregular populations at the right"
    )
    axes.legend(loc="lower left", ncols=4, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(_: list[str]) -> None:
    """Simulates, prints the table and writes every row."""
    start = time.perf_counter()
    if _LOOKS.value:
        _looks(start)
        return
    rows = run(_SIMULATIONS.value, _RESAMPLES.value)
    out = Path(_OUT.value or "docs/results/calibration.csv")
    write_rows(out, rows, _SIMULATIONS.value)
    draw(out.with_suffix(".png"), rows)
    print(table(rows, _SIMULATIONS.value))
    print(f"{time.perf_counter() - start:.1f} s; every row in {out}")


def _looks(start: float) -> None:
    """Simulates looks at two equal arms, prints the table and writes its rows."""
    rows = _calibration_looks.run(_SIMULATIONS.value)
    out = Path(_OUT.value or "docs/results/calibration_looks.csv")
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
            for row in rows
        )
    print(_calibration_looks.table(rows))
    print(f"{time.perf_counter() - start:.1f} s; every row in {out}")


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
