"""The contract of every interpolation."""

import importlib.util

import numpy as np
import pytest
from scipy import ndimage

from slicebench.interpolation import INTERPOLATIONS, FillMasks
from tests.interpolation.solids import as_hard

SPACING = (3.0, 1.0, 1.5)
ITK = importlib.util.find_spec("itk") is not None

needs_itk = pytest.mark.skipif(not ITK, reason="ITK is not installed")
NAMES = [
    pytest.param(name, marks=needs_itk) if name == "morphological_itk" else name
    for name in INTERPOLATIONS
]
every_interpolation = pytest.mark.parametrize("name", NAMES)
FILLING = [name for name in NAMES if name != "none"]
every_filling = pytest.mark.parametrize("name", FILLING)


def make_volume(seed=0, depth=9, classes=3):
    """Smooth random regions of several classes with an image of them."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(classes + 1, depth, 21, 18))
    fields = ndimage.gaussian_filter(fields, (0, 1, 2.5, 2.5))
    fields[0] += fields.std() / 2
    label = fields.argmax(axis=0).astype(np.uint8)
    label[:, 0] = label[:, -1] = 0
    image = ndimage.gaussian_filter(label.astype(float), (0, 1, 1))[..., None]
    annotated = np.zeros(depth, bool)
    annotated[[1, 4, 5, depth - 2]] = True
    return label, annotated, image


def fill(name, label, annotated, image, spacing=SPACING, **options):
    return INTERPOLATIONS[name].fill(label, annotated, spacing, image=image, **options)


@every_interpolation
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 9])
def test_annotated_slices_are_kept_and_the_rest_is_marked(name, count, outside):
    label, annotated, image = make_volume()
    annotated[:] = False
    annotated[{0: [], 1: [3], 2: [2, 3], 4: [1, 4, 5, 7], 9: range(9)}[count]] = True
    pseudo, filled = fill(name, label, annotated, image, outside=outside)
    entry = INTERPOLATIONS[name]
    assert pseudo.ndim == (4 if entry.soft else 3)
    assert pseudo.shape[:3] == label.shape
    assert pseudo.dtype == (np.float32 if entry.soft else label.dtype)
    assert filled.dtype == bool
    assert not (filled & annotated).any()
    np.testing.assert_array_equal(as_hard(pseudo)[annotated], label[annotated])
    assert not as_hard(pseudo)[~(filled | annotated)].any()
    if entry.soft:
        np.testing.assert_allclose(pseudo.sum(axis=-1), 1.0, rtol=1e-6)
        np.testing.assert_array_equal(
            pseudo[annotated], np.eye(pseudo.shape[3])[label[annotated]]
        )
    wanted = np.zeros(9, bool)
    if name != "none" and count:
        marks = np.flatnonzero(annotated)
        wanted[slice(None) if outside else slice(marks[0], marks[-1])] = True
    np.testing.assert_array_equal(filled, wanted & ~annotated)


@every_interpolation
def test_labels_of_unannotated_slices_are_never_read(name):
    label, annotated, image = make_volume()
    scrambled = np.where(annotated[:, None, None], label, 200 - label)
    for outside in (False, True):
        ours = fill(name, label, annotated, image, outside=outside)
        theirs = fill(
            name, scrambled.astype(np.uint8), annotated, image, outside=outside
        )
        for a, b in zip(ours, theirs, strict=True):
            assert a.tobytes() == b.tobytes()


@every_interpolation
def test_equal_inputs_give_equal_bytes_and_stay_as_they_are(name):
    ours, theirs = make_volume(), make_volume()
    first, again = fill(name, *ours), fill(name, *theirs)
    for a, b in zip(first, again, strict=True):
        assert a.tobytes() == b.tobytes()
    for a, b in zip(ours, make_volume(), strict=True):
        np.testing.assert_array_equal(a, b)


@every_filling
@pytest.mark.parametrize("seed", range(4))
def test_classes_are_those_of_the_two_neighbours(name, seed):
    label, annotated, image = make_volume(seed, classes=5)
    label[1][label[1] == 2] = 0
    label[4][label[4] == 4] = 1
    hard = as_hard(fill(name, label, annotated, image)[0])
    for lower, upper in ((1, 4), (5, 7)):
        allowed = {0, *label[lower].flat, *label[upper].flat}
        assert set(hard[lower + 1 : upper].flat) <= allowed


@every_filling
def test_reversed_depth_gives_the_reversed_label(name):
    label, annotated, image = make_volume(3)
    for outside in (False, True):
        pseudo, filled = fill(name, label, annotated, image, outside=outside)
        turned = fill(name, label[::-1], annotated[::-1], image[::-1], outside=outside)
        if name == "morphological_itk":  # its halving prefers one side
            assert (turned[0][::-1] == pseudo).mean() > 0.95
        else:
            np.testing.assert_array_equal(turned[0][::-1], pseudo)
        np.testing.assert_array_equal(turned[1][::-1], filled)


@every_filling
def test_transposed_planes_give_the_transposed_label(name):
    label, annotated, image = make_volume(4)
    pseudo, _ = fill(name, label, annotated, image)
    spacing = (SPACING[0], SPACING[2], SPACING[1])
    turned, _ = fill(
        name, label.swapaxes(1, 2), annotated, image.swapaxes(1, 2), spacing
    )
    if name in ("image_guided", "morphological_itk"):
        # Sums of a smoothing filter run along rows first: last digits differ.
        assert (turned.swapaxes(1, 2) == pseudo).mean() > 0.95
    else:
        np.testing.assert_array_equal(turned.swapaxes(1, 2), pseudo)


@every_filling
def test_between_empty_slices_is_nothing(name):
    label, annotated, image = make_volume()
    label[annotated] = 0
    pseudo, filled = fill(name, label, annotated, image, outside=True)
    assert filled.any()
    assert not as_hard(pseudo).any()


@every_filling
def test_between_equal_slices_nothing_changes(name):
    label, annotated, image = make_volume()
    label[:] = label[1]
    image[:] = image[1]
    hard = as_hard(fill(name, label, annotated, image)[0])
    np.testing.assert_array_equal(hard[1:8], label[1:8])


@every_filling
def test_volume_of_one_class_index_everywhere(name):
    label, annotated, image = make_volume()
    label[:] = 2
    hard = as_hard(fill(name, label, annotated, image)[0])
    if name != "morphological_itk":  # it does not see that such slices are marked
        np.testing.assert_array_equal(hard[1:8], label[1:8])


@every_interpolation
def test_entry_is_described(name):
    assert INTERPOLATIONS[name].reference
    assert isinstance(INTERPOLATIONS[name].fill, FillMasks)


def test_none_fills_nothing():
    label, annotated, image = make_volume()
    pseudo, filled = fill("none", label, annotated, image, outside=True)
    assert not filled.any()
    assert not pseudo[~annotated].any()


def test_linear_blends_by_distance():
    label = np.zeros((5, 2, 2), np.uint8)
    label[0], label[4] = 1, 2
    annotated = np.array([1, 0, 0, 0, 1], bool)
    soft, _ = fill("linear", label, annotated, None)
    np.testing.assert_allclose(soft[1, 0, 0], [0, 0.75, 0.25])
    np.testing.assert_allclose(soft[2, 0, 0], [0, 0.5, 0.5])


def test_nearest_copies_the_larger_side_halfway():
    label = np.zeros((5, 1, 3), np.uint8)
    label[0, 0], label[4, 0] = [1, 0, 0], [1, 2, 2]
    annotated = np.array([1, 0, 0, 0, 1], bool)
    for turn in (slice(None), slice(None, None, -1)):
        hard, _ = fill("nearest", label[turn], annotated, None)
        np.testing.assert_array_equal(hard[turn][1], label[0])
        np.testing.assert_array_equal(hard[turn][2], label[4])
