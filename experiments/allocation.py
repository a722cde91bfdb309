"""Finding 1 over budgets: fewer slices of more volumes, or more of fewer?

Question: how does the score change along the allocations of a fixed budget, from
one slice of many volumes to many slices of few (finding 1 of arXiv 2412.08081)?

Command: python -m slicebench.main --experiment=allocation --data=FOLDER
In 3D: add --dims=3d. Without --data it runs on two phantoms and on the control
without differences between patients, where no slope is expected.

Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses

from experiments import budget_sweep
from slicebench.spec import Contrast, Experiment, Network, TaskInfo, Training

_LADDER = (12, 24, 48, 96)


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """Budgets whose sparsest cell leaves two thirds of the pool unseen."""
    fitting = [budget for budget in _LADDER if budget <= info.pool_volumes / 3]
    return tuple(fitting) or _LADDER[:1]


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the sweep; `smoke` shrinks it to well under a minute."""
    slope = Contrast(
        name="fewer slices of more volumes",
        family="allocation",
        claim="superior",
        kind="slope",
        where={"strategy": "random"},
        min_volumes=12,
    )
    whole = dataclasses.replace(
        slope,
        name="fewer slices of more volumes, down to two volumes",
        family="allocation, whole range",
        primary=False,
        min_volumes=1,
    )
    sweep = budget_sweep.get_experiment()
    full = dataclasses.replace(
        sweep,
        name="allocation",
        question=(
            "How does the score change along the allocations of a fixed budget, "
            "over budgets?"
        ),
        tasks=(
            "phantom_organ",
            "phantom_stroke",
            "control_no_patient_variance",
        ),
        budgets=budgets,
        num_seeds=20,
        contrasts=(slope, whole, *sweep.contrasts[2:]),
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        tasks=full.tasks[:1],
        budgets=(4, 6),
        slices_per_volume=(1, 2),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=1,
    )
