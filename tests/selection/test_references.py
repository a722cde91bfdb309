"""Every feature strategy against its definition in plain loops."""

import numpy as np
import pytest

from slicebench.selection import STRATEGIES, joint_stream
from slicebench.selection._clusters import k_means_clusters, ward_clusters
from slicebench.selection._k_medoids import k_medoids
from slicebench.selection._probcover import pure_radius
from slicebench.selection._similarity import ball_rows, unit_rows
from slicebench.selection._typiclust import mean_distances
from tests.selection import references
from tests.selection.pools import make_view

GREEDY = ("facility_location", "max_herding", "rep_div", "k_medoids")
WHOLE = np.random.default_rng(0).integers(-2, 3, size=(13, 2)).astype(float)
VIEWS = {
    "real numbers": make_view([9, 5, 11], columns=3, seed=2),
    "single volume": make_view([16], columns=5, seed=3),
    "ties and zeros": make_view([6, 7], [WHOLE[:6], WHOLE[6:]]),
    "duplicates": make_view([5, 4], [np.ones((5, 2)), np.eye(2)[[0, 1, 0, 1]]]),
}
every_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def cases_of(view):
    depths = np.array(view.depths)
    yield np.full(len(depths), 2), 2 * len(depths)
    yield depths, min(6, depths.sum())
    yield np.maximum(depths // 3, 1), int(np.maximum(depths // 3, 1).sum())


def ours(name, view, quotas, budget, seed=3):
    picks = STRATEGIES[name].select(view, np.asarray(quotas), budget, seed)
    return [rows.tolist() for rows in picks]


def as_lists(clusters):
    return [members.tolist() for members in clusters]


@pytest.mark.parametrize("name", GREEDY)
@every_view
def test_greedy_strategies(name, view):
    for quotas, budget in cases_of(view):
        slow = getattr(references, name)(view, quotas, budget, 3)
        assert ours(name, view, quotas, budget) == slow


@every_view
def test_k_means(view):
    for quotas, budget in cases_of(view):
        clusters = k_means_clusters(ball_rows(view.features), budget, joint_stream(3))
        slow = references.k_means(view, quotas, budget, as_lists(clusters))
        assert ours("k_means", view, quotas, budget) == slow


@every_view
def test_typiclust(view):
    for quotas, budget in cases_of(view):
        clusters = k_means_clusters(unit_rows(view.features), budget, joint_stream(3))
        slow = references.typiclust(view, quotas, budget, as_lists(clusters))
        assert ours("typiclust", view, quotas, budget) == slow


@pytest.mark.parametrize("seed", range(4))
def test_representative_from_its_clusters_on(seed):
    # Distances between real numbers have no ties, which any Ward may break its way.
    view = make_view([9, 5, 7], columns=3, seed=seed)
    for quotas, budget in cases_of(view):
        slow = references.representative(view, quotas, budget, 3)
        assert ours("representative", view, quotas, budget) == slow


@every_view
def test_probcover(view):
    for quotas, budget in cases_of(view):
        rows = unit_rows(view.features)
        clusters = k_means_clusters(rows, 2, np.random.default_rng(0))
        slow = references.probcover(view, quotas, budget, as_lists(clusters))
        assert ours("probcover", view, quotas, budget) == slow


def test_the_radius_of_probcover_does_not_depend_on_the_budget():
    rng = np.random.default_rng(3)
    along = np.linspace(0.0, 3.0, 30)
    features = [
        np.stack([np.cos(along), np.sin(along), 0.1 * rng.random(30)], axis=1)
        for _ in range(8)
    ]
    view = make_view([30] * 8, features)
    few, many = (ours("probcover", view, [3] * 8, budget) for budget in (6, 24))
    assert sum(map(len, few)) == 6
    for some, more in zip(few, many, strict=True):
        assert set(some) <= set(more)
    # A radius that shrinks with the budget leaves the ends alone with their like.
    ends = [row for rows in many for row in rows if row < 3 or row >= 27]
    assert len(ends) < 8


def test_the_radius_is_the_largest_of_purity_95_percent():
    for seed in range(3):
        view = make_view([24], columns=2, seed=seed)
        rows = unit_rows(view.features)
        clusters = k_means_clusters(rows, 4, np.random.default_rng(0))
        names = np.empty(24, dtype=int)
        for name, members in enumerate(clusters):
            names[members] = name
        radius = pure_radius(rows, clusters)
        plain = [list(map(float, row)) for row in view.features[0]]
        assert radius == pytest.approx(
            references.largest_pure_radius(plain, names), abs=1e-11
        )
        assert references.purity(plain, names, radius - 1e-9) >= 0.95
        assert references.purity(plain, names, radius + 1e-9) < 0.95
    assert pure_radius(rows, [np.arange(24)]) == np.inf


def test_k_means_finds_separate_groups_and_a_fixed_point():
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0], [1, 0], [0, 1]])
    sizes = [30, 20, 10]
    rows = np.repeat(centres, sizes, axis=0) + rng.normal(scale=0.02, size=(60, 2))
    order = rng.permutation(60)
    clusters = k_means_clusters(rows[order], 3, joint_stream(0))
    assert [len(members) for members in clusters] == sizes
    found = [set(order[members].tolist()) for members in clusters]
    assert found == [set(range(30)), set(range(30, 50)), set(range(50, 60))]
    noise = rng.normal(size=(200, 3))
    clusters = k_means_clusters(noise, 7, joint_stream(1))
    means = np.stack([noise[members].mean(axis=0) for members in clusters])
    nearest = np.linalg.norm(noise[:, None] - means, axis=2).argmin(axis=1)
    names = np.empty(200, dtype=int)
    for name, members in enumerate(clusters):
        names[members] = name
    moved = int((nearest != names).sum())
    assert moved <= 2, "Lloyd's algorithm has converged"


