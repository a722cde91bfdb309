"""What does the same network reach when every slice of the pool is labelled?

Question: which score is each annotation curve to be read against?

Command: python -m slicebench.main --experiment=label_ceiling --data=FOLDER
Half and double the steps with --steps=1500 and --steps=6000, each in a work
folder of its own: the ceiling is reached when doubling gains under 0.003 Dice.

Runtimes and outcomes are under docs/results, with their commands.
"""

from slicebench.spec import Experiment, Network, TaskInfo, Training


def network(info: TaskInfo) -> Network:
    """The networks of the sweep."""
    return Network(width=8, depth=3) if info.synthetic else Network(width=16, depth=4)


def training(info: TaskInfo) -> Training:
    """Long training: dense labels deserve more steps than a sparse cell."""
    if info.synthetic:
        return Training(steps=600, batch=8)
    return Training(steps=3000, batch=16)


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the experiment; `smoke` shrinks it to well under a minute."""
    return Experiment(
        name="label_ceiling",
        question="What does the network reach with every slice of the pool labelled?",
        tasks=("phantom_organ",),
        budgets=(),
        slices_per_volume=(),
        network=Network(width=4, depth=2) if smoke else network,
        training=Training(steps=12, batch=4) if smoke else training,
        ceiling_seeds=2,
    )
