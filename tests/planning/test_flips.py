"""What would turn the answer: evidence at equal time and equal slices, and theory."""

import csv
import io

import numpy as np
import pytest

from slicebench.planning.cluster import DepthCorrelation
from slicebench.planning.costs import Costs
from slicebench.planning.flips import (
    RATIOS,
    dice_at,
    flips,
    in_words,
    to_csv,
    turns,
)
from slicebench.planning.flips_figure import flips_figure, publish_flips
from tests.planning.test_recommend import COSTS, LADDER, known


def correlation(icc, low, high):
    line = np.ones(3)
    return DepthCorrelation(
        distances=np.arange(3.0),
        values=line,
        low=line,
        high=line,
        icc=icc,
        num_volumes=9,
        icc_low=low,
        icc_high=high,
    )


def by_ratio(minutes=60, budget=24, pool=100, **changes):
    found = flips(
        known(*LADDER, **changes.pop("task", {})),
        minutes,
        COSTS,
        budget=budget,
        pool=pool,
        **changes,
    )
    return {flip.ratio: flip for flip in found}


def test_dice_between_budgets_is_straight_in_their_logarithm():
    heart = known(*LADDER)
    assert dice_at(heart, 1, 24) == pytest.approx(0.70)
    assert dice_at(heart, 1, 24 * 2**0.5) == pytest.approx(0.75)
    assert dice_at(heart, 1, 49) is None
    assert dice_at(heart, 8, 24) is None


def test_dear_volumes_turn_the_best_density():
    """At 60 minutes a free volume buys 60 slices at any density: out of range.

    At a ratio of 1 one slice a volume buys 30 slices (0.732) and two 40 (0.765).
    """
    found = by_ratio()
    assert found[0.0].slices == {1: 60, 2: 60, 4: 60}
    assert found[0.0].best is None
    assert found[0.0].left == ()
    assert found[1.0].slices == {1: 30, 2: 40, 4: 48}
    assert found[1.0].dice[2] == pytest.approx(0.695 + 0.095 * 0.7369656)
    assert found[1.0].best == 2
    assert found[4.0].slices == {1: 12, 2: 20, 4: 28}
    assert found[4.0].best == 4


def test_what_cannot_be_told_is_not_ruled_out():
    """At a ratio of 4, 12 and 20 slices lie below the evidence's 24.

    They reach at most what 24 reach, 0.70 and 0.695; four slices a volume reach 0.680.
    """
    found = by_ratio()
    assert found[1.0].left == (2,)
    assert found[4.0].left == (1, 2, 4)
    # A density that needs more volumes than there are is ruled out.
    assert by_ratio(pool=10)[4.0].left == (2, 4)
    assert by_ratio(pool=10)[4.0].slices[1] == 12


def test_time_of_equal_slices_by_hand():
    found = by_ratio()
    assert found[2.0].minutes == {1: 24 + 48, 2: 24 + 24, 4: 24 + 12}
    # 0.695 is as good as 0.70 and takes 48 minutes instead of 72.
    assert found[2.0].quickest == 2


def test_theory_is_that_of_two_stage_sampling():
    found = by_ratio(correlation=correlation(0.2, 0.1, 0.5), depth=10)
    assert found[1.0].theory == pytest.approx(2.0)
    assert found[1.0].theory_low == pytest.approx(1.0)
    assert found[1.0].theory_high == pytest.approx(3.0)
    assert found[1.0].regret == pytest.approx(0.0)
    # Two slices a volume are measured to be best at 1; theory would say one.
    high = by_ratio(correlation=correlation(0.9, 0.8, 0.95), depth=10)[1.0]
    assert high.theory == 1.0
    assert high.regret == pytest.approx(high.dice[2] - high.dice[1])


def test_words_tell_where_the_answer_changes():
    steps = [(0.25, (1,)), (0.5, (1,)), (1.0, (1, 2, 4)), (2.0, ())]
    assert turns(steps) == "1 at 0.25 to 0.5; 1, 2 or 4 at 1; not known at 2"
    found = tuple(by_ratio(correlation=correlation(0.2, 0.1, 0.5), depth=10).values())
    lines = in_words(found, COSTS)
    assert "(yours: 2)" in lines[0]
    assert "two-stage sampling" in lines[2]
    assert "would lose" in lines[2]
    assert in_words((), COSTS) == []


def test_the_table_has_a_row_a_ratio_and_density():
    found = tuple(by_ratio().values())
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(rows) == 3 * len(RATIOS)
    at = {(float(r["ratio"]), int(r["slices_per_volume"])): r for r in rows}
    assert at[1.0, 2]["equal_time_best"] == "1"
    assert at[1.0, 1]["equal_time_not_ruled_out"] == "0"
    assert at[0.0, 1]["equal_time_dice"] == ""
    assert at[2.0, 1]["equal_slices_minutes"] == "72.0"
    assert at[2.0, 1]["theory_slices_per_volume"] == ""


def test_the_figure_shows_every_known_answer(tmp_path):
    found = tuple(by_ratio(correlation=correlation(0.2, 0.1, 0.5), depth=10).values())
    left, right = flips_figure(found, own=2.0).axes
    drawn = {c.get_label(): np.asarray(c.get_offsets()) for c in left.collections}
    best = drawn["... highest measured Dice"]
    expected = [(f.ratio, f.best) for f in found if f.best]
    np.testing.assert_allclose(best, expected)
    lines = {line.get_label(): line.get_ydata() for line in right.lines}
    np.testing.assert_allclose(lines["1"], [f.minutes[1] for f in found])
    again = [publish_flips(found, 2.0, tmp_path / name) for name in "ab"]
    assert again[0] == again[1]
    for ending in ("png", "svg"):
        one, other = (tmp_path / name / f"flips.{ending}" for name in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_nothing_known_is_drawn_without_points():
    found = flips(known(*LADDER), 1e5, Costs(), budget=4000, pool=9000)
    assert {flip.best for flip in found} == {None}
    assert {flip.quickest for flip in found} == {None}
    assert not flips_figure(found, own=0.5).axes[0].collections
