"""World coordinates of slices, and planes turned for the eye."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from slicebench.planning.geometry import place, upright

SHAPE = (5, 7, 9)
TURNS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def affine_of(order, signs, spacing=(0.7, 1.1, 3.0), shift=(-12.5, 40.25, 8.0)):
    """Stored axis i runs along world axis order[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for stored, world in enumerate(order):
        affine[world, stored] = signs[stored] * spacing[stored]
    affine[:3, 3] = shift
    return affine


def rotated(affine, degrees, axis):
    turn = np.radians(degrees)
    first, second = (i for i in range(3) if i != axis)
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = np.cos(turn)
    matrix[first, second], matrix[second, first] = -np.sin(turn), np.sin(turn)
    return matrix @ affine


@pytest.mark.parametrize(("order", "signs"), TURNS)
@pytest.mark.parametrize("tilt", [0, 12])
def test_the_centre_of_a_slice_is_where_nibabel_puts_it(order, signs, tilt):
    affine = rotated(affine_of(order, signs), tilt, 0)
    for axis, index in ((0, 3), (1, 0), (2, 8)):
        corners = [[0, size - 1] for size in SHAPE]
        corners[axis] = [index]
        world = apply_affine(affine, [*itertools.product(*corners)]).mean(0)
        found = place(affine, SHAPE, axis, index)
        np.testing.assert_allclose(found.ras, world, atol=1e-3)
        np.testing.assert_allclose(found.lps, world * [-1, -1, 1], atol=1e-3)


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_plane_and_direction_are_those_of_the_axis_codes(order, signs):
    affine = affine_of(order, signs)
    codes = nib.aff2axcodes(affine)
    for axis, code in enumerate(map(str, codes)):
        found = place(affine, SHAPE, axis, 0)
        names = {"L": "sagittal", "P": "coronal", "I": "axial"}
        low = dict(zip("RAS", "LPI", strict=True)).get(code, code)
        assert found.plane == names[low]
        assert found.direction.endswith(code)
        assert found.tilt == pytest.approx(0, abs=1e-4)


def test_an_oblique_slice_tells_its_tilt():
    found = place(rotated(affine_of((0, 1, 2), (1, 1, 1)), 20, 0), SHAPE, 2, 4)
    assert (found.plane, found.direction) == ("axial", "I to S")
    assert found.tilt == pytest.approx(20)


def test_a_sheared_stack_keeps_the_plane_of_its_slices():
    """Gantry tilt: slices stay axial, the step between them does not."""
    affine = affine_of((0, 1, 2), (1, 1, 1))
    affine[1, 2] = 1.0
    assert place(affine, SHAPE, 2, 4).tilt == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("index", [-1, 9])
def test_there_is_no_slice_outside(index):
    with pytest.raises(ValueError, match=f"slice {index} of 9"):
        place(np.eye(4), SHAPE, 2, index)


@pytest.mark.parametrize(("order", "signs"), TURNS)
@pytest.mark.parametrize("tilt", [0, 15])
def test_an_upright_plane_shows_right_at_the_left_and_anterior_or_superior_up(
    order, signs, tilt
):
    """Each voxel holds its own world coordinates; the picture must run through them."""
    affine = rotated(affine_of(order, signs), tilt, 2)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    world = apply_affine(affine, grid)
    for axis in range(3):
        turn = upright(affine, axis)
        shown = turn.apply(world.take(2, axis=axis))
        down = (shown[-1] - shown[0]).mean(0)
        across = (shown[:, -1] - shown[:, 0]).mean(0)
        plane = place(affine, SHAPE, axis, 2).plane
        rows, columns = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[plane]
        assert np.abs(down).argmax() == rows
        assert down[rows] < 0
        assert np.abs(across).argmax() == columns
        assert across[columns] < 0
        steps = (shown[1, 0] - shown[0, 0], shown[0, 1] - shown[0, 0])
        np.testing.assert_allclose(
            turn.spacing, [np.linalg.norm(step) for step in steps]
        )
