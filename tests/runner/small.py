"""The smoke form of the sweep, resolved once: its program is shared by tests."""

import functools
import pathlib

import jax
import numpy as np

from slicebench.runner import Options, make_study
from slicebench.runner.batches import ProgramWork, TaskWork
from slicebench.runner.plans import choose_plan
from slicebench.training.checkpoints import BatchCheckpoints

NOWHERE = pathlib.Path("never-written")


@functools.cache
def study():
    options = Options(experiment="budget_sweep", workdir=NOWHERE, smoke=True)
    return make_study(options)


def task():
    (only,) = study().tasks.values()
    return only


def program():
    (only,) = study().programs.values()
    return only


def program_work(prepared=None):
    """Compiled work on a task that has the smoke task's shapes."""
    work = TaskWork(prepared or task())
    return ProgramWork(program(), choose_plan(program()), work)


def train(work, trials, folder, checkpoint_seconds=1e9, progress=lambda _: None):
    checkpoints = BatchCheckpoints(folder)
    state, _ = work.train(trials, checkpoints, checkpoint_seconds, progress)
    return state


def weights(state, index):
    return [np.asarray(leaf[index]) for leaf in jax.tree.leaves(state.params)]


def sparse_trials():
    return [trial for trial in study().trials if trial.slices_per_volume is not None]
