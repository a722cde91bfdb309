"""Bounds of several looks: published tables, error over all looks, decisions."""

import collections
import math

import numpy as np
import pytest
import scipy.stats

from slicebench.statistics import (
    _intervals,
    _looks,
    _replay,
    _sequential,
    evaluate,
    power,
)
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables

SEEDS = (8, 16, 32)


def equal_steps(looks):
    return [look + 1 for look in range(looks)]


@pytest.mark.parametrize(
    ("looks", "alpha", "bounds"),
    [
        (2, 0.05, (2.796, 1.977)),
        (3, 0.05, (3.471, 2.454, 2.004)),
        (4, 0.05, (4.049, 2.863, 2.337, 2.024)),
        (5, 0.05, (4.562, 3.226, 2.634, 2.281, 2.040)),
        (3, 0.01, (4.494, 3.178, 2.595)),
    ],
)
def test_the_published_bounds_of_obrien_and_fleming(looks, alpha, bounds):
    """Jennison and Turnbull 1999, table 2.3."""
    found = _sequential.boundaries(equal_steps(looks), alpha, two_sided=True)
    np.testing.assert_allclose(found, bounds, atol=1e-3)


@pytest.mark.parametrize(
    ("looks", "alpha", "constant"),
    [(2, 0.05, 2.178), (3, 0.05, 2.289), (5, 0.05, 2.413), (3, 0.01, 2.873)],
)
def test_the_published_bounds_of_pocock(looks, alpha, constant):
    """Jennison and Turnbull 1999, table 2.1."""
    found = _sequential.boundaries(
        equal_steps(looks), alpha, shape=_sequential.POCOCK, two_sided=True
    )
    np.testing.assert_allclose(found, [constant] * looks, atol=1e-3)


@pytest.mark.parametrize(
    ("looks", "published"),
    [
        (2, (2.963, 1.969)),
        (3, (3.710, 2.511, 1.993)),
        (4, (4.333, 2.963, 2.359, 2.014)),
        (5, (4.877, 3.357, 2.680, 2.290, 2.031)),
    ],
)
def test_the_published_bounds_of_spending(looks, published):
    """Lan and DeMets 1983, as in the tables of the program ld98."""
    information = equal_steps(looks)
    bounds = []
    for look in range(looks):
        total = _sequential.spent(0.025, (look + 1) / looks)
        now = information[: look + 1]
        bounds.append(_sequential.next_bound(now, bounds, total))
    np.testing.assert_allclose(bounds, published, atol=1e-3)
    probabilities = _sequential.crossing(information, bounds)
    assert probabilities.sum() == pytest.approx(0.025, abs=1e-7)


def test_two_looks_agree_with_the_bivariate_normal_distribution():
    information, bounds = [1.0, 2.5], [2.2, 1.9]
    found = _sequential.crossing(information, bounds)
    correlation = math.sqrt(information[0] / information[1])
    both = scipy.stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]])
    assert found.sum() == pytest.approx(1 - both.cdf(bounds), abs=1e-6)


def test_crossing_agrees_with_simulated_paths():
    information, bounds = [1.0, 1.3, 4.0, 4.1], [2.0, 2.1, 1.8, 2.2]
    found = _sequential.crossing(information, bounds, two_sided=True)
    steps = np.sqrt(np.diff([0.0, *information]))
    paths = np.random.default_rng(0).normal(0, 1, (200_000, 4)) * steps
    scores = np.abs(paths.cumsum(1)) / np.sqrt(information)
    first = (scores > bounds).argmax(1)[(scores > bounds).any(1)]
    simulated = np.bincount(first, minlength=4) / len(paths)
    np.testing.assert_allclose(found, simulated, atol=5 * math.sqrt(0.05 / 2e5))


def test_nothing_is_left_where_all_is_spent_or_no_information_is_gained():
    assert _sequential.next_bound([1, 2], [1.96], 0.01) == _sequential.LIMIT
    assert _sequential.spent(0.025, 0.0) == 0
    assert _sequential.spent(0.025, 1.7) == pytest.approx(0.025)
    late = _sequential.next_bound([1, 1 + 1e-9], [2.0], 0.025)
    assert 1.9 < late < 2.3


@pytest.mark.parametrize(
    ("information", "bounds"), [([], []), ([2, 1], [2, 2]), ([0, 1], [2, 2]), ([1], [])]
)
def test_impossible_looks_are_refused(information, bounds):
    with pytest.raises(ValueError, match=r"look|information"):
        _sequential.crossing(information, bounds)


def draw(rng, mean, seeds=32, cases=20, sd=(0.02, 0.01, 0.03)):
    seed, case, rest = sd
    return (
        mean
        + rng.normal(0, seed, (seeds, 1))
        + rng.normal(0, case, (1, cases))
        + rng.normal(0, rest, (seeds, cases))
    )


