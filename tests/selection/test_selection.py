"""`select`, its errors, and what is computed from selections."""

import dataclasses
import itertools

import numpy as np
import pytest

from slicebench.data.prepared import PreparedCase
from slicebench.errors import InputError
from slicebench.selection import (
    FEATURES,
    ORACLES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    PoolView,
    Selection,
    Strategy,
    VolumeStrategy,
    coverage,
    find_strategy,
    lookup,
    select,
    strategy_names,
    uses_features,
    uses_labels,
)
from tests.selection.pools import make_view

VIEW = make_view([9, 12, 6, 15, 10])


def choose(view=VIEW, **changes):
    arguments = {
        "volume_strategy": "random",
        "strategy": "random",
        "num_volumes": 3,
        "slices_per_volume": 2,
        "budget": 6,
        "scope": "within",
        "seed": 0,
    }
    return select(view, **(arguments | changes))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("scope", ["within", "pooled"])
def test_the_budget_is_spent(strategy, scope):
    quota = 2 if scope == "within" else None
    for seed in range(5):
        chosen = choose(
            strategy=strategy, scope=scope, slices_per_volume=quota, seed=seed
        )
        assert chosen.annotated_slices == 6
        assert list(chosen.volumes) == sorted(set(chosen.volumes))
        assert len(chosen.volumes) == len(chosen.slices) == 3
        if scope == "within":
            assert [len(rows) for rows in chosen.slices] == [2, 2, 2]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("scope", ["within", "pooled"])
def test_all_slices_of_the_pool(strategy, scope):
    chosen = choose(
        strategy=strategy,
        scope=scope,
        num_volumes=5,
        slices_per_volume=None,
        budget=sum(VIEW.depths),
    )
    assert all(mask.all() for mask in chosen.mask(VIEW.depths))
    assert coverage(chosen, VIEW.depths) == 1.0


def test_volumes_are_nested_over_budgets():
    for seed in range(5):
        sets = [
            set(choose(num_volumes=n, budget=2 * n, seed=seed).volumes)
            for n in range(1, 6)
        ]
        assert all(a < b for a, b in itertools.pairwise(sets))


def test_mask_marks_the_slices_of_the_whole_pool():
    chosen = Selection(volumes=(1, 2), slices=((0, 3), ()))
    masks = chosen.mask([2, 4, 3])
    expected = [[0, 0], [1, 0, 0, 1], [0, 0, 0]]
    assert [mask.astype(int).tolist() for mask in masks] == expected


def test_a_selection_is_the_same_in_a_larger_program_of_calls():
    first = choose(strategy="k_center", seed=3)
    choose(strategy="random", seed=9)
    assert choose(strategy="k_center", seed=3) == first


def test_strategies_without_features_do_not_see_them(monkeypatch):
    seen = []

    def spy(view, quotas, budget, seed):
        seen.append(view.feature_count)
        return STRATEGIES["random"].select(view, quotas, budget, seed)

    for declared in (False, True):
        entry = dataclasses.replace(
            STRATEGIES["random"], select=spy, uses_features=declared
        )
        monkeypatch.setitem(STRATEGIES, "spy", entry)
        choose(strategy="spy")
    assert seen == [0, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "best"}, r"--strategies.*'best'.*extent_random, fa.*k_center, k"),
        ({"volume_strategy": "best"}, r"--volume_strategies.*'best'.*allowed: calr, k"),
        ({"scope": "all"}, r"--scope.*'all'; allowed: pooled, within"),
        ({"num_volumes": 6, "budget": 12}, r"6 volumes.*allows 1 to 5"),
        ({"num_volumes": 0, "budget": 0}, r"0 volumes.*allows 1 to 5"),
        ({"slices_per_volume": 0, "budget": 0}, r"0 slices per volume.*1 or more"),
        ({"budget": 7}, r"budget of 7.*3 volumes x 2 slices; allowed: 6"),
        (
            {"num_volumes": 5, "slices_per_volume": 7, "budget": 35},
            r"7 slices per volume.*case2 has 6; at most 6",
        ),
        (
            {"num_volumes": 5, "slices_per_volume": None, "budget": 51},
            r"51 slices in scope within.*52 slices; allowed: 52 to 52",
        ),
        (
            {
                "num_volumes": 5,
                "scope": "pooled",
                "slices_per_volume": None,
                "budget": 53,
            },
            r"53 slices in scope pooled.*allowed: 1 to 52",
        ),
        (
            {"scope": "pooled", "slices_per_volume": None, "budget": 0},
            r"budget of 0.*allowed: 1 to",
        ),
    ],
)
def test_what_the_pool_cannot_meet_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        choose(**changes)


