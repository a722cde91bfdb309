import math

import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.models.topology import plan_volumetric

LARGEST = (32, 64, 64)


def plan(spacing, *, depth=3, slices=40, grid=(64, 64), largest=LARGEST):
    return plan_volumetric(spec.Network(depth=depth), largest, grid, slices, spacing)


def test_isotropic_images_are_halved_and_convolved_alike():
    made = plan((1, 1, 1))
    assert made.patch == (32, 64, 64)
    assert made.kernels == ((3, 3, 3),) * 3
    assert made.pools == ((2, 2, 2),) * 2


def test_thick_slices_are_met_by_flat_kernels_until_the_spacings_meet():
    # 5 mm over 1.2 mm: within a factor 2 once the plane has been halved twice.
    made = plan((5, 1.2, 1.2), depth=4)
    assert made.pools == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert made.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def test_fine_slices_are_halved_first():
    made = plan((0.5, 2, 2))
    assert made.pools == ((2, 1, 1), (2, 2, 2))
    assert made.kernels == ((3, 1, 1), (3, 3, 3), (3, 3, 3))


def test_short_axes_are_not_halved():
    made = plan((1, 1, 1), slices=10, depth=4)
    assert [pool[0] for pool in made.pools] == [2, 1, 1]
    assert made.patch[0] == 10


@pytest.mark.parametrize("slices", [9, 17, 30, 31, 33, 100])
@pytest.mark.parametrize("grid", [(48, 64), (32, 32), (96, 80)])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (8, 1, 1)])
def test_patches_divide_by_their_poolings_and_stay_within_the_limit(
    slices, grid, depth, spacing
):
    made = plan(spacing, slices=slices, grid=grid, depth=depth)
    assert len(made.pools) == depth - 1
    for axis in range(3):
        factor = math.prod(pool[axis] for pool in made.pools)
        assert made.patch[axis] % factor == 0
        assert made.patch[axis] <= LARGEST[axis]
    # In depth a few padded slices are better than slices out of reach.
    assert made.patch[0] >= min(slices, LARGEST[0] - LARGEST[0] % 4)


@pytest.mark.parametrize("largest", [(0, 64, 64), (32, -1, 64)])
def test_patches_without_room_are_refused(largest):
    with pytest.raises(InputError, match="1 or more"):
        plan((1, 1, 1), largest=largest)
