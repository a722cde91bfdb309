"""Random and fixed-interval slices: hand examples, distribution, pairing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebench.selection import STRATEGIES
from slicebench.selection._fixed_interval import allot, positions
from slicebench.selection._streams import PHASES
from tests.selection.pools import make_view


def choose(name, view, quotas, budget, seed):
    return STRATEGIES[name].select(view, np.asarray(quotas), budget, seed)


@pytest.mark.parametrize(
    ("phase", "depth", "count", "expected"),
    [
        (0, 12, 3, [0, 4, 8]),
        (PHASES // 2, 12, 3, [2, 6, 10]),
        (PHASES - 1, 12, 3, [3, 7, 11]),
        (0, 10, 4, [0, 2, 5, 7]),
        (PHASES - 1, 5, 5, [0, 1, 2, 3, 4]),
        (PHASES - 1, 1, 1, [0]),
        (0, 7, 0, []),
    ],
)
def test_positions_by_hand(phase, depth, count, expected):
    assert positions(phase, depth, count).tolist() == expected


@given(
    phase=st.integers(0, PHASES - 1),
    depth=st.integers(1, 2000),
    share=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_positions_are_distinct_inside_and_evenly_spread(phase, depth, share):
    count = max(1, int(share * depth))
    rows = positions(phase, depth, count)
    assert len(set(rows.tolist())) == count
    assert rows[0] >= 0
    assert rows[-1] < depth
    # The gap over the volume's end is one of the gaps, too.
    gaps = np.diff(np.append(rows, rows[0] + depth))
    assert set(gaps.tolist()) <= {depth // count, -(-depth // count)}


def test_every_slice_is_equally_likely():
    # 2 of 6 slices: each is expected in a third of 1500 seeds; the binomial
    # standard deviation is 18.3, the bound 5 of them.
    view = make_view([6])
    for name in ("random", "fixed_interval"):
        seen = np.zeros(6)
        for seed in range(1500):
            seen[choose(name, view, [2], 2, seed)[0]] += 1
        assert np.abs(seen - 500).max() < 92, name


def test_pooled_random_slices_are_uniform_over_all_slices():
    # 3 of 3 + 9 slices: volume 0 holds a quarter of the expected picks. The
    # number in it is hypergeometric with variance 3 * 1/4 * 3/4 * 9/11.
    view = make_view([3, 9])
    counts = [len(choose("random", view, [3, 9], 3, seed)[0]) for seed in range(1500)]
    deviation = np.sqrt(3 * 0.25 * 0.75 * 9 / 11 / 1500)
    assert abs(np.mean(counts) - 0.75) < 5 * deviation
    assert set(counts) == {0, 1, 2, 3}


def test_one_slice_per_volume_is_the_same_for_random_and_fixed_interval():
    view = make_view([5, 40, 13])
    for seed in range(20):
        a = choose("random", view, [1, 1, 1], 3, seed)
        b = choose("fixed_interval", view, [1, 1, 1], 3, seed)
        assert [rows.tolist() for rows in a] == [rows.tolist() for rows in b]


def test_seeds_and_volumes_have_different_phases():
    view = make_view([1000, 1000])
    rows = [choose("fixed_interval", view, [1, 1], 2, seed) for seed in range(5)]
    assert len({int(volume[0]) for picks in rows for volume in picks}) == 10


@pytest.mark.parametrize(
    ("budget", "weights", "caps", "expected"),
    [
        (4, [10, 10], [10, 10], [2, 2]),
        (3, [10, 10], [10, 10], [2, 1]),  # a tie goes to the lowest volume
        (7, [30, 10, 20], [30, 10, 20], [4, 1, 2]),  # 3.5, 1.17, 2.33
        (5, [10, 10, 10], [1, 9, 9], [1, 2, 2]),
        (6, [10, 10], [3, 3], [3, 3]),
        (2, [10, 10], [0, 5], [0, 2]),
        (60, [30, 10, 20], [30, 10, 20], [30, 10, 20]),
    ],
)
def test_budget_is_divided_by_largest_remainders(budget, weights, caps, expected):
    assert allot(budget, np.array(weights), np.array(caps)).tolist() == expected


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_shares_add_up_below_caps_and_near_proportion(data):
    weights = np.array(data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=8)))
    caps = np.array([data.draw(st.integers(0, int(weight))) for weight in weights])
    budget = data.draw(st.integers(0, int(caps.sum())))
    shares = allot(budget, weights, caps)
    assert shares.sum() == budget
    assert (shares >= 0).all()
    assert (shares <= caps).all()
    free = allot(budget, weights, weights)
    assert np.abs(free - budget * weights / weights.sum()).max() < 1


@given(depths=st.lists(st.integers(1, 60), min_size=2, max_size=6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_aligned_intervals_lie_at_equal_relative_positions(depths, data):
    count = data.draw(st.integers(1, min(depths)))
    seed = data.draw(st.integers(0, 30))
    quotas = [count] * len(depths)
    budget = count * len(depths)
    picks = choose("fixed_interval_aligned", make_view(depths), quotas, budget, seed)
    # One u in [0, 1) for all: slice i of a volume is floor((i + u) depth / count).
    lower = [
        row * count / d - i
        for rows, d in zip(picks, depths, strict=True)
        for i, row in enumerate(rows.tolist())
    ]
    upper = [
        (row + 1) * count / d - i
        for rows, d in zip(picks, depths, strict=True)
        for i, row in enumerate(rows.tolist())
    ]
    assert max(lower) < min(upper) + 1e-9
    equal = choose("fixed_interval_aligned", make_view([20] * 3), [4] * 3, 12, seed)
    assert len({rows.tobytes() for rows in equal}) == 1


def test_only_aligned_intervals_share_their_phase():
    view = make_view([40] * 5)
    for name, shared in (("fixed_interval_aligned", True), ("fixed_interval", False)):
        alike = [
            len({rows.tobytes() for rows in choose(name, view, [4] * 5, 20, seed)}) == 1
            for seed in range(10)
        ]
        assert all(alike) if shared else not any(alike)
    starts = {
        int(choose("fixed_interval_aligned", view, [4] * 5, 20, seed)[0][0])
        for seed in range(40)
    }
    assert len(starts) == 10, "every start occurs"


@given(depth=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_stratified_takes_one_slice_of_every_segment(depth, share, seed):
    count = max(1, int(share * depth))
    rows = choose("stratified", make_view([depth]), [count], count, seed)[0]
    borders = [i * depth // count for i in range(count + 1)]
    for row, start, stop in zip(rows.tolist(), borders[:-1], borders[1:], strict=True):
        assert start <= row < stop


def test_stratified_is_uniform_inside_its_segments():
    seen = np.zeros(12)
    for seed in range(1200):
        seen[choose("stratified", make_view([12]), [3], 3, seed)[0]] += 1
    # Binomial with mean 300 and standard deviation 15; the bound is 5 of them.
    assert np.abs(seen - 300).max() < 75
    together = [
        tuple(choose("stratified", make_view([12]), [3], 3, seed)[0] % 4)
        for seed in range(200)
    ]
    assert len(set(together)) > 30, "segments are independent of each other"


def test_one_segment_is_random():
    view = make_view([5, 40, 13])
    for seed in range(20):
        a = choose("random", view, [1, 1, 1], 3, seed)
        b = choose("stratified", view, [1, 1, 1], 3, seed)
        assert [rows.tolist() for rows in a] == [rows.tolist() for rows in b]


@pytest.mark.parametrize(
    ("depths", "quotas", "budget", "expected"),
    [
        ([7], [3], 3, [[2, 3, 4]]),
        ([6], [3], 3, [[1, 2, 3]]),  # 2 and 3 are nearest; of 1 and 4 the lowest
        ([5, 9], [2, 2], 4, [[1, 2], [3, 4]]),
        ([5, 9], [5, 9], 4, [[2], [3, 4, 5]]),  # relative to the volume
        ([4, 4], [4, 4], 3, [[1, 2], [1]]),
        ([3, 3], [0, 3], 2, [[], [0, 1]]),
    ],
)
def test_central_by_hand(depths, quotas, budget, expected):
    picks = choose("central", make_view(depths), quotas, budget, 0)
    assert [rows.tolist() for rows in picks] == expected
