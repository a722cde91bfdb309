"""One, two and four devices train the same networks, uneven batches included.

The trainings run in a process of their own, which has four simulated devices:
`python -m tests.training.test_devices FOLDER`.
"""

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench import spec
from slicebench.runner.batches import ProgramWork, TaskWork
from slicebench.training.checkpoints import BatchCheckpoints
from slicebench.training.engine import Plan, steps_done, trial_params
from tests.command import ROOT
from tests.runner import small

TRIALS, STEPS = 5, 4
TOLERANCE = 1e-4
"""Largest relative difference (Euclidean norm) of any weight array.

Other plans sum in another order; Adam's first steps enlarge the difference.
"""

PLANS = {
    "1 x 5": Plan(devices=1, trials_per_device=5),
    "2 x 3": Plan(devices=2, trials_per_device=3),
    "4 x 2": Plan(devices=4, trials_per_device=2),
}
SCORED = "4 x 2"


@functools.cache
def program():
    tiny = spec.Network(width=2, depth=1)
    training = dataclasses.replace(small.program().training, steps=STEPS)
    return dataclasses.replace(small.program(), network=tiny, training=training)


def trials():
    """Trials that differ in what they annotate and in their seeds."""
    first = small.sparse_trials()[0]
    return [
        dataclasses.replace(first, selection_seed=seed, training_seed=seed)
        for seed in range(TRIALS)
    ]


def train(name, folder):
    """Trains five trials and writes their weights and what is told of them."""
    asked = trials()
    work = ProgramWork(program(), PLANS[name], TaskWork(small.task()))
    checkpoints = BatchCheckpoints(folder / f"{name} checkpoints")
    state, annotated = work.train(asked, checkpoints, 1e9, lambda _: None)
    # What training has compiled already would be silent.
    jax.clear_caches()
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event)
    )
    assert steps_done(state) == STEPS
    trial_params(state.params, 1)
    read_by, plan = [event for event in compiled if "compile" in event], PLANS[name]
    leaves = jax.tree.leaves(state.params)
    np.savez(folder / f"{name}.npz", *map(np.asarray, leaves))
    told = {
        "devices": sorted({len(leaf.sharding.device_set) for leaf in leaves}),
        "steps": state.step.tolist(),
        "healthy": state.healthy.tolist(),
        "annotated": len(annotated),
        "asked": [trial.trial_id for trial in asked],
        "compiled_to_read": read_by,
        "heard": bool(jnp.arange(10.0 + plan.devices).sum() > 0 and compiled),
    }
    if name == SCORED:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            finished = work.score(asked, state, annotated, 1.0, pool)()
        told["trials"] = [row["trial_id"] for row in finished.trials]
        told["scored"] = sorted({row["trial_id"] for row in finished.scores})
    (folder / f"{name}.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    found = subprocess.run(
        [sys.executable, "-m", "tests.training.test_devices", str(folder)],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return folder


def weights(folder, name):
    with np.load(folder / f"{name}.npz") as arrays:
        return list(arrays.values())


def told(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("name", [name for name in PLANS if name != "1 x 5"])
def test_devices_agree(folder, name):
    for ours, alone in zip(
        weights(folder, name), weights(folder, "1 x 5"), strict=True
    ):
        for trial in range(TRIALS):
            difference = np.linalg.norm(ours[trial] - alone[trial])
            assert difference <= TOLERANCE * np.linalg.norm(alone[trial])


def test_trials_differ(folder):
    first = weights(folder, "1 x 5")[0].reshape(TRIALS, -1)
    assert len(np.unique(first, axis=0)) == TRIALS


@pytest.mark.parametrize("name", PLANS)
def test_every_device_holds_its_part(folder, name):
    plan, found = PLANS[name], told(folder, name)
    assert found["devices"] == [plan.devices]
    assert found["steps"] == [STEPS] * plan.trials
    assert found["healthy"] == [True] * plan.trials


@pytest.mark.parametrize("name", ["2 x 3", "4 x 2"])
def test_the_rest_of_a_batch_repeats_the_last_trial(folder, name):
    spare = PLANS[name].trials - TRIALS
    assert spare > 0
    for array in weights(folder, name):
        assert len(array) == PLANS[name].trials
        for copy in array[TRIALS:]:
            np.testing.assert_allclose(copy, array[TRIALS - 1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PLANS)
def test_what_is_read_back_is_no_program_in_which_devices_wait(folder, name):
    """Busy devices wait too long for each other then, and XLA ends the process."""
    found = told(folder, name)
    assert found["heard"], "nothing tells of compilations any more"
    assert found["compiled_to_read"] == []


def test_padding_is_never_written(folder):
    found = told(folder, SCORED)
    assert len(set(found["asked"])) == TRIALS
    assert found["annotated"] == TRIALS
    assert found["trials"] == found["asked"]
    assert found["scored"] == sorted(found["asked"])


if __name__ == "__main__":
    for plan in PLANS:
        train(plan, pathlib.Path(sys.argv[1]))
