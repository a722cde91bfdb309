"""Finding 2: are unsupervised strategies better than random slices?

Question: at equal slices per volume, is any unsupervised strategy superior to
random or evenly spaced slices, or are these noninferior to all of them (finding
2 of arXiv 2412.08081)?

Command: python -m slicebench.main --experiment=strategy_comparison --data=FOLDER
Without --data it runs on a phantom, on the control with a rare appearance among
many duplicates (a feature strategy must win there), and on the control of
aligned patients (equal intervals at equal places must fail there).

Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses

from experiments import budget_sweep
from slicebench.spec import Contrast, Experiment, Network, TaskInfo, Training

REFERENCES = ("random", "fixed_interval")
UNSUPERVISED = (
    "k_center",
    "representative",
    "typiclust",
    "probcover",
    "max_herding",
    "facility_location",
)
OTHERS = (
    *("fixed_interval_aligned", "stratified", "central"),
    *("k_means", "k_medoids", "rep_div"),
    *("foreground_random_33", "foreground_random_66", "foreground_interval"),
    *("extent_random", "extent_interval"),
)
"""Geometric, further unsupervised ones, and those that see labels: exploration."""
_DENSITIES = (2, 4)


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """48 slices where the pool has 24 volumes or more to draw from twice."""
    return (48,) if info.pool_volumes >= 48 else (24,)


def _contrasts() -> tuple[Contrast, ...]:
    made: list[Contrast] = []
    for density in _DENSITIES:
        where = {"slices_per_volume": density}
        for reference in REFERENCES:
            made += [
                Contrast(
                    name=f"{reference} against {strategy}",
                    family=f"{reference} is not worse, {density} a volume",
                    claim="noninferior",
                    where=where,
                    a={"strategy": reference},
                    b={"strategy": strategy},
                )
                for strategy in UNSUPERVISED
            ]
        made += [
            Contrast(
                name=f"{strategy} against random",
                family=f"an unsupervised strategy is better, {density} a volume",
                where=where,
                a={"strategy": strategy},
                b={"strategy": "random"},
            )
            for strategy in UNSUPERVISED
        ]
        made += [
            Contrast(
                name=f"{strategy} against random",
                family=f"other strategies, {density} a volume",
                primary=False,
                where=where,
                a={"strategy": strategy},
                b={"strategy": "random"},
            )
            for strategy in OTHERS
        ]
    return tuple(made)


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the comparison; `smoke` shrinks it to well under a minute."""
    full = Experiment(
        name="strategy_comparison",
        question=(
            "At equal slices per volume, is any unsupervised strategy better than "
            "random slices?"
        ),
        tasks=("phantom_organ", "control_rare_cluster", "control_aligned"),
        budgets=budgets,
        slices_per_volume=_DENSITIES,
        strategies=(*REFERENCES, *UNSUPERVISED, *OTHERS),
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
        budgets=(8,),
        slices_per_volume=(2,),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
    )
