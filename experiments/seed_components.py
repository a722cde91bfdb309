"""How much of the spread between seeds is chosen, and how much is trained?

Question: a seed draws volumes and slices, and it draws first weights, batches and
augmentation. Which of the two makes networks of one budget differ, and does that
change with the allocation? Every selection seed is trained from every training seed,
so that both can be told apart; beside the test cases they say how many seeds a
contrast needs, and what it is worth to train one selection several times.

Command: python -m slicebench.main --experiment=seed_components --data=FOLDER
In 3D: add --dims=3d. --num_seeds is the number of selection seeds; each is trained
from 4 training seeds. Without --data it runs on a phantom.

Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses

from experiments import allocation, budget_sweep
from slicebench.spec import Contrast, Experiment, Network, TaskInfo, Training


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """One budget, whose sparsest cell leaves two thirds of the pool unseen."""
    return allocation.budgets(info)[-1:]


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the experiment; `smoke` shrinks it to well under a minute."""
    # Which allocation is better is asked elsewhere, with more selections.
    slope = Contrast(
        name="fewer slices of more volumes",
        family="allocation",
        primary=False,
        kind="slope",
        where={"strategy": "random"},
    )
    full = Experiment(
        name="seed_components",
        question=(
            "How much of the spread between seeds comes from which slices are "
            "annotated, and how much from training on them?"
        ),
        tasks=("phantom_organ",),
        budgets=budgets,
        slices_per_volume=(1, 4),
        num_seeds=4,
        training_seeds=4,
        network=budget_sweep.network,
        training=budget_sweep.training,
        ceiling_seeds=1,
        contrasts=(slope,),
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        budgets=(4,),
        slices_per_volume=(1, 2),
        num_seeds=2,
        training_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
    )
