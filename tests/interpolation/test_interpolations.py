"""The contract of every interpolation."""

import numpy as np
import pytest

from slicebench.interpolation import INTERPOLATIONS

SPACING = (3.0, 1.0, 1.0)
every_interpolation = pytest.mark.parametrize("name", INTERPOLATIONS)


def make_label(seed=0, depth=7):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, size=(depth, 6, 5)).astype(np.uint8)
    annotated = np.zeros(depth, dtype=bool)
    annotated[[1, depth - 2]] = True
    label[1] = 2  # the highest class is annotated
    return label, annotated


def one_hot(pseudo, classes):
    return pseudo if pseudo.ndim == 4 else np.eye(classes)[pseudo]


@every_interpolation
@pytest.mark.parametrize("count", ["none", "some", "all"])
def test_annotated_slices_are_kept_and_the_rest_is_marked(name, count):
    label, annotated = make_label()
    if count != "some":
        annotated[:] = count == "all"
    pseudo, filled = INTERPOLATIONS[name].fill(label, annotated, SPACING)
    assert pseudo.shape[:3] == label.shape
    assert filled.dtype == bool
    assert not (filled & annotated).any()
    soft = one_hot(pseudo, 3)
    np.testing.assert_array_equal(
        soft[annotated], np.eye(soft.shape[3])[label[annotated]]
    )
    background = np.eye(soft.shape[3])[np.zeros_like(label)]
    empty = ~(filled | annotated)
    np.testing.assert_array_equal(soft[empty], background[empty])
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0, rtol=1e-6)
    if pseudo.ndim == 3:
        assert pseudo.dtype == label.dtype


@every_interpolation
def test_labels_of_unannotated_slices_are_never_read(name):
    label, annotated = make_label()
    scrambled = np.where(annotated[:, None, None], label, 200 - label)
    ours = INTERPOLATIONS[name].fill(label, annotated, SPACING)
    theirs = INTERPOLATIONS[name].fill(
        scrambled.astype(label.dtype), annotated, SPACING
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes()


@every_interpolation
def test_inputs_are_not_changed(name):
    label, annotated = make_label()
    INTERPOLATIONS[name].fill(label, annotated, SPACING)
    for ours, before in zip((label, annotated), make_label(), strict=True):
        np.testing.assert_array_equal(ours, before)


@every_interpolation
def test_reference_is_given(name):
    assert INTERPOLATIONS[name].reference


def test_none_fills_nothing():
    label, annotated = make_label()
    pseudo, filled = INTERPOLATIONS["none"].fill(label, annotated, SPACING)
    assert not filled.any()
    assert not np.asarray(pseudo)[~annotated].any()
