"""Allocations from evidence and costs, worked by hand."""

import dataclasses
import json

import pytest

from slicebench.errors import InputError
from slicebench.planning import evidence
from slicebench.planning.costs import Costs
from slicebench.planning.evidence import Cell, Evidence, Traits, nearest
from slicebench.planning.recommend import (
    FEWEST_VOLUMES,
    recommend,
    without_evidence,
)


def cell(budget, each, dice, **changes):
    values = {"low": dice - 0.02, "high": dice + 0.02, "sd_seeds": 0.01}
    return Cell(
        budget=budget,
        num_volumes=budget // each,
        slices_per_volume=each,
        dice=dice,
        num_seeds=20,
        **(values | changes),
    )


def known(*cells, **changes):
    values = {
        "task": "heart",
        "target": "all",
        "dims": "2d",
        "classes": ("ventricle",),
        "spacing": (8.0, 1.5, 1.5),
        "slices": 10.0,
        "prevalence": 0.5,
        "ceiling": 0.9,
        "margin": 0.01,
        "provenance": {},
    }
    return Evidence(cells=cells, **(values | changes))


LADDER = (
    cell(24, 1, 0.70),
    cell(24, 2, 0.695),
    cell(24, 4, 0.66),
    cell(48, 1, 0.80),
    cell(48, 2, 0.79),
    cell(48, 4, 0.75),
)
COSTS = Costs(volume=2.0, foreground_slice=1.0)


def test_among_equals_the_quicker_one_is_taken():
    """0.695 lies within 0.01 of 0.70, and 12 volumes are opened instead of 24."""
    found = recommend(known(*LADDER), 24, 40, COSTS)
    assert found.slices_per_volume == 2
    assert found.evidence_budget == 24
    by_density = {option.slices_per_volume: option for option in found.options}
    assert by_density[2].chosen
    assert by_density[2].minutes == 12 * 2 + 24
    assert by_density[1].reason == "as good, takes longer"
    assert by_density[4].reason == "lower Dice by more than 0.010"


def test_a_clear_winner_is_taken_at_any_price():
    found = recommend(known(*LADDER, margin=0.001), 24, 40, COSTS)
    assert found.slices_per_volume == 1


def test_equals_of_few_volumes_do_not_count():
    flat = [cell(24, each, 0.7) for each in (1, 2, 4)]
    found = recommend(known(*flat), 24, 40, COSTS)
    assert found.slices_per_volume == 2
    reasons = {o.slices_per_volume: o.reason for o in found.options}
    assert reasons[4] == f"fewer than {FEWEST_VOLUMES} volumes"


def test_a_small_pool_rules_allocations_out():
    found = recommend(known(*LADDER), 24, 20, COSTS)
    assert found.slices_per_volume == 2
    assert found.options[0].reason == "needs 24 volumes, the pool has 20"


def test_the_nearest_budget_speaks_and_a_far_one_does_not():
    found = recommend(known(*LADDER), 40, 60, COSTS)
    assert found.evidence_budget == 48
    assert any("Your budget is 40" in sentence for sentence in found.words)
    far = recommend(known(*LADDER), 200, 300, COSTS)
    assert far.evidence_budget is None
    assert "24 and 48 slices; 200 is too far" in far.words[0]


@pytest.mark.parametrize(
    ("budget", "pool", "each"), [(24, 40, 2), (60, 40, 2), (10, 40, 1), (60, 5, 12)]
)
def test_without_evidence_at_least_twelve_volumes(budget, pool, each):
    found = without_evidence(budget, pool)
    assert found.slices_per_volume == each
    assert "No evidence" in found.words[0]


def test_the_spread_of_one_draw_is_told():
    found = recommend(known(cell(24, 1, 0.7, sd_seeds=0.034)), 24, 40, COSTS)
    assert any("0.034" in sentence for sentence in found.words)


def test_minutes_of_slices_by_hand():
    costs = Costs(
        volume=3, foreground_slice=2, empty_slice=0.5, prevalence=0.5, adjacent=0.5
    )
    assert costs.slice == 1.25
    assert costs.of_slices([4, 5, 9]) == [4.25, 0.625, 1.25]
    assert costs.of_slices([]) == []
    assert Costs(classes=3, foreground_slice=2).slice == 6


def test_marks_cost_two_a_volume_and_leave_no_empty_slice():
    costs = Costs(volume=1, classes=3, prevalence=0.2, extent_mark=0.5).with_extents
    assert costs.volume == 1 + 2 * 0.5
    assert costs.slice == 3 * 1.5


@pytest.mark.parametrize(("minutes", "each"), [(7, 1), (12.5, 2), (100, 4), (2, 4)])
def test_what_a_time_buys_is_not_dearer_than_it_and_nearly_all_of_it(minutes, each):
    costs = Costs(volume=2, foreground_slice=1.5)
    bought = costs.affordable(minutes, each)

    def price(slices):
        volumes = -(-slices // each)
        return volumes * costs.volume + slices * costs.slice

    assert price(bought) <= minutes < price(bought + 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"volume": -1},
        {"adjacent": 1.5},
        {"prevalence": float("nan")},
        {"foreground_slice": 0},
    ],
)
def test_impossible_costs_are_refused(changes):
    with pytest.raises(InputError, match="cost"):
        Costs(**changes)


def test_the_nearest_task_is_told_and_a_strange_one_has_none():
    heart, head = known(*LADDER), known(*LADDER, task="head", slices=120.0)
    traits = Traits(spacing=(6.0, 1.0, 1.0), slices=12)
    found, factors = nearest(traits, (head, heart)) or (None, {})
    assert found is heart
    assert factors["slice spacing"] == pytest.approx(8 / 6)
    assert factors["slices of a volume"] == pytest.approx(1.2)
    assert nearest(traits, (heart,), "3d") is None
    assert nearest(dataclasses.replace(traits, slices=40), (heart, head)) is None
    assert nearest(dataclasses.replace(traits, prevalence=0.1), (heart,)) is None


def test_tables_are_read_back(tmp_path):
    heart = known(*LADDER, provenance={"command": "a", "trials": 3})
    evidence.write_table(tmp_path / "a.json", [heart])
    content = json.loads((tmp_path / "a.json").read_text())
    (found,) = evidence.parse_table(content)
    assert dataclasses.replace(found, cells=()) == dataclasses.replace(heart, cells=())
    for ours, theirs in zip(found.cells, heart.cells, strict=True):
        assert dataclasses.asdict(ours) == pytest.approx(dataclasses.asdict(theirs))


def test_the_shipped_table_is_real_and_tells_its_commands():
    table = evidence.shipped()
    assert len({entry.task for entry in table}) >= 2
    for entry in table:
        assert not entry.provenance["synthetic"]
        assert "--experiment=" in entry.provenance["command"]
        assert len(entry.cells) >= 3
        assert all(0 < one.dice < 1 and one.num_seeds >= 5 for one in entry.cells)
        assert all(o.num_volumes * o.slices_per_volume == o.budget for o in entry.cells)
        # The spread over cases is that of one network, wider than that of means.
        assert all(0.03 < (one.sd_cases or 0) < 0.2 for one in entry.cells)
