import concurrent.futures
import itertools
import math
import os
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slicebench.errors import InputError
from slicebench.evaluation import METRICS, Score, metrics, prepare_truth, score_case
from tests.evaluation import reference

UNIT = (1.0, 1.0, 1.0)
ANISOTROPIC = (3.0, 0.7, 1.1)


def score(truth, prediction, spacing=UNIT, tolerance_mm=1.0):
    """Scores of one class by metric, from two masks."""
    case = prepare_truth(truth.astype(np.uint8), spacing, 1, tolerance_mm)
    rows = score_case(case, prediction.astype(np.uint8))
    assert all(row.class_index == 1 for row in rows)
    return {row.metric: row.score for row in rows}


def block(shape, start, stop):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def blobs(seed, shape=(5, 7, 6), classes=3):
    """Labels in random runs, with some structure along each axis."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes + 1, shape, np.uint8)
    keep = rng.random(shape) < 0.5
    return np.where(keep, np.roll(label, 1, axis=int(rng.integers(3))), label)


def by_name(rows):
    return {(row.class_index, row.metric): row.score for row in rows}


def test_dice_by_hand():
    truth, prediction = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    truth[0] = True
    prediction[0, 0] = prediction[1, 1, 1] = True
    assert score(truth, prediction)["dice"] == 2 * 2 / (4 + 3)


def test_scores_of_every_class_come_in_order():
    label = blobs(0)
    rows = score_case(prepare_truth(label, UNIT, 3, 1.0), label)
    assert [(row.class_index, row.metric) for row in rows] == list(
        itertools.product((1, 2, 3), METRICS)
    )


@pytest.mark.parametrize("spacing", [UNIT, ANISOTROPIC])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(block((4, 5, 6), (1, 1, 1), (3, 4, 4)), id="inside"),
        pytest.param(block((4, 5, 6), (0, 0, 0), (2, 5, 3)), id="at the border"),
        pytest.param(block((4, 5, 6), (0, 0, 0), (4, 5, 6)), id="whole volume"),
        pytest.param(block((4, 5, 6), (3, 4, 5), (4, 5, 6)), id="one voxel"),
        pytest.param(block((1, 1, 1), (0, 0, 0), (1, 1, 1)), id="one-voxel volume"),
    ],
)
def test_the_truth_itself_is_perfect(mask, spacing):
    perfect = {"dice": 1.0, "nsd": 1.0, "hd95": 0.0, "fp_ml": 0.0}
    assert score(mask, mask, spacing, tolerance_mm=0.0) == perfect


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_voxels_lie_their_distance_apart(axis):
    shape = (9, 9, 9)
    truth, prediction = np.zeros(shape, bool), np.zeros(shape, bool)
    truth[1, 1, 1] = True
    prediction[tuple(1 + 5 * (a == axis) for a in range(3))] = True
    step = ANISOTROPIC[axis]
    # The near elements are 4 voxels apart, the far ones 5; half of the area each.
    near = score(truth, prediction, ANISOTROPIC, 4 * step)
    assert near["nsd"] == pytest.approx(0.5)
    assert near["hd95"] == pytest.approx(5 * step)
    assert near["dice"] == 0
    assert score(truth, prediction, ANISOTROPIC, 5 * step)["nsd"] == 1
    assert score(truth, prediction, ANISOTROPIC, 3.99 * step)["nsd"] == 0


def test_shifted_plate():
    shape = (12, 40, 40)
    truth = block(shape, (2, 2, 2), (6, 38, 38))
    prediction = block(shape, (4, 2, 2), (8, 38, 38))
    close = score(truth, prediction, (3.0, 1.0, 1.0), 5.9)
    exact = score(truth, prediction, (3.0, 1.0, 1.0), 6.0)
    assert exact["hd95"] == pytest.approx(6)
    assert exact["nsd"] == 1
    assert exact["dice"] == 0.5
    # Two slices of 36 x 36 voxels of 3 mm^3 each lie where the truth has none.
    assert exact["fp_ml"] == pytest.approx(2 * 36 * 36 * 3 / 1000)
    # Only the rim is nearer: at most side faces (4 x 36 x 12 mm^2) of the whole.
    assert 0 < close["nsd"] < 4 * 36 * 12 / (2 * 36 * 36)


def cube_area(side):
    """Surface of a cube of `side` voxels of 1 mm, its edges and corners cut."""
    faces, edges = 6 * (side - 1) ** 2, 12 * (side - 1)
    return faces + edges * math.sqrt(2) / 2 + math.sqrt(3)


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize(("side", "hd95"), [(10, math.sqrt(2)), (40, 1.0)])
def test_cube_grown_by_a_voxel(side, hd95, scale):
    shape = (side + 4,) * 3
    truth = block(shape, (2,) * 3, (side + 2,) * 3)
    prediction = block(shape, (1,) * 3, (side + 3,) * 3)
    spacing = (scale,) * 3
    got = score(truth, prediction, spacing, tolerance_mm=scale)
    # Of the outer cube, what lies straight above the inner one's faces is near.
    small, large = cube_area(side), cube_area(side + 2)
    near = small + 6 * (side + 1) ** 2
    assert got["nsd"] == pytest.approx(near / (small + large))
    # 95 % of the outer area excludes its rims only where faces are large.
    assert got["hd95"] == pytest.approx(hd95 * scale)
    assert score(truth, prediction, spacing, 0.99 * scale)["nsd"] == 0
    assert got["dice"] == pytest.approx(2 * side**3 / (side**3 + (side + 2) ** 3))


def test_concentric_spheres_under_anisotropic_spacing():
    spacing, inner, outer = (1.5, 0.75, 1.0), 9.0, 13.0
    grid = np.indices((22, 44, 32)).astype(float)
    centre = [(n - 1) / 2 for n in grid.shape[1:]]
    parts = [((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)]
    radius = np.sqrt(sum(parts))
    got = score(radius < inner, radius < outer, spacing, 1.0)
    # Each surface is within half a voxel diagonal of its sphere.
    slack = math.hypot(*spacing)
    assert got["hd95"] == pytest.approx(outer - inner, abs=slack)
    assert got["nsd"] == 0
    assert score(radius < inner, radius < outer, spacing, 4 + slack)["nsd"] == 1
    assert got["dice"] == pytest.approx(2 / (1 + (outer / inner) ** 3), rel=0.03)


SPACINGS = st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 2.5, 6.0])] * 3)
MASKS = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@hypothesis.settings(max_examples=120, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    masks=MASKS,
    spacing=SPACINGS,
    tolerance_mm=st.sampled_from([0.0, 0.7, 1.0, 2.5, 4.0]),
)
def test_scores_equal_the_slow_reference(masks, spacing, tolerance_mm):
    truth, prediction = masks
    expected = reference.scores(truth, prediction, spacing, tolerance_mm)
    got = score(truth, prediction, spacing, tolerance_mm)
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_dense_random_masks_equal_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 9, 3))
    truth, prediction = rng.random((2, *shape)) < rng.uniform(0.1, 0.9)
    spacing = tuple(rng.uniform(0.4, 4, 3).tolist())
    expected = reference.scores(truth, prediction, spacing, 1.3)
    assert score(truth, prediction, spacing, 1.3) == pytest.approx(expected, rel=1e-5)


def test_prediction_beyond_the_shared_distance_map():
    shape = (3, 40, 4)
    truth, prediction = block(shape, (1, 2, 1), (2, 5, 3)), np.zeros(shape, bool)
    prediction[1, 3, 2] = prediction[2, 38, 3] = True
    case = prepare_truth(truth.astype(np.uint8), ANISOTROPIC, 1, 1.0)
    assert case.classes[0].distances.box.stop[1] == 6 + metrics.MAP_MARGIN < 38
    expected = reference.scores(truth, prediction, ANISOTROPIC, 1.0)
    assert score(truth, prediction, ANISOTROPIC) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("axes", list(itertools.product((False, True), repeat=3)))
def test_flips_change_nothing(axes):
    truth, prediction = blobs(1), blobs(2)
    flipped = [axis for axis in range(3) if axes[axis]]
    expected = score_case(prepare_truth(truth, ANISOTROPIC, 3, 1.0), prediction)
    mirrored = prepare_truth(np.flip(truth, flipped), ANISOTROPIC, 3, 1.0)
    got = score_case(mirrored, np.flip(prediction, flipped))
    assert by_name(got) == pytest.approx(by_name(expected), rel=1e-6)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_axes_may_be_permuted_with_their_spacing(axes):
    truth, prediction = blobs(3), blobs(4)
    expected = score_case(prepare_truth(truth, ANISOTROPIC, 3, 1.0), prediction)
    spacing = tuple(ANISOTROPIC[axis] for axis in axes)
    turned = prepare_truth(truth.transpose(axes), spacing, 3, 1.0)
    got = by_name(score_case(turned, prediction.transpose(axes)))
    for (value, metric), given in by_name(expected).items():
        # `fp_ml` is about slices, so it belongs to one axis.
        if metric != "fp_ml" or axes[0] == 0:
            assert got[value, metric] == pytest.approx(given, rel=1e-6)


@pytest.mark.parametrize("factor", [0.1, 2.0, 7.3])
def test_scale_of_the_spacing(factor):
    truth, prediction = blobs(5), blobs(6)
    small = score_case(prepare_truth(truth, ANISOTROPIC, 3, 1.1), prediction)
    spacing = tuple(factor * value for value in ANISOTROPIC)
    large = score_case(prepare_truth(truth, spacing, 3, factor * 1.1), prediction)
    power = {"dice": 0, "nsd": 0, "hd95": 1, "fp_ml": 3}
    for before, after in zip(small, large, strict=True):
        scaled = before.score * factor ** power[before.metric]
        assert after.score == pytest.approx(scaled, rel=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_classes_may_be_renumbered(order):
    truth, prediction = blobs(7), blobs(8)
    table = np.array([0, *order], np.uint8)
    expected = by_name(score_case(prepare_truth(truth, UNIT, 3, 1.0), prediction))
    got = score_case(prepare_truth(table[truth], UNIT, 3, 1.0), table[prediction])
    assert by_name(got) == {
        (order[value - 1], metric): given for (value, metric), given in expected.items()
    }


def test_truth_and_prediction_may_be_exchanged():
    truth, prediction = blobs(9), blobs(10)
    there = score_case(prepare_truth(truth, ANISOTROPIC, 3, 1.0), prediction)
    back = score_case(prepare_truth(prediction, ANISOTROPIC, 3, 1.0), truth)
    for one, other in zip(there, back, strict=True):
        if one.metric != "fp_ml":
            assert one.score == pytest.approx(other.score, rel=1e-6)


def test_empty_truth_has_false_positives_only():
    truth = np.zeros((3, 4, 5), np.uint8)
    case = prepare_truth(truth, (2.0, 1.0, 0.5), 2, 1.0)
    assert case.is_empty(1)
    assert case.volume_ml(1) == 0
    assert score_case(case, truth) == [Score(1, "fp_ml", 0.0), Score(2, "fp_ml", 0.0)]
    prediction = truth.copy()
    prediction[1, 1:3] = 2
    assert score_case(case, prediction) == [
        Score(1, "fp_ml", 0.0),
        Score(2, "fp_ml", pytest.approx(10 * 1.0 / 1000)),
    ]


def test_empty_prediction_is_a_miss():
    truth = block((3, 4, 5), (1, 1, 1), (2, 3, 4))
    got = score(truth, np.zeros_like(truth), (4.0, 1.0, 2.0))
    diagonal = math.sqrt(12**2 + 4**2 + 10**2)
    assert got == {"dice": 0, "nsd": 0, "hd95": pytest.approx(diagonal), "fp_ml": 0}


def test_no_distance_exceeds_the_diagonal():
    truth, prediction = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    truth[0, 0, 0] = prediction[1, 2, 3] = True
    case = prepare_truth(truth.astype(np.uint8), ANISOTROPIC, 1, 1.0)
    assert score(truth, prediction, ANISOTROPIC)["hd95"] <= case.diagonal


def test_false_positives_count_on_slices_without_the_class_only():
    truth, prediction = np.zeros((4, 5, 5), bool), np.zeros((4, 5, 5), bool)
    truth[1, 2, 2] = True
    prediction[1] = True
    assert score(truth, prediction, (10.0, 10.0, 10.0))["fp_ml"] == 0
    prediction[3, :2, 0] = True
    assert score(truth, prediction, (10.0, 10.0, 10.0))["fp_ml"] == 2


def test_volume_of_the_truth():
    truth = block((3, 4, 5), (0, 0, 0), (3, 4, 1)).astype(np.uint8)
    case = prepare_truth(truth, (2.0, 5.0, 0.5), 1, 1.0)
    assert not case.is_empty(1)
    assert case.volume_ml(1) == pytest.approx(12 * 5 / 1000)


def test_scores_are_the_same_from_many_threads():
    case = prepare_truth(blobs(11), ANISOTROPIC, 3, 1.0)
    predictions = [blobs(seed) for seed in range(12, 44)]
    expected = [score_case(case, prediction) for prediction in predictions]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda x: score_case(case, x), predictions)) == expected


def test_the_prepared_truth_is_immutable_and_its_own():
    label = blobs(45)
    case = prepare_truth(label, UNIT, 3, 1.0)
    expected = score_case(case, label)
    changed = label.copy()
    label[:] = 0
    assert score_case(case, changed) == expected
    for array in (case.absent, case.classes[0].mask, case.classes[0].distances.squared):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_another_shape_is_refused():
    case = prepare_truth(np.zeros((2, 3, 4), np.uint8), UNIT, 1, 1.0)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 3\) given.*\(2, 3, 4\)"):
        score_case(case, np.zeros((2, 4, 3), np.uint8))


def test_unknown_class_is_refused():
    label = np.full((2, 3, 4), 3, np.uint8)
    with pytest.raises(InputError, match="value 3 given, 0 to 2 are allowed"):
        prepare_truth(label, UNIT, 2, 1.0)
    case = prepare_truth(np.zeros_like(label), UNIT, 2, 1.0)
    with pytest.raises(ValueError, match="class 3 given, 0 to 2 are allowed"):
        score_case(case, label)


@pytest.mark.parametrize(
    "spacing",
    [(1.0, 0.0, 1.0), (1.0, 1.0, -2.0), (math.nan, 1.0, 1.0), (1.0, math.inf, 1.0)],
)
def test_spacing_must_be_positive_lengths(spacing):
    with pytest.raises(InputError, match="three positive lengths in mm are allowed"):
        prepare_truth(np.zeros((2, 3, 4), np.uint8), spacing, 1, 1.0)


@pytest.mark.parametrize("tolerance_mm", [-0.1, math.nan, math.inf])
def test_tolerance_must_be_a_length(tolerance_mm):
    with pytest.raises(InputError, match="a length in mm of at least 0 is allowed"):
        prepare_truth(np.zeros((2, 3, 4), np.uint8), UNIT, 1, tolerance_mm)


@pytest.mark.data
def test_hippocampus_labels_shifted_by_a_slice():
    nib = pytest.importorskip("nibabel")
    root = pathlib.Path(os.environ.get("SLICEBENCH_DATA", "../shared/data"))
    files = sorted((root / "Dataset004_Hippocampus" / "labelsTr").glob("*.nii.gz"))
    if not files:
        pytest.skip(f"no hippocampus labels under {root}; set SLICEBENCH_DATA")
    for file in files[:5]:
        label = np.asarray(nib.load(file).dataobj).astype(np.uint8).transpose(2, 0, 1)
        case = prepare_truth(label, UNIT, 2, 1.0)
        shifted = by_name(score_case(case, np.roll(label, 1, axis=0)))
        for value in (1, 2):
            assert 0.8 < shifted[value, "dice"] < 1
            assert shifted[value, "nsd"] == pytest.approx(1)
            assert shifted[value, "hd95"] == pytest.approx(1)
