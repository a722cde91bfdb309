import dataclasses
import math

import numpy as np
import pytest

from slicebench.statistics import _effects, _index
from slicebench.statistics._components import estimate_effect
from slicebench.statistics._effects import NotComparableError
from tests.statistics.tables import K_CENTER, RANDOM, tables

A = np.array([[0.5, 0.7, 0.6], [0.8, 0.4, 0.9]])
B = np.array([[0.4, 0.4, 0.6], [0.5, 0.5, 0.5]])


def matrices(results, trials, where, a, b):
    (scores,) = _index.index_scores(results, trials).values()
    weights = _effects.difference_weights(scores.table, where, a, b)
    return _effects.effect_matrices(scores, weights)


SIDES = ({"strategy": "k_center"}, {"strategy": "random"})


def test_difference_is_paired_by_seed_and_case():
    results, trials = tables((K_CENTER, A), (RANDOM, B))
    shuffled = results.sample(frac=1, random_state=0)
    (found,) = matrices(shuffled, trials, {}, *SIDES)
    np.testing.assert_allclose(found, A - B)


def test_only_seeds_of_both_sides_are_kept():
    first = tables((K_CENTER, A), seeds=[3, 5])
    second = tables((RANDOM, B), seeds=[5, 7])
    results, trials = (
        _effects.pd.concat(pair) for pair in zip(first, second, strict=True)
    )
    (found,) = matrices(results, trials, {}, *SIDES)
    np.testing.assert_allclose(found, A[1:] - B[:1])