@pytest.mark.parametrize(
    "name", [name for name, entry in STRATEGIES.items() if entry.uses_features]
)
def test_missing_features_are_named(name):
    with pytest.raises(InputError, match=f"{name} needs slice features.*--features"):
        choose(VIEW.without_features(), strategy=name)


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        ([[0, 1], [0, 1]], "2 arrays for 3 volumes; 4 slices for a budget of 6"),
        ([[0, 1], [0, 1], [0]], "5 slices for a budget of 6"),
        ([[0, 1], [0, 1, 2], [0]], "3 slices of case., whose quota is 2"),
        ([[0, 1], [1, 1], [0, 2]], "not ascending and distinct"),
        ([[0, 1], [0, 99], [0, 2]], "slices outside case.*, which has"),
        ([[0, 1], [-1, 0], [0, 2]], "slices outside case"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_refused(monkeypatch, picks, message):
    def broken(view, quotas, budget, seed):
        return tuple(np.array(rows) for rows in picks)

    entry = Strategy(
        select=broken,
        uses_features=False,
        deterministic=True,
        nested=False,
        reference="this test",
    )
    monkeypatch.setitem(STRATEGIES, "broken", entry)
    with pytest.raises(InputError, match=f"strategy broken returned .*{message}"):
        choose(strategy="broken")


@pytest.mark.parametrize("volumes", [[0, 1], [0, 1, 1], [0, 1, 5], [-1, 0, 1]])
def test_a_volume_strategy_that_breaks_its_contract_is_refused(monkeypatch, volumes):
    def broken(view, num_volumes, seed):
        return np.array(volumes)

    entry = VolumeStrategy(
        select=broken,
        uses_features=False,
        deterministic=True,
        nested=False,
        reference="this test",
    )
    monkeypatch.setitem(VOLUME_STRATEGIES, "broken", entry)
    with pytest.raises(InputError, match=r"broken returned .*3 distinct.*0 to 4"):
        choose(volume_strategy="broken")


@pytest.mark.parametrize("registry", [STRATEGIES, VOLUME_STRATEGIES, FEATURES])
def test_lookup_lists_every_allowed_name(registry):
    for name, entry in registry.items():
        assert lookup(registry, name, "flag") is entry
        assert entry.reference
    allowed = ", ".join(sorted(registry))
    with pytest.raises(InputError, match=f"--flag: .*'typo'; allowed: {allowed}$"):
        lookup(registry, "typo", "flag")


def test_names_are_found_among_strategies_then_oracles(monkeypatch):
    assert strategy_names() == tuple(sorted([*STRATEGIES, *ORACLES]))
    for name in STRATEGIES:
        assert find_strategy(name) is STRATEGIES[name]
        assert not uses_labels(name)
        assert uses_features(name) == STRATEGIES[name].uses_features
    for name in ORACLES:
        assert find_strategy(name) is ORACLES[name]
        assert uses_labels(name)
        assert not uses_features(name)
    monkeypatch.setitem(STRATEGIES, "foreground_interval", STRATEGIES["random"])
    assert not uses_labels("foreground_interval")
    for question in (uses_labels, uses_features):
        with pytest.raises(InputError, match=r"typo.*foreground_interval"):
            question("typo")


def test_lookup_in_an_empty_registry():
    with pytest.raises(InputError, match="none so far"):
        lookup(dict(list(ORACLES.items())[:0]), "typo", "flag")


def test_coverage_averages_over_chosen_volumes():
    chosen = Selection(volumes=(0, 2), slices=((0, 1), (4,)))
    assert coverage(chosen, [4, 100, 10]) == pytest.approx((2 / 4 + 1 / 10) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (3,)}, "2 cases, but 1 depths"),
        ({"cases": ("a", "a")}, "used twice: a"),
        ({"depths": (3, 0)}, "b has 0 slices"),
        ({"depths": (3, 5)}, "b has 5 slices but 4 feature rows"),
        ({"features": (np.zeros((3, 2)), np.zeros((4, 1)))}, r"\[1, 2\] columns"),
        ({"features": (np.zeros((3, 2)), np.full((4, 2), np.nan))}, "of case b.*NaN"),
        ({"groups": ("x",)}, "2 cases, but 1 groups"),
        ({"proxy": (0.1, 0.2, 0.3)}, "2 cases, but 3 proxy scores"),
        ({"proxy": (0.1, np.inf)}, "proxy scores hold NaN or infinity"),
    ],
)
def test_a_pool_view_that_disagrees_with_itself_is_refused(changes, message):
    fields = {
        "cases": ("a", "b"),
        "depths": (3, 4),
        "spacing": ((1.0, 1.0, 1.0),) * 2,
        "features": (np.zeros((3, 2)), np.zeros((4, 2))),
    }
    with pytest.raises(InputError, match=message):
        PoolView(**(fields | changes))


def make_case(name, depth):
    grid = np.zeros((depth, 4, 4), dtype=np.uint8)
    return PreparedCase(
        name=name,
        group=name,
        image=np.random.default_rng(depth).normal(size=(depth, 4, 4, 1)),
        label=grid,
        native_label=grid,
        spacing=(2.0, 1.0, 1.0),
        to_native=(np.eye(4), np.eye(4)),
    )


def test_a_view_of_prepared_cases_leaves_labels_behind():
    cases = [make_case("a", 5), make_case("b", 7)]
    plain = PoolView.of(cases)
    assert plain.depths == (5, 7)
    assert plain.spacing == ((2.0, 1.0, 1.0),) * 2
    assert plain.feature_count == 0
    features = FEATURES["intensity"].extract([case.image for case in cases])
    chosen = choose(
        PoolView.of(cases, features),
        strategy="representative",
        num_volumes=2,
        budget=4,
    )
    assert chosen.volumes == (0, 1)
    assert plain.groups is plain.proxy is None
    told = PoolView.of(cases, groups=["x", "y"], proxy=[0.5, 0.25])
    assert (told.groups, told.proxy) == (("x", "y"), (0.5, 0.25))


def test_take_restricts_every_field():
    view = VIEW.take([3, 0])
    assert view.cases == ("case3", "case0")
    assert view.depths == (15, 9)
    assert [len(rows) for rows in view.features] == [15, 9]
    assert view.groups == (VIEW.groups[3], VIEW.groups[0])
    assert view.proxy == (VIEW.proxy[3], VIEW.proxy[0])
    assert PoolView.of([make_case("a", 5)]).take([0]).groups is None