def test_k_means_counts_every_copy_of_a_row():
    rng = np.random.default_rng(6)
    moved = 0
    for seed in range(5):
        rows = np.repeat(rng.normal(size=(40, 2)), rng.integers(1, 30, 40), axis=0)
        clusters = k_means_clusters(rows, 5, joint_stream(seed))
        means = np.stack([rows[members].mean(axis=0) for members in clusters])
        nearest = np.linalg.norm(rows[:, None] - means, axis=2).argmin(axis=1)
        moved += sum(
            int((nearest[members] != name).sum())
            for name, members in enumerate(clusters)
        )
    assert moved == 0, "means are those of all slices, not of distinct ones"


def test_k_means_keeps_equal_rows_together_and_ignores_their_order():
    rows = np.random.default_rng(2).normal(size=(40, 2))
    twice = np.concatenate([rows, rows])
    order = np.random.default_rng(3).permutation(80)
    plain = k_means_clusters(twice, 9, joint_stream(4))
    for members in plain:
        assert set(members % 40) == set(members[members < 40])
    turned = k_means_clusters(twice[order], 9, joint_stream(4))
    assert {frozenset(order[m].tolist()) for m in turned} == {
        frozenset(m.tolist()) for m in plain
    }
    assert len(k_means_clusters(np.ones((6, 2)), 4, joint_stream(0))) == 1


def test_clusters_of_one_stream_are_equal_to_the_byte():
    rows = np.random.default_rng(5).normal(size=(3000, 8))
    runs = [k_means_clusters(rows, 40, joint_stream(7)) for _ in range(3)]
    bytes_of = [[m.tobytes() for m in clusters] for clusters in runs]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2]


def test_facility_location_forms_no_clusters():
    # A large group of two near directions and a far pair: representative spends
    # half of its budget on the pair's cluster, one cover over all does not.
    angles = np.radians([*range(0, 40, 2), 150, 151])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    view = make_view([22], [rows])
    joint = ours("facility_location", view, [22], 4)[0]
    clustered = ours("representative", view, [22], 4)[0]
    assert sum(row >= 20 for row in clustered) == 2
    assert sum(row >= 20 for row in joint) == 1
    assert joint != clustered


def test_typicality_of_twenty_neighbours():
    line = np.concatenate([np.zeros(25), [1.0, 5.0]])[:, None]
    means = mean_distances(line)
    assert means[:25].tolist() == [0.0] * 25, "20 neighbours at the same place"
    assert means[25] == pytest.approx(1.0)
    assert means[26] == pytest.approx((4 + 19 * 5) / 20)
    assert mean_distances(line[:1]).tolist() == [0.0]


def test_k_medoids_of_two_groups_on_a_line():
    line = np.array([0.0, 1, 2, 3, 10, 50, 51, 52])[:, None]
    assert ours("k_medoids", make_view([8], [line]), [8], 2) == [[2, 6]]


def test_k_medoids_improves_on_its_greedy_start():
    rng = np.random.default_rng(4)
    better = 0
    for seed in range(10):
        view = make_view([30], [rng.normal(size=(30, 2))], seed=seed)
        rows = ball_rows(view.features)
        distances = np.linalg.norm(rows[:, None] - rows, axis=2)
        volumes, plain = references.flatten(view)
        gain = references.covering(
            references.ball(plain), lambda a, b: -references.distance(a, b), -2.0
        )
        start = references.greedy(volumes, [30], 4, gain)
        found = k_medoids(view, np.array([30]), 4, 0)[0]
        costs = [distances[picked].min(axis=0).sum() for picked in (start, found)]
        assert costs[1] <= costs[0] + 1e-9
        better += costs[1] < costs[0] - 1e-9
    assert better, "else the moves are never tested"


@pytest.mark.parametrize("name", ["probcover", "max_herding", "facility_location"])
def test_covers_take_one_slice_of_each_of_three_directions(name):
    angles = np.radians([0, 2, 4, 6, 8, 120, 122, 124, 126, 128, 240, 242, 244, 246])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    picks = ours(name, make_view([14], [rows]), [14], 3)[0]
    assert [row // 5 for row in picks] == [0, 1, 2]


def test_rep_div_starts_typical_and_goes_on_unlike():
    angles = np.radians([0, 10, 20, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    view = make_view([4], [rows])
    assert ours("rep_div", view, [4], 1) == [[2]]
    assert ours("rep_div", view, [4], 2) == [[2, 3]]


def test_ward_clusters_of_one_are_everything():
    assert as_lists(ward_clusters(np.eye(3), 1)) == [[0, 1, 2]]
