"""Do strategies gain from spending the budget unevenly over volumes?

Question: finding 2 of arXiv 2412.08081 is stated for equal quotas. If all slices of
the pool compete for the budget, does a strategy train a better network than under
the same number of slices from every one of randomly chosen volumes?

Command: python -m slicebench.main --experiment=pooled_vs_within --data=FOLDER
With --pooled_from=chosen the slices of those volumes compete: quotas alone differ.

Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses

from experiments import budget_sweep
from slicebench.spec import Contrast, Experiment, Network, TaskInfo, Training

STRATEGIES = ("random", "k_center", "representative", "typiclust")


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """48 slices where the pool has 24 volumes or more to draw from twice."""
    return (48,) if info.pool_volumes >= 48 else (24,)


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the comparison; `smoke` shrinks it to well under a minute."""
    pooled = tuple(
        Contrast(
            name=f"{strategy}, budget over all slices against equal quotas",
            family="uneven quotas are better",
            where={"strategy": strategy},
            a={"scope": "pooled"},
            b={"scope": "within", "slices_per_volume": 2},
        )
        for strategy in STRATEGIES
    )
    against = tuple(
        Contrast(
            name=f"pooled {strategy} against pooled random",
            family="an unsupervised strategy is better, pooled",
            primary=False,
            where={"scope": "pooled"},
            a={"strategy": strategy},
            b={"strategy": "random"},
        )
        for strategy in STRATEGIES[1:]
    )
    full = Experiment(
        name="pooled_vs_within",
        question="Do strategies gain from spending the budget unevenly over volumes?",
        tasks=("phantom_organ", "control_rare_cluster"),
        budgets=budgets,
        slices_per_volume=(2,),
        strategies=STRATEGIES,
        scope=("within", "pooled"),
        pooled_from="pool",
        num_seeds=20,
        network=budget_sweep.network,
        training=budget_sweep.training,
        ceiling_seeds=2,
        contrasts=(*pooled, *against),
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        tasks=full.tasks[:1],
        budgets=(8,),
        strategies=STRATEGIES[:2],
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
        contrasts=pooled[:2],
    )
