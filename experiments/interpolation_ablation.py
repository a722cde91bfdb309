"""Finding 3: does filling masks between annotated slices help?

Question: does training on interpolated masks beside the annotated slices give a
better network than the annotated slices alone (finding 3 of arXiv 2412.08081),
over density and in 2D and 3D? Half of each batch is interpolated then, so the
annotated slices alone with twice the steps are the second control.

Command: python -m slicebench.main --experiment=interpolation_ablation --data=FOLDER
In 3D: add --dims=3d.

Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import budget_sweep
from slicebench.spec import Contrast, Experiment, Network, TaskInfo, Training

METHODS = ("nearest", "linear", "signed_distance", "morphological", "image_guided")
_FIRST = "signed_distance"
_DENSITIES = (2, 4, 8)


def budgets(info: TaskInfo) -> tuple[int, ...]:
    """48 slices where the pool has 24 volumes or more to draw from twice."""
    return (48,) if info.pool_volumes >= 48 else (24,)


def keep(cell: Mapping[str, Any]) -> bool:
    """Twice the steps only without interpolation, weight 1 only for one method."""
    if cell["steps_factor"] != 1:
        return cell["interpolation"] == "none"
    return cell["pseudo_weight"] != 1 or cell["interpolation"] == _FIRST


def _contrasts() -> tuple[Contrast, ...]:
    none = {"interpolation": "none"}
    each = ("budget", "slices_per_volume")
    half = {"pseudo_weight": 0.5, "steps_factor": 1}
    first = {"interpolation": _FIRST, **half}
    made = [
        Contrast(
            name=f"{_FIRST} against none",
            family="interpolation helps",
            a=first,
            b={**none, "steps_factor": 1},
            each=each,
        ),
        Contrast(
            name=f"{_FIRST} against none at twice the steps",
            family="interpolation helps, more work for none",
            primary=False,
            a=first,
            b={**none, "steps_factor": 2},
            each=each,
        ),
        Contrast(
            name=f"{_FIRST} at full weight against none",
            family="interpolation at full weight",
            primary=False,
            a={**first, "pseudo_weight": 1.0},
            b={**none, "steps_factor": 1},
            each=each,
        ),
    ]
    made += [
        Contrast(
            name=f"{method} against none",
            family="other interpolations",
            primary=False,
            a={"interpolation": method, **half},
            b={**none, "steps_factor": 1},
            each=each,
        )
        for method in METHODS
        if method != _FIRST
    ]
    return tuple(made)


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the ablation; `smoke` shrinks it to well under a minute."""
    full = Experiment(
        name="interpolation_ablation",
        question="Does filling masks between annotated slices train a better network?",
        tasks=("phantom_organ", "phantom_vessels"),
        budgets=budgets,
        slices_per_volume=_DENSITIES,
        strategies=("fixed_interval",),
        interpolations=("none", *METHODS),
        pseudo_weights=(0.5, 1.0),
        steps_factors=(1, 2),
        keep=keep,
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
        slices_per_volume=(2,),
        interpolations=("none", _FIRST),
        steps_factors=(1,),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
    )
