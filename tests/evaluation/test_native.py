import dataclasses

import numpy as np
import pytest

from slicebench.data.prepared import PreparedCase, interpolation_matrix
from slicebench.evaluation import (
    is_selection,
    prepare_native_map,
    to_native_labels,
)

DEPTH, HEIGHT, WIDTH, CLASSES = 3, 6, 8, 4


def make_way(rows, columns):
    (native_height, height), (native_width, width) = rows.shape, columns.shape
    return prepare_native_map(
        PreparedCase(
            name="case",
            group="patient",
            image=np.zeros((DEPTH, height, width, 1), np.float32),
            label=np.zeros((DEPTH, height, width), np.uint8),
            native_label=np.zeros((DEPTH, native_height, native_width), np.uint8),
            spacing=(1.0, 1.0, 1.0),
            to_native=(rows, columns),
        )
    )


def make_probabilities(seed=0):
    weights = np.random.default_rng(seed).exponential(
        size=(DEPTH, HEIGHT, WIDTH, CLASSES)
    )
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def by_loops(probabilities, rows, columns):
    """Interpolates every class at every native voxel, one number at a time."""
    native = np.zeros((DEPTH, len(rows), len(columns)), np.uint8)
    for index in np.ndindex(native.shape):
        d, i, j = index
        weights = np.outer(rows[i], columns[j])[..., None]
        native[index] = np.argmax((weights * probabilities[d]).sum(axis=(0, 1)))
    return native


def crop_and_pad(positions, size):
    return interpolation_matrix(np.asarray(positions, float), size)


def resampling():
    rows = interpolation_matrix(np.linspace(-0.7, HEIGHT + 0.4, 11), HEIGHT)
    columns = interpolation_matrix(np.linspace(0.3, WIDTH - 1.2, 5), WIDTH)
    return rows, columns


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param(np.eye(4), True, id="identity"),
        pytest.param(np.eye(4)[::-1], True, id="mirrored"),
        pytest.param(np.eye(4)[[2, 2, 1]], True, id="repeated"),
        pytest.param(np.vstack([np.zeros(4), np.eye(4)]), True, id="outside"),
        pytest.param(np.ones((1, 2)), False, id="two entries"),
        pytest.param(np.full((1, 2), 0.5), False, id="mean"),
        pytest.param(-np.eye(2), False, id="negative"),
    ],
)
def test_is_selection(matrix, expected):
    assert is_selection(matrix) is expected


def test_identity_gives_back_labels():
    labels = np.random.default_rng(1).integers(
        0, CLASSES, (DEPTH, HEIGHT, WIDTH), np.uint8
    )
    native = to_native_labels(labels, make_way(np.eye(HEIGHT), np.eye(WIDTH)))
    np.testing.assert_array_equal(native, labels)
    assert native.dtype == np.uint8


@pytest.mark.parametrize("logits", [False, True])
def test_picking_equals_interpolating(logits):
    rows = crop_and_pad([-2, -1, 0, 1, 2, 5, 6], HEIGHT)
    columns = crop_and_pad([7, 3, 3, 8, -5], WIDTH)
    way = make_way(rows, columns)
    assert way.gather is not None
    slow = dataclasses.replace(way, gather=None)
    given = make_probabilities()
    expected = by_loops(given, rows, columns)
    if logits:
        given = np.log(given) + 3.0
    np.testing.assert_array_equal(to_native_labels(given, way, logits=logits), expected)
    np.testing.assert_array_equal(
        to_native_labels(given, slow, logits=logits), expected
    )


def test_probabilities_are_interpolated_as_by_loops():
    rows, columns = resampling()
    way = make_way(rows, columns)
    assert way.gather is None
    given = make_probabilities()
    expected = by_loops(given, rows, columns)
    np.testing.assert_array_equal(to_native_labels(given, way), expected)
    np.testing.assert_array_equal(
        to_native_labels(np.log(given) - 40.0, way, logits=True), expected
    )


def test_hard_labels_are_interpolated_as_one_hot_vectors():
    rows, columns = resampling()
    labels = make_probabilities(2).argmax(axis=-1).astype(np.uint8)
    expected = by_loops(np.eye(CLASSES)[labels], rows, columns)
    np.testing.assert_array_equal(
        to_native_labels(labels, make_way(rows, columns)), expected
    )


@pytest.mark.parametrize("rows", [np.eye(HEIGHT), np.eye(HEIGHT) / 2])
def test_background_wins_outside_the_grid(rows):
    rows = np.vstack([np.zeros((2, HEIGHT)), rows])
    columns = np.vstack([np.eye(WIDTH), np.zeros((1, WIDTH))])
    certain = np.zeros((DEPTH, HEIGHT, WIDTH, CLASSES), np.float32)
    certain[..., 2] = 1
    native = to_native_labels(certain, make_way(rows, columns))
    assert (native[:, :2] == 0).all()
    assert (native[:, :, -1] == 0).all()
    assert (native[:, 2:, :-1] == 2).all()


@pytest.mark.parametrize("rows", [np.eye(HEIGHT), np.eye(HEIGHT) / 2])
def test_lower_class_wins_a_tie(rows):
    tied = np.zeros((DEPTH, HEIGHT, WIDTH, CLASSES), np.float32)
    tied[:, :3, :, [1, 3]] = 0.5
    tied[:, 3:] = 0.25
    native = to_native_labels(tied, make_way(rows, np.eye(WIDTH)))
    assert (native[:, :3] == 1).all()
    assert (native[:, 3:] == 0).all()


@pytest.mark.parametrize("rows", [np.eye(HEIGHT), np.eye(HEIGHT) / 2])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_network_predicts_background(rows, logits, value):
    broken = np.full((DEPTH, HEIGHT, WIDTH, CLASSES), value, np.float32)
    way = make_way(rows, np.eye(WIDTH))
    assert (to_native_labels(broken, way, logits=logits) == 0).all()


def test_class_that_is_not_a_number_never_wins():
    given = make_probabilities()
    given[..., 1] = np.nan
    native = to_native_labels(given, make_way(np.eye(HEIGHT), np.eye(WIDTH)))
    np.testing.assert_array_equal(native, np.nan_to_num(given).argmax(axis=-1))


@pytest.mark.parametrize(
    "prediction",
    [
        np.zeros((DEPTH, WIDTH, HEIGHT, CLASSES), np.float32),
        np.zeros((DEPTH, HEIGHT, WIDTH - 1), np.uint8),
    ],
)
def test_another_grid_is_refused(prediction):
    way = make_way(np.eye(HEIGHT), np.eye(WIDTH))
    with pytest.raises(ValueError, match=r"given, the grid of the task has \(6, 8\)"):
        to_native_labels(prediction, way)


def test_input_is_left_alone():
    given = make_probabilities()
    labels = given.argmax(axis=-1).astype(np.uint8)
    kept = given.copy(), labels.copy()
    outside = make_way(np.zeros((2, HEIGHT)), np.eye(WIDTH))
    inside = make_way(np.eye(HEIGHT), np.eye(WIDTH))
    for way in (outside, inside, make_way(*resampling())):
        to_native_labels(given, way, logits=True)
        to_native_labels(labels, way)
    np.testing.assert_array_equal(given, kept[0])
    np.testing.assert_array_equal(labels, kept[1])
