"""Classes made of labels."""

import numpy as np
import pytest

from slicebench.data import parse_target
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
