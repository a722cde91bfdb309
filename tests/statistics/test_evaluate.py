import json

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.statistics import Margin, estimate_mean, evaluate, families, holm
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables

PLACE = ("blobs", "all", "2d", "dice")
MARGIN = Margin(value=0.02, source="stated", alternatives={}, gain=0.05)
SHAPE = (12, 24)


def noise(scale, seed=0):
    return scale * np.random.default_rng(seed).normal(size=SHAPE)


def evaluated(effect, scale=0.01, **changes):
    """Evaluates k_center = random + effect + noise, one contrast."""
    base = 0.6 + noise(0.05, seed=9)
    frames = tables((K_CENTER, base + effect + noise(scale)), (RANDOM, base))
    margins = {PLACE: MARGIN}
    return evaluate([contrast(**changes)], *frames, margins=margins, resamples=200)[0]


@pytest.mark.parametrize(
    ("effect", "scale", "verdict", "negligible"),
    [
        (0.05, 0.01, "superior", False),
        (0.005, 0.01, "superior", True),
        (-0.05, 0.01, "inferior", False),
        (-0.005, 0.01, "inferior", True),
        (0.0, 0.05, "equivalent", False),
        (0.012, 0.14, "noninferior", False),
        (0.0, 0.5, "inconclusive", False),
    ],
)
def test_verdicts(effect, scale, verdict, negligible):
    entry = evaluated(effect, scale)
    assert (entry["verdict"], entry["negligible"]) == (verdict, negligible)
    assert entry["low"] < entry["low90"] < entry["estimate"]
    assert entry["estimate"] < entry["high90"] < entry["high"]
    assert entry["bootstrap_low"] < entry["estimate"] < entry["bootstrap_high"]
    assert (entry["num_seeds"], entry["num_cases"]) == SHAPE
    assert not entry["few_seeds"]
    assert entry["reason"] is None


def test_entry_has_every_field_and_is_json():
    entry = evaluated(0.01)
    text = json.dumps(entry, allow_nan=False)
    assert json.loads(text) == entry
    summary = (
        "name family claim task target dims metric a b estimate low high level margin "
        "p_superior p_inferior p_noninferior p_equivalent num_seeds num_cases "
        "negligible verdict"
    )
    assert set(summary.split()) <= set(entry)
    assert entry["slices_saved"]["estimate"] == pytest.approx(
        2 ** (entry["estimate"] / 0.05) - 1
    )


def test_numbers_are_those_of_the_interval():
    entry = evaluated(0.01)
    estimate = estimate_mean([0.01 + noise(0.01)])
    assert entry["estimate"] == pytest.approx(estimate.mean)
    assert (entry["low"], entry["high"]) == pytest.approx(estimate.interval(0.95))
    assert entry["p_superior_raw"] == pytest.approx(estimate.p_above(0))
    assert entry["p_noninferior_raw"] == pytest.approx(estimate.p_above(-0.02))
    assert entry["df"] == pytest.approx(estimate.df)


def test_two_copies_are_equal_and_nothing_else():
    base = 0.6 + noise(0.05)
    entries = evaluate(
        [contrast(), contrast(name="same cell", a={"strategy": "random"})],
        *tables((K_CENTER, base), (RANDOM, base)),
        margins={PLACE: MARGIN},
    )
    for entry in entries:
        assert (entry["estimate"], entry["low"], entry["high"]) == (0, 0, 0)
        assert entry["verdict"] == "equivalent"
        assert entry["p_superior_raw"] == entry["p_inferior_raw"] == 0.5


def test_copies_with_their_own_noise_are_rarely_superior():
    rng = np.random.default_rng(1)
    verdicts = []
    for _ in range(100):
        seed_a, seed_b = rng.normal(0, 0.01, (2, 12, 1))
        case = rng.normal(0, 0.05, (1, 24))
        a, b = (s + case + rng.normal(0, 0.02, SHAPE) for s in (seed_a, seed_b))
        frames = tables((K_CENTER, a), (RANDOM, b))
        (entry,) = evaluate(
            [contrast()], *frames, margins={}, resamples=1, supplement=False
        )
        verdicts.append(entry["verdict"])
    # Nominal 0.025: 2.5 expected, 8 or more with probability 0.004.
    assert verdicts.count("superior") < 8


def test_distances_favour_the_smaller():
    base = 10 + noise(1, seed=9)
    frames = tables((K_CENTER, base - 1 + noise(0.1)), (RANDOM, base), metric="hd95")
    margins = {(*PLACE[:3], "hd95"): Margin(value=0.5, source="", alternatives={})}
    (entry,) = evaluate([contrast(metric="hd95")], *frames, margins=margins)
    assert entry["estimate"] == pytest.approx(1, abs=0.05)
    assert entry["verdict"] == "superior"
    assert entry["slices_saved"] is None


