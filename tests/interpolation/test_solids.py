"""Interpolations against solids whose cross-sections are known.

Thresholds come from geometry: a voxelised disc of radius r differs from the
disc within about one voxel p of its border, hence Dice above 1 - p / r.
"""

import numpy as np
import pytest

from slicebench.interpolation import INTERPOLATIONS
from tests.interpolation.solids import (
    area_radius,
    as_hard,
    dice,
    disc,
    every,
    plane_grid,
    stack,
)

DEPTH = 17
SPACINGS = [(3.0, 1.0, 1.0), (5.0, 0.75, 1.5)]
gaps = pytest.mark.parametrize("gap", [2, 3, 4, 5, 8])
spacings = pytest.mark.parametrize("spacing", SPACINGS)
shape_based = pytest.mark.parametrize("name", ["signed_distance", "morphological"])


def fill(name, label, gap, spacing, image=None):
    annotated = every(len(label), gap)
    pseudo, filled = INTERPOLATIONS[name].fill(label, annotated, spacing, image=image)
    return as_hard(pseudo), np.flatnonzero(filled)


def shares(gap):
    """Annotated neighbours of each slice and the share of the way."""
    return [
        (z // gap * gap, min(z // gap * gap + gap, DEPTH - 1), z % gap / gap)
        for z in range(DEPTH)
    ]


@gaps
@spacings
def test_signed_distance_gives_a_cone_to_within_a_voxel(gap, spacing):
    radii = 8.0 + 1.6 * np.arange(DEPTH)
    label = stack([disc(spacing[1:], radius) for radius in radii])
    found, filled = fill("signed_distance", label, gap, spacing)
    rows, columns = plane_grid(spacing[1:])
    for z in filled:
        wrong = found[z] != label[z]
        off = np.abs(np.hypot(rows, columns) - radii[z])[wrong]
        assert off.max(initial=0) <= max(spacing[1:])
        radius = area_radius(found[z], spacing[1:])
        assert abs(radius - radii[z]) < 0.5 * max(spacing[1:])


@gaps
def test_morphological_gives_a_cone_to_within_a_voxel(gap):
    # Dilations count voxels along an octagon, so the plane is isotropic here.
    radii = 8.0 + 1.6 * np.arange(DEPTH)
    label = stack([disc((1.0, 1.0), radius) for radius in radii])
    found, filled = fill("morphological", label, gap, (3.0, 1.0, 1.0))
    for z in filled:
        assert abs(area_radius(found[z], (1.0, 1.0)) - radii[z]) < 1


@gaps
def test_nearest_gives_a_cone_the_staircase_dice(gap):
    pixel = (0.5, 0.5)
    radii = 8.0 + 1.6 * np.arange(DEPTH)
    label = stack([disc(pixel, radius) for radius in radii])
    found, filled = fill("nearest", label, gap, (3.0, *pixel))
    for z in filled:
        lower, upper, share = shares(gap)[z]
        copied = radii[upper] if share >= 0.5 else radii[lower]  # half: the larger
        small, large = sorted((copied, radii[z]))
        # Nested discs: 2 small^2 / (small^2 + large^2).
        wanted = 2 * small**2 / (small**2 + large**2)
        assert dice(found[z] > 0, label[z] > 0) == pytest.approx(wanted, abs=0.02)


@gaps
@spacings
@shape_based
def test_sphere_has_radii_linear_between_annotated_slices(name, gap, spacing):
    ball = 30.0
    heights = np.linspace(-0.9, 0.9, DEPTH) * ball
    radii = np.sqrt(ball**2 - heights**2)
    label = stack([disc(spacing[1:], radius) for radius in radii])
    found, filled = fill(name, label, gap, spacing)
    pixel = max(spacing[1:])
    for z in filled:
        lower, upper, share = shares(gap)[z]
        linear = (1 - share) * radii[lower] + share * radii[upper]
        within = pixel if name == "morphological" else 0.5 * pixel
        assert abs(area_radius(found[z], spacing[1:]) - linear) < within
        # The chord lies inside the sphere: nested discs again.
        best = 2 * linear**2 / (linear**2 + radii[z] ** 2)
        assert dice(found[z] > 0, label[z] > 0) > best - pixel / radii[z]


@gaps
@spacings
@shape_based
def test_torus_keeps_its_hole(name, gap, spacing):
    ring, tube = 22.0, 12.0
    heights = np.linspace(-0.85, 0.85, DEPTH) * tube
    half = np.sqrt(tube**2 - heights**2)
    pixel = spacing[1:]
    label = stack([disc(pixel, ring + w) & ~disc(pixel, ring - w) for w in half])
    found, filled = fill(name, label, gap, spacing)
    for z in filled:
        lower, upper, share = shares(gap)[z]
        linear = (1 - share) * half[lower] + share * half[upper]
        wanted = disc(pixel, ring + linear) & ~disc(pixel, ring - linear)
        # Two borders, each within a voxel of radius 2 width apart.
        assert dice(found[z] > 0, wanted) > 1 - max(pixel) / linear
        assert not found[z][disc(pixel, 8.0)].any()


@pytest.mark.parametrize("gap", [2, 4, 8])
def test_tilted_cylinder_is_the_known_ellipse_halfway(gap):
    pixel, radius, step = (0.5, 0.5), 14.0, 2.5
    centres = (np.arange(DEPTH) - DEPTH // 2) * step
    label = stack([disc(pixel, radius, (0.0, centre)) for centre in centres])
    found, filled = fill("signed_distance", label, gap, (3.0, *pixel))
    # Distances to two discs D apart cancel where |x - a| + |x - b| = 2 r: an
    # ellipse of half axes r and sqrt(r^2 - D^2 / 4), inside the true disc.
    squeezed = np.sqrt(1 - (gap * step / 2 / radius) ** 2)
    for z in (z for z in filled if 2 * (z % gap) == gap):
        ratio = np.count_nonzero(found[z]) / np.count_nonzero(label[z])
        assert ratio == pytest.approx(squeezed, abs=0.02)
        wanted = 2 * squeezed / (1 + squeezed)
        assert dice(found[z] > 0, label[z] > 0) == pytest.approx(wanted, abs=0.02)


@gaps
@spacings
@shape_based
def test_tilted_cylinder_without_overlap_moves(name, gap, spacing):
    pixel, radius = spacing[1:], 7.0
    step = 18.0 / gap  # 18 mm from one annotated slice to the next, 14 wide
    centres = np.arange(gap + 1) * step - 9.0
    label = stack([disc(pixel, radius, (centre, centre / 3)) for centre in centres])
    found, filled = fill(name, label, gap, spacing)
    for z in filled:
        # Half a voxel off at most in either direction.
        off = np.hypot(*pixel) / 2
        assert dice(found[z] > 0, label[z] > 0) > 1 - (off + max(pixel) / 2) / radius


@pytest.mark.parametrize("gap", [4, 8])
def test_image_guides_where_shapes_alone_cannot(gap):
    pixel, radius, step = (1.0, 1.0), 9.0, 1.8
    centres = (np.arange(DEPTH) - DEPTH // 2) * step
    rows, columns = plane_grid(pixel)
    label = stack([disc(pixel, radius, (0.0, centre)) for centre in centres])
    image = np.stack(
        [
            1 / (1 + np.exp((np.hypot(rows, columns - centre) - radius) / 1.5))
            for centre in centres
        ]
    )[..., None]
    scores = {}
    for name in ("signed_distance", "image_guided"):
        found, filled = fill(name, label, gap, (3.0, *pixel), image=image)
        scores[name] = np.mean([dice(found[z] > 0, label[z] > 0) for z in filled])
    assert scores["image_guided"] > 0.95
    assert scores["image_guided"] > scores["signed_distance"]