def test_several_cells_are_paired_by_what_they_share():
    cells = [
        ({**factors, "slices_per_volume": k, "num_volumes": 8 // k}, values * k)
        for factors, values in ((K_CENTER, A), (RANDOM, B))
        for k in (1, 2)
    ]
    (found,) = matrices(*tables(*cells), {}, *SIDES)
    np.testing.assert_allclose(found, 1.5 * (A - B), atol=1e-12)
    # A density that one side lacks drops out on the other side too,
    # and takes none of the seeds of the others with it.
    cells[1] = (cells[1][0], cells[1][1][:1])
    (found,) = matrices(*tables(*cells[:3]), {"slices_per_volume": [1, 2]}, *SIDES)
    np.testing.assert_allclose(found, A - B)


def test_sides_may_differ_in_allocation_or_training():
    longer = {"training": '{"steps":200}', "steps": 200}
    many = {"slices_per_volume": 1, "num_volumes": 8}
    few = {"slices_per_volume": 4, "num_volumes": 2}
    (found,) = matrices(
        *tables((many, A), (few, B)),
        {},
        {"slices_per_volume": 1},
        {"slices_per_volume": 4},
    )
    np.testing.assert_allclose(found, A - B)
    (found,) = matrices(
        *tables((longer, A), (RANDOM, B)), {}, {"steps": 200}, {"steps": 100}
    )
    np.testing.assert_allclose(found, A - B)


def test_null_selects_the_trials_without_a_quota():
    dense = {"strategy": "all", "slices_per_volume": None}
    (found,) = matrices(
        *tables((dense, A), (RANDOM, B)),
        {},
        {"slices_per_volume": None, "strategy": "all"},
        {"slices_per_volume": 1, "strategy": "random"},
    )
    np.testing.assert_allclose(found, A - B)


def test_slope_is_least_squares_on_halvings():
    values = {1: A, 2: B, 8: A * B}
    cells = [
        ({"slices_per_volume": k, "num_volumes": 8 // k}, values[k]) for k in values
    ]
    (scores,) = _index.index_scores(*tables(*cells)).values()
    weights = _effects.slope_weights(scores.table, {"strategy": "random"})
    (found,) = _effects.effect_matrices(scores, weights)
    x = [-math.log2(k) for k in values]
    reference = np.polyfit(x, np.stack(list(values.values())).reshape(3, -1), 1)[0]
    np.testing.assert_allclose(found, reference.reshape(A.shape))


def test_slopes_of_several_budgets_are_averaged():
    cells = [
        ({"budget": n, "slices_per_volume": k, "num_volumes": n // k}, A * n * -k)
        for n in (8, 16)
        for k in (1, 2)
    ]
    (scores,) = _index.index_scores(*tables(*cells)).values()
    weights = _effects.slope_weights(scores.table, {"budget": [8, 16]})
    (found,) = _effects.effect_matrices(scores, weights)
    np.testing.assert_allclose(found, A * 12)


def test_folds_hold_their_own_cases():
    first = tables((K_CENTER, A), (RANDOM, B), cases=["x", "y", "z"])
    fold = {"fold": 1}
    second = tables(
        ({**K_CENTER, **fold}, 2 * A), ({**RANDOM, **fold}, B), cases=["p", "q", "r"]
    )
    results, trials = (
        _effects.pd.concat(pair) for pair in zip(first, second, strict=True)
    )
    found = matrices(results, trials, {}, *SIDES)
    np.testing.assert_allclose(found, [A - B, 2 * A - B])


def test_classes_are_averaged_after_cases():
    # Class 0 in cases 0 and 1, class 1 in cases 1 and 2, in two seeds.
    nan = math.nan
    values = np.array(
        [
            [[0.2, nan], [0.4, 0.9], [nan, 0.5], [nan, nan]],
            [[0.6, nan], [0.4, 0.1], [nan, 0.5], [nan, nan]],
        ]
    )
    present = np.isfinite(values[0])
    found = _effects.mean_over_classes(values, present)
    assert found.shape == (2, 3)
    estimates = [(0.3 + 0.7) / 2, (0.5 + 0.3) / 2]
    np.testing.assert_allclose(found.mean(1), estimates)
    # Seed 0: C / K / C_k = 3 / 4; class means are 0.3 and 0.7.
    np.testing.assert_allclose(found[0], 0.5 + 0.75 * np.array([-0.1, 0.1 + 0.2, -0.2]))


def test_a_missing_class_is_not_a_zero():
    # The same in every case: no case differs, whatever classes it has.
    present = np.array([[True, True], [True, False], [False, True], [True, True]])
    values = np.where(present, [0.9, 0.3], np.nan)[None]
    np.testing.assert_allclose(_effects.mean_over_classes(values, present), 0.6)


def test_effective_cases_are_those_that_the_mean_hangs_on():
    """Weights 1/9 + 1 of the one case with both classes, 1/9 of the two others."""
    present = np.array([[True, True], [True, False], [True, False]])
    assert _effects.effective_cases(present) == pytest.approx(
        (12 / 9) ** 2 / (102 / 81)
    )
    assert _effects.effective_cases(np.ones((7, 3), bool)) == 7
    # Classes that no case has, and cases without a class, play no part.
    wider = np.zeros((5, 4), bool)
    wider[1:4, 1:3] = present
    assert _effects.effective_cases(wider) == _effects.effective_cases(present)


def test_a_class_of_few_cases_widens_the_interval():
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 0.1, (12, 20, 2)) + rng.normal(0, 0.2, (1, 20, 2))
    present = np.ones((20, 2), bool)
    present[4:, 1] = False
    rows = _effects.SeedRows(
        values=_effects.mean_over_classes(scores, present),
        selection=tuple(range(12)),
        training=tuple(range(12)),
        effective_cases=_effects.effective_cases(present),
    )
    plain = dataclasses.replace(rows, effective_cases=None)
    careful, careless = estimate_effect([rows]), estimate_effect([plain])
    assert careful.mean == careless.mean
    assert careful.variance == careless.variance
    assert careful.df < 0.5 * careless.df


def test_complete_classes_are_a_plain_mean():
    values = np.random.default_rng(0).random((3, 4, 2))
    found = _effects.mean_over_classes(values, np.ones((4, 2), bool))
    np.testing.assert_allclose(found, values.mean(2))


@pytest.mark.parametrize(
    ("cells", "where", "sides", "why"),
    [
        ([RANDOM], {}, SIDES, "no finished trials on side a"),
        ([K_CENTER], {}, SIDES, "no finished trials on side b"),
        ([K_CENTER, RANDOM], {"colour": 1}, SIDES, "no column 'colour'"),
        ([K_CENTER, {"budget": 16}], {}, SIDES, "no cells in common"),
        (
            [K_CENTER, K_CENTER | {"features": "learned"}, RANDOM],
            {},
            SIDES,
            "side a holds cells that differ in features",
        ),
    ],
)
def test_sides_that_cannot_be_compared(cells, where, sides, why):
    results, trials = tables(*[(cell, A) for cell in cells])
    with pytest.raises(NotComparableError, match=why):
        matrices(results, trials, where, *sides)


def test_seeds_that_cannot_be_paired():
    first, second = (
        tables((K_CENTER, A), seeds=[0, 1]),
        tables((RANDOM, B), seeds=[2, 3]),
    )
    results, trials = (
        _effects.pd.concat(pair) for pair in zip(first, second, strict=True)
    )
    with pytest.raises(NotComparableError, match="share no seed"):
        matrices(results, trials, {}, *SIDES)
    twice = tables((K_CENTER, A), (K_CENTER | {"program": "q"}, A), (RANDOM, B))
    with pytest.raises(NotComparableError, match="name `program`"):
        matrices(*twice, {}, *SIDES)


def test_cases_that_cannot_be_paired():
    halves = [np.full((2, 2), np.nan), np.full((2, 2), np.nan)]
    halves[0][:, 0], halves[1][:, 1] = 1.0, 1.0
    with pytest.raises(NotComparableError, match="no case has this score"):
        matrices(*tables((K_CENTER, halves[0]), (RANDOM, halves[1])), {}, *SIDES)


def test_slopes_that_cannot_be_fitted():
    (scores,) = _index.index_scores(*tables((RANDOM, A))).values()
    with pytest.raises(NotComparableError, match="fewer than two densities"):
        _effects.slope_weights(scores.table, {})
    half = {"slices_per_volume": 2, "num_volumes": 4}
    odd = tables((RANDOM, A), (half, A), ({**half, "num_volumes": 3}, A))
    (scores,) = _index.index_scores(*odd).values()
    with pytest.raises(NotComparableError, match="one density differ in num_volumes"):
        _effects.slope_weights(scores.table, {})
