"""What stands beside a contrast's interval: other tests, and what it would take."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from slicebench import spec
from slicebench.statistics import (
    _components,
    _effects,
    _intervals,
    _power,
    _randomisation,
)

_TWO_SIDED = 0.05

NAMES = (
    "p_sign_flip",
    "p_wilcoxon",
    "wilcoxon_note",
    "components",
    "resolvable",
    "seeds_needed",
    "cases_needed",
)


def supplement(
    rows: Sequence[_effects.SeedRows],
    estimate: _intervals.Estimate,
    *,
    claim: spec.Claim,
    margin: float | None,
    num_contrasts: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Returns randomisation tests, components and a plan of one contrast.

    Args:
      rows: Oriented effects by trained seed and case, one entry a fold.
      estimate: Their mean, as in the contrast's interval.
      claim: What the contrast is to show.
      margin: Smallest difference that matters; None where the metric has none.
      num_contrasts: Contrasts of the family, 1 outside primary families.
      generator: Source of random sign patterns.

    Returns:
      p_sign_flip and p_wilcoxon (two-sided, over selection seeds, on these cases;
      not adjusted), wilcoxon_note, components (of one training a seed; None where
      a fold has fewer than two seeds or cases), resolvable, seeds_needed (at the
      present cases) and cases_needed (at the present seeds), each for
      `_power.TARGET` and the hardest step of Holm; see `_power`. Without
      components the plan is None; else None means that seeds, or cases, alone
      are never enough.
    """
    folds = [_effects.by_selection(part) for part in rows]
    level = _TWO_SIDED / num_contrasts
    p_wilcoxon, note = _randomisation.wilcoxon(folds, level=level)
    found: dict[str, Any] = dict.fromkeys(NAMES)
    found |= {
        "p_sign_flip": _randomisation.sign_flip(folds, generator=generator),
        "p_wilcoxon": p_wilcoxon,
        "wilcoxon_note": note,
    }
    single = [_components.one_training(part) for part in rows]
    parts = _components.components(single)
    if parts is None or math.isnan(estimate.variance):
        return found
    found["components"] = dataclasses.asdict(parts)
    found["resolvable"] = _power.resolvable(
        claim, error=estimate.error, df=estimate.df, num_contrasts=num_contrasts
    )
    if margin is None:
        return found
    plan: Any = {"margin": margin, "num_folds": len(folds)}
    plan |= {"num_contrasts": num_contrasts}
    plan["components"] = _scaled(parts, single, claim, num_contrasts)
    seeds, cases = estimate.num_seeds, estimate.num_cases
    found["seeds_needed"] = _power.seeds_needed(claim, num_cases=cases, **plan)
    found["cases_needed"] = _power.cases_needed(claim, num_seeds=seeds, **plan)
    return found


def _scaled(
    parts: _intervals.Components,
    folds: Sequence[Float[np.ndarray, "_seed _case"]],
    claim: spec.Claim,
    num_contrasts: int,
) -> _intervals.Components:
    """Returns components with which a plan says of this run what the run shows.

    Over folds of few seeds the interval is wider than components averaged over
    folds foretell; a plan that kept to these would promise with the present seeds
    what they have just failed to resolve.
    """
    now = _intervals.estimate_mean(folds)
    error, df = _power.expected_error(
        parts,
        num_seeds=now.num_seeds,
        num_cases=now.num_cases,
        num_folds=len(folds),
    )
    shape: Any = {"claim": claim, "num_contrasts": num_contrasts}
    expected = _power.resolvable(error=error, df=df, **shape)
    if expected == 0:
        return parts
    ratio = _power.resolvable(error=now.error, df=now.df, **shape) / expected
    return _intervals.Components(
        **{name: ratio * sd for name, sd in dataclasses.asdict(parts).items()}
    )
