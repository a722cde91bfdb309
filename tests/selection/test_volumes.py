"""Volume strategies: their contract, and what each one chooses."""

import dataclasses
import itertools

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.selection import STRATEGIES, VOLUME_STRATEGIES, PoolView, proxy_scores
from slicebench.selection._proxy import otsu_split
from slicebench.selection._volumes import as_slices, volume_rows
from tests.selection.pools import constant, make_view

every_strategy = pytest.mark.parametrize("name", VOLUME_STRATEGIES)
VIEWS = {
    "different": make_view([5, 3, 8, 1, 6, 2, 4, 7, 5]),
    "equal": constant([4] * 6),
    "single": make_view([5]),
}


def choose(name, view, count, seed=0):
    return VOLUME_STRATEGIES[name].select(view, count, seed)


@every_strategy
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_distinct_volumes_and_equal_bytes(name, view):
    number = len(view.cases)
    for seed in range(3):
        for count in range(1, number + 1):
            chosen = choose(name, view, count, seed)
            assert len(set(chosen.tolist())) == len(chosen) == count
            assert set(chosen.tolist()) <= set(range(number))
            assert chosen.tobytes() == choose(name, view, count, seed).tobytes()


@every_strategy
def test_flags(name):
    entry = VOLUME_STRATEGIES[name]
    views = [make_view([5] * 9, seed=seed) for seed in range(3)]
    runs = [
        [set(entry.select(view, count, seed).tolist()) for count in range(1, 10)]
        for view in views
        for seed in range(6)
    ]
    nested = all(a <= b for run in runs for a, b in itertools.pairwise(run))
    assert nested == entry.nested
    seeds_differ = len({tuple(map(frozenset, run)) for run in runs[:6]}) > 1
    assert seeds_differ != entry.deterministic


@every_strategy
def test_what_an_entry_does_not_declare_has_no_influence(name):
    entry = VOLUME_STRATEGIES[name]
    view = make_view([5] * 9)
    other = make_view([5] * 9, seed=1)
    changes = {
        "features": (entry.uses_features, other.features),
        "groups": (entry.uses_groups, tuple("aabbbbbbb")),
        "proxy": (entry.uses_proxy, other.proxy),
    }
    for field, (declared, new) in changes.items():
        changed = dataclasses.replace(view, **{field: new})
        outcomes = [
            [
                choose(name, v, count, seed).tolist()
                for count in (2, 4)
                for seed in (0, 1)
            ]
            for v in (view, changed)
        ]
        assert (outcomes[0] != outcomes[1]) == declared, field


@every_strategy
def test_the_order_of_slices_and_their_number_do_not_count(name):
    view = make_view([6] * 8, seed=3)
    turned = dataclasses.replace(view, features=tuple(f[::-1] for f in view.features))
    twice = make_view([12] * 8, [np.repeat(f, 2, axis=0) for f in view.features])
    twice = dataclasses.replace(twice, proxy=view.proxy)
    for seed in range(3):
        expected = set(choose(name, view, 3, seed).tolist())
        assert set(choose(name, turned, 3, seed).tolist()) == expected
        assert set(choose(name, twice, 3, seed).tolist()) == expected


def test_a_volume_is_the_mean_of_its_slices():
    view = make_view([2, 1], [[[0.0, 2], [4, 4]], [[1, 1]]])
    assert volume_rows(view).tolist() == [[2, 3], [1, 1]]
    assert as_slices(view).depths == (2,)


