"""Random and fixed-interval slices: hand examples, distribution, pairing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebench.selection import STRATEGIES
from slicebench.selection._fixed_interval import _positions, allot
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
    assert _positions(phase, depth, count).tolist() == expected


@given(
    phase=st.integers(0, PHASES - 1),
    depth=st.integers(1, 2000),
    share=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_positions_are_distinct_inside_and_evenly_spread(phase, depth, share):
    count = max(1, int(share * depth))
    rows = _positions(phase, depth, count)
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
