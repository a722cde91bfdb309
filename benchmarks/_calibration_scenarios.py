"""What calibration simulates: paired differences whose true mean is known.

Fixed before any interval method is run on them. Each scenario draws seed x case
matrices of a paired difference of Dice between two cells whose true mean is exactly 0;
an effect is added as a constant. Sizes of the components are those of real sweeps
(hippocampus in 2D at 48 slices: SD over seeds 0.013, over cases 0.006, residual 0.03)
and of what is worse than these.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from slicebench.statistics import effective_cases, mean_over_classes

Drawn = tuple[np.ndarray, list[float | None]]
"""Matrices, and the effective cases of each; None where every case counts."""

Plain = Callable[[np.random.Generator, int, int, int], np.ndarray]
Draw = Plain | Callable[[np.random.Generator, int, int, int], Drawn]

SEEDS = (5, 10, 20, 40)
CASES = (10, 20, 60)
MARGIN = 0.01
"""Margin of equivalence and noninferiority, in Dice."""

TARGET_SEEDS, TARGET_CASES = 10, 20
"""From here on, coverage has a target; below, errors only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A population of paired differences.

    Attributes:
      name: Short name.
      words: What it stands for.
      draw: From generator, simulations, seeds and cases to matrices of mean 0.
      regular: Whether the targets hold for it; irregular ones are published as what
        lies outside.
    """

    name: str
    words: str
    draw: Draw
    regular: bool = True

    def simulate(
        self, rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Drawn:
        """Returns matrices of mean 0 with their effective cases."""
        drawn = self.draw(rng, simulations, seeds, cases)
        return drawn if isinstance(drawn, tuple) else (drawn, [None] * simulations)


def _gaussian(seed: float, case: float, residual: float) -> Plain:
    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Float[np.ndarray, "simulation seed case"]:
        return (
            seed * rng.standard_normal((simulations, seeds, 1))
            + case * rng.standard_normal((simulations, 1, cases))
            + residual * rng.standard_normal((simulations, seeds, cases))
        )

    return draw


def _bounded(middle: float, seed: float, case: float, residual: float) -> Plain:
    """Two exchangeable cells of Dice between 0 and 1, skewed to the left."""

    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Float[np.ndarray, "simulation seed case"]:
        shared = 0.8 * rng.standard_normal((simulations, 1, cases))

        def arm() -> Float[np.ndarray, "simulation seed case"]:
            return expit(
                middle
                + shared
                + seed * rng.standard_normal((simulations, seeds, 1))
                + case * rng.standard_normal((simulations, 1, cases))
                + residual * rng.standard_normal((simulations, seeds, cases))
            )

        return arm() - arm()

    return draw


def _skewed_seeds(spread: float, case: float, residual: float) -> Plain:
    """One cell has seeds that fall far below the rest, the other none."""

    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Float[np.ndarray, "simulation seed case"]:
        fall = spread * (1 - rng.exponential(1.0, (simulations, seeds, 1)))
        return fall + _gaussian(0.0, case, residual)(rng, simulations, seeds, cases)

    return draw


def _collapse(share: float, depth: float) -> Draw:
    """In either cell a few trainings fail and lose much of their Dice."""

    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Float[np.ndarray, "simulation seed case"]:
        shape = (simulations, seeds, 1)
        failed = [depth * (rng.random(shape) < share) for _ in range(2)]
        rest = _gaussian(0.01, 0.006, 0.03)(rng, simulations, seeds, cases)
        return rest - failed[0] + failed[1]

    return draw


def _missed_cases(share: float) -> Draw:
    """A small structure is found or missed as a whole: differences of 0 or near 1."""

    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Float[np.ndarray, "simulation seed case"]:
        hard = rng.beta(share * 4, (1 - share) * 4, (simulations, 1, cases))
        shape = (simulations, seeds, cases)
        found = [(rng.random(shape) > hard) * rng.beta(8, 3, shape) for _ in range(2)]
        return found[0] - found[1]

    return draw


def _missing_class(share: float) -> Draw:
    """Two classes, one of which only a share of the cases has."""

    def draw(
        rng: np.random.Generator, simulations: int, seeds: int, cases: int
    ) -> Drawn:
        make = _gaussian(0.013, 0.015, 0.03)
        classes = [make(rng, simulations, seeds, cases) for _ in range(2)]
        values = np.stack(classes, axis=-1)
        present = rng.random((simulations, cases, 2)) < (1.0, share)
        present[:, :2] = True
        pairs = zip(values, present, strict=True)
        matrices = np.stack([mean_over_classes(one, held) for one, held in pairs])
        return matrices, [effective_cases(held) for held in present]

    return draw


SCENARIOS = (
    Scenario(
        name="hippocampus",
        words="components of the hippocampus at 48 slices, normal",
        draw=_gaussian(0.013, 0.006, 0.03),
    ),
    Scenario(
        name="seeds dominate",
        words="which slices are drawn decides, cases agree",
        draw=_gaussian(0.03, 0.003, 0.02),
    ),
    Scenario(
        name="cases dominate",
        words="which case is scored decides, seeds agree",
        draw=_gaussian(0.003, 0.03, 0.02),
    ),
    Scenario(
        name="residual only",
        words="neither seeds nor cases shift together",
        draw=_gaussian(0.0, 0.0, 0.05),
    ),
    Scenario(
        name="bounded",
        words="Dice near 0.8, bounded and skewed, exchangeable cells",
        draw=_bounded(1.4, 0.1, 0.05, 0.3),
    ),
    Scenario(
        name="near the ceiling",
        words="Dice near 0.95, strongly skewed, exchangeable cells",
        draw=_bounded(3.0, 0.2, 0.1, 0.5),
    ),
    Scenario(
        name="missing scores",
        words="two classes, one of them in 40 % of the cases only",
        draw=_missing_class(0.4),
    ),
    Scenario(
        name="skewed seeds",
        words="seeds of one cell fall exponentially below the rest",
        draw=_skewed_seeds(0.02, 0.006, 0.03),
        regular=False,
    ),
    Scenario(
        name="collapses",
        words="one training in 20 loses 0.3 Dice, in either cell",
        draw=_collapse(0.05, 0.3),
        regular=False,
    ),
    Scenario(
        name="missed cases",
        words="a small structure is found or missed, 30 % missed",
        draw=_missed_cases(0.3),
        regular=False,
    ),
)
"""Every population that is simulated."""
