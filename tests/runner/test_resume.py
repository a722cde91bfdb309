"""A killed run, started again, ends with the bytes of an uninterrupted one."""

import random
import signal
import time

import pytest

from slicebench import results
from tests import command

EXPERIMENT = '''
"""The smoke sweep with more steps, so that there is time to be killed in."""

import dataclasses
import os
import signal

from experiments import budget_sweep
from slicebench.training.checkpoints import BatchCheckpoints

STEPS = {steps}
FATAL = os.environ.get("DIE_AT_CHECKPOINT")


class Fatal(BatchCheckpoints):
    """Kills the process as soon as a stated number of checkpoints is written."""

    written = 0

    def save(self, state, step):
        super().save(state, step)
        Fatal.written += 1
        if Fatal.written == int(FATAL):
            os.kill(os.getpid(), signal.SIGKILL)


def get_experiment(*, smoke=False):
    if FATAL:
        from slicebench.runner import session

        session.BatchCheckpoints = Fatal
    sweep = budget_sweep.get_experiment(smoke=True)
    training = dataclasses.replace(sweep.training, steps=STEPS)
    return dataclasses.replace(sweep, training=training, name="resumed")
'''


def write_experiment(folder, steps):
    path = folder / "resumed.py"
    path.write_text(EXPERIMENT.replace("{steps}", str(steps)))
    return path


def arguments(experiment, workdir):
    # The working folder of a subprocess is the project's root.
    return (
        f"--experiment={experiment}",
        "--smoke",
        "--plan=fixed",
        "--checkpoint_seconds=0",
        f"--workdir={workdir}",
    )


def result_bytes(workdir):
    folder = workdir / "results"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def trial_rows(workdir):
    """The trials table without what a clock decides."""
    table = results.Store(workdir).read_trials().drop(columns="seconds")
    return table.sort_values("trial_id", ignore_index=True)


def check_equal(ours, theirs):
    assert result_bytes(ours) == result_bytes(theirs)
    assert len(result_bytes(ours)) == 3
    assert trial_rows(ours).equals(trial_rows(theirs))
    assert not list((ours / "checkpoints").glob("batch-*"))
    assert not list(ours.rglob("*.tmp"))


@pytest.mark.usefixtures("two_devices")
def test_killed_in_the_middle_of_a_batch(tmp_path):
    """The second batch has just written its only checkpoint, 10 of 12 steps."""
    experiment = write_experiment(tmp_path, 12)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    outcome = command.run(*arguments(experiment, whole), report=False)
    assert outcome.status == 0, outcome.err
    process = command.start(*arguments(experiment, killed), DIE_AT_CHECKPOINT="2")
    assert command.finish(process).status == -signal.SIGKILL
    assert len(results.Store(killed).done()) in (0, 2)
    (left,) = [
        path
        for path in (killed / "checkpoints").glob("batch-*")
        if not (killed / f"trials/part-{path.name[6:]}.parquet").exists()
    ][-1:]
    assert [path.name for path in left.iterdir()] == ["10"]
    outcome = command.run(*arguments(experiment, killed), report=False)
    assert outcome.status == 0, outcome.err
    check_equal(killed, whole)


def progress(workdir, steps):
    """Steps that are on disk: finished batches, and the newest checkpoint of others.

    A batch is written while the next one trains, so two may have checkpoints.
    """
    done = len(list((workdir / "trials").glob("part-*.parquet"))) * steps
    for folder in (workdir / "checkpoints").glob("batch-*"):
        names = [path.name for path in folder.glob("*") if path.name.isdecimal()]
        done += max(map(int, names), default=0)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_three_random_moments(tmp_path, monkeypatch, seed):
    """Without kept programs: every start compiles, as on a user's machine."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS")
    steps, rng = 200, random.Random(seed)
    experiment = write_experiment(tmp_path, steps)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    outcome = command.finish(command.start(*arguments(experiment, whole)))
    assert outcome.status == 0, outcome.err
    kills = 0
    for moment in sorted(rng.sample(range(1, 3 * steps - 80), 3)):
        process = command.start(*arguments(experiment, killed))
        while process.poll() is None and progress(killed, steps) < moment:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        kills += command.finish(process).status == -signal.SIGKILL
    assert kills == 3
    assert len(results.Store(killed).done()) < 5
    outcome = command.finish(command.start(*arguments(experiment, killed)))
    assert outcome.status == 0, outcome.err
    check_equal(killed, whole)
