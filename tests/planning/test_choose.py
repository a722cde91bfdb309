"""Which patients are kept apart, and how a budget is spent exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebench.data.scans import find_scans
from slicebench.errors import InputError
from slicebench.planning.choose import choose, quotas, reserve
from slicebench.selection import STRATEGIES
from tests.planning.scans import write_folder, write_scan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = write_folder(tmp_path_factory.mktemp("scans"), cases=14)
    write_scan(path / "thin.nii.gz", shape=(12, 10, 2))
    return find_scans(path)


def chosen(folder, **changes):
    settings = {
        "budget": 10,
        "slices_per_volume": 4,
        "strategy": "random",
        "volume_strategy": "random",
        "features": "intensity",
        "seed": 3,
    }
    return choose(folder, folder.scans, **(settings | changes))


@given(
    budget=st.integers(1, 60),
    each=st.integers(1, 9),
    depths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
)
def test_quotas_spend_the_budget_evenly_or_say_what_is_possible(budget, each, depths):
    possible = int(np.minimum(depths, each).sum())
    if budget > possible:
        with pytest.raises(InputError, match=f"1 to {possible} are possible"):
            quotas(budget, each, depths)
        return
    found = quotas(budget, each, depths)
    assert sum(found) == budget
    pairs = list(zip(found, depths, strict=False))
    assert all(1 <= quota <= min(each, depth) for quota, depth in pairs)
    # Volumes with room differ by one slice at most: no volume is left behind.
    free = [quota for quota, depth in pairs if quota < min(each, depth)]
    assert not free or max(found) - min(free) <= 1
    # One volume fewer would not do.
    assert np.minimum(depths[: len(found) - 1], each).sum() < budget


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_spends_the_budget_exactly(folder, strategy):
    choices = chosen(folder, strategy=strategy)
    assert sum(len(choice.slices) for choice in choices) == 10
    assert len({choice.scan.name for choice in choices}) == len(choices)
    for choice in choices:
        assert list(choice.slices) == sorted(set(choice.slices))
        assert max(choice.slices) < choice.scan.shape[0]
    assert choices == chosen(folder, strategy=strategy)


def test_shallow_volumes_make_room_for_another_one(folder):
    choices = chosen(folder, budget=46, slices_per_volume=8, seed=1)
    assert sum(len(choice.slices) for choice in choices) == 46


def test_the_whole_pool_and_one_more(folder):
    everything = 14 * 8 + 2
    choices = chosen(folder, budget=everything, slices_per_volume=8)
    assert sum(len(choice.slices) for choice in choices) == everything
    with pytest.raises(InputError, match=f"1 to {everything} are possible"):
        chosen(folder, budget=everything + 1, slices_per_volume=8)


@pytest.mark.parametrize("name", ["stratified", "proxy_rank"])
def test_volume_strategies_that_need_more_are_refused(folder, name):
    with pytest.raises(InputError, match=name):
        chosen(folder, volume_strategy=name)


def test_test_patients_are_whole_patients_and_depend_on_the_seed_only(folder):
    test, pool = reserve(folder.scans, 5, 0)
    assert len(test) == 5
    assert {scan.name for scan in test} | {scan.name for scan in pool} == {
        scan.name for scan in folder.scans
    }
    assert reserve(folder.scans[::-1], 5, 0)[0][::-1] == test
    assert reserve(folder.scans, 5, 1)[0] != test
    # More test patients keep the ones there are.
    assert set(test) < set(reserve(folder.scans, 6, 0)[0])


@pytest.mark.parametrize("patients", [-1, 14])
def test_two_patients_stay_to_be_annotated(folder, patients):
    with pytest.raises(InputError, match="0 to 13"):
        reserve(folder.scans, patients, 0)
