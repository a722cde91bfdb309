"""Oracles: what they take from labels, what they cost, and who never sees any."""

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.selection import ORACLES, STRATEGIES, select, volume_stream
from slicebench.selection._oracles import extent, held_classes, holds_foreground
from tests.selection.pools import make_labels, make_view

VIEW = make_view([20, 14, 17, 12, 25])
LABELS = make_labels(VIEW.depths, seed=2)


def label_of(slices, depth, name=1):
    label = np.zeros((depth, 3, 3), dtype=np.uint8)
    label[slices, 1, 1] = name
    return label


def choose(strategy, labels=LABELS, view=VIEW, **changes):
    arguments = {
        "volume_strategy": "random",
        "strategy": strategy,
        "num_volumes": 4,
        "slices_per_volume": 3,
        "budget": 12,
        "scope": "within",
        "seed": 0,
    }
    return select(view, labels=labels, **(arguments | changes))


def pick(name, view, quotas, seed, labels):
    budget = int(np.sum(quotas))
    return ORACLES[name].select(view, np.asarray(quotas), budget, seed, labels)


def scrambled(labels):
    rng = np.random.default_rng(9)
    return [rng.permutation(label.ravel()).reshape(label.shape) for label in labels]


@pytest.mark.parametrize("scope", ["within", "pooled"])
@pytest.mark.parametrize("name", {**STRATEGIES, **ORACLES})
def test_only_oracles_depend_on_labels(name, scope):
    quota = 3 if scope == "within" else None
    runs = [
        [
            choose(name, labels, seed=seed, scope=scope, slices_per_volume=quota)
            for seed in range(4)
        ]
        for labels in (LABELS, scrambled(LABELS), LABELS)
    ]
    assert runs[0] == runs[2]
    assert (runs[0] == runs[1]) == (name in STRATEGIES)


@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_without_labels_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is an oracle: it needs dense labels"):
        choose(name, labels=None)


def test_labels_of_another_pool_are_refused():
    with pytest.raises(InputError, match=r"labels of 4 volumes.*pool of 5"):
        choose("foreground_interval", LABELS[:4])
    with pytest.raises(InputError, match="labels of 5 volumes"):
        choose("random", [LABELS[0]] * 5)


def test_labels_follow_the_chosen_volumes():
    # Foreground is one slice, another one in each volume.
    labels = [label_of([number + 1], d) for number, d in enumerate(VIEW.depths)]
    for seed in range(6):
        chosen = choose(
            "foreground_interval",
            labels,
            seed=seed,
            num_volumes=2,
            slices_per_volume=1,
            budget=2,
        )
        assert chosen.slices == tuple((volume + 1,) for volume in chosen.volumes)


def test_parts_of_a_label_by_hand():
    label = label_of([2, 3, 5], 8, name=4)
    label[5, 0, 0] = 2
    assert np.flatnonzero(holds_foreground(label)).tolist() == [2, 3, 5]
    assert np.flatnonzero(extent(label)).tolist() == [2, 3, 4, 5]
    assert held_classes(label)[[2, 5]].tolist() == [[False, True], [True, True]]
    empty = np.zeros((3, 2, 2), dtype=np.uint8)
    assert not extent(empty).any()
    assert held_classes(empty).shape == (3, 0)


@pytest.mark.parametrize(("name", "share"), [("33", 1 / 3), ("66", 2 / 3)])
def test_share_of_foreground_draws(name, share):
    # 5 of 50 slices hold foreground: a draw hits one with share + (1 - share) / 10.
    labels = [label_of(np.arange(20, 25), 50)]
    view = make_view([50])
    hits = [
        int(pick(f"foreground_random_{name}", view, [1], seed, labels)[0][0])
        in range(20, 25)
        for seed in range(1500)
    ]
    expected = share + (1 - share) / 10
    deviation = np.sqrt(expected * (1 - expected) / 1500)
    assert abs(np.mean(hits) - expected) < 5 * deviation


def test_foreground_draws_take_classes_in_turn_of_chance():
    # Class 1 on 40 slices, class 2 on one: half of the foreground draws find it.
    label = label_of(np.arange(40), 60)
    label[50, 0, 0] = 2
    rare = [
        50 in pick("foreground_random_66", make_view([60]), [1], seed, [label])[0]
        for seed in range(1500)
    ]
    expected = 2 / 3 / 2 + 1 / 3 / 60
    assert abs(np.mean(rare) - expected) < 5 * np.sqrt(expected * (1 - expected) / 1500)


