import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.meta_analysis import combine_effects

from slicebench.errors import InputError
from slicebench.statistics import (
    MOST_COVERAGE,
    evaluate,
    pool_contrasts,
    random_effects,
    strata_means,
)
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables


def test_two_tasks_by_hand():
    found = random_effects(np.array([0.1, 0.3]), np.array([0.01, 0.01]))
    # Q = 2 x 0.1^2 / 0.01; tau2 makes it 1; the mean has variance 0.02 / 2.
    assert found.q == pytest.approx(2)
    assert found.tau2 == pytest.approx(0.01)
    assert found.i2 == pytest.approx(0.5)
    assert found.p == pytest.approx(scipy.stats.chi2.sf(2, 1))
    assert found.estimate == pytest.approx(0.2)
    assert found.high == pytest.approx(0.2 + scipy.stats.t.ppf(0.975, 1) * 0.1)
    assert found.prediction_low is None
    assert found.weights == (0.5, 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_spread_tasks_are_those_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.5, 2, 6) * 1e-4
    estimates = rng.normal(0.02, 0.03, 6)
    found = random_effects(estimates, variances)
    # A tighter tolerance sends its search past the root, and tau2 to 0.
    reference = combine_effects(
        estimates, variances, method_re="pm", use_t=True, atol=1e-6
    )
    low, high = reference.conf_int()[3]
    assert found.tau2 == pytest.approx(reference.tau2, rel=1e-6)
    assert found.tau2 > 0
    assert found.estimate == pytest.approx(reference.mean_effect_re, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5)
    assert found.q == pytest.approx(reference.q)
    assert found.i2 == pytest.approx(reference.i2)
    assert found.weights == pytest.approx(reference.weights_rel_re)
    wide = scipy.stats.t.ppf(0.975, 4) * np.sqrt(
        found.tau2 + reference.sd_eff_w_re_hksj**2
    )
    assert found.prediction_high == pytest.approx(found.estimate + wide, rel=1e-5)


def test_tasks_that_agree_promise_no_more_than_their_errors():
    estimates, variances = np.array([0.02, 0.0201, 0.0199]), np.full(3, 1e-4)
    found = random_effects(estimates, variances)
    bare = combine_effects(estimates, variances, method_re="pm", use_t=True)
    fixed = bare.conf_int(use_t=False)[0]
    assert (found.tau2, found.i2) == (0, 0)
    assert found.high - found.low > fixed[1] - fixed[0]
    # Without the bound the interval would be a hundredth of that.
    assert np.ptp(bare.conf_int()[3]) < (found.high - found.low) / 50


def test_coverage_over_few_tasks():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        variances = rng.uniform(0.5, 3, 4) * 1e-4
        true = rng.normal(0.01, 0.01, 4)
        found = random_effects(rng.normal(true, np.sqrt(variances)), variances)
        covered += found.low < 0.01 < found.high
    # Standard error 0.011; the bound makes it wider where tasks agree.
    assert 0.92 < covered / 400 < 0.995


@pytest.mark.parametrize(
    ("estimates", "variances"), [([0.1], [0.1]), ([0.1, 0.2], [0.1, 0.0])]
)
def test_too_little_to_pool(estimates, variances):
    with pytest.raises(ValueError, match="at least two"):
        random_effects(np.array(estimates), np.array(variances))


def two_budgets(first, second):
    """Returns contrasts and tables of k_center - random at budgets 8 and 16."""
    base = 0.6 + np.random.default_rng(9).normal(0, 0.05, first.shape)
    frames = tables(
        ({**K_CENTER, "budget": 8}, base + first),
        ({**RANDOM, "budget": 8}, base),
        ({**K_CENTER, "budget": 16}, base + second),
        ({**RANDOM, "budget": 16}, base),
    )
    planned = [
        contrast(name=f"k_center against random (budget {b})", where={"budget": b})
        for b in (8, 16)
    ]
    return planned, frames


def spread(seed=1, shape=(8, 10)):
    rng = np.random.default_rng(seed)
    return 0.02 * (rng.normal(size=(shape[0], 1)) + rng.normal(size=shape))


