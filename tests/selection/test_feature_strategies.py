"""k-center, representative annotation and their parts, slowly and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebench.selection import STRATEGIES, _cover, _similarity, joint_stream
from slicebench.selection._clusters import ward_clusters
from slicebench.selection._cover import Cover
from slicebench.selection._ledger import Ledger
from slicebench.selection._similarity import cosine, unit_rows
from tests.selection.pools import make_view


def choose(name, view, quotas, budget, seed=0):
    return STRATEGIES[name].select(view, np.asarray(quotas), budget, seed)


def cosine_cover(members, unit):
    return Cover(members, cosine(unit), floor=-1.0)


def flat(view):
    return [
        (volume, index, [float(x) for x in row])
        for volume, rows in enumerate(view.features)
        for index, row in enumerate(rows)
    ]


def slow_k_center(view, quotas, budget, seed):
    slices = flat(view)
    left = list(quotas)
    candidates = [n for n, (volume, _, _) in enumerate(slices) if left[volume]]
    chosen = [int(joint_stream(seed).choice(candidates))]
    left[slices[chosen[0]][0]] -= 1
    while len(chosen) < budget:
        best, farthest = None, -1.0
        for n, (volume, _, row) in enumerate(slices):
            if n in chosen or not left[volume]:
                continue
            distance = min(
                sum((a - b) ** 2 for a, b in zip(row, slices[c][2], strict=True))
                for c in chosen
            )
            if distance > farthest:
                best, farthest = n, distance
        chosen.append(best)
        left[slices[best][0]] -= 1
    return [
        sorted(slices[n][1] for n in chosen if slices[n][0] == volume)
        for volume in range(len(view.cases))
    ]


def slow_cosine(a, b):
    lengths = math.hypot(*a) * math.hypot(*b)
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return round(product / lengths, 12) if lengths else 0.0


def slow_cover(rows, closed, count):
    """Greedy maximum cover by its definition; ties to the lowest row."""
    chosen = []
    while len(chosen) < count:
        best, highest = None, -math.inf
        for n in range(len(rows)):
            if n in chosen or n in closed:
                continue
            value = math.fsum(
                max(slow_cosine(row, rows[c]) for c in [*chosen, n]) for row in rows
            )
            if round(value, 9) > highest:
                best, highest = n, round(value, 9)
        chosen.append(best)
    return chosen


grids = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=14
)


@given(grids, st.integers(0, 5), st.data())
@settings(max_examples=80, deadline=None)
def test_k_center_equals_its_definition(points, seed, data):
    # Whole numbers: distances are exact, and ties are frequent.
    cut = data.draw(st.integers(1, len(points) - 1))
    view = make_view([cut, len(points) - cut], [points[:cut], points[cut:]])
    quotas = [
        data.draw(st.integers(0 if n else 1, d)) for n, d in enumerate(view.depths)
    ]
    budget = data.draw(st.integers(1, sum(quotas)))
    ours = [rows.tolist() for rows in choose("k_center", view, quotas, budget, seed)]
    assert ours == slow_k_center(view, quotas, budget, seed)


def test_a_ledger_opens_and_closes_volumes():
    ledger = Ledger((3, 2), np.array([2, 1]))
    for row in (0, 2, 4):
        ledger.pick(row)
    assert not ledger.open.any()
    assert [rows.tolist() for rows in ledger.picks()] == [[0, 2], [1]]
    ledger.release(2)
    assert ledger.open.tolist() == [False, True, True, False, False]
    ledger.pick(1)
    assert not ledger.open.any()
    assert [rows.tolist() for rows in ledger.picks()] == [[0, 1], [1]]


def test_k_center_equals_its_definition_on_real_numbers():
    view = make_view([14, 9, 20], columns=6)
    for quotas, budget in (([3, 3, 3], 9), (view.depths, 17)):
        ours = [rows.tolist() for rows in choose("k_center", view, quotas, budget, 2)]
        assert ours == slow_k_center(view, quotas, budget, 2)


def test_k_center_goes_to_the_other_end_then_to_the_middle():
    line = np.arange(9.0)[:, None]
    view = make_view([9], [line])
    for seed in range(12):
        first = int(joint_stream(seed).choice(9))
        second = 8 if first <= 4 else 0
        gap = np.minimum(np.abs(line[:, 0] - first), np.abs(line[:, 0] - second))
        picks = choose("k_center", view, [9], 3, seed)[0].tolist()
        if first == 4:
            second = 0  # both ends are equally far: the lowest slice
            gap = np.minimum(np.abs(line[:, 0] - first), line[:, 0])
        assert picks == sorted([first, second, int(np.argmax(gap))])


def test_k_center_visits_every_distinct_slice_before_a_duplicate():
    kinds = np.array([[0.0, 0], [5, 0], [0, 5], [9, 9]])
    view = make_view([10, 10], [kinds[np.arange(10) % 4], kinds[np.arange(10) % 4]])
    for seed in range(6):
        picks = choose("k_center", view, view.depths, 4, seed)
        chosen = np.concatenate(
            [rows[index] for rows, index in zip(view.features, picks, strict=True)]
        )
        assert len(np.unique(chosen, axis=0)) == 4


def test_k_center_closes_a_volume_whose_quota_is_filled():
    # All that is far away lies in volume 0.
    view = make_view([4, 4], [[[90.0], [60], [30], [99]], [[0.0], [1], [2], [3]]])
    picks = choose("k_center", view, [1, 3], 4)
    assert [len(rows) for rows in picks] == [1, 3]


def test_k_center_covers_within_twice_the_best_radius():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(12, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    best = min(
        distances[[a, b, c]].min(axis=0).max()
        for a in range(12)
        for b in range(a)
        for c in range(b)
    )
    view = make_view([12], [points])
    for seed in range(8):
        picks = choose("k_center", view, [12], 3, seed)[0]
        assert distances[picks].min(axis=0).max() <= 2 * best


@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=10), st.data()
)
@settings(max_examples=80, deadline=None)
def test_maximum_cover_equals_its_definition(points, data):
    rows = np.array(points, dtype=float)
    unit = unit_rows([rows])
    closed = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows) - 1))
    count = data.draw(st.integers(1, len(rows) - len(closed)))
    cover = cosine_cover(np.arange(len(rows)), unit)
    is_open = np.array([n not in closed for n in range(len(rows))])
    ours = []
    for _ in range(count):
        ours.append(cover.next(is_open))
        is_open[ours[-1]] = False
    slow = slow_cover([list(map(float, point)) for point in points], closed, count)
    assert ours == slow


def test_maximum_cover_equals_its_definition_on_real_numbers():
    rows = np.random.default_rng(1).normal(size=(25, 5))
    cover = cosine_cover(np.arange(25), unit_rows([rows]))
    is_open = np.ones(25, dtype=bool)
    ours = []
    for _ in range(25):
        ours.append(cover.next(is_open))
        is_open[ours[-1]] = False
    assert ours == slow_cover(rows.tolist(), set(), 25)


def test_the_cover_of_many_rows_is_that_of_few(monkeypatch):
    rows = unit_rows([np.random.default_rng(8).normal(size=(60, 4))])
    found = []
    for dense, at_once, block in ((1000, 32, 2**21), (0, 1, 2**21), (0, 4, 100)):
        monkeypatch.setattr(_cover, "DENSE_ROWS", dense)
        monkeypatch.setattr(_cover, "MOST_AT_ONCE", at_once)
        monkeypatch.setattr(_similarity, "BLOCK_ENTRIES", block)
        cover = cosine_cover(np.arange(60), rows)
        is_open = np.ones(60, dtype=bool)
        picks = []
        for _ in range(30):
            picks.append(cover.next(is_open))
            is_open[picks[-1]] = False
        cover.restart()
        assert cover.next(np.ones(60, dtype=bool)) == picks[0]
        found.append(picks)
    assert found[0] == found[1] == found[2]


def test_equal_slices_tie_to_the_lowest():
    # 41 equal rows with awkward digits, as matrix products may round them apart.
    row = np.random.default_rng(0).normal(size=(1, 7))
    view = make_view([20, 21], [np.repeat(row, 20, axis=0), np.repeat(row, 21, axis=0)])
    assert [r.tolist() for r in choose("representative", view, [20, 21], 1)] == [
        [0],
        [],
    ]
    cover = cosine_cover(np.arange(41), unit_rows(view.features))
    assert cover.next(np.ones(41, dtype=bool)) == 0


def test_representative_takes_two_slices_of_each_of_three_directions():
    angles = np.radians([0, 2, 4, 6, 90, 92, 94, 96, 200, 202, 204, 206])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    view = make_view([12], [rows * np.arange(1, 13)[:, None]])  # length is ignored
    picks = choose("representative", view, [12], 6)[0]
    assert np.bincount(picks // 4).tolist() == [2, 2, 2]


def test_representative_starts_with_the_middle_of_the_largest_cluster():
    angles = np.radians([180, 0, 5, 10, 15, 20])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    view = make_view([6], [rows])
    assert choose("representative", view, [6], 5)[0].tolist()[:1] == [0]
    clusters = ward_clusters(rows, 2)
    assert [members.tolist() for members in clusters] == [[1, 2, 3, 4, 5], [0]]
    first = cosine_cover(clusters[0], rows[clusters[0]]).next(np.ones(6, dtype=bool))
    assert first == 3  # 10 degrees


def test_representative_finds_a_rare_appearance_that_random_slices_miss():
    rng = np.random.default_rng(0)
    common = np.array([1.0, 0, 0]) + rng.normal(scale=0.02, size=(200, 3))
    rare = np.array([0, 0, 1.0]) + rng.normal(scale=0.02, size=(2, 3))
    rows = np.concatenate([common[:100], rare, common[100:]])
    view = make_view([202], [rows])
    for name in ("k_center", "representative"):
        picks = choose(name, view, [202], 4)[0]
        assert {100, 101} & set(picks.tolist()), name
    missed = [
        {100, 101}.isdisjoint(choose("random", view, [202], 4, seed)[0].tolist())
        for seed in range(20)
    ]
    assert np.mean(missed) > 0.5


def test_representative_does_not_depend_on_the_order_of_volumes():
    view = make_view([7, 9, 8], seed=4)
    turned = view.take([2, 0, 1])
    ours = choose("representative", view, [2, 2, 2], 4)
    theirs = choose("representative", turned, [2, 2, 2], 4)
    sizes = [len(rows) for rows in ward_clusters(unit_rows(view.features), 2)]
    assert len(set(sizes)) == 2, "no tie between clusters in this example"
    for volume, place in enumerate([1, 2, 0]):
        np.testing.assert_array_equal(ours[volume], theirs[place])


@pytest.mark.parametrize("name", ["k_center", "representative"])
def test_single_precision_features_are_welcome(name):
    view = make_view([8, 8])
    single = make_view([8, 8], [rows.astype(np.float32) for rows in view.features])
    assert sum(map(len, choose(name, single, [2, 2], 4))) == 4
