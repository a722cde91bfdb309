import math

import numpy as np
import pandas as pd
import pytest

from slicebench.statistics import development_margin, slices_saved
from tests.statistics.tables import FACTORS

PLACE = ("blobs", "all", "2d")


def curve(score, budgets=(8, 16, 32), densities=(1, 2), **changes):
    rows = [
        {
            **FACTORS,
            "budget": budget,
            "slices_per_volume": k,
            "development_dice": score(budget, k),
            "development_nsd": score(budget, k),
            "development_hd95": -score(budget, k),
            **changes,
        }
        for budget in budgets
        for k in densities
    ]
    return pd.DataFrame(rows)


def rising(budget, k):
    # The slope is 0.02 at the lower density and something else at the higher.
    return 0.5 + 0.02 * k * math.log2(budget)


def test_margin_is_what_a_quarter_more_budget_gains():
    margin = development_margin(curve(rising), *PLACE, "dice")
    assert margin.value == pytest.approx(0.02 * math.log2(1.25))
    assert margin.gain == pytest.approx(0.02)
    assert margin.alternatives == {"fixed": 0.01}
    assert "1 per volume, budgets 8 to 32" in margin.source


def test_distances_improve_downwards():
    margin = development_margin(curve(rising), *PLACE, "hd95")
    assert margin.value == pytest.approx(0.02 * math.log2(1.25))
    assert margin.alternatives == {"fixed": 0.5}


def test_only_random_slices_of_trained_networks_count():
    others = [
        {"strategy": "k_center"},
        {"volume_strategy": "spread"},
        {"interpolation": "shape"},
        {"status": "diverged"},
        {"task": "other"},
        {"target": "other"},
        {"dims": "3d"},
        {"slices_per_volume": None},
        {"development_dice": math.nan},
    ]
    noise = [curve(lambda budget, _: -budget, **change) for change in others]
    margin = development_margin(pd.concat([curve(rising), *noise]), *PLACE, "dice")
    assert margin.gain == pytest.approx(0.02)


def test_density_is_the_lowest_that_every_budget_has():
    trials = curve(rising, densities=(1, 2, 4))
    keep = ~((trials["budget"] == 32) & (trials["slices_per_volume"] == 1))
    margin = development_margin(trials[keep], *PLACE, "dice")
    assert margin.gain == pytest.approx(0.04)
    assert "2 per volume" in margin.source


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        (curve(rising, budgets=(8,)), "1 budgets"),
        (curve(rising, task="other"), "0 budgets"),
        (curve(lambda *_: 0.5), "does not improve"),
        (curve(lambda budget, _: -budget), "does not improve"),
        (
            pd.concat([curve(rising, (8,), (1,)), curve(rising, (16,), (2,))]),
            "no slices per volume that every budget has",
        ),
    ],
)
def test_without_a_rising_curve_the_margin_is_fixed(trials, why):
    for metric, value in (("dice", 0.01), ("nsd", 0.01), ("hd95", 0.5)):
        margin = development_margin(trials, *PLACE, metric)
        assert margin.value == value
        assert margin.gain is None
        assert why in margin.source


def test_no_margin_for_other_metrics():
    with pytest.raises(ValueError, match="'fp_ml': not one of"):
        development_margin(curve(rising), *PLACE, "fp_ml")


def test_slices_saved_is_the_budget_at_equal_score():
    gain = 0.03
    for estimate in (-0.02, 0.0, 0.01):
        share = slices_saved(estimate, gain)
        assert gain * np.log2(1 + share) == pytest.approx(estimate)
    assert slices_saved(0.01, None) is None
    assert slices_saved(0.01, 0.0) is None
    assert slices_saved(1.0, 0.01) is None
