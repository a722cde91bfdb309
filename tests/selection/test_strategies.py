"""The contract of every slice strategy and every oracle, in both scopes."""

import dataclasses
import itertools

import numpy as np
import pytest

from slicebench.selection import (
    ORACLES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    PoolView,
    find_strategy,
    select,
)
from tests.selection.pools import VIEWS, make_labels, make_view

SEEDS = range(3)
every_strategy = pytest.mark.parametrize("name", {**STRATEGIES, **ORACLES})
every_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def choose(name, view, quotas, budget, seed=0):
    entry = find_strategy(name)
    labels = (make_labels(view.depths),) if name in ORACLES else ()
    return entry.select(view, np.asarray(quotas), budget, seed, *labels)


def as_sets(picks):
    return [set(rows.tolist()) for rows in picks]


def cases_of(view):
    """Quotas and budget of both scopes, and of mixed and closed volumes."""
    depths = np.array(view.depths)
    for quota in sorted({1, min(2, int(depths.min())), int(depths.min())}):
        yield np.full(len(depths), quota), quota * len(depths)
    for budget in (1, 3, int(depths.sum()) // 2, int(depths.sum())):
        yield depths, budget
    ragged = np.minimum(np.arange(len(depths)) * 2, depths)
    if ragged.sum():
        yield ragged, int(ragged.sum())
        yield ragged, (int(ragged.sum()) + 1) // 2


@every_strategy
@every_view
def test_budget_is_spent_exactly_within_quotas_and_depths(name, view):
    seeds = SEEDS[:1] if find_strategy(name).deterministic else SEEDS
    for quotas, budget in cases_of(view):
        for seed in seeds:
            picks = choose(name, view, quotas, budget, seed)
            assert len(picks) == len(view.cases)
            assert sum(map(len, picks)) == budget
            for rows, quota, depth in zip(picks, quotas, view.depths, strict=True):
                assert len(rows) <= quota
                assert np.issubdtype(rows.dtype, np.integer)
                assert (np.diff(rows) > 0).all(), "ascending, no duplicates"
                assert set(rows.tolist()) <= set(range(depth)), "padding never chosen"


@every_strategy
@every_view
def test_full_budget_takes_every_slice(name, view):
    picks = choose(name, view, view.depths, sum(view.depths))
    assert [rows.tolist() for rows in picks] == [list(range(d)) for d in view.depths]


@every_strategy
@every_view
def test_equal_seed_gives_equal_bytes(name, view):
    copy = dataclasses.replace(
        view, features=tuple(rows.copy() for rows in view.features)
    )
    for quotas, budget in cases_of(view):
        first = choose(name, view, quotas, budget, 7)
        second = choose(name, copy, quotas, budget, 7)
        assert [a.tobytes() for a in first] == [b.tobytes() for b in second]


@every_strategy
def test_inputs_are_not_changed(name):
    view = make_view([6, 9])
    features = [rows.copy() for rows in view.features]
    quotas = np.array([2, 3])
    choose(name, view, quotas, 5)
    np.testing.assert_array_equal(quotas, [2, 3])
    for rows, before in zip(view.features, features, strict=True):
        np.testing.assert_array_equal(rows, before)


@every_strategy
def test_global_random_state_is_neither_read_nor_changed(name):
    view = make_view([6, 9])
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    choose(name, view, [2, 2], 4)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@every_strategy
def test_deterministic_flag(name):
    view = make_view([12, 15, 11])
    outcomes = {
        tuple(rows.tobytes() for rows in choose(name, view, [2, 2, 2], 6, seed))
        for seed in range(12)
    }
    assert (len(outcomes) == 1) == find_strategy(name).deterministic


@every_strategy
def test_nested_flag(name):
    view = make_view([12, 15, 11])
    scopes = (
        [([k] * 3, 3 * k) for k in range(1, 12)],
        [(view.depths, budget) for budget in range(1, 38)],
    )
    nested = all(
        small <= large
        for seed in range(4)
        for scope in scopes
        for a, b in itertools.pairwise(scope)
        for small, large in zip(
            as_sets(choose(name, view, *a, seed)),
            as_sets(choose(name, view, *b, seed)),
            strict=True,
        )
    )
    assert nested == find_strategy(name).nested


@every_strategy
def test_uses_features_flag(name):
    if find_strategy(name).uses_features:
        outcomes = {
            tuple(rows.tobytes() for rows in choose(name, view, [3, 3], 6))
            for view in (make_view([20, 30], seed=seed) for seed in range(4))
        }
        assert len(outcomes) > 1
    else:
        view = make_view([20, 30])
        blind = view.without_features()
        assert as_sets(choose(name, view, [3, 3], 6)) == as_sets(
            choose(name, blind, [3, 3], 6)
        )


@pytest.mark.parametrize("name", ["random", "fixed_interval", "stratified", "central"])
def test_geometric_picks_stay_when_volumes_are_added(name):
    view = make_view([10, 17, 9, 30])
    alone = choose(name, view.take([2]), [4], 4, 3)[0]
    beside = choose(name, view.take([3, 2, 0]), [4, 4, 4], 12, 3)[1]
    np.testing.assert_array_equal(alone, beside)


def test_a_view_has_no_labels():
    names = {field.name for field in dataclasses.fields(PoolView)}
    assert names == {"cases", "depths", "spacing", "features", "groups", "proxy"}
    assert ORACLES.keys().isdisjoint(STRATEGIES), "an oracle is no contestant"


@every_strategy
@pytest.mark.parametrize("volume_strategy", VOLUME_STRATEGIES)
def test_strategies_share_the_volumes_of_a_seed(name, volume_strategy):
    view = make_view([12] * 10)
    shared = {
        strategy: select(
            view,
            volume_strategy=volume_strategy,
            strategy=strategy,
            num_volumes=4,
            slices_per_volume=2,
            budget=8,
            scope="within",
            seed=5,
            labels=make_labels(view.depths),
        ).volumes
        for strategy in (name, "random")
    }
    assert shared[name] == shared["random"]
