"""Running an interpolation by name, with its checks."""

import sys

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.interpolation import INTERPOLATIONS, Interpolation, interpolate

SPACING = (3.0, 1.0, 1.0)


def make_label():
    label = np.zeros((5, 6, 6), np.uint8)
    label[:, 1:4, 1:4] = 1
    label[:, 3:5, 3:5] = 2
    return label, np.array([1, 0, 0, 0, 1], bool)


def test_share_and_both_forms_of_label():
    label, annotated = make_label()
    hard = interpolate("signed_distance", label, annotated, SPACING)
    soft = interpolate("linear", label, annotated, SPACING)
    none = interpolate("none", label, annotated, SPACING)
    assert (hard.share, soft.share, none.share) == (0.6, 0.6, 0.0)
    assert (hard.soft, soft.soft) == (False, True)
    np.testing.assert_array_equal(hard.hard(), label)
    np.testing.assert_array_equal(soft.hard(), label)
    np.testing.assert_array_equal(soft.probabilities(4), np.eye(4)[label])
    np.testing.assert_array_equal(hard.probabilities(4), np.eye(4)[label])
    with pytest.raises(InputError, match="3 classes given, 2 allowed"):
        hard.probabilities(2)


def test_nothing_annotated_has_no_share():
    label, annotated = make_label()
    assert interpolate("nearest", label, annotated & False, SPACING).share == 0


def test_a_users_method_sees_annotated_slices_only(monkeypatch):
    label, annotated = make_label()
    seen = {}

    def spy(label, annotated, spacing, *, image=None, outside=False):
        seen.update(label=label.copy(), image=image)
        return label, np.zeros_like(annotated)

    entry = Interpolation(fill=spy, reference="here")
    monkeypatch.setitem(INTERPOLATIONS, "mine", entry)
    interpolate("mine", label, annotated, SPACING, image=np.zeros((5, 6, 6, 1)))
    assert not seen["label"][~annotated].any()
    np.testing.assert_array_equal(seen["label"][annotated], label[annotated])
    assert seen["image"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "cubic"}, "no such value 'cubic'.*signed_distance"),
        ({"label": np.zeros((5, 6), np.uint8)}, r"label of shape \(5, 6\)"),
        ({"label": np.zeros((5, 6, 6))}, "type float64 given, whole numbers"),
        ({"annotated": np.ones(4, bool)}, r"annotated of shape \(4,\).*5 slices"),
        ({"annotated": np.ones(5, int)}, "type int64"),
        ({"spacing": (0.0, 1.0, 1.0)}, "three positive lengths"),
        ({"spacing": (1.0, np.nan, 1.0)}, "three positive lengths"),
        ({"name": "image_guided"}, "needs one"),
        ({"image": np.zeros((5, 6, 6))}, r"image of shape \(5, 6, 6\)"),
        ({"image": np.zeros((5, 6, 7, 1))}, r"\(5, 6, 6\) and an axis of channels"),
    ],
)
def test_bad_input_is_named(changes, message):
    label, annotated = make_label()
    given = {"name": "nearest", "label": label, "annotated": annotated}
    with pytest.raises(InputError, match=message):
        interpolate(**(given | {"spacing": SPACING} | changes))


@pytest.mark.parametrize(
    ("result", "soft", "message"),
    [
        (lambda x, a: (x, a[:3]), False, "filled slices of shape"),
        (lambda x, a: (x.astype(float), ~a), False, "class indices of shape"),
        (lambda x, a: (x, ~a), True, "probabilities of shape"),
        (lambda x, a: (x, a), False, "annotated slices among the filled"),
        (lambda x, a: (np.zeros_like(x), ~a), False, "changed labels"),
        (lambda x, a: (x[::1] + np.uint8(0) * 1 + (~a)[:, None, None], a & False),
         False, "neither annotated nor filled"),
        (lambda x, a: (x + np.uint8(9) * ~a[:, None, None], ~a), False, "outside 0"),
        (lambda x, a: (np.eye(3)[x] / 2, ~a), True, "do not add up to 1"),
    ],
)  # fmt: skip
def test_a_broken_contract_is_named(monkeypatch, result, soft, message):
    label, annotated = make_label()

    def mine(label, annotated, spacing, *, image=None, outside=False):
        return result(label, annotated)

    entry = Interpolation(fill=mine, soft=soft, reference="here")
    monkeypatch.setitem(INTERPOLATIONS, "mine", entry)
    with pytest.raises(InputError, match=message):
        interpolate("mine", label, annotated, SPACING)


def test_labels_below_zero_and_images_with_gaps_are_named():
    label, annotated = make_label()
    below = label.astype(np.int16)
    below[0, 0, 0] = -3
    with pytest.raises(InputError, match="label value -3 given"):
        interpolate("nearest", below, annotated, SPACING)
    image = np.zeros((*label.shape, 1))
    image[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="image with voxels that are no number"):
        interpolate("image_guided", label, annotated, SPACING, image=image)


def test_probable_classes_beyond_a_byte_stay_what_they_are():
    label = np.full((3, 2, 2), 300, np.uint16)
    annotated = np.array([True, False, True])
    soft = interpolate("linear", label, annotated, SPACING)
    np.testing.assert_array_equal(soft.hard(), label)


def test_missing_image_is_named_by_the_method_itself():
    label, annotated = make_label()
    with pytest.raises(InputError, match="image_guided: no image"):
        INTERPOLATIONS["image_guided"].fill(label, annotated, SPACING)


def test_missing_itk_is_named(monkeypatch):
    label, annotated = make_label()
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(InputError, match="install itk-morphologicalcontour"):
        interpolate("morphological_itk", label, annotated, SPACING)
