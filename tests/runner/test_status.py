"""How far a work folder is, in words."""

import dataclasses
import fcntl

from slicebench.results import Store
from slicebench.runner import Options, status_text
from slicebench.runner.status import is_running
from tests import command, made_up
from tests.runner import small


def options(workdir):
    return Options(experiment="budget_sweep", workdir=workdir, smoke=True)


def half_done(workdir):
    """A made-up run of which the last trials are missing."""
    plan = made_up.Plan()
    trials = made_up.make_trials("blobs", "2d", plan)
    done = trials[: len(trials) // 2]
    rows, scores = made_up.make_rows(
        done, plan, made_up.Truth(), made_up.np.random.default_rng(0)
    )
    rows = [{**row, "seconds": 60.0} for row in rows]
    Store(workdir).append("half", rows, scores)
    return dataclasses.replace(small.study(), trials=tuple(trials)), len(done)


def test_time_left_is_that_of_the_trials_to_come_at_the_rate_so_far(tmp_path):
    study, done = half_done(tmp_path)
    text = status_text(study, options(tmp_path))
    left = len(study.trials) - done
    assert f"{done} of {len(study.trials)} trials done, {left} to go" in text
    assert f"time left: about {left} min of one process" in text


def test_an_empty_folder_has_no_rate(tmp_path):
    assert "time left" not in status_text(small.study(), options(tmp_path))


def test_batches_under_way_are_told_with_their_last_checkpoint(tmp_path):
    for step in (10, 200, 30):
        (tmp_path / "checkpoints" / "batch-abc" / str(step)).mkdir(parents=True)
    (tmp_path / "checkpoints" / "batch-none").mkdir()
    text = status_text(small.study(), options(tmp_path))
    assert "under way: batch-abc, last checkpoint at step 200" in text
    assert "batch-none" not in text


def test_whether_a_process_runs_there(tmp_path):
    assert not is_running(tmp_path / "absent")
    with (tmp_path / ".lock").open("w") as file:
        assert not is_running(tmp_path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_running(tmp_path)
        told = status_text(small.study(), options(tmp_path))
        assert f"a process runs in {tmp_path}" in told
    assert not is_running(tmp_path)


def test_a_second_process_is_refused_and_nothing_is_touched(tmp_path):
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        outcome = command.run("--smoke", f"--workdir={tmp_path}")
    assert outcome.status == 2
    assert f"--workdir={tmp_path}: another process runs there" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
