import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from slicebench.statistics import (
    Margin,
    crossed_components,
    estimate_mean,
    evaluate,
    variance_components,
    variance_table,
)
from slicebench.statistics._components import (
    components,
    crossing,
    estimate_effect,
    one_training,
)
from slicebench.statistics._effects import SeedRows, by_selection
from tests.statistics.tables import K_CENTER, RANDOM, contrast, tables


def crossed_cube(rng, shape, *, selection, training, both, case, residual):
    a, t, c = shape
    return (
        selection * rng.normal(size=(a, 1, 1))
        + training * rng.normal(size=(1, t, 1))
        + both * rng.normal(size=(a, t, 1))
        + case * rng.normal(size=(1, 1, c))
        + residual * rng.normal(size=shape)
    )


def as_rows(cube):
    a, t, _ = cube.shape
    return SeedRows(
        values=cube.reshape(a * t, -1),
        selection=tuple(np.repeat(range(a), t).tolist()),
        training=tuple(range(t)) * a,
    )


def mixed_model(frame, formulas):
    """Fits crossed random effects by REML: one group, every factor a component."""
    model = MixedLM.from_formula(
        "score ~ 1", groups=np.ones(len(frame)), vc_formula=formulas, data=frame
    )
    fit = model.fit(reml=True)
    return fit, dict(zip(sorted(formulas), fit.vcomp, strict=True))


def long(values, names):
    index = np.indices(values.shape).reshape(values.ndim, -1)
    return pd.DataFrame(
        {"score": values.ravel(), **dict(zip(names, index, strict=True))}
    )


def test_two_way_estimate_is_the_mixed_models():
    rng = np.random.default_rng(3)
    values = (
        0.3
        + 0.8 * rng.normal(size=(6, 1))
        + 0.5 * rng.normal(size=(1, 8))
        + 0.4 * rng.normal(size=(6, 8))
    )
    fit, found = mixed_model(
        long(values, ("seed", "case")), {"seed": "0+C(seed)", "case": "0+C(case)"}
    )
    ours, estimate = variance_components(values), estimate_mean([values])
    assert ours.sd_seed**2 == pytest.approx(found["seed"], rel=1e-3)
    assert ours.sd_case**2 == pytest.approx(found["case"], rel=1e-3)
    assert ours.sd_residual**2 == pytest.approx(fit.scale, rel=1e-3)
    assert estimate.mean == pytest.approx(fit.fe_params.iloc[0], abs=1e-9)
    assert estimate.error == pytest.approx(fit.bse_fe.iloc[0], rel=1e-3)


def test_three_way_components_are_the_mixed_models():
    rng = np.random.default_rng(7)
    sds = {"selection": 1, "training": 0.8, "both": 0.6, "case": 0.7, "residual": 0.3}
    cube = crossed_cube(rng, (5, 4, 4), **sds)
    cube += 0.4 * rng.normal(size=(5, 1, 4)) + 0.4 * rng.normal(size=(1, 4, 4))
    frame = long(cube, ("s", "t", "c"))
    formulas = {
        "s": "0+C(s)",
        "t": "0+C(t)",
        "c": "0+C(c)",
        "st": "0+C(s):C(t)",
        "sc": "0+C(s):C(c)",
        "tc": "0+C(t):C(c)",
    }
    fit, found = mixed_model(frame, formulas)
    ours = crossed_components(cube)
    assert min(found.values()) > 0.01
    assert ours.selection == pytest.approx(found["s"], rel=0.01)
    assert ours.shared == pytest.approx(found["t"], rel=0.01)
    assert ours.training == pytest.approx(found["t"] + found["st"], rel=0.01)
    assert ours.case == pytest.approx(found["c"], rel=0.01)
    residual = found["sc"] + found["tc"] + fit.scale
    assert ours.residual == pytest.approx(residual, rel=0.01)


