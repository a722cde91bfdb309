"""Chances of missing a structure and widths of intervals, by hand and by drawing."""

import csv
import io
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from slicebench.data.volumes import Scan
from slicebench.errors import InputError
from slicebench.planning import precision, prevalence
from slicebench.planning.choose import Choice
from slicebench.planning.costs import Costs
from slicebench.planning.precision import interval_width, precisions, spreads
from slicebench.planning.prevalence import Structure, expect, none_of, structures
from tests.planning.test_recommend import LADDER, cell, known


class Made(Scan):
    """A scan that is not on disk."""

    @property
    def shape(self):
        return (10, 4, 4)


def scans(number, patients=None):
    return [
        Made(
            name=f"c{n}",
            group=f"p{n % (patients or number)}",
            image_paths=(),
            slice_axis=0,
        )
        for n in range(number)
    ]


def choices(number, each, patients=None):
    return [
        Choice(scan=scan, slices=tuple(range(each))) for scan in scans(number, patients)
    ]


def test_one_number_is_for_every_structure():
    both = structures(["liver", "tumour"], ["0.3"], ["tumour=0.5"])
    assert [(s.name, s.share, s.patients) for s in both] == [
        ("liver", 0.3, 1.0),
        ("tumour", 0.3, 0.5),
    ]
    assert structures([], ["a=0.5", "b=0.1"])[1] == Structure(name="b", share=0.1)
    assert structures(["a"], []) == ()


@pytest.mark.parametrize(
    ("shares", "patients", "message"),
    [
        (["a=0.5"], [], "nothing for b"),
        (["a=0.5", "b=0.1", "c=0.1"], [], "c is none of a, b"),
        (["a=0.5", "b=0.4"], ["b=0.3"], "that cannot be"),
        (["a=0.5", "b=0.4"], ["c=0.3"], "--patients_with: c is none of"),
        (["0"], [], "above 0"),
        (["1.2"], [], "up to 1"),
        (["nan"], [], "up to 1"),
        (["a=x", "b=0.1"], [], "--prevalence=x"),
        (["a=0.1", "a=0.2"], [], "one NAME=SHARE"),
        ([], ["a=0.5"], "needs --prevalence"),
    ],
)
def test_impossible_shares_are_refused(shares, patients, message):
    with pytest.raises(InputError, match=message):
        structures(["a", "b"], shares, patients)


def test_chances_by_hand():
    # 2 of 4 slices show it, 2 are drawn: 1 of 6 pairs misses it.
    assert none_of(4, 2, 0.5, "hypergeometric") == pytest.approx(1 / 6)
    assert none_of(4, 2, 0.5, "binomial") == 0.25
    assert none_of(4, 1, 1.0, "hypergeometric") == 0
    assert none_of(4, 4, 0.25, "hypergeometric") == 0
    # One and a half of 4 slices: half of the volumes have 1, half have 2.
    assert none_of(4, 1, 0.375, "hypergeometric") == pytest.approx(0.625)


def test_chances_of_a_plan_are_those_of_drawing_it():
    """5 volumes of 10 slices, 2 each; 40 % of patients have it on 5 of their slices."""
    one = Structure(name="a", share=0.2, patients=0.4)
    (found,) = expect([one], choices(5, 2), "random")
    rng = np.random.default_rng(0)
    has = rng.random((20_000, 5)) < 0.4
    hit = rng.hypergeometric(5, 5, 2, (20_000, 5)) * has
    assert found.slices == pytest.approx(hit.sum(1).mean(), abs=0.05)
    assert found.volumes == pytest.approx((hit > 0).sum(1).mean(), abs=0.05)
    assert found.chance_of_none == pytest.approx((hit.sum(1) == 0).mean(), abs=0.01)
    assert found.model == "hypergeometric"
    assert found.most_chance_of_none == pytest.approx(0.8**5)