def test_foreground_interval_is_fixed_interval_over_foreground_slices():
    held = [3, 4, 8, 9, 10, 15]
    labels = [label_of(held, 20)]
    short = make_view([6])
    for seed in range(10):
        rows = pick("foreground_interval", make_view([20]), [3], seed, labels)[0]
        plain = STRATEGIES["fixed_interval"].select(short, np.array([3]), 3, seed)[0]
        assert rows.tolist() == [held[index] for index in plain]
        more = pick("foreground_interval", make_view([20]), [8], seed, labels)[0]
        assert set(held) < set(more.tolist())
        assert len(more) == 8


@pytest.mark.parametrize("name", ["extent_random", "extent_interval"])
def test_one_slice_in_four_lies_outside_the_extent(name):
    labels = [label_of([20, 39], 60)]
    view = make_view([60])
    for count in (1, 2, 3, 5, 8):
        outside = [
            int(((rows < 20) | (rows > 39)).sum())
            for rows in (pick(name, view, [count], s, labels)[0] for s in range(200))
        ]
        assert set(outside) <= {count // 4, -(-count // 4)}
        # Systematic rounding: the part above count // 4 is a Bernoulli variable.
        assert abs(np.mean(outside) - count / 4) < 5 * np.sqrt(0.25 / 200)
    full = pick(name, view, [24], 0, labels)[0]
    assert ((full >= 20) & (full <= 39)).sum() == 18


@pytest.mark.parametrize("name", ["extent_random", "extent_interval"])
def test_parts_that_are_too_small_give_way(name):
    few = [label_of([5], 20)]
    rows = pick(name, make_view([20]), [10], 0, few)[0]
    assert 5 in rows
    most = [label_of(np.arange(1, 20), 20)]
    rows = pick(name, make_view([20]), [20], 0, most)[0]
    assert len(rows) == 20
    nothing = [np.zeros((20, 2, 2), dtype=np.uint8)]
    assert len(pick(name, make_view([20]), [6], 1, nothing)[0]) == 6


def test_extent_random_is_uniform_inside():
    labels = [label_of([4, 11], 20)]
    seen = np.zeros(20)
    for seed in range(1600):
        seen[pick("extent_random", make_view([20]), [1], seed, labels)[0]] += 1
    # 3/4 over 8 slices and 1/4 over 12.
    assert np.abs(seen[4:12] - 150).max() < 5 * np.sqrt(150)
    assert np.abs(np.delete(seen, range(4, 12)) - 100 / 3).max() < 5 * np.sqrt(100 / 3)


def test_marks_are_counted_where_there_is_a_structure_to_mark():
    for name, entry in ORACLES.items():
        chosen = choose(name, num_volumes=5, budget=15)
        # The second volume is empty: there is nothing to mark.
        assert chosen.extent_marks == (8 if entry.marks_extent else 0)
    assert choose("random", num_volumes=5, budget=15).extent_marks == 0
    pooled = choose(
        "extent_random", scope="pooled", slices_per_volume=None, budget=1, num_volumes=5
    )
    assert pooled.extent_marks in (0, 2), "volumes without a slice are not marked"


def test_an_oracle_gives_a_volume_as_many_slices_as_random_does():
    for name in ("foreground_random_33", "foreground_random_66", "extent_random"):
        for seed in range(5):
            theirs, ours = (
                choose(s, scope="pooled", slices_per_volume=None, seed=seed)
                for s in ("random", name)
            )
            assert [len(r) for r in ours.slices] == [len(r) for r in theirs.slices]


def test_oracle_picks_stay_when_volumes_are_added():
    for name in ORACLES:
        alone = pick(name, VIEW.take([2]), [4], 3, [LABELS[2]])[0]
        labels = [LABELS[3], LABELS[2]]
        beside = pick(name, VIEW.take([3, 2]), [4, 4], 3, labels)[1]
        np.testing.assert_array_equal(alone, beside)


def test_streams_of_oracles_know_no_strategy():
    # Equal phases: the first of one interval slice is random's slice if all is
    # foreground.
    view = make_view([30])
    full = [np.ones((30, 2, 2), dtype=np.uint8)]
    for seed in range(10):
        phase = volume_stream(seed, "case0").integers(2**30)
        rows = pick("foreground_interval", view, [1], seed, full)[0]
        assert rows.tolist() == [int(phase) * 30 // 2**30]
