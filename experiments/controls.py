"""Does the machine find what is there, and nothing where nothing is?

Question: on phantoms whose answer is known by construction, do the verdicts come
out as they must? Without patients that differ, the allocation of a budget cannot
matter; among nearly equal patients with a strong effect of position, intervals at
equal places must fail; where a rare appearance hides among many duplicates, a
strategy that looks for diversity must win; and two copies of random slices under
different keys (A/A) must not differ.

Command: python -m slicebench.main --experiment=controls

Without a task on which an unsupervised strategy wins, "not superior" says nothing
about strategies. Runtimes and outcomes are under docs/results, with their commands.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import budget_sweep
from slicebench.selection import STRATEGIES, PoolView, Strategy
from slicebench.spec import Contrast, Experiment, Network, Training, derive_seed

_AGAIN = "random_again"
_DENSITY = 2


def _random_again(view: PoolView, quotas: Any, budget: int, seed: int) -> Any:
    """Random slices of the same volumes, under another key than `random`."""
    select = STRATEGIES["random"].select
    return select(view, quotas, budget, derive_seed(seed, _AGAIN))


STRATEGIES[_AGAIN] = Strategy(
    select=_random_again,
    uses_features=False,
    deterministic=False,
    nested=STRATEGIES["random"].nested,
    reference="`random` under another key",
)


def keep(cell: Mapping[str, Any]) -> bool:
    """Every density for random slices, one for the other strategies."""
    return cell["strategy"] == "random" or cell["slices_per_volume"] == _DENSITY


def _contrasts() -> tuple[Contrast, ...]:
    slope = Contrast(
        name="fewer slices of more volumes",
        family="allocation",
        claim="equivalent",
        kind="slope",
        where={"strategy": "random"},
    )
    where = {"slices_per_volume": _DENSITY}
    pairs = (
        ("A/A: random against random again", "A/A", "random", _AGAIN),
        (
            "random against aligned intervals",
            "aligned intervals fail",
            "random",
            "fixed_interval_aligned",
        ),
        ("k_center against random", "diversity wins", "k_center", "random"),
    )
    return (
        slope,
        *(
            Contrast(
                name=name,
                family=family,
                where=where,
                a={"strategy": a},
                b={"strategy": b},
            )
            for name, family, a, b in pairs
        ),
    )


def get_experiment(*, smoke: bool = False) -> Experiment:
    """Returns the controls; `smoke` shrinks them to well under a minute."""
    full = Experiment(
        name="controls",
        question="Are the known answers of the control phantoms found?",
        tasks=(
            "control_no_patient_variance",
            "control_aligned",
            "control_rare_cluster",
        ),
        budgets=(12, 24),
        slices_per_volume=(1, _DENSITY, 4),
        strategies=("random", _AGAIN, "fixed_interval_aligned", "k_center"),
        keep=keep,
        num_seeds=10,
        network=budget_sweep.network,
        training=budget_sweep.training,
        ceiling_seeds=1,
        contrasts=_contrasts(),
    )
    if not smoke:
        return full
    return dataclasses.replace(
        full,
        tasks=full.tasks[:1],
        budgets=(4,),
        slices_per_volume=(1, _DENSITY),
        num_seeds=2,
        network=Network(width=4, depth=2),
        training=Training(steps=10, batch=4),
        ceiling_seeds=0,
    )