def test_slope_favours_many_volumes():
    cells = [
        (
            {"slices_per_volume": k, "num_volumes": 8 // k},
            0.7 - 0.02 * n + noise(0.01, n),
        )
        for n, k in enumerate((1, 2, 4))
    ]
    slope = contrast(kind="slope", where={"budget": 8}, a={}, b={})
    (entry,) = evaluate([slope], *tables(*cells), margins={PLACE: MARGIN})
    assert entry["estimate"] == pytest.approx(0.02, abs=0.002)
    assert entry["verdict"] == "superior"
    assert entry["num_cells"] == 3


def test_families_are_adjusted_apart_and_exploration_not_at_all():
    base = 0.6 + noise(0.05, seed=9)
    effects = {"one": 0.002, "two": 0.0015, "three": 0.001}
    cells = [
        ({"strategy": name}, base + effect + noise(0.01, seed))
        for seed, (name, effect) in enumerate(effects.items())
    ]
    plan = [contrast(name=name, a={"strategy": name}) for name in effects]
    plan += [contrast(family="other", a={"strategy": "one"})]
    plan += [contrast(primary=False, a={"strategy": "two"})]
    plan += [contrast(name="gone", a={"strategy": "gone"})]
    entries = evaluate(plan, *tables((RANDOM, base), *cells), margins={PLACE: MARGIN})
    for name in ("p_superior", "p_inferior", "p_noninferior", "p_equivalent"):
        raw = [entry[f"{name}_raw"] for entry in entries]
        adjusted = holm([*raw[:3], None])
        assert [entry[name] for entry in entries[:3]] == adjusted[:3]
        assert entries[3][name] == raw[3]
        assert entries[4][name] is None
    assert entries[4]["verdict"] == "exploratory"
    assert entries[4]["low"] is not None
    assert entries[5]["verdict"] == "inconclusive"
    assert entries[5]["reason"] == "no finished trials on side a"
    assert entries[5]["estimate"] is None


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        (1, 24, "interval over cases only: no verdict"),
        (12, 1, "interval over seeds only: no verdict"),
        (1, 1, "one seed and one case: no interval"),
    ],
)
def test_one_seed_or_case_gives_no_verdict(rows, columns, reason):
    a, b = 0.7 + noise(0.001)[:rows, :columns], np.full((rows, columns), 0.6)
    frames = tables((K_CENTER, a), (RANDOM, b))
    (entry,) = evaluate([contrast()], *frames, margins={PLACE: MARGIN})
    assert entry["verdict"] == "inconclusive"
    assert entry["reason"] == reason
    assert entry["p_superior"] is None
    assert (entry["low"] is None) == (reason.endswith("no interval"))


def test_few_seeds_and_cases_are_flagged():
    a, b = 0.7 + noise(0.01)[:5, :6], 0.6 + noise(0.01, 1)[:5, :6]
    (entry,) = evaluate([contrast()], *tables((K_CENTER, a), (RANDOM, b)), margins={})
    assert entry["few_seeds"]
    assert entry["few_cases"]
    assert entry["margin"] is None
    assert entry["p_noninferior"] is None


def test_diverged_and_blind_trials_can_be_left_out():
    base = 0.6 + noise(0.01)
    unseen = '{"c0":{"slices":0,"volumes":0}}'
    results, trials = tables((K_CENTER, base), (RANDOM, base))
    hit = trials["selection_seed"] == 3
    ids = trials.loc[hit & (trials["strategy"] == "k_center"), "trial_id"]
    results.loc[results["trial_id"].isin(ids), "score"] = 0.0
    for column, value, option in (
        ("status", "diverged", "drop_diverged"),
        ("foreground_by_class", unseen, "drop_unseen"),
    ):
        marked = trials.copy()
        marked.loc[trials["trial_id"].isin(ids), column] = value
        plan = {"margins": {}, "resamples": 50}
        (kept,) = evaluate([contrast()], results, marked, **plan)
        (left,) = evaluate([contrast()], results, marked, **plan, **{option: True})
        assert kept["estimate"] == pytest.approx(-base[3].mean() / 12)
        assert kept["num_seeds"] == 12
        assert left["estimate"] == 0
        assert left["num_seeds"] == 11


