import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from slicebench.statistics import VERDICTS, decide, estimate_mean, holm
from slicebench.statistics._verdicts import P_VALUES, p_values


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    values = np.random.default_rng(seed).random(6) ** 3
    reference = multipletests(values, method="holm")[1]
    np.testing.assert_allclose(holm(values.tolist()), reference)


def test_a_gap_in_a_family_is_no_gain():
    assert holm([0.01, None, 0.02]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.04),
    ]
    assert holm([]) == []


def test_equivalence_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.02, 0.1, 12), rng.normal(0, 0.1, 12)
    reference, above, below = ttost_paired(a, b, -0.1, 0.1)
    found = p_values(estimate_mean([(a - b)[:, None]]), 0.1)
    assert found["p_equivalent"] == pytest.approx(reference)
    assert found["p_noninferior"] == pytest.approx(above[1])
    assert found["p_equivalent"] == pytest.approx(max(above[1], below[1]))


def test_without_margin_only_the_sign_is_tested():
    found = p_values(estimate_mean([np.array([[0.1, 0.2], [0.3, 0.4]])]), None)
    assert found["p_superior"] + found["p_inferior"] == pytest.approx(1)
    assert found["p_noninferior"] is None
    assert found["p_equivalent"] is None


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.02, 0.98, 0.001, 0.001), "superior"),
        ((0.98, 0.02, 0.001, 0.001), "inferior"),
        ((0.03, 0.97, 0.001, 0.05), "equivalent"),
        ((0.03, 0.97, 0.025, 0.06), "noninferior"),
        ((0.03, 0.97, 0.03, 0.06), "inconclusive"),
        ((None, None, None, None), "inconclusive"),
    ],
)
def test_the_first_rule_that_holds_decides(values, verdict):
    assert decide(dict(zip(P_VALUES, values, strict=True))) == verdict
    assert verdict in VERDICTS