@pytest.mark.parametrize("name", ["k_center", "k_means", "typiclust", "calr"])
def test_one_volume_of_each_of_three_groups(name):
    centres = np.eye(3)[[0, 0, 0, 1, 1, 1, 2, 2, 2]]
    noise = np.random.default_rng(0).normal(scale=0.01, size=(9, 4, 3))
    view = make_view([4] * 9, list(centres[:, None] + noise))
    for seed in range(5):
        assert sorted(choose(name, view, 3, seed) // 3) == [0, 1, 2]


def test_calr_takes_the_densest_volume_of_each_cluster():
    line = [0.0, 1, 2, 4, 50, 51, 53]
    view = make_view([1] * 7, [[[x]] for x in line])
    # Sums of distances: 7, 5, 5, 9, so the lowest of 1 and 2; and 4, 3, 5.
    assert choose("calr", view, 2).tolist() == [1, 5]


def test_the_first_volume_of_k_center_has_a_stream_of_its_own():
    view = make_view([3] * 30)
    firsts = [int(choose("k_center", view, 1, seed)[0]) for seed in range(10)]
    slices = [
        int(
            STRATEGIES["k_center"].select(as_slices(view), np.array([30]), 1, seed)[0][
                0
            ]
        )
        for seed in range(10)
    ]
    assert firsts != slices


def test_proxy_rank_goes_down_the_scores():
    view = dataclasses.replace(make_view([2] * 5), proxy=(0.1, 0.5, 0.3, 0.5, 0.0))
    assert choose("proxy_rank", view, 5).tolist() == [1, 3, 2, 0, 4]


def test_stratified_divides_in_proportion():
    groups = tuple("a" * 8 + "b" * 4 + "c" * 4)
    view = dataclasses.replace(make_view([2] * 16), groups=groups)
    for seed in range(20):
        assert groups[choose("stratified", view, 1, seed)[0]] == "a", "the largest"
        for count in range(1, 17):
            chosen = choose("stratified", view, count, seed)
            for group, size in (("a", 8), ("b", 4), ("c", 4)):
                got = sum(groups[volume] == group for volume in chosen)
                assert abs(got - count * size / 16) <= 1
    seen = {frozenset(choose("stratified", view, 4, s).tolist()) for s in range(20)}
    assert len(seen) > 10


def test_a_single_group_is_random():
    view = dataclasses.replace(make_view([2] * 12), groups=("one",) * 12)
    for seed in range(10):
        np.testing.assert_array_equal(
            choose("stratified", view, 5, seed), choose("random", view, 5, seed)
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [("stratified", "needs a group for each case"), ("proxy_rank", "a proxy score")],
)
def test_missing_columns_are_named(name, message):
    view = make_view([2, 3])
    bare = PoolView(
        cases=view.cases,
        depths=view.depths,
        spacing=view.spacing,
        features=view.features,
    )
    with pytest.raises(InputError, match=f"{name} needs .*{message.split()[-1]}"):
        choose(name, bare, 1)


def plain_otsu(values, centres):
    """The threshold of the least variance within two classes."""
    best, least = None, np.inf
    for split in range(1, len(centres)):
        low = np.repeat(centres[:split], values[:split])
        high = np.repeat(centres[split:], values[split:])
        if len(low) and len(high):
            within = len(low) * low.var() + len(high) * high.var()
            if within < least - 1e-9:
                best, least = split, within
    return best


def test_otsu_by_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(10):
        counts = rng.integers(0, 30, size=12)
        centres = (np.arange(12) + 0.5) / 12
        assert otsu_split(centres, counts.astype(float)) == plain_otsu(counts, centres)


def test_proxy_scores_are_higher_where_intensities_lie_between_two_classes():
    rng = np.random.default_rng(1)
    shape = (4, 16, 16, 1)
    dark_or_bright = rng.integers(2, size=shape)
    clear = dark_or_bright + rng.normal(scale=0.05, size=shape)
    noisy = dark_or_bright + rng.normal(scale=0.3, size=shape)
    between = rng.uniform(0.3, 0.7, size=shape)
    scores = proxy_scores([clear, noisy, between])
    assert scores[0] < scores[1] < scores[2]
    assert all(0 <= score <= np.log(2) for score in scores)
    scaled = proxy_scores([7 * image - 3 for image in (clear, noisy, between)])
    np.testing.assert_allclose(scaled, scores, atol=1e-2)


def plain_scores(images):
    """Entropy of two normal distributions of one variance, voxel by voxel."""
    values = np.concatenate([image.ravel() for image in images])
    low, high = values.min(), values.max()
    bins = [
        np.minimum((image.ravel() - low) / (high - low) * 256, 255).astype(int)
        for image in images
    ]
    level = (np.concatenate(bins) + 0.5) / 256
    within = {}
    for threshold in sorted(set(level))[:-1]:
        parts = level[level <= threshold], level[level > threshold]
        within[threshold] = sum(len(part) * part.var() for part in parts)
    threshold = min(within, key=lambda t: (round(within[t], 9), t))
    parts = level[level <= threshold], level[level > threshold]
    variance = within[threshold] / len(level) + 1 / 12 / 256**2
    scores = []
    for given in bins:
        x = (given + 0.5) / 256
        densities = np.stack(
            [
                len(part) * np.exp(-((x - part.mean()) ** 2) / 2 / variance)
                for part in parts
            ]
        )
        share = np.clip(densities / densities.sum(axis=0), 1e-300, 1)
        scores.append(float(-(share * np.log(share)).sum(axis=0).mean()))
    return scores


def test_proxy_scores_by_their_definition():
    rng = np.random.default_rng(3)
    images = [
        rng.integers(2, size=(2, 5, 6, 1)) + rng.normal(scale=s, size=(2, 5, 6, 1))
        for s in (0.1, 0.3, 0.5)
    ]
    np.testing.assert_allclose(proxy_scores(images), plain_scores(images), atol=1e-8)
    levels = np.repeat([0.0, 0.5, 1.0], [10, 4, 10]).reshape(1, 4, 6, 1)
    np.testing.assert_allclose(
        proxy_scores([levels]), plain_scores([levels]), atol=1e-8
    )
    # Half of the voxels at each end of the range: nothing is ambiguous.
    assert proxy_scores([np.repeat([0.0, 1.0], 32).reshape(1, 8, 8, 1)]) == (0.0,)


def test_proxy_scores_of_constant_images_and_other_channels():
    flat = np.full((2, 4, 4, 2), 3.0)
    assert proxy_scores([flat, flat]) == (0.0, 0.0)
    image = flat.copy()
    image[..., 1] = np.random.default_rng(0).normal(size=(2, 4, 4))
    assert proxy_scores([image], channel=1)[0] > 0
    with pytest.raises(InputError, match="channel 2 of images with 2; allowed: 0 to 1"):
        proxy_scores([image], channel=2)
