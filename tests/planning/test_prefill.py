"""Guesses between annotated slices: apart from annotations, and measured."""

import csv
import json

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.interpolation import interpolate
from slicebench.planning.costs import Costs
from slicebench.planning.importing import read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.prefill import prefill
from slicebench.planning.writing import write_plan
from tests.planning import annotator


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefill")
    request = Request(
        images=annotator.write_scans(folder / "scans", cases=8),
        budget=15,
        test_patients=2,
        slices_per_volume=3,
        strategy="fixed_interval",
        classes=("ball",),
    )
    write_plan(make_plan(request, (), Costs(empty_slice=0.2)), folder / "plan")
    annotator.annotate(folder / "plan", folder / "labels")
    return folder / "plan"


def imported(plan):
    return read_labels(plan, plan.parent / "labels", empty_is_done=True)


@pytest.fixture(scope="module")
def filled(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "filled"
    return out, prefill(imported(plan), "signed_distance", out)


def test_annotations_and_guesses_share_no_slice(plan, filled):
    out, _ = filled
    guessed = 0
    for case in imported(plan).cases:
        if case.side == "test":
            assert not (out / "annotated" / f"{case.case}.nii.gz").exists()
            continue
        done = list(case.done)
        own, guess = (
            annotator.read(out / folder / f"{case.case}.nii.gz")
            for folder in ("annotated", "guessed")
        )
        truth = annotator.truth_of(int(case.case[-2:]))
        np.testing.assert_array_equal(own[:, :, done], truth[:, :, done])
        assert not np.delete(own, done, axis=2).any()
        assert not guess[:, :, done].any()
        outside = [n for n in range(8) if n < done[0] or n > done[-1]]
        assert not guess[:, :, outside].any()
        guessed += guess.any((0, 1)).sum()
        assert own.dtype == guess.dtype == np.uint8
    assert guessed > 0


def test_guesses_are_those_of_the_named_interpolation(plan, filled):
    case = next(c for c in imported(plan).cases if c.side == "pool")
    label = np.moveaxis(annotator.truth_of(int(case.case[-2:])), 2, 0)
    marks = np.isin(np.arange(8), case.done)
    made = interpolate("signed_distance", label, marks, (3.0, 2.0, 2.0))
    expected = np.where(made.filled[:, None, None], made.hard(), 0)
    guess = annotator.read(filled[0] / "guessed" / f"{case.case}.nii.gz")
    np.testing.assert_array_equal(np.moveaxis(guess, 2, 0), expected)


def test_the_table_has_every_guessed_slice_with_its_price(plan, filled):
    out, words = filled
    with (out / "prefill.csv").open() as file:
        rows = list(csv.DictReader(file))
    between = {
        (case.case, number)
        for case in imported(plan).cases
        if case.side == "pool"
        for number in range(case.done[0], case.done[-1])
        if number not in case.done
    }
    assert {(row["case"], int(row["slice_index"])) for row in rows} <= between
    costs, first = Costs(empty_slice=0.2), rows[0]
    each = costs.corrected_slice if first["foreground"] == "True" else 0.2
    assert float(first["minutes"]) == pytest.approx(costs.volume + each)
    assert int(first["display_number"]) == int(first["slice_index"]) + 1
    assert float(first["gap_mm"]) in (3.0, 6.0)
    minutes = sum(float(row["minutes"]) for row in rows)
    assert words[0].startswith(f"{len(rows)} slices of 5 volumes are guessed")
    assert f"about {minutes:.0f} min" in words[0]


def test_guesses_are_measured_on_annotated_slices_that_are_left_out(plan, filled):
    out, words = filled
    record = json.loads((out / "prefill.json").read_text())
    assert record["interpolation"] == "signed_distance"
    expected = {}
    for case in imported(plan).cases:
        if case.side == "test":
            continue
        truth = np.moveaxis(annotator.truth_of(int(case.case[-2:])), 2, 0)
        before, place, after = case.done
        marks = np.isin(np.arange(8), (before, after))
        guess = interpolate("signed_distance", truth, marks, (3.0, 2.0, 2.0)).hard()
        both = 2 * (guess[place] & truth[place]).sum()
        dice = both / (guess[place].sum() + truth[place].sum())
        gap = 3.0 * min(place - before, after - place)
        expected[case.case, place] = (dice, gap)
    found = {
        (each["case"], each["slice_index"]): (each["dice"]["ball"], each["gap_mm"])
        for each in record["left_out"]
    }
    assert found == expected
    dice = [value for value, _ in expected.values()]
    assert min(dice) < max(dice)
    assert f"{np.mean(dice):.3f} (lowest {min(dice):.3f}, 5 masks" in words[1]


def test_costs_of_corrections():
    costs = Costs(volume=2, corrected_slice=1, empty_slice=0.1, adjacent=0.5, classes=3)
    made = costs.of_corrections([2, 3, 6], [True, False, True])
    assert made == pytest.approx([2 + 3, 0.05, 3])
    assert costs.of_corrections([], []) == []
    with pytest.raises(InputError, match="cost_corrected_slice"):
        Costs(corrected_slice=-1)


@pytest.mark.parametrize("name", ["none", "magic"])
def test_unknown_interpolations_are_refused(plan, tmp_path, name):
    with pytest.raises(InputError, match="allowed: image_guided"):
        prefill(imported(plan), name, tmp_path / "out")


def test_nothing_is_overwritten_and_nothing_left_behind(plan, filled, tmp_path):
    with pytest.raises(InputError, match="holds files"):
        prefill(imported(plan), "linear", filled[0])
    labels = tmp_path / "labels"
    labels.mkdir()
    found = read_labels(plan, labels)
    with pytest.raises(InputError, match="nothing to pre-fill"):
        prefill(found, "linear", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_the_image_guides_where_a_method_asks_for_it(plan, tmp_path):
    words = prefill(imported(plan), "image_guided", tmp_path / "out")
    assert "(image_guided)" in words[0]