def follow(matrices, claims, margin=0.01, seeds=SEEDS):
    """Takes looks until all is settled; returns progress after each."""
    contrasts = [{"family": "one", "claim": claim} for claim in claims]
    progress = [_looks.Progress() for _ in contrasts]
    taken = []
    for number, count in enumerate(seeds):
        seen = [_looks.observe([matrix[:count]], margin) for matrix in matrices]
        progress = _looks.take_look(contrasts, seen, progress, seeds, number)
        taken.append(progress)
        if all(one.state in ("decided", "case-limited") for one in progress):
            break
    return taken


def test_the_variance_of_a_look_is_that_of_its_estimate():
    seen = _looks.observe([draw(np.random.default_rng(1), 0.0)], 0.01)
    assert seen.variance(1.0) == pytest.approx(seen.estimate.variance)
    assert seen.variance(1e12) == pytest.approx(seen.by_cases)


def test_variances_of_folds_are_weighted_by_cases():
    rng = np.random.default_rng(2)
    folds = [draw(rng, 0.0, 6, 10), draw(rng, 0.0, 6, 20)]
    seen = _looks.observe(folds, None)
    assert seen.variance(1.0) == pytest.approx(seen.estimate.variance)
    one = [_looks.observe([fold], None) for fold in folds]
    weighted = one[0].by_cases / 9 + one[1].by_cases * 4 / 9
    assert seen.by_cases == pytest.approx(weighted)


def test_few_effective_cases_leave_fewer_degrees_of_freedom():
    matrix = draw(np.random.default_rng(8), 0.0, 16, 20, (0.005, 0.02, 0.01))
    plain = _looks.observe([matrix], 0.01)
    few = _looks.observe([matrix], 0.01, effective_cases=[6.0])
    assert (plain.df_cases, few.df_cases) == (19.0, 5.0)
    assert few.estimate.df < plain.estimate.df
    assert few.estimate.variance == plain.estimate.variance


def test_a_look_has_the_p_values_of_a_run_that_ends_there():
    """Scores of two classes, of which one is in few cases."""
    rng = np.random.default_rng(9)
    scores = rng.normal(0.7, 0.1, (2, 8, 12, 2))
    scores[:, :, 3:, 1] = np.nan
    results, trials = tables((K_CENTER, scores[0]), (RANDOM, scores[1]))
    ((entry,),) = _replay.replay_looks(
        [contrast()], results, trials, seeds=(8,), taken=1
    )
    (run,) = evaluate([contrast()], results, trials, margins={}, resamples=1)
    assert entry["estimate"] == pytest.approx(run["estimate"])
    assert entry["p_superior"] == pytest.approx(run["p_superior_raw"])
    assert entry["level_one_sided"] == pytest.approx(0.025)


def test_one_case_or_no_score_is_limited_by_cases():
    single = np.random.default_rng(3).normal(0, 1, (32, 1))
    assert _looks.observe([single], 0.01) is None
    assert _looks.observe([], 0.01) is None
    contrast = {"family": "one", "claim": "superior"}
    (after,) = _looks.take_look([contrast], [None], [_looks.Progress()], SEEDS, 0)
    assert (after.verdict, after.state) == ("inconclusive", "case-limited")


def test_a_large_effect_is_decided_at_the_first_look_and_stays_so():
    rng = np.random.default_rng(4)
    clear, open_still = draw(rng, 0.2), draw(rng, 0.006)
    taken = follow([clear, open_still], ["superior", "superior"])
    assert len(taken) > 1
    assert {(look[0].verdict, look[0].state) for look in taken} == {
        ("superior", "decided")
    }
    turned = _looks.observe([-clear[:16]], 0.01)
    contrasts = [{"family": "one", "claim": "superior"}] * 2
    seen = [turned, _looks.observe([open_still[:16]], 0.01)]
    again = _looks.take_look(contrasts, seen, taken[0], SEEDS, 1)
    assert (again[0].verdict, again[0].state) == ("superior", "decided")


def test_a_decision_leaves_its_error_to_the_others_of_the_family():
    """Holm: beside a clear contrast, the second one is tested at the whole level."""
    rng = np.random.default_rng(5)
    clear, matrix = draw(rng, 0.2), draw(rng, 0.0)
    alone = _looks.observe([matrix[:8]], None)
    contrasts = [{"family": "one", "claim": "superior"}] * 2
    start = [_looks.Progress()] * 2
    seen = [_looks.observe([clear[:8]], None), alone]
    whole = _looks.take_look(contrasts, seen, start, (8,), 0)[1]
    shift = alone.estimate.error * scipy.stats.t.isf(0.02, alone.estimate.df)
    near = _looks.observe([matrix[:8] - alone.estimate.mean + shift], None)
    together = _looks.take_look(contrasts, [seen[0], near], start, (8,), 0)
    apart = _looks.take_look(contrasts, [alone, near], start, (8,), 0)
    assert [one.verdict for one in together] == ["superior", "superior"]
    assert apart[1].verdict == "inconclusive"
    assert apart[1].holds
    assert _looks.level(whole, 0.025) == pytest.approx(0.025)
    assert _looks.level(whole, 0.0125) == pytest.approx(0.0125)


