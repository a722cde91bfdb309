"""The whole factorial of the source study, for a GPU or TPU.

Question: over budgets, allocations, strategies, interpolations and dims, which of
the three findings of arXiv 2412.08081 hold on a task?

Command: python -m slicebench.main --experiment=paper_grid --data=FOLDER --dry_run
shows its size and cost first; without --dry_run it trains.

The factors are the study's; its own strategies and interpolation are not public,
so the field's standard ones stand for them. Further interpolations, oracles, volume
strategies, scopes and multiples of the steps are added by flags, such as
--volume_strategies=random,k_center --scope=within,pooled --steps_factors=0.5,1,2.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import allocation, budget_sweep, strategy_comparison
from slicebench.spec import Contrast, Experiment, Network, Training

_DENSITIES = (1, 2, 4, 8, 16)
_INTERPOLATIONS = ("none", "signed_distance", "image_guided")


def keep(cell: Mapping[str, Any]) -> bool:
    """Every strategy, and every interpolation under the two references."""
    references = strategy_comparison.REFERENCES
    return cell["interpolation"] == "none" or cell["strategy"] in references


def _contrasts() -> tuple[Contrast, ...]:
    slope = allocation.get_experiment().contrasts[0]
    each = ("budget", "slices_per_volume")
    where = {"interpolation": "none"}
    strategies = [
        Contrast(
            name=f"{strategy} against random",
            family="strategies, exploration",
            primary=False,
            where=where,
            a={"strategy": strategy},
            b={"strategy": "random"},
            each=each,
        )
        for strategy in strategy_comparison.UNSUPERVISED
    ]
    filled = [
        Contrast(
            name=f"{method} against none",
            family="interpolation, exploration",
            primary=False,
            where={"strategy": "random"},
            a={"interpolation": method},
            b={"interpolation": "none"},
            each=each,
        )
        for method in _INTERPOLATIONS[1:]
    ]
    slope = dataclasses.replace(slope, where={**slope.where, **where})
    return (slope, *strategies, *filled)


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the factorial; `smoke` shrinks it to well under a minute."""
    full = Experiment(
        name="paper_grid",
        question="Which of the three findings hold over the whole factorial?",
        tasks=("phantom_organ", "phantom_lesions", "phantom_vessels", "phantom_stroke"),
        budgets=allocation.budgets,
        slices_per_volume=_DENSITIES,
        strategies=(
            *strategy_comparison.REFERENCES,
            *strategy_comparison.UNSUPERVISED,
        ),
        interpolations=_INTERPOLATIONS,
        keep=keep,
        dims=("2d", "3d"),
        num_seeds=20,
        network=budget_sweep.network,
        training=budget_sweep.training,
        ceiling_seeds=2,
        contrasts=_contrasts(),
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        tasks=full.tasks[:1],
        budgets=(4,),
        slices_per_volume=(1, 2),
        strategies=("random", "k_center"),
        interpolations=("none", "signed_distance"),
        dims=("2d",),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
    )
