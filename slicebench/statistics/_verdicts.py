"""From p values to verdicts: Holm's adjustment and the rule of the study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from slicebench.statistics._intervals import Estimate

VERDICTS = (
    "superior",
    "inferior",
    "equivalent",
    "noninferior",
    "inconclusive",
    "exploratory",
)
"""Every verdict, in the order in which the rule tries them."""

ONE_SIDED = 0.025
TOST = 0.05
"""Levels: one-sided tests, and two one-sided tests of equivalence."""

P_VALUES = ("p_superior", "p_inferior", "p_noninferior", "p_equivalent")


def p_values(estimate: Estimate, margin: float | None) -> dict[str, float | None]:
    """Returns the p values of the four claims, before any adjustment.

    Args:
      estimate: Effect, oriented so that positive favours a.
      margin: Smallest difference that matters, above 0; None where the metric
        has none, which leaves noninferiority and equivalence untested.
    """
    found: dict[str, float | None] = dict.fromkeys(P_VALUES)
    found["p_superior"] = estimate.p_above(0.0)
    found["p_inferior"] = estimate.p_below(0.0)
    if margin is not None:
        above = estimate.p_above(-margin)
        found["p_noninferior"] = above
        found["p_equivalent"] = max(above, estimate.p_below(margin))
    return found


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjusts the p values of a family (Holm 1979).

    Args:
      values: One p value a planned contrast; None (nothing could be tested)
        stays None and counts as 1, so that a family never gains by gaps.

    >>> holm([0.01, 0.04, None])
    [0.03, 0.08, None]
    """
    numbers = np.array([1.0 if value is None else value for value in values])
    order = np.argsort(numbers, kind="stable")
    factors = len(numbers) - np.arange(len(numbers))
    climbing: Float[np.ndarray, " n"] = np.maximum.accumulate(factors * numbers[order])
    adjusted = np.empty(len(numbers))
    adjusted[order] = np.minimum(climbing, 1.0)
    pairs = zip(values, adjusted, strict=True)
    return [None if value is None else float(new) for value, new in pairs]


def decide(adjusted: Mapping[str, Any]) -> str:
    """Returns the verdict of a primary contrast, the first that holds.

    Args:
      adjusted: Holds the four p values after Holm's adjustment, by name.
    """
    rules = (
        ("superior", "p_superior", ONE_SIDED),
        ("inferior", "p_inferior", ONE_SIDED),
        ("equivalent", "p_equivalent", TOST),
        ("noninferior", "p_noninferior", ONE_SIDED),
    )
    for verdict, name, level in rules:
        value = adjusted[name]
        if value is not None and value <= level:
            return verdict
    return "inconclusive"