def test_strata_move_together():
    noise = spread()
    planned, frames = two_budgets(0.01 + noise, 0.03 + noise)
    (mean,) = strata_means(planned, *frames, poolable=[None, None])
    one, other = evaluate(planned, *frames, margins={}, resamples=1)
    assert mean["name"] == "k_center against random"
    assert mean["strata"] == [c["name"] for c in planned]
    assert mean["where"] == {}
    assert mean["estimate"] == pytest.approx((one["estimate"] + other["estimate"]) / 2)
    # Copies of one noise: the mean is no surer than either.
    assert mean["variance"] == pytest.approx(one["variance"])
    assert (mean["num_seeds"], mean["num_cases"], mean["num_strata"]) == (8, 10, 2)


def test_strata_that_cancel_have_a_sure_mean():
    noise = spread()
    planned, frames = two_budgets(0.02 + noise, 0.02 - noise)
    entries = evaluate(planned, *frames, margins={}, resamples=1)
    (mean,) = strata_means(planned, *frames, poolable=[None, None])
    assert mean["variance"] < 1e-20 < entries[0]["variance"]
    # From entries alone the covariance is not known: the safe side.
    known = [{**entry, "poolable": True} for entry in entries]
    known.append({**known[0], "task": "another"})
    (pooled,) = pool_contrasts(known)
    assert pooled["members"][0]["variance"] == pytest.approx(entries[0]["variance"])


def test_what_may_not_be_pooled_is_left_out_with_its_reason():
    planned, frames = two_budgets(0.01 + spread(1), 0.03 + spread(2))
    dense = f"coverage above {MOST_COVERAGE}: not pooled"
    (mean,) = strata_means(planned, *frames, poolable=[None, dense])
    assert mean["estimate"] == pytest.approx(0.01 + spread(1).mean())
    assert mean["num_strata"] == 1
    assert mean["left_out"] == [
        {"task": "blobs", "name": planned[1]["name"], "reason": dense}
    ]
    (none,) = strata_means(planned, *frames, poolable=[dense, dense])
    assert (none["estimate"], none["reason"]) == (None, "no stratum may be pooled")
    (pooled,) = pool_contrasts([mean, {**none, "task": "other"}])
    assert pooled["num_tasks"] == 1
    reasons = [item["reason"] for item in pooled["left_out"]]
    assert reasons == [dense, "no stratum may be pooled", dense, dense]


def test_twins_are_left_out():
    planned, frames = two_budgets(0.01 + spread(1), np.zeros((8, 10)))
    (mean,) = strata_means(planned, *frames, poolable=[None, None])
    assert mean["strata"] == [planned[0]["name"]]
    assert mean["left_out"][0]["reason"].startswith("identical by construction")


def test_strata_without_a_common_seed_have_no_mean():
    base, scores = spread(3), spread(4)
    early = tables(({**K_CENTER}, scores), (RANDOM, base), seeds=range(8))
    late = tables(
        ({**K_CENTER, "budget": 16}, scores),
        ({**RANDOM, "budget": 16}, base),
        seeds=range(10, 18),
    )
    planned = two_budgets(base, base)[0]
    frames = [
        pd.concat(pair, ignore_index=True) for pair in zip(early, late, strict=True)
    ]
    (mean,) = strata_means(planned, *frames, poolable=[None, None])
    assert mean["estimate"] is None
    assert mean["reason"] == "over strata the cells share no seed"


def entry(task, estimate, **changes):
    return {
        **contrast(task=task, name="k_center against random"),
        "estimate": estimate,
        "variance": 1e-4,
        "df": 9.0,
        "num_seeds": 10,
        "num_cases": 20,
        "poolable": True,
        "reason": None,
        **changes,
    }