@pytest.mark.parametrize(
    ("claim", "verdict", "state"),
    [
        ("noninferior", "noninferior", "decided"),
        ("superior", "noninferior", "cap reached"),
    ],
)
def test_noninferiority_settles_only_its_own_claim(claim, verdict, state):
    """One look: 95 % interval above -margin, 90 % interval beyond the margin."""
    rng = np.random.default_rng(6)
    matrix = draw(rng, 0.0, 16, 20, (0.02, 0.0, 0.02))
    matrix += 0.008 - matrix.mean()
    (last,) = follow([matrix], [claim], margin=0.01, seeds=(16,))[-1]
    assert (last.verdict, last.state) == (verdict, state)


def observed(mean, by_cases, by_seeds, margin):
    estimate = _intervals.Estimate(
        mean=mean,
        variance=by_cases + by_seeds,
        df=20.0,
        num_seeds=16,
        num_cases=20,
        method="two-way",
    )
    return _looks.Observation(
        estimate=estimate,
        by_cases=by_cases,
        by_seeds=by_seeds,
        df_cases=19.0,
        margin=margin,
    )


@pytest.mark.parametrize(
    ("mean", "by_cases", "by_seeds", "margin", "claim", "limited"),
    [
        # Wide over cases, sure over seeds: nothing will change.
        (0.0, 1e-4, 1e-8, 0.01, "superior", True),
        # The same, but seeds may still move the mean out.
        (0.0, 1e-4, 1e-4, 0.01, "superior", False),
        (0.03, 1e-4, 1e-8, 0.01, "superior", False),
        # No variance over cases: seeds decide all.
        (0.0, 0.0, 1e-4, 0.01, "superior", False),
        # Narrow enough for equivalence around 0, not near the margin.
        (0.0, 1e-5, 1e-9, 0.01, "equivalent", False),
        (0.0055, 1e-5, 1e-9, 0.01, "equivalent", True),
        (0.0055, 1e-5, 1e-9, 0.01, "noninferior", False),
        (-0.0055, 1e-5, 1e-9, 0.01, "noninferior", True),
        (0.0, 1e-5, 1e-9, None, "superior", True),
    ],
)
def test_what_no_number_of_seeds_can_decide(
    mean, by_cases, by_seeds, margin, claim, limited
):
    seen = observed(mean, by_cases, by_seeds, margin)
    assert _looks.is_case_limited(claim, seen) == limited


def test_equal_cells_are_decided_without_spread():
    (only,) = follow([np.zeros((32, 20))], ["superior"])[0]
    assert (only.verdict, only.state) == ("equivalent", "decided")


def simulate(simulations, seed, mean, sd=(0.02, 0.01, 0.03), family=1):
    """Returns how often each verdict, and any rejection of a family, was reached."""
    rng = np.random.default_rng(seed)
    counts = collections.Counter()
    for _ in range(simulations):
        matrices = [draw(rng, mean, sd=sd) for _ in range(family)]
        last = follow(matrices, ["superior"] * family)[-1]
        counts.update(one.verdict for one in last)
        for name in ("p_superior", "p_inferior", "p_equivalent"):
            counts[name] += any(name in one.rejected for one in last)
    return {name: count / simulations for name, count in counts.items()}


def most(nominal, simulations, errors=3.0):
    return nominal + errors * math.sqrt(nominal * (1 - nominal) / simulations)


def test_error_over_all_looks_stays_below_the_nominal_one():
    simulations = 150
    none = simulate(simulations, 0, mean=0.0)
    assert none.get("p_superior", 0) <= most(0.025, simulations)
    assert none.get("p_inferior", 0) <= most(0.025, simulations)
    at_margin = simulate(simulations, 1, mean=0.01)
    assert at_margin.get("p_equivalent", 0) <= most(0.05, simulations)
    assert at_margin["superior"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("sd", [(0.02, 0.01, 0.03), (0.005, 0.02, 0.03), (0.03, 0, 0)])
@pytest.mark.parametrize("family", [1, 3])
def test_error_over_all_looks_in_many_simulations(sd, family):
    simulations = 2000 if family == 1 else 500
    none = simulate(simulations, 2, 0.0, sd, family)
    assert none.get("p_superior", 0) <= most(0.025, simulations)
    assert none.get("p_inferior", 0) <= most(0.025, simulations)
    at_margin = simulate(simulations, 3, 0.01, sd, family)
    assert at_margin.get("p_equivalent", 0) <= most(0.05, simulations)


@pytest.mark.parametrize("claim", ["superior", "noninferior", "equivalent"])
def test_power_of_one_look_is_the_power_of_a_run(claim):
    given = {
        "margin": 0.01,
        "components": _intervals.Components(
            sd_seed=0.013, sd_case=0.006, sd_residual=0.03
        ),
        "num_cases": 40,
        "difference": 0.01 if claim == "superior" else 0.0,
        "num_contrasts": 2,
    }
    (found,) = _looks.power_by_look(claim, seeds=(20,), **given)
    assert found == pytest.approx(power(claim, num_seeds=20, **given), abs=0.02)
    several = _looks.power_by_look(claim, seeds=(8, 16, 20), **given)
    assert several == sorted(several)
    assert several[0] < several[-1] < found + 0.01