def test_stratified_slices_miss_no_more_often_than_is_said():
    """Three of 10 slices show it, anywhere; one slice of each half is drawn."""
    said = none_of(10, 2, 0.3, "binomial")
    for first in range(8):
        shown = np.zeros(10, bool)
        shown[first : first + 3] = True
        missed = (1 - shown[:5].mean()) * (1 - shown[5:].mean())
        assert missed <= said + 1e-12
    (found,) = expect([Structure(name="a", share=0.3)], choices(1, 2), "stratified")
    assert found.chance_of_none == pytest.approx(said)


def test_scans_of_one_patient_are_no_further_patients():
    one = Structure(name="a", share=0.25, patients=0.5)
    (apart,) = expect([one], choices(4, 1), "random")
    (same,) = expect([one], choices(4, 1, patients=1), "random")
    assert apart.chance_of_none == pytest.approx((0.5 + 0.5 * 0.5) ** 4)
    assert same.chance_of_none == pytest.approx(0.5 + 0.5 * 0.5**4)
    assert same.slices == apart.slices == pytest.approx(1.0)


def test_costs_take_structures_to_lie_together():
    found = structures([], ["a=0.4", "b=0.1"])
    assert prevalence.shown(found) == (0.4, pytest.approx(1.25))
    rows = expect(found, choices(3, 1), "random")
    read = list(csv.DictReader(io.StringIO(prevalence.to_csv(rows))))
    assert [row["structure"] for row in read] == ["a", "b"]
    assert float(read[0]["chance_of_none"]) == pytest.approx(0.6**3)
    assert "chance of none 0.216 (hypergeometric)" in prevalence.in_words(rows)[0]


def test_the_width_is_that_of_students_interval():
    rng = np.random.default_rng(1)
    drawn = rng.normal(0.8, 0.1, (4000, 8))
    low, high = stats.t.interval(
        0.95, 7, drawn.mean(1), drawn.std(1, ddof=1) / math.sqrt(8)
    )
    # The mean of sample deviations lies slightly below the true one.
    assert interval_width(8, 0.1) == pytest.approx((high - low).mean(), rel=0.05)
    assert interval_width(8, 0.1) > (high - low).mean()
    assert interval_width(20, 0.1) < interval_width(8, 0.1)


def test_the_nearest_task_says_how_cases_scatter():
    cells = [cell(24, 1, 0.7, sd_cases=0.1), cell(24, 2, 0.7, sd_cases=0.2)]
    heart = known(*cells)
    assert spreads(heart, (heart,), 2) == {"heart (2d)": 0.2}
    assert spreads(heart, (heart,), 8) == {"heart (2d)": 0.2}
    head = known(cell(24, 1, 0.7, sd_cases=0.3), task="head")
    assert spreads(None, (heart, head), 1) == {"heart (2d)": 0.1, "head (2d)": 0.3}
    assert spreads(None, (known(*LADDER),), 1) == {}


def test_more_patients_narrow_the_interval_and_cost_more():
    costs = Costs(volume=1, foreground_slice=1, adjacent=0.5)
    rows = precisions(scans(30, patients=15), 4, costs, {"heart (2d)": 0.1})
    assert [row.patients for row in rows] == [3, 4, 5, 10]
    assert [row.patients for row in rows if row.planned] == [4]
    # Two scans a patient: each is opened (1), begun (1) and goes on for nine halves.
    assert [row.minutes for row in rows] == [13.0 * n for n in (3, 4, 5, 10)]
    assert all(a.width > b.width for a, b in itertools.pairwise(rows))
    words = precision.in_words(rows, near=True)
    assert "SD over cases 0.100, measured on heart (2d)" in words[0]
    assert words[1].startswith("test set of 5 patients")
    assert "none of them is near" in precision.in_words(rows, near=False)[0]
    table = list(csv.DictReader(io.StringIO(precision.to_csv(rows))))
    assert table[1]["planned"] == "1"


def test_no_test_set_has_no_width():
    rows = precisions(scans(5), 0, Costs(), {"heart (2d)": 0.1})
    assert precision.in_words(rows, near=True) == []
    assert {row.patients for row in rows} == {3}
