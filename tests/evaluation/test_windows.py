import itertools

import jax
import numpy as np
import pytest

from slicebench import spec
from slicebench.data.prepared import PreparedCase
from slicebench.evaluation import inference
from slicebench.evaluation.inference import by_case, make_predictor
from slicebench.evaluation.windows import gaussian, groups_of, starts, windows_of
from slicebench.training.arrays import Bank
from slicebench.training.engine import Engine, Plan

GRID, PATCH = (8, 12), (4, 8, 8)


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("window", [1, 4, 7, 16])
def test_windows_cover_the_line_and_overlap_by_half(length, window):
    found = starts(length, window)
    covered = {start + i for start in found for i in range(window)}
    assert set(range(length)) <= covered
    if length > window:
        assert found[0] == 0
        assert found[-1] == length - window
        assert max(np.diff(found)) <= max(-(-window // 2), 1)


def test_windows_of_volumes_name_the_slices_that_exist():
    found = windows_of([6, 3], GRID, PATCH)
    assert [(w.case, w.start, w.slices) for w in found if w.left == 0] == [
        (0, 0, 4),
        (0, 2, 4),
        (1, 0, 3),
    ]
    assert {(w.top, w.left) for w in found} == {(0, 0), (0, 4)}


def test_weights_fall_from_the_middle_and_are_never_zero():
    weights = gaussian((5, 9, 1))
    assert weights.shape == (5, 9, 1)
    assert weights.max() == weights[2, 4, 0] == 1
    assert (np.diff(weights[2, 4:, 0]) < 0).all()
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-6)
    # Standard deviation of an eighth of the window.
    assert weights[2, 5, 0] == pytest.approx(np.exp(-((8 / 9) ** 2) / 2), rel=1e-6)


@pytest.mark.parametrize("most", [1, 7, 30, 1000])
def test_groups_keep_the_order_and_the_limit(most):
    depths = np.random.default_rng(0).integers(1, 20, 25).tolist()
    groups = groups_of(depths, most)
    assert [case for group in groups for case in group] == list(range(25))
    assert all(sum(depths[c] for c in g) <= most or len(g) == 1 for g in groups)
    for one, two in itertools.pairwise(groups):
        assert sum(depths[c] for c in one) + depths[two[0]] > most


def make_program():
    return spec.Program(
        dims="3d",
        network=spec.Network(width=2, depth=2),
        training=spec.Training(batch=2),
        grid=GRID,
        channels=1,
        classes=3,
        slices=16,
        volumetric=spec.Volumetric(
            patch=PATCH, kernels=((3, 3, 3), (3, 3, 3)), pools=((2, 2, 2),)
        ),
    )


def make_case(depth, seed):
    rng = np.random.default_rng(seed)
    label = np.zeros((depth, *GRID), np.uint8)
    return PreparedCase(
        name=str(seed),
        group=str(seed),
        image=rng.normal(size=(depth, *GRID, 1)).astype(np.float32),
        label=label,
        native_label=label,
        spacing=(1.0, 1.0, 1.0),
        to_native=(np.eye(GRID[0]), np.eye(GRID[1])),
    )


CASES = [make_case(depth, seed) for seed, depth in enumerate((6, 3, 4, 9))]


@pytest.fixture(scope="module")
def params():
    bank = Bank(np.zeros((16, *GRID, 1), np.float32), np.zeros((16, *GRID), np.uint8))
    engine = Engine(make_program(), Plan(devices=1, trials_per_device=2), bank)
    shapes = engine.abstract_state().params
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jax.device_put(
            rng.normal(0, 0.5, leaf.shape).astype(leaf.dtype), leaf.sharding
        ),
        shapes,
    )


def reference(params, trial, case):
    """Windows one by one, cut and padded by hand, averaged in double precision."""
    from flax import nnx

    from slicebench.training.step import make_network

    weights = jax.tree.map(lambda leaf: leaf[trial], params)
    network = jax.jit(nnx.merge(make_network(make_program()), weights))
    total = np.zeros((case.depth, *GRID, 3))
    for window in windows_of([case.depth], GRID, PATCH):
        space = tuple(
            slice(at, at + size) for at, size in zip(window[1:4], PATCH, strict=True)
        )
        patch = case.image[space]
        exist = len(patch)
        # What lies beyond the last slice must not matter.
        patch = np.pad(patch, ((0, 4 - exist), *[(0, 0)] * 3), constant_values=1e3)
        valid = (np.arange(4) < exist)[None]
        scores = np.asarray(network(patch[None], valid))[0]
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        total[space] += (gaussian(PATCH)[..., None] * share)[:exist]
    return total / total.sum(-1, keepdims=True)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("group", [8, pytest.param(256, marks=pytest.mark.slow)])
def test_prediction_equals_window_by_window(params, hard, group, monkeypatch):
    monkeypatch.setattr(inference, "GROUP", group)
    plan = Plan(devices=1, trials_per_device=2)
    predictor = make_predictor(make_program(), plan, CASES, hard=hard)
    found = predictor.predict(params)
    for trial in range(2):
        for case, ours in zip(CASES, by_case(found[trial], CASES), strict=True):
            wanted = reference(params, trial, case)
            if hard:
                sure = np.ptp(np.sort(wanted)[..., -2:], axis=-1) > 1e-4
                np.testing.assert_array_equal(ours[sure], wanted.argmax(-1)[sure])
                assert sure.mean() > 0.9
            else:
                np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_other_cases_need_no_new_program(params):
    plan = Plan(devices=1, trials_per_device=2)
    predictor = make_predictor(make_program(), plan, CASES, hard=True)
    before = predictor.predict(params)
    spent = predictor.compile_seconds
    predictor.use(CASES[::-1])
    after = predictor.predict(params)
    assert predictor.compile_seconds == spent > 0
    for trial in range(2):
        ours = list(by_case(after[trial], CASES[::-1]))[::-1]
        for one, two in zip(ours, by_case(before[trial], CASES), strict=True):
            np.testing.assert_array_equal(one, two)
