"""Counting errors of intervals on simulated differences."""

import csv

import numpy as np
import pytest

from benchmarks import _calibration_scenarios as scenarios
from benchmarks import calibration


def test_rates_are_counted_from_the_ends_of_intervals():
    """Four simulations of one method: covers, above, below, and one too wide."""
    ends = [(-0.005, 0.005), (0.001, 0.003), (-0.004, -0.002), (-0.1, 0.1)]
    found = np.array([[[end, end]] for end in ends])
    (rates,) = calibration.count(found)
    assert rates["coverage"] == 0.5
    assert (rates["false_superior"], rates["false_inferior"]) == (0.25, 0.25)
    # Moved by the margin, only the one that lies below 0 fits into the margin.
    assert rates["false_equivalent"] == 0.25
    assert rates["power_equivalent"] == 0.75
    assert rates["power_superior"] == 0.75


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"false_superior": 0.04}, ["false_superior"]),
        ({"false_equivalent": 0.07}, ["false_equivalent"]),
        ({"coverage": 0.9}, ["coverage"]),
        ({"coverage": 0.9, "seeds": 5}, []),
    ],
)
def test_a_breach_is_more_than_two_simulation_errors_off(changes, expected):
    row = {"seeds": 10, "cases": 20, "coverage": 0.95, "false_equivalent": 0.05}
    row |= dict.fromkeys(("false_superior", "false_inferior"), 0.027)
    row |= {"false_noninferior": 0.027} | changes
    assert calibration.breaches(row, 2000) == expected


@pytest.mark.parametrize("resamples", [0, 20])
def test_every_population_and_size_has_its_row(tmp_path, resamples):
    rows = calibration.run(2, resamples)
    methods = len(calibration.METHODS) if resamples else 1
    sizes = len(scenarios.SEEDS) * len(scenarios.CASES)
    assert len(rows) == len(scenarios.SCENARIOS) * sizes * methods
    calibration.write_rows(tmp_path / "a.csv", rows, 2)
    with (tmp_path / "a.csv").open() as file:
        kept = list(csv.DictReader(file))
    assert [row["method"] for row in kept] == [row["method"] for row in rows]
    assert float(kept[-1]["width"]) == pytest.approx(rows[-1]["width"], abs=1e-5)
    calibration.draw(tmp_path / "a.png", rows)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len(calibration.table(rows, 2).splitlines()) == 2 + 2 * methods


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda s: s.name)
def test_simulated_differences_have_mean_zero(scenario):
    drawn, effective = scenario.simulate(np.random.default_rng(0), 400, 20, 20)
    assert len(effective) == 400
    means = drawn.mean((1, 2))
    assert abs(means.mean()) < 4 * means.std() / np.sqrt(len(means))
