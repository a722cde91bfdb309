"""Does the correlation of slices predict what concentration costs?

Question: is the score of an allocation told by its number of effective slices, the
slices it is worth when slices of one volume resemble each other?

Command: python -m slicebench.main --experiment=annotation_law
With real data: add --data=FOLDER, and --budgets where the pool is small.

Four budgets and four densities, random slices; `python -m benchmarks.annotation_law`
fits and tests the law on finished work folders. Test, runtimes and outcomes:
docs/annotation_law.md.
"""

import dataclasses

from experiments import allocation
from slicebench.spec import Experiment, Network, TaskInfo, Training

_BUDGETS = (16, 32, 48, 96)
_SMALL = (16, 24, 32, 48)


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """Four budgets that one slice of each volume of the pool can spend."""
    return _BUDGETS if info.pool_volumes >= _BUDGETS[-1] else _SMALL


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the factorial; `smoke` shrinks it to well under a minute."""
    base = allocation.get_experiment()
    full = dataclasses.replace(
        base,
        name="annotation_law",
        question=(
            "Is the score of an allocation told by its number of effective slices?"
        ),
        tasks=(
            "phantom_organ",
            "phantom_lesions",
            "phantom_vessels",
            "phantom_stroke",
            "control_no_patient_variance",
        ),
        budgets=budgets,
        slices_per_volume=(1, 2, 4, 8),
        num_seeds=10,
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        tasks=full.tasks[:1],
        budgets=(4, 8, 12),
        slices_per_volume=(1, 2),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=1,
    )
