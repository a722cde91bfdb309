import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower

from slicebench.statistics import (
    Components,
    cases_needed,
    estimate_mean,
    expected_error,
    power,
    resolvable,
    seeds_needed,
)

MIXED = Components(sd_seed=0.01, sd_case=0.02, sd_residual=0.03)


def test_many_cases_without_spread_are_a_t_test_over_seeds():
    components = Components(sd_seed=0.02, sd_case=0.0, sd_residual=0.0)
    found = power(
        "superior", margin=0.01, components=components, num_seeds=12, num_cases=50
    )
    reference = TTestPower().power(0.01 / 0.02, 12, 0.025, alternative="larger")
    assert found == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize(
    ("claim", "difference"), [("superior", 0.015), ("noninferior", 0.0)]
)
def test_power_is_the_share_of_successes(claim, difference):
    rng = np.random.default_rng(0)
    count, seeds, cases = 600, 12, 20
    values = (
        difference
        + 0.01 * rng.normal(size=(count, seeds, 1))
        + 0.02 * rng.normal(size=(count, 1, cases))
        + 0.03 * rng.normal(size=(count, seeds, cases))
    )
    bound = 0.0 if claim == "superior" else -0.015
    share = np.mean([estimate_mean([m]).p_above(bound) <= 0.025 for m in values])
    found = power(
        claim,
        margin=0.015,
        components=MIXED,
        num_seeds=seeds,
        num_cases=cases,
        difference=difference,
    )
    assert found == pytest.approx(share, abs=0.07)


def test_equivalence_by_hand_where_only_seeds_vary():
    components = Components(sd_seed=0.01, sd_case=0.0, sd_residual=0.0)
    found = power(
        "equivalent", margin=0.02, components=components, num_seeds=9, num_cases=5
    )
    t = scipy.stats.t(8)
    error = 0.01 / 3
    assert found == pytest.approx(2 * t.cdf(0.02 / error - t.isf(0.05)) - 1)
    tight = power(
        "equivalent", margin=0.001, components=components, num_seeds=9, num_cases=5
    )
    assert tight == 0


@pytest.mark.parametrize("claim", ["superior", "noninferior", "equivalent"])
def test_power_grows_with_seeds_and_falls_with_the_family(claim):
    def found(seeds, contrasts=1):
        return power(
            claim,
            margin=0.02,
            components=MIXED,
            num_seeds=seeds,
            num_cases=30,
            num_contrasts=contrasts,
        )

    assert found(5) < found(10) < found(40)
    assert found(10, 6) < found(10)


@pytest.mark.parametrize("claim", ["superior", "noninferior", "equivalent"])
def test_without_any_spread_the_truth_is_seen(claim):
    nothing = Components(sd_seed=0, sd_case=0, sd_residual=0)
    shape = {"num_seeds": 3, "num_cases": 3, "components": nothing, "margin": 0.01}
    assert power(claim, **shape) == 1
    assert power(claim, difference=-0.02, **shape) == 0


def test_seeds_needed_is_the_fewest():
    shape = {"margin": 0.01, "num_cases": 200, "components": MIXED}
    seeds = seeds_needed("superior", **shape)
    assert power("superior", num_seeds=seeds, **shape) >= 0.8
    assert power("superior", num_seeds=seeds - 1, **shape) < 0.8


def test_cases_can_be_the_limit():
    few = Components(sd_seed=0.001, sd_case=0.1, sd_residual=0.01)
    assert seeds_needed("superior", margin=0.01, components=few, num_cases=10) is None


@pytest.mark.parametrize(
    "change", [{"num_seeds": 1}, {"num_cases": 1}, {"margin": 0.0}]
)
def test_impossible_plans(change):
    shape = {"num_seeds": 3, "num_cases": 3, "components": MIXED, "margin": 0.01}
    with pytest.raises(ValueError, match="needed"):
        power("superior", **(shape | change))


def test_cases_needed_is_the_fewest():
    shape = {"margin": 0.01, "num_seeds": 40, "components": MIXED}
    cases = cases_needed("superior", **shape)
    assert power("superior", num_cases=cases, **shape) >= 0.8
    assert power("superior", num_cases=cases - 1, **shape) < 0.8


def test_seeds_can_be_the_limit():
    assert (
        cases_needed("superior", margin=0.001, components=MIXED, num_seeds=10) is None
    )


@pytest.mark.parametrize("claim", ["superior", "noninferior", "equivalent"])
def test_the_resolvable_difference_is_where_power_is_reached(claim):
    shape = {"num_seeds": 12, "num_cases": 25}
    error, df = expected_error(MIXED, **shape)
    found = resolvable(claim, error=error, df=df, num_contrasts=3)
    reached = power(claim, margin=found, components=MIXED, num_contrasts=3, **shape)
    assert reached == pytest.approx(0.8, abs=1e-4)
    assert resolvable(claim, error=0.0, df=5.0) == 0


def test_power_agrees_with_scipys_noncentral_t():
    error, df = expected_error(MIXED, num_seeds=7, num_cases=9)
    wanted = scipy.stats.nct.sf(scipy.stats.t.isf(0.025, df), df, 0.02 / error)
    found = power("superior", margin=0.02, components=MIXED, num_seeds=7, num_cases=9)
    assert found == pytest.approx(wanted, abs=1e-9)


def test_folds_are_independent_parts():
    one = expected_error(MIXED, num_seeds=4, num_cases=10)
    five = expected_error(MIXED, num_seeds=20, num_cases=50, num_folds=5)
    assert five[0] == pytest.approx(one[0] / np.sqrt(5))
    assert five[1] == pytest.approx(5 * one[1])
    shape = {"margin": 0.008, "components": MIXED, "num_folds": 5}
    seeds = seeds_needed("superior", num_cases=100, **shape)
    assert seeds % 5 == 0
    assert power("superior", num_seeds=seeds, num_cases=100, **shape) >= 0.8
    assert power("superior", num_seeds=seeds - 5, num_cases=100, **shape) < 0.8
    with pytest.raises(ValueError, match="in 5 folds"):
        power("superior", num_seeds=9, num_cases=100, **shape)