def test_tasks_of_several_folders():
    found = [
        entry("a", 0.01, name="k_center against random (budget 8)"),
        entry("b", 0.03, where={"budget": 48, "steps": 400}),
        entry("c", 0.05, where={"budget": 24, "steps": 150}),
    ]
    (pooled,) = pool_contrasts(found)
    reference = random_effects(np.array([0.01, 0.03, 0.05]), np.full(3, 1e-4))
    assert pooled["num_tasks"] == 3
    assert pooled["case_series"]
    assert pooled["estimate"] == reference.estimate
    assert (pooled["low"], pooled["high"]) == (reference.low, reference.high)
    assert pooled["prediction_low"] == reference.prediction_low
    assert pooled["p_heterogeneity"] == reference.p
    assert [m["weight"] for m in pooled["members"]] == list(reference.weights)
    assert [m["task"] for m in pooled["members"]] == ["a", "b", "c"]
    half = scipy.stats.t.ppf(0.975, 9) * 0.01
    assert pooled["members"][0]["low"] == pytest.approx(0.01 - half)
    assert json.loads(json.dumps(pooled, allow_nan=False)) == pooled


def test_eight_tasks_are_no_case_series():
    found = [entry(f"task{n}", 0.01 * n) for n in range(8)]
    assert not pool_contrasts(found)[0]["case_series"]
    assert pool_contrasts(found[:7])[0]["case_series"]


def test_targets_of_the_same_patients_are_one_task():
    found = [entry("a", 0.01, target="liver"), entry("a", 0.03, target="tumour")]
    (pooled,) = pool_contrasts([*found, entry("b", 0.02)])
    first = pooled["members"][0]
    assert (first["target"], first["estimate"]) == ("liver + tumour", 0.02)
    assert first["variance"] == pytest.approx(1e-4)
    assert pooled["num_tasks"] == 2


def test_questions_stay_apart():
    found = [
        entry("a", 0.01),
        entry("b", 0.01, dims="3d"),
        entry("a", 0.01, metric="nsd"),
        entry("a", 0.01, claim="equivalent"),
        entry("a", 0.01, a={"strategy": "typiclust"}),
        entry("a", 0.01, where={"volume_strategy": "stratified"}),
    ]
    assert pool_contrasts(found) == []
    again = [{**item, "task": "c"} for item in found]
    assert [p["num_tasks"] for p in pool_contrasts(found + again)] == [2] * 6


def test_interpolation_is_pooled_density_by_density():
    sides = {"a": {"interpolation": "linear"}, "b": {"interpolation": "none"}}
    found = [
        entry(
            task,
            0.01,
            name=f"linear against none (budget 24, slices_per_volume {k})",
            where={"budget": 24, "slices_per_volume": k},
            **sides,
        )
        for k in (2, 4)
        for task in ("a", "b")
    ]
    names = [p["name"] for p in pool_contrasts(found)]
    assert names == [f"linear against none (slices_per_volume {k})" for k in (2, 4)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"poolable": False, "not_pooled": "too dense"}, "too dense"),
        ({"poolable": None}, "coverage of the choices is not known"),
        ({"estimate": None, "reason": "nothing trained"}, "nothing trained"),
        ({"variance": None}, "no interval"),
        ({"variance": 0.0}, "no spread"),
        ({"reason": "interval over seeds only"}, "interval over seeds only"),
    ],
)
def test_entries_that_do_not_count(change, reason):
    (pooled,) = pool_contrasts([entry("a", 0.1), {**entry("b", 0.1), **change}])
    assert [m["task"] for m in pooled["members"]] == ["a"]
    assert [item["reason"] for item in pooled["left_out"]] == [reason]
    assert pooled["reason"] == "fewer than two tasks may be pooled"
    assert pooled["estimate"] is None
    assert pooled["members"][0]["weight"] is None


def test_strategies_of_unknown_coverage_do_not_count():
    unknown = [entry("a", 0.1), entry("b", 0.1)]
    for item in unknown:
        del item["poolable"]
    assert pool_contrasts(unknown)[0]["num_tasks"] == 0
    slopes = [{**item, "kind": "slope", "a": {}, "b": {}} for item in unknown]
    assert pool_contrasts(slopes)[0]["num_tasks"] == 2


def test_an_entry_that_lacks_a_field():
    with pytest.raises(InputError, match="contrast 'x': missing"):
        pool_contrasts([{"name": "x"}])
