import numpy as np
import pytest

from slicebench.statistics import AnnotationLaw, fit_law

EFFECTIVE = np.array([4.0, 8, 16, 32, 64])


@pytest.mark.parametrize(("scale", "power"), [(0.6, 0.5), (1.5, 1.0), (0.2, 0.1)])
def test_a_law_without_noise_is_found_again(scale, power):
    law = AnnotationLaw(ceiling=0.9, scale=scale, power=power)
    found = fit_law(EFFECTIVE, law.predict(EFFECTIVE), 0.9)
    assert found.scale == pytest.approx(scale, rel=1e-4)
    assert found.power == pytest.approx(power, rel=1e-4)
    assert found.ceiling == 0.9


def test_by_hand():
    law = AnnotationLaw(ceiling=0.9, scale=0.8, power=0.5)
    np.testing.assert_allclose(law.predict(np.array([4.0, 16.0])), [0.5, 0.7])


def test_noise_above_the_ceiling_is_carried():
    law = AnnotationLaw(ceiling=0.8, scale=0.5, power=0.7)
    scores = law.predict(EFFECTIVE)
    scores[-1] = 0.81
    found = fit_law(EFFECTIVE, scores, 0.8)
    assert 0.7 < found.power < 1.0
    misses = found.predict(EFFECTIVE) - scores
    assert np.abs(misses).max() < 0.05


def test_scores_that_fall_with_slices_give_the_flattest_law():
    found = fit_law(EFFECTIVE, np.linspace(0.7, 0.5, 5), 0.9)
    assert found.power == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize(
    ("effective", "scores", "words"),
    [([4, 4], [0.5, 0.6], "two different"), ([4, 8], [0.95, 0.9], "below the ceiling")],
)
def test_what_cannot_be_fitted(effective, scores, words):
    with pytest.raises(ValueError, match=words):
        fit_law(np.array(effective, float), np.array(scores), 0.9)
