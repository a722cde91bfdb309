"""Classes made of labels."""

import numpy as np
import pytest

from slicebench.data import parse_target, targets
from slicebench.errors import InputError

LABELS = (("cavity", 1), ("wall", 2), ("infarction", 3), ("no-reflow", 7))


@pytest.mark.parametrize("text", ["", "all", " all ", "cavity,wall,infarction,7"])
def test_all_classes(text):
    target = parse_target(text, LABELS)
    assert target.name == "all"
    assert target.classes == ("cavity", "wall", "infarction", "no-reflow")
    assert target.values == ((1,), (2,), (3,), (7,))


@pytest.mark.parametrize(
    ("text", "classes", "values"),
    [
        ("infarction+no-reflow", ("infarction+no-reflow",), ((3, 7),)),
        ("3 + 7", ("infarction+no-reflow",), ((3, 7),)),
        ("wall", ("wall",), ((2,),)),
        ("no-reflow, 1+2", ("no-reflow", "cavity+wall"), ((7,), (1, 2))),
    ],
)
def test_groups(text, classes, values):
    target = parse_target(text, LABELS)
    assert target.classes == classes
    assert target.values == values
    assert target.name == ",".join(classes)


def test_label_whose_name_holds_a_plus():
    assert parse_target("CSF+", (("CSF+", 1), ("CSF", 2))).values == ((1,),)


def test_apply_merges_and_drops():
    label = np.array([[[0, 1, 2, 3, 7]]], np.uint8)
    target = parse_target("wall,infarction+no-reflow", LABELS)
    np.testing.assert_array_equal(target.apply(label), [[[0, 0, 1, 2, 2]]])


@pytest.mark.parametrize("text", ["liver", "wall+4", "background", "wall,", "0"])
def test_unknown_label(text):
    with pytest.raises(InputError) as caught:
        parse_target(text, LABELS)
    assert f"--target_labels={text}: unknown label" in str(caught.value)
    assert "cavity (1), wall (2), infarction (3), no-reflow (7)" in str(caught.value)


@pytest.mark.parametrize("text", ["wall,wall", "1+2,wall", "2+wall"])
def test_label_in_two_classes(text):
    with pytest.raises(InputError, match="wall stands more than once"):
        parse_target(text, LABELS)


@pytest.mark.parametrize(
    ("text", "classes", "values"),
    [
        ("lesion=3+7", ("lesion",), ((3, 7),)),
        ("PTV70 (planning target)=1", ("PTV70 (planning target)",), ((1,),)),
        ("a=wall, b = 1+7", ("a", "b"), ((2,), (1, 7))),
        ("heart", ("heart",), ((1, 2),)),
        ("heart,lesion=3", ("heart", "lesion"), ((1, 2), (3,))),
        ("heart+7", ("heart+no-reflow",), ((1, 2, 7),)),
    ],
)
def test_names_and_regions(text, classes, values):
    target = parse_target(text, LABELS, (("heart", (1, 2)),))
    assert target.classes == classes
    assert target.values == values


def test_one_class_against_the_rest():
    target = parse_target("wall", LABELS)
    np.testing.assert_array_equal(
        target.apply(np.array([[[0, 1, 2, 3, 7]]], np.uint8)), [[[0, 0, 1, 0, 0]]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heart,wall", r"wall stands more than once; .*two tasks"),
        ("x=1,x=2", "two classes are named x"),
        ("=1", "'=1' has no name before ="),
        ("x=", "unknown label ''"),
        ("x=9", r"unknown label '9'; .*heart \(1\+2\)"),
        ("1++2", "unknown label ''"),
    ],
)
def test_faults_of_names_and_regions(text, message):
    with pytest.raises(InputError, match=message):
        parse_target(text, LABELS, (("heart", (1, 2)),))


@pytest.mark.parametrize(
    ("text", "folder", "plain"),
    [
        ("all", "labelsTr", "all"),
        ("CSF/air+2,b=1", "labelsTr", "CSF/air+2,b=1"),
        ("labelsTr_PTV70/1", "labelsTr_PTV70", "1"),
        ("x=labelsTr_A/1+labelsTr_A/2", "labelsTr_A", "x=1+2"),
    ],
)
def test_label_folder(text, folder, plain):
    assert targets.label_folder(text) == (folder, plain)


def test_labels_of_two_folders():
    with pytest.raises(InputError, match="labels of labelsTr and labelsTr_A; a task"):
        targets.label_folder("1,labelsTr_A/1")


@pytest.mark.parametrize("text", ["0", "256", "wall", "1,x", ""])
def test_unlisted_labels_are_values(text):
    with pytest.raises(InputError, match="allowed are values from 1 to 255"):
        targets.unlisted_labels(text)


def test_apply_covers_every_value():
    target = parse_target("x=255+1", (("a", 1), ("b", 255)))
    label = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.flatnonzero(target.apply(label)).tolist() == [1, 255]
