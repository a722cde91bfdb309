import itertools
import math

import numpy as np
import pytest

from slicebench.evaluation import surfaces
from slicebench.evaluation.surfaces import Box

UNIT = (1.0, 1.0, 1.0)
ANISOTROPIC = (1.0, 1.3, 2.7)


def whole(mask, spacing=UNIT):
    return surfaces.find_surface(mask, Box((0, 0, 0), mask.shape), spacing)


def code_of(*corners):
    return sum(1 << (4 * i + 2 * j + k) for i, j, k in corners)


def moved(code, axes, flips):
    """The code of a neighbourhood whose axes are permuted and mirrored."""
    block = np.array([code >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)
    block = np.flip(block.transpose(axes), [a for a in range(3) if flips[a]])
    return sum(int(value) << bit for bit, value in enumerate(block.ravel()))


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        pytest.param([(0, 0, 0)], math.sqrt(3) / 8, id="corner"),
        pytest.param([(0, 0, 0), (0, 0, 1)], math.sqrt(2) / 2, id="edge"),
        pytest.param([(0, 0, 0), (0, 1, 1)], math.sqrt(3) / 4, id="face diagonal"),
        pytest.param([(0, 0, 0), (1, 1, 1)], math.sqrt(3) / 4, id="space diagonal"),
        # A folded pentagon: half a face, two cut corners in one, and one more.
        pytest.param(
            [(0, 0, 0), (0, 0, 1), (0, 1, 0)], 0.5 + 3 * math.sqrt(3) / 8, id="L"
        ),
        pytest.param(
            [(0, 0, 1), (0, 1, 0), (1, 0, 0)], 3 * math.sqrt(3) / 8, id="three apart"
        ),
        pytest.param(
            [(0, 0, 0), (0, 0, 1), (1, 1, 0)],
            math.sqrt(2) / 2 + math.sqrt(3) / 8,
            id="edge and corner",
        ),
        pytest.param([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], 1.0, id="flat face"),
        # A regular hexagon with sides of half a face diagonal.
        pytest.param(
            [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)],
            3 * math.sqrt(3) / 4,
            id="hexagon",
        ),
        pytest.param(
            [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)],
            math.sqrt(3) / 2,
            id="four apart",
        ),
    ],
)
def test_areas_of_simple_neighbourhoods(corners, area):
    table = surfaces.element_areas(UNIT)
    assert table[code_of(*corners)] == pytest.approx(area)
    assert table[255 - code_of(*corners)] == pytest.approx(area)


def test_areas_of_nothing_and_everything_are_zero():
    table = surfaces.element_areas(ANISOTROPIC)
    assert table[0] == table[255] == 0
    assert (table[1:255] > 0).all()


def test_areas_follow_the_axes_and_ignore_mirrors():
    table = surfaces.element_areas(ANISOTROPIC)
    for axes in itertools.permutations(range(3)):
        permuted = surfaces.element_areas(tuple(ANISOTROPIC[axis] for axis in axes))
        for flips in itertools.product((False, True), repeat=3):
            codes = [moved(code, axes, flips) for code in range(256)]
            np.testing.assert_allclose(permuted[codes], table, rtol=1e-12)


def test_areas_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        surfaces.element_areas(UNIT)[3] = 1.0


def test_single_voxel_is_an_octahedron():
    a, b, c = 2.0, 3.0, 5.0
    surface = whole(np.ones((1, 1, 1), bool), (a, b, c))
    assert surface.border.shape == (2, 2, 2)
    assert surface.border.all()
    # Eight triangles over the half axes a/2, b/2, c/2.
    octahedron = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (c * a) ** 2)
    assert surface.area == pytest.approx(octahedron)


def test_box_faces_edges_and_corners_add_up():
    k, m, n = 5, 7, 9
    a, b, c = ANISOTROPIC
    faces = 2 * (
        (k - 1) * (m - 1) * a * b
        + (m - 1) * (n - 1) * b * c
        + (k - 1) * (n - 1) * a * c
    )
    edges = 2 * (
        (k - 1) * a * math.hypot(b, c)
        + (m - 1) * b * math.hypot(a, c)
        + (n - 1) * c * math.hypot(a, b)
    )
    corners = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (c * a) ** 2)
    assert whole(np.ones((k, m, n), bool), ANISOTROPIC).area == pytest.approx(
        faces + edges + corners
    )


def test_sphere_area_is_near_the_analytic_one():
    radius, spacing = 15.0, (1.5, 1.0, 0.75)
    grid = np.indices((24, 36, 48)).astype(float)
    centre = [(n - 1) / 2 for n in grid.shape[1:]]
    squares = [
        ((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)
    ]
    surface = whole(sum(squares) < radius**2, spacing)
    # Triangles on edge midpoints overestimate a smooth surface by a tenth at most.
    assert 1.0 < surface.area / (4 * math.pi * radius**2) < 1.12


def test_inner_elements_are_no_border():
    surface = whole(np.ones((3, 3, 3), bool))
    assert surface.border.sum() == 4**3 - 2**3
    assert not surface.border[1:3, 1:3, 1:3].any()


def test_distances_are_exact_from_any_box_that_holds_the_surface():
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 3:5, 4] = True
    box = surfaces.bounding_box(mask)
    assert box == Box((2, 3, 4), (3, 5, 5))
    surface = surfaces.find_surface(mask[box.slices], box, ANISOTROPIC)
    everything = Box((0, 0, 0), (7, 8, 9))
    full = surfaces.map_distances(surface, everything, ANISOTROPIC)
    part = Box((1, 2, 4), (5, 6, 8))
    cut = surfaces.map_distances(surface, part, ANISOTROPIC)
    np.testing.assert_array_equal(cut.squared, full.squared[part.slices])
    points = np.argwhere(surface.border) + surface.box.start
    corners = np.moveaxis(np.indices((7, 8, 9)), 0, -1)
    steps = (corners[..., None, :] - points) * ANISOTROPIC
    np.testing.assert_allclose(
        full.squared, (steps**2).sum(axis=-1).min(axis=-1), rtol=1e-6
    )
    assert (surfaces.look_up(full, surface) == 0).all()


def test_bounding_box_of_nothing_is_none():
    assert surfaces.bounding_box(np.zeros((2, 3, 4), bool)) is None


def test_boxes():
    small, far = Box((1, 1, 1), (2, 3, 4)), Box((5, 0, 2), (6, 1, 3))
    both = Box((1, 0, 1), (6, 3, 4))
    assert small.shape == (1, 2, 3)
    assert small.union(far) == far.union(small) == both
    assert both.contains(small)
    assert not small.contains(far)
    assert small.grow(2, (3, 9, 5)) == Box((0, 0, 0), (3, 5, 5))
    assert small.within(both) == (slice(0, 1), slice(1, 3), slice(0, 3))
