"""A/A through the looks of `--stop_when_decided`: how often is luck decided?

Two arms of the same strategy, made-up scores of populations whose mean difference is
0, looked at after 8, 16 and 32 seeds by the code that takes the looks of a run.
"""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from benchmarks._calibration_scenarios import SCENARIOS
from slicebench.statistics import replay_looks

LOOKS = (8, 16, 32)
CASES = 20
NAMES = ("hippocampus", "seeds dominate", "cases dominate", "bounded")
"""Populations of `_calibration_scenarios` that are looked at."""

_REFERENCE = "random"
_BATCH = 50
"""Simulations that are looked at in one go: arms of their own, each against the same
constant reference, each contrast a family of its own."""

_CONTRAST = {
    "name": "A against A",
    "claim": "superior",
    "primary": True,
    "kind": "difference",
    "metric": "dice",
    "task": "made up",
    "target": "all",
    "dims": "2d",
    "where": {"budget": 48},
    "b": {"strategy": _REFERENCE},
}
_TRIAL = {
    "task": "made up",
    "target": "all",
    "dims": "2d",
    "fold": 0,
    "budget": 48,
    "num_volumes": 48,
    "slices_per_volume": 1,
    "volume_strategy": "random",
    "features": "none",
    "scope": "within",
    "interpolation": "none",
    "pseudo_weight": 0.0,
    "steps": 400,
    "network": "{}",
    "training": '{"steps":400}',
    "program": "made up",
    "annotated_slices": 48,
    "status": "ok",
    "foreground_by_class": '{"organ":{"slices":1,"volumes":1}}',
    "development_dice": None,
    "development_nsd": None,
    "development_hd95": None,
}


def run(simulations: int, seed: int = 0) -> list[dict[str, Any]]:
    """Returns one row a population: shares of outcomes, and what was trained."""
    rows: list[dict[str, Any]] = []
    for number, scenario in enumerate(s for s in SCENARIOS if s.name in NAMES):
        rng = np.random.default_rng([seed, 7, number])
        matrices, _ = scenario.simulate(rng, simulations, LOOKS[-1], CASES)
        outcomes = [
            outcome
            for start in range(0, simulations, _BATCH)
            for outcome in follow(matrices[start : start + _BATCH])
        ]
        rows.append({"scenario": scenario.name, "cases": CASES, **_shares(outcomes)})
        print(f"{scenario.name}: done", flush=True)
    return rows


def follow(
    matrices: Float[np.ndarray, "simulation seed case"],
) -> list[tuple[int, str, str]]:
    """Returns seeds, verdict and state at which the looks at each matrix end.

    Args:
      matrices: Differences of an arm from the reference.
    """
    arms = [f"again {number}" for number in range(len(matrices))]
    trials, frame = _tables((*arms, _REFERENCE))
    reference = np.zeros_like(matrices[:1])
    scores = 0.5 + np.concatenate([matrices, reference]).ravel()
    contrasts = [
        {**_CONTRAST, "name": arm, "family": arm, "a": {"strategy": arm}}
        for arm in arms
    ]
    looks = replay_looks(
        contrasts, frame.assign(score=scores), trials, seeds=LOOKS, taken=len(LOOKS)
    )
    # A look reads nothing that comes after it: a run ends at the first settled one.
    settled = [
        next(entry for entry in entries if entry["state"] != "going on")
        for entries in zip(*looks, strict=True)
    ]
    return [(int(e["seeds"]), str(e["verdict"]), str(e["state"])) for e in settled]


def _tables(arms: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns trials, and the rows of their scores, arm by arm and seed by seed."""
    rows = [
        {
            **_TRIAL,
            "strategy": arm,
            "selection_seed": seed,
            "training_seed": seed,
            "trial_id": f"{arm}, seed {seed}",
        }
        for arm in arms
        for seed in range(LOOKS[-1])
    ]
    whole = dict.fromkeys(("num_volumes", "slices_per_volume"), "Int64")
    trials = pd.DataFrame(rows).astype(whole)
    cases = pd.DataFrame({"case": [f"case{number:02d}" for number in range(CASES)]})
    named = {"class_name": "organ", "metric": "dice"}
    return trials, trials.merge(cases, how="cross").assign(**named)


def _shares(outcomes: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    count = len(outcomes)
    seeds, verdicts, states = (
        collections.Counter(column) for column in zip(*outcomes, strict=True)
    )
    decided = collections.Counter(o[1] for o in outcomes if o[2] == "decided")
    return {
        "decided_superior": decided["superior"] / count,
        "decided_inferior": decided["inferior"] / count,
        "decided_equivalent": decided["equivalent"] / count,
        "case_limited": states["case-limited"] / count,
        "cap_reached": states["cap reached"] / count,
        "verdict_inconclusive": verdicts["inconclusive"] / count,
        **{f"stopped_at_{look}": seeds[look] / count for look in LOOKS},
        "mean_seeds": sum(look * seeds[look] for look in LOOKS) / count,
        "simulations": count,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the outcomes as Markdown."""
    lines = [
        "| population | decided superior | decided inferior | decided equivalent | "
        "case-limited | cap reached | seeds trained, mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = [f"{100 * row[name]:.1f} %" for name in _SHOWN]
        lines.append(
            f"| {row['scenario']} | {' | '.join(shares)} | {row['mean_seeds']:.1f} |"
        )
    return "\n".join(lines)


_SHOWN = (
    "decided_superior",
    "decided_inferior",
    "decided_equivalent",
    "case_limited",
    "cap_reached",
)
