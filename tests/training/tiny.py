"""A tiny program, bank and first states that need no compilation."""

import jax
import numpy as np

from slicebench import spec
from slicebench.training.arrays import Bank, slice_classes, trial_arrays
from slicebench.training.engine import Engine, Plan
from slicebench.training.step import TrialState

SLICES, SIDE, CLASSES = 12, 8, 3


def make_program(**changes):
    settings = {"steps": 20, "batch": 3, "learning_rate": 2e-2} | changes
    return spec.Program(
        dims="2d",
        network=spec.Network(width=2, depth=2),
        training=spec.Training(**settings),
        grid=(SIDE, SIDE),
        channels=1,
        classes=CLASSES,
        slices=SLICES,
    )


def make_bank(seed=0):
    """Slices of four blocks whose brightness tells their class."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, CLASSES, (SLICES, 2, 2)).astype(np.uint8)
    labels = blocks.repeat(SIDE // 2, axis=1).repeat(SIDE // 2, axis=2)
    images = labels[..., None] + rng.normal(0, 0.3, (SLICES, SIDE, SIDE, 1))
    return Bank(images.astype(np.float32), labels)


def make_trials(bank, seeds):
    """Trials that annotate different slices."""
    holds = slice_classes(bank.labels, CLASSES)
    return [
        trial_arrays(np.arange(SLICES) % 4 == seed % 4, holds, seed) for seed in seeds
    ]


def make_engine(devices=1, trials_per_device=1, bank=None, **training):
    plan = Plan(devices=devices, trials_per_device=trials_per_device)
    return Engine(make_program(**training), plan, bank or make_bank())


def first_state(engine, seeds):
    """A state with drawn weights; equal seeds have equal ones."""

    def fill(path, leaf):
        drawn = [np.zeros(leaf.shape[1:], leaf.dtype)] * len(seeds)
        if ".params" in jax.tree_util.keystr(path):
            drawn = [
                np.random.default_rng([seed, *jax.tree_util.keystr(path).encode()])
                .normal(0, 0.4, leaf.shape[1:])
                .astype(leaf.dtype)
                for seed in seeds
            ]
        return jax.device_put(np.stack(drawn), leaf.sharding)

    state: TrialState = jax.tree_util.tree_map_with_path(fill, engine.abstract_state())
    return state._replace(
        healthy=jax.device_put(np.ones(len(seeds), bool), engine.split)
    )


def advance(engine, state, trials, steps):
    arrays = engine.put(trials)
    engine.compile(state, arrays)
    for _ in range(steps):
        state = engine.step(state, arrays)
    return jax.block_until_ready(state)


def one_trial(state, index):
    """Every number of one trial's state, on the host."""
    return [np.asarray(leaf[index]) for leaf in jax.tree.leaves(state)]


def weights(state, index):
    return [np.asarray(leaf[index]) for leaf in jax.tree.leaves(state.params)]
