"""Shapes that branch, end, appear, move or change their name."""

import numpy as np
import pytest
from scipy import ndimage

from slicebench.interpolation import INTERPOLATIONS
from slicebench.interpolation._shapes import take_apart
from tests.interpolation.solids import dice, disc, every, stack

PIXEL = (1.0, 1.0)
SPACING = (3.0, *PIXEL)
shape_based = pytest.mark.parametrize("name", ["signed_distance", "morphological"])
every_step = [1, 2, 3, 4, 5, 6, 7]


def between(name, lower, upper, steps=8, spacing=SPACING):
    label = np.zeros((steps + 1, *lower.shape), np.uint8)
    label[0], label[-1] = lower, upper
    pseudo, _ = INTERPOLATIONS[name].fill(label, every(steps + 1, steps), spacing)
    return pseudo[1:-1]


@shape_based
def test_one_shape_branches_into_two(name):
    depth, apart = 9, 3.0
    label = stack(
        [
            disc(PIXEL, 10.0, (0.0, -z * apart / 2))
            | disc(PIXEL, 10.0, (0.0, z * apart / 2))
            for z in range(depth)
        ]
    )
    found = between(name, label[0], label[-1])
    counts = [ndimage.label(plane)[1] for plane in found]
    assert set(counts) <= {1, 2}
    assert counts == sorted(counts)
    assert ndimage.label(label[-1])[1] == counts[-1] == 2
    # Discs that part: the shape on the way lies inside the union of both ends.
    assert not (found.astype(bool) & ~(label[0] | label[-1]).astype(bool)).any()
    assert dice(found[-1] > 0, label[-2] > 0) > 0.9


@shape_based
def test_a_shape_of_one_side_shrinks_to_nothing(name):
    radius = 12.0
    found = between(name, disc(PIXEL, radius).astype(np.uint8), np.zeros((80, 80), int))
    areas = [np.count_nonzero(plane) for plane in found]
    for step, area in zip(every_step, areas, strict=True):
        # A paraboloid whose tip is three quarters of the way.
        wanted = radius * np.sqrt(max(0.0, 1 - step / 6))
        assert np.sqrt(area / np.pi) == pytest.approx(wanted, abs=0.8)
    assert areas[5] == areas[6] == 0
    turned = between(
        name, np.zeros((80, 80), np.uint8), disc(PIXEL, radius).astype(np.uint8)
    )
    np.testing.assert_array_equal(turned[::-1], found)


@shape_based
def test_a_lesion_that_ends_leaves_its_organ(name):
    organ = disc(PIXEL, 20.0).astype(np.uint8)
    with_lesion = np.where(disc(PIXEL, 6.0, (5.0, 0.0)), 2, organ).astype(np.uint8)
    found = between(name, with_lesion, organ)
    for plane in found:
        np.testing.assert_array_equal(plane > 0, organ > 0)
    areas = [np.count_nonzero(plane == 2) for plane in found]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > 80
    assert areas[-1] == 0


@shape_based
def test_a_change_of_name_keeps_the_shape(name):
    lower = disc(PIXEL, 12.0).astype(np.uint8)
    found = between(name, lower, 3 * lower)
    for step, plane in zip(every_step, found, strict=True):
        np.testing.assert_array_equal(plane > 0, lower > 0)
        if step != 4:
            assert set(np.unique(plane)) == {0, 1 if step < 4 else 3}


@shape_based
def test_far_shapes_end_and_appear_instead_of_moving(name):
    lower = disc(PIXEL, 4.0, (-25.0, 0.0)).astype(np.uint8)
    upper = disc(PIXEL, 4.0, (25.0, 0.0)).astype(np.uint8)
    found = between(name, lower, upper)
    assert not found[:, 25:55].any()
    assert found[0][lower > 0].any()
    assert found[-1][upper > 0].any()


@shape_based
def test_touching_classes_leave_no_gap(name):
    columns = np.arange(80)
    lower, upper = (
        np.where(columns < edge, 1, 2).astype(np.uint8) * np.ones((80, 1), np.uint8)
        for edge in (24, 56)
    )
    found = between(name, lower, upper)
    assert (found > 0).all()
    for step, plane in zip(every_step, found, strict=True):
        edges = np.count_nonzero(plane == 1, axis=1)
        # The edge goes at equal steps, 4 columns each; ties go to class 1.
        np.testing.assert_allclose(edges, 24 + 4 * step, atol=1)


@shape_based
@pytest.mark.parametrize("radii", [((20, 14), (12, 8)), ((20, 17), (17, 14))])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_a_wall_that_narrows_leaves_no_gap_to_its_cavity(name, radii, shift):
    def tube(outer, inner, aside):
        centre = (aside, 0.0)
        wall = disc(PIXEL, outer, centre).astype(np.uint8)
        return np.where(disc(PIXEL, inner, centre), 2, wall).astype(np.uint8)

    lower, upper = tube(*radii[0], 0.0), tube(*radii[1], shift)
    found = between(name, lower, upper)
    for plane in found:
        mask = plane > 0
        np.testing.assert_array_equal(ndimage.binary_fill_holes(mask), mask)
        assert ndimage.label(mask)[1] == 1
    turned = between(name, upper, lower)
    np.testing.assert_array_equal(turned[::-1], found)


@shape_based
def test_lesions_of_two_classes_leave_no_gap_in_their_organ(name):
    organ = disc(PIXEL, 20.0).astype(np.uint8)
    places = ((5.0, 0.0), (5.0, 7.0))
    lower, upper = (
        np.where(disc(PIXEL, 5.0, place), value, organ).astype(np.uint8)
        for value, place in zip((2, 3), places, strict=True)
    )
    for plane in between(name, lower, upper):
        np.testing.assert_array_equal(plane > 0, organ > 0)


def test_pieces_of_two_slices():
    lower, upper = np.zeros((2, 80, 80), np.uint8)
    lower[disc(PIXEL, 6.0, (-10.0, 0.0))] = 1  # goes on
    upper[disc(PIXEL, 6.0, (-12.0, 2.0))] = 1
    lower[disc(PIXEL, 4.0, (20.0, -20.0))] = 2  # moves
    upper[disc(PIXEL, 4.0, (20.0, -9.0))] = 2
    lower[disc(PIXEL, 3.0, (-30.0, 30.0))] = 1  # ends
    upper[disc(PIXEL, 3.0, (30.0, 30.0))] = 3  # appears
    parts = take_apart(lower, upper, PIXEL)
    ways = sorted((p.value, p.lower is None, p.upper is None) for p in parts.pieces)
    assert ways == [(1, False, True), (2, False, False), (3, True, False)]
    for plane in (parts.lower, parts.upper):
        assert set(np.unique(plane)) == {0, 1}
        assert ndimage.label(plane)[1] == 1


def test_distances_are_in_mm():
    # 20 mm of movement beyond reach of two discs 3 mm in radius, within that of 6.
    far, near = (
        [np.uint8(disc(PIXEL, radius, (0.0, side))) for side in (-10.0, 10.0)]
        for radius in (3.0, 6.0)
    )
    assert len(take_apart(*far, PIXEL).pieces) == 2
    assert len(take_apart(*near, PIXEL).pieces) == 1
    assert len(take_apart(*far, (1.0, 0.25)).pieces) == 1