def test_additive_effects_by_hand():
    cube = (
        np.array([0.0, 2.0])[:, None, None]
        + np.array([0.0, 3.0, 6.0])[None, :, None]
        + np.array([1.0, 5.0])[None, None, :]
    )
    found = crossed_components(cube)
    assert found.selection == pytest.approx(2)
    assert found.training == pytest.approx(9)
    assert found.shared == pytest.approx(9)
    assert found.case == pytest.approx(8)
    assert found.residual == pytest.approx(0)


def test_trainings_that_differ_by_selection_are_training():
    both = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None]
    found = crossed_components(np.repeat(both, 5, axis=2))
    # MS_st = 5 x 4; its part of a selection's (or training's) own is taken off.
    assert found.selection == pytest.approx(-2)
    assert found.shared == pytest.approx(-2)
    assert found.training == pytest.approx(-2 + 4)
    assert found.residual == pytest.approx(0)


def test_components_are_unbiased_and_add_up():
    rng = np.random.default_rng(0)
    sds = {"selection": 1, "training": 0.5, "both": 0.5, "case": 2, "residual": 1}
    cubes = [crossed_cube(rng, (6, 3, 10), **sds) for _ in range(500)]
    found = [crossed_components(cube) for cube in cubes]
    assert np.mean([f.selection for f in found]) == pytest.approx(1, abs=0.15)
    assert np.mean([f.training for f in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([f.shared for f in found]) == pytest.approx(0.25, abs=0.1)
    assert np.mean([f.case for f in found]) == pytest.approx(4, abs=0.35)
    assert np.mean([f.residual for f in found]) == pytest.approx(1, abs=0.03)


def test_a_crossing_needs_two_of_everything():
    with pytest.raises(ValueError, match=r"\(2, 1, 5\): at least 2 x 2 x 2"):
        crossed_components(np.zeros((2, 1, 5)))


def test_crossing_keeps_what_is_complete():
    values = np.arange(12.0).reshape(6, 2)
    rows = SeedRows(
        values=values, selection=(0, 0, 1, 1, 1, 2), training=(0, 1, 0, 1, 7, 2)
    )
    cube = crossing(rows)
    assert cube.tolist() == [values[:2].tolist(), values[2:4].tolist()]
    together = SeedRows(values=values, selection=tuple(range(6)), training=(0,) * 6)
    assert crossing(together) is None
    nested = SeedRows(
        values=values, selection=(0, 0, 1, 1, 2, 2), training=(0, 1, 2, 3, 4, 5)
    )
    assert crossing(nested) is None


def test_rows_of_one_selection_are_averaged_or_picked():
    values = np.arange(12.0).reshape(6, 2)
    rows = SeedRows(
        values=values, selection=(0, 0, 1, 1, 2, 2), training=(0, 1, 0, 1, 0, 1)
    )
    assert by_selection(rows).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert one_training(rows).tolist() == [[0, 1], [6, 7], [8, 9]]
    plain = SeedRows(values=values, selection=tuple(range(6)), training=(0,) * 6)
    assert by_selection(plain) is values
    assert one_training(plain) is values


def test_crossed_seeds_are_no_independent_seeds():
    rng = np.random.default_rng(1)
    sds = {"selection": 1, "training": 0.5, "both": 0.5, "case": 0.5, "residual": 1}
    covered = np.zeros(3)
    for _ in range(400):
        rows = as_rows(crossed_cube(rng, (8, 3, 20), **sds))
        estimates = (
            estimate_effect([rows]),
            estimate_mean([by_selection(rows)]),
            estimate_mean([rows.values]),
        )
        ends = [estimate.interval(0.95) for estimate in estimates]
        covered += [low < 0 < high for low, high in ends]
    # Standard error of a share of 400 is 0.011 at 0.95.
    right, averaged, independent = covered / 400
    assert 0.915 < right < 0.98
    assert independent < averaged < 0.92
    assert independent < 0.8


def test_without_a_shared_part_averaging_is_enough():
    cube = np.random.default_rng(2).normal(size=(5, 2, 6))
    cube -= cube.mean((0, 2), keepdims=True)
    rows = as_rows(cube)
    assert crossed_components(cube).shared < 0
    assert estimate_effect([rows]) == estimate_mean([by_selection(rows)])


def test_a_shared_part_by_hand():
    cube = np.zeros((4, 2, 5)) + np.array([0.0, 2.0])[None, :, None]
    found = estimate_effect([as_rows(cube)])
    assert (found.mean, found.num_seeds, found.num_cases) == (1, 4, 5)
    # Two training seeds a distance of 2 apart: variance 2, of their mean 1.
    assert found.variance == pytest.approx(1)
    assert found.df == pytest.approx(1)


def crossed_frames(gain=0.05, scale=0.01):
    rng = np.random.default_rng(4)
    seeds = [(s, t) for s in range(5) for t in (100, 101, 102)]
    base = 0.6 + rng.normal(0, 0.02, (15, 12))
    noise = crossed_cube(
        rng, (5, 3, 12), selection=1, training=0.3, both=0.5, case=0.5, residual=0.5
    )
    better = base + gain + scale * noise.reshape(15, 12)
    return tables((K_CENTER, better), (RANDOM, base), seeds=seeds), scale * noise


def test_a_contrast_of_crossed_seeds_counts_selections():
    frames, noise = crossed_frames()
    place = ("blobs", "all", "2d", "dice")
    margins = {place: Margin(value=0.02, source="", alternatives={})}
    (entry,) = evaluate([contrast()], *frames, margins=margins)
    assert (entry["num_seeds"], entry["num_cases"]) == (5, 12)
    assert entry["estimate"] == pytest.approx(0.05 + noise.mean())
    wanted = estimate_effect([as_rows(noise)])
    assert entry["variance"] == pytest.approx(wanted.variance)
    # Five selections: the smallest p over signs is 2 / 32, of fifteen rows 2 / 2^15.
    assert entry["p_sign_flip"] == 2 / 32
    assert "5 seeds" in entry["wilcoxon_note"]


def test_variance_table_tells_selection_from_training():
    frames, _ = crossed_frames()
    rows = variance_table(*frames)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    by_strategy = {row["strategy"]: row for row in rows}
    row = by_strategy["k_center"]
    assert (row["num_seeds"], row["num_trainings"], row["num_cases"]) == (5, 3, 12)
    assert row["sd_seed"] is None
    assert row["reason"] is None
    assert row["sd_selection"] > row["sd_training"] >= row["sd_shared"] >= 0
    assert {"task", "target", "dims", "metric", "budget", "steps"} <= set(row)


def test_seeds_that_move_together_have_one_component():
    values = np.random.default_rng(5).normal(0.6, 0.1, (6, 7))
    (row,) = variance_table(*tables((RANDOM, values)))
    parts = variance_components(values)
    assert row["sd_seed"] == pytest.approx(parts.sd_seed)
    assert row["sd_case"] == pytest.approx(parts.sd_case)
    assert row["sd_residual"] == pytest.approx(parts.sd_residual)
    assert row["sd_selection"] is row["sd_training"] is None
    assert "move together" in row["reason"]


def test_one_seed_has_no_components():
    (row,) = variance_table(*tables((RANDOM, np.array([[0.5, 0.6, 0.7]]))))
    assert row["sd_seed"] is row["sd_case"] is None
    assert row["reason"] == "fewer than two seeds or two cases in a fold"


def test_other_metrics_are_left_alone():
    frames = tables((RANDOM, np.random.default_rng(6).normal(size=(3, 4))))
    assert variance_table(*frames, metrics=["hd95"]) == []


def test_components_over_folds_are_averaged_before_they_are_cut_off():
    rng = np.random.default_rng(8)
    folds = [rng.normal(size=(2, 20)) for _ in range(200)]
    found = components(folds)
    # Nothing but residual: cutting each fold at 0 first would leave 0.1 and more.
    assert found.sd_seed < 0.08
    assert found.sd_residual == pytest.approx(1, abs=0.03)
    assert components([np.zeros((1, 4))]) is None