def test_equal_seed_equal_entries_in_any_order():
    base = 0.6 + noise(0.05, seed=9)
    frames = tables((K_CENTER, base + noise(0.01)), (RANDOM, base))
    plan = [contrast(), contrast(name="again", family="other")]
    first = evaluate(plan, *frames, margins={}, seed=1, resamples=100)
    turned = [frame.sample(frac=1, random_state=0) for frame in frames]
    second = evaluate(plan[::-1], *turned, margins={}, seed=1, resamples=100)
    assert json.dumps(first) == json.dumps(second[::-1])
    other = evaluate(plan, *frames, margins={}, seed=2, resamples=100)
    assert other[0]["bootstrap_low"] != first[0]["bootstrap_low"]
    assert other[0]["low"] == first[0]["low"]


def test_unfinished_runs_and_bad_contrasts():
    results, trials = tables((K_CENTER, noise(1)), (RANDOM, noise(1)))
    nothing = (results.iloc[:0], trials.iloc[:0])
    (entry,) = evaluate([contrast()], *nothing, margins={})
    assert entry["verdict"] == "inconclusive"
    assert entry["reason"] == "no finished trials with this score"
    broken = contrast()
    del broken["where"]
    with pytest.raises(InputError, match="'k_center against random': missing"):
        evaluate([broken], results, trials, margins={})


def test_a_joint_claim_is_as_sure_as_its_weakest_part():
    base = 0.6 + noise(0.05, seed=9)
    cells = [({"strategy": n}, base + noise(0.02, n == "two")) for n in ("one", "two")]
    plan = [
        contrast(claim="noninferior", a={"strategy": name}) for name in ("one", "two")
    ]
    frames = tables((RANDOM, base), *cells)
    entries = evaluate(plan, *frames, margins={PLACE: MARGIN})
    (family,) = families(entries)
    weakest = max(entry["p_noninferior_raw"] for entry in entries)
    assert family["p_all"] == weakest
    assert family["all_hold"]
    assert family["num_contrasts"] == 2
    gone = [*plan, contrast(claim="noninferior", a={"strategy": "gone"})]
    (family,) = families(evaluate(gone, *frames, margins={PLACE: MARGIN}))
    assert family["p_all"] is None
    assert not family["all_hold"]


def test_families_leave_exploration_out():
    frames = tables((K_CENTER, noise(1)), (RANDOM, noise(1)))
    assert families(evaluate([contrast(primary=False)], *frames, margins={})) == []


def test_a_family_shares_the_level_of_its_plan():
    base = 0.6 + noise(0.05)
    frames = tables((K_CENTER, base + noise(0.03, 2)), (RANDOM, base))
    margins = {PLACE: MARGIN}
    (alone,) = evaluate([contrast()], *frames, margins=margins)
    shared, *_ = evaluate(
        [contrast(name=n) for n in "abcdef"], *frames, margins=margins
    )
    assert shared["resolvable"] > alone["resolvable"]
    assert shared["seeds_needed"] > alone["seeds_needed"]
    explored = evaluate(
        [contrast(name=n, primary=False) for n in "abcdef"], *frames, margins=margins
    )
    assert explored[0]["resolvable"] == alone["resolvable"]


def test_without_a_margin_there_is_no_plan():
    base = 0.6 + noise(0.05)
    frames = tables((K_CENTER, base + noise(0.03, 2)), (RANDOM, base))
    (entry,) = evaluate([contrast()], *frames, margins={})
    assert entry["resolvable"] > 0
    assert entry["seeds_needed"] is entry["cases_needed"] is None


def test_folds_of_few_seeds_plan_with_what_they_have_shown():
    rng = np.random.default_rng(0)
    cells = []
    for fold in range(3):
        base = 0.6 + 0.05 * rng.normal(size=(2, 10))
        effect = 0.02 * rng.normal(size=(2, 1)) + 0.02 * rng.normal(size=(2, 10))
        cells += [
            ({**K_CENTER, "fold": fold}, base + effect),
            ({**RANDOM, "fold": fold}, base),
        ]
    frames = tables(*cells)
    (entry,) = evaluate([contrast()], *frames, margins={PLACE: MARGIN})
    assert (entry["num_seeds"], entry["num_cases"]) == (6, 10 * 3)
    assert entry["seeds_needed"] % 3 == 0
    assert (entry["seeds_needed"] <= 6) == (entry["resolvable"] <= 0.02)
    assert entry["p_sign_flip"] * 2**5 == round(entry["p_sign_flip"] * 2**5)


def test_supplement_can_be_left_out():
    base = 0.6 + noise(0.05)
    frames = tables((K_CENTER, base + noise(0.03, 2)), (RANDOM, base))
    with_all, without = (
        evaluate([contrast()], *frames, margins={PLACE: MARGIN}, supplement=s)[0]
        for s in (True, False)
    )
    assert set(with_all) == set(without)
    assert without["p_sign_flip"] is without["seeds_needed"] is None
    assert with_all["low"] == without["low"]
