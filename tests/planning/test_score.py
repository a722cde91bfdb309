"""Predictions of test cases that are labelled later."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

from slicebench.errors import InputError
from slicebench.planning.costs import Costs
from slicebench.planning.importing import read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.rounds import read_plan
from slicebench.planning.score import (
    CaseScore,
    in_words,
    score_predictions,
    summarise,
    write_scores,
)
from slicebench.planning.writing import write_plan
from tests.planning import annotator
from tests.planning.test_round_trip import here


def truth(case):
    """Two classes, the second a part of the ball."""
    label = annotator.truth_of(int(case[-2:]))
    label[:, 16:] *= 2
    return label


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    scans = annotator.write_scans(folder / "scans", cases=9)
    groups = "".join(f"case_{n:02d},{min(n, 7)}\n" for n in range(9))
    (folder / "groups.csv").write_text(f"case,patient\n{groups}")
    request = Request(
        images=scans,
        budget=3,
        slices_per_volume=1,
        test_patients=5,
        groups=f"{folder / 'groups.csv'}:patient",
        classes=("left", "right"),
        seed=1,
    )
    write_plan(make_plan(request, (), Costs()), folder / "plan")
    annotator.annotate(folder / "plan", folder / "labels", truth)
    return folder


@pytest.fixture(scope="module")
def tests_of(made):
    entries = read_plan(made / "plan")["cases"]
    return [entry["case"] for entry in entries if entry["side"] == "test"]


def imported(made):
    return read_labels(made / "plan", made / "labels", empty_is_done=True)


def predict(folder, cases, change=lambda _, label: label):
    for case in cases:
        label = change(case, truth(case)).astype(np.uint8)
        annotator.save(label, folder / f"{case}.nii.gz")
    return folder


def worse(case, label):
    """Loses a part of each class that differs from case to case."""
    label[: 12 + int(case[-2:])] = 0
    return label


def test_perfect_predictions_are_perfect(made, tests_of, tmp_path):
    folder = predict(tmp_path / "p", tests_of)
    scores, rows, tolerance = score_predictions(imported(made), folder)
    assert tolerance == 2.0
    assert {s.case for s in scores} == set(tests_of)
    by_name = {(row.metric, row.class_name): row for row in rows}
    assert by_name["dice", "all"].mean == 1
    assert by_name["nsd", "left"].mean == 1
    assert by_name["hd95", "right"].mean == 0
    assert by_name["dice", "all"].patients == 5


def test_dice_and_its_interval_are_those_of_the_definition(made, tests_of, tmp_path):
    folder = predict(tmp_path / "p", tests_of, worse)
    scores, rows, _ = score_predictions(imported(made), folder)
    expected = {}
    for case in tests_of:
        label, guess = truth(case), worse(case, truth(case))
        dice = [
            2
            * np.sum((label == v) & (guess == v))
            / (np.sum(label == v) + np.sum(guess == v))
            for v in (1, 2)
        ]
        patient = min(int(case[-2:]), 7)
        expected.setdefault(patient, []).append(np.mean(dice))
    values = [np.mean(each) for each in expected.values()]
    row = next(r for r in rows if (r.metric, r.class_name) == ("dice", "all"))
    assert row.mean == pytest.approx(np.mean(values))
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (row.low, row.high) == pytest.approx((max(0, low), min(1, high)))
    assert row.sd == pytest.approx(np.std(values, ddof=1))
    assert len([s for s in scores if s.metric == "dice"]) == 2 * len(tests_of)


def made_scores(values, patients=None):
    return [
        CaseScore(f"c{n}", patients[n] if patients else f"p{n}", "a", "dice", value)
        for n, value in enumerate(values)
    ]


def test_scans_of_a_patient_count_once():
    (row,) = summarise(made_scores([0.2, 0.4, 0.9], ["p", "p", "q"]), ["a"])
    assert row.mean == pytest.approx(0.6)
    assert (row.patients, row.cases) == (2, 3)
    assert row.sd == pytest.approx(0.6 / math.sqrt(2))
    assert (row.low, row.high) == (0.0, 1.0)
    assert "2 patients (3 scans)" in in_words([row], 1.0)[0]


def test_words_say_how_few_patients_there_are():
    few = in_words(summarise(made_scores([0.5, 0.6, 0.7]), ["a"]), 1.5)
    assert few[0] == "Dice 0.600 [0.352, 0.848] over 3 patients"
    assert few[1].startswith("3 patients are few")
    assert "NSD forgives 1.5 mm" in few[-1]
    one = in_words(summarise(made_scores([0.5]), ["a"]), 1.5)
    assert one[0] == "Dice 0.500 over 1 patient"
    assert "nothing can be said of others" in one[1]
    many = in_words(summarise(made_scores([0.5, 0.6] * 10), ["a"]), 1.5)
    assert len(many) == 2


def test_what_was_not_found_is_told(made, tests_of, tmp_path):
    lost = sorted(tests_of)[0]
    folder = predict(
        tmp_path / "p", tests_of, lambda case, x: x * (x != 2) if case == lost else x
    )
    _, rows, _ = score_predictions(imported(made), folder, tolerance_mm=3.0)
    by_name = {(row.metric, row.class_name): row for row in rows}
    assert by_name["dice", "right"].missed == 1
    assert by_name["dice", "left"].missed == 0
    diagonal = np.linalg.norm(np.array(annotator.SHAPE) * [2, 2, 3])
    others = len(tests_of) - 1
    assert by_name["hd95", "right"].mean <= diagonal / min(others, 5) + 1e-6
    assert "1 times nothing was predicted" in " ".join(in_words(rows, 3.0))


def test_faults_of_predictions_come_together(made, tests_of, tmp_path):
    first, second, *rest = tests_of
    folder = predict(tmp_path / "p", rest)
    annotator.save(truth(first)[:-1], folder / f"{first}.nii.gz")
    with pytest.raises(InputError, match=f"{second}: no prediction") as caught:
        score_predictions(imported(made), folder)
    assert first in str(caught.value)
    predict(folder, [first, second], lambda _, label: label + 5)
    with pytest.raises(InputError, match="label value 7, but 2 classes"):
        score_predictions(imported(made), folder)
    with pytest.raises(InputError, match="no such folder"):
        score_predictions(imported(made), tmp_path / "none")


def test_nothing_labelled_is_said(made, tests_of, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    found = read_labels(made / "plan", labels)
    with pytest.raises(InputError, match="no test case is labelled"):
        score_predictions(found, made / "labels")


def test_the_command_line_writes_tables(made, tests_of, tmp_path):
    folder = predict(tmp_path / "p", tests_of, worse)
    given = (f"--plan={made / 'plan'}", f"--labels={made / 'labels'}")
    out = tmp_path / "scores"
    words = here("planning", "score", *given, f"--predictions={folder}", f"--out={out}")
    assert words.startswith("Dice 0.")
    assert "5 patients are few" in words
    with (out / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class_name"] for row in rows[:3]] == ["all", "left", "right"]
    with (out / "scores.csv").open() as file:
        assert len({row["case"] for row in csv.DictReader(file)}) == len(tests_of)
    scores, rows, _ = score_predictions(imported(made), folder)
    with pytest.raises(InputError, match="new or empty"):
        write_scores(scores, rows, out)
