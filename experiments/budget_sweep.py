"""Which allocation of an annotation budget wins?

Question: at a fixed number of annotated slices, is it better to annotate few
slices of many volumes or many slices of few (finding 1 of arXiv 2412.08081)?

Command: python -m slicebench.main --experiment=budget_sweep
On real volumes: add --data=FOLDER (MSD or nnU-Net v2 layout)

Runtimes and outcomes are under docs/results, with their commands.
"""

from slicebench.spec import (
    Augmentation,
    Contrast,
    Experiment,
    Network,
    TaskInfo,
    Training,
)

_LADDER = (3, 6, 12, 24, 48, 96, 192, 384)
_DENSITIES = (1, 2, 4, 8, 16, 24)


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """Two budgets whose sparsest cell needs at most half of the pool's volumes.

    A pool too small for that gets the two smallest.
    """
    fitting = [budget for budget in _LADDER if budget <= info.pool_volumes / 2]
    return tuple(fitting[-2:]) or _LADDER[:2]


def densities(info: TaskInfo) -> tuple[int, ...]:
    """Slices per volume: as many as the thinnest volume and two volumes allow."""
    most = min(info.min_slices, max(budgets(info)) // 2)
    return tuple(density for density in _DENSITIES if density <= most)


def network(info: TaskInfo) -> Network:
    """A small network for phantoms and in 3D, else a plain U-Net of width 16."""
    if info.synthetic or info.dims == "3d":
        return Network(width=8, depth=3)
    return Network(width=16, depth=4)


def training(info: TaskInfo) -> Training:
    """Equal work for every cell of a task and dims."""
    flip = Augmentation(flip=info.synthetic)
    if info.dims == "3d":
        if info.synthetic:
            patch = (16, 48, 48)
            return Training(steps=300, batch=2, augmentation=flip, patch=patch)
        # At the 2D rate, eight channels reach confident logits too late: some
        # trainings ended without one of the classes (docs/results/hippocampus.md).
        return Training(steps=300, batch=2, learning_rate=2e-2)
    if info.synthetic:
        return Training(steps=150, batch=8, augmentation=flip)
    return Training(steps=400, batch=16)


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
    whole = Contrast(
        name="fewer slices of more volumes, down to two volumes",
        family="allocation, whole range",
        primary=False,
        kind="slope",
        where={"strategy": "random"},
    )
    pairs = [
        Contrast(
            name=f"1 against {density} slices per volume",
            family="allocation, pair by pair",
            primary=False,
            where={"strategy": "random"},
            a={"slices_per_volume": 1},
            b={"slices_per_volume": density},
        )
        for density in _DENSITIES[1:]
    ]
    sweep = Experiment(
        name="budget_sweep",
        question=(
            "At a fixed number of annotated slices, do few slices of many volumes "
            "train a better network than many slices of few?"
        ),
        tasks=("phantom_organ", "phantom_stroke"),
        budgets=budgets,
        slices_per_volume=densities,
        num_seeds=6,
        network=network,
        training=training,
        ceiling_seeds=2,
        contrasts=(slope, whole, *pairs),
    )
    if not smoke:
        return sweep
    return Experiment(
        name=sweep.name,
        question=sweep.question,
        tasks=sweep.tasks[:1],
        budgets=(4,),
        slices_per_volume=(1, 2),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=12, batch=4),
        ceiling_seeds=1,
        contrasts=sweep.contrasts,
    )
