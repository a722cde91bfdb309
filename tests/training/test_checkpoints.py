import logging
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from slicebench.training.checkpoints import (
    BatchCheckpoints,
    clean_checkpoints,
    save_weights,
)
from slicebench.training.engine import trial_params
from tests.training.tiny import (
    advance,
    first_state,
    make_bank,
    make_engine,
    make_trials,
    one_trial,
)

SEED = 4


@pytest.fixture(scope="module")
def engine():
    return make_engine()


@pytest.fixture(scope="module")
def trials():
    return make_trials(make_bank(), [SEED])


def run(engine, trials, steps):
    return advance(engine, first_state(engine, [SEED]), trials, steps)


def test_a_restored_training_ends_like_an_uninterrupted_one(tmp_path, engine, trials):
    checkpoints = BatchCheckpoints(tmp_path / "batch")
    checkpoints.save(run(engine, trials, 4), 4)
    restored = BatchCheckpoints(tmp_path / "batch").restore(engine.abstract_state())
    assert restored.step.tolist() == [4]
    for ours, theirs in zip(
        one_trial(advance(engine, restored, trials, 3), 0),
        one_trial(run(engine, trials, 7), 0),
        strict=True,
    ):
        assert ours.tobytes() == theirs.tobytes()


def test_nothing_to_restore(tmp_path, engine):
    assert BatchCheckpoints(tmp_path / "none").restore(engine.abstract_state()) is None


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path, engine):
    checkpoints = BatchCheckpoints(tmp_path)
    state = first_state(engine, [SEED])
    for step in (5, 10, 100):
        counted = jax.tree.map(lambda leaf: leaf, state)._replace(
            step=jax.device_put(np.full(1, step, np.int32), engine.split)
        )
        checkpoints.save(counted, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "100"]
    assert checkpoints.restore(engine.abstract_state()).step.tolist() == [100]


def damage(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")


def empty(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def cut(folder):
    """The arrays alone: what describes them stays whole."""
    for path in folder.rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_arrays(folder):
    for path in folder.rglob("d/*"):
        path.unlink()


# Orbax leaves coroutines of the other arrays behind when one cannot be read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("harm", [damage, empty, cut, lose_arrays])
def test_an_unreadable_checkpoint_is_set_aside(tmp_path, engine, caplog, harm):
    checkpoints = BatchCheckpoints(tmp_path)
    state = first_state(engine, [SEED])
    checkpoints.save(state, 5)
    checkpoints.save(state, 9)
    harm(tmp_path / "9")
    with caplog.at_level(logging.WARNING, "slicebench"):
        restored = checkpoints.restore(engine.abstract_state())
    for ours, theirs in zip(one_trial(restored, 0), one_trial(state, 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "cannot be read and is set aside" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "unreadable-9"]


def test_a_step_can_be_set_aside_twice(tmp_path, engine):
    checkpoints = BatchCheckpoints(tmp_path)
    for _ in range(2):
        checkpoints.save(first_state(engine, [SEED]), 9)
        damage(tmp_path / "9")
        assert checkpoints.restore(engine.abstract_state()) is None
    assert [path.name for path in tmp_path.iterdir()] == ["unreadable-9"]


def test_a_kill_while_deleting_leaves_no_half_checkpoint(tmp_path, engine, monkeypatch):
    checkpoints = BatchCheckpoints(tmp_path / "batch")
    checkpoints.save(first_state(engine, [SEED]), 5)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        checkpoints.remove()
    assert checkpoints.restore(engine.abstract_state()) is None
    assert [path.name for path in tmp_path.iterdir()] == ["deleted-batch"]
    clean_checkpoints(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_plan_is_set_aside(tmp_path, engine, caplog):
    checkpoints = BatchCheckpoints(tmp_path)
    checkpoints.save(first_state(engine, [SEED]), 5)
    wider = make_engine(trials_per_device=2)
    with caplog.at_level(logging.WARNING, "slicebench"):
        assert checkpoints.restore(wider.abstract_state()) is None
    assert "set aside (it holds another network" in caplog.text


def test_an_interrupted_write_is_never_read(tmp_path, engine):
    checkpoints = BatchCheckpoints(tmp_path)
    checkpoints.save(first_state(engine, [SEED]), 5)
    (tmp_path / "9.orbax-checkpoint-tmp-3").mkdir()
    assert checkpoints.restore(engine.abstract_state()) is not None


def test_removed_checkpoints_are_gone(tmp_path, engine):
    checkpoints = BatchCheckpoints(tmp_path / "batch")
    checkpoints.save(first_state(engine, [SEED]), 5)
    checkpoints.remove()
    assert not (tmp_path / "batch").exists()
    checkpoints.remove()


def test_saved_weights_are_a_plain_dictionary_of_arrays(tmp_path, engine):
    params = trial_params(first_state(engine, [SEED]).params, 0)
    save_weights(tmp_path / "weights", params)
    with ocp.StandardCheckpointer() as reader:
        read = reader.restore((tmp_path / "weights").resolve())
    assert isinstance(read, dict)
    assert {"encoder", "decoder", "head", "head_bias"} == set(read)
    ours, theirs = jax.tree.leaves(read), jax.tree.leaves(params)
    assert sorted(map(np.shape, ours)) == sorted(map(np.shape, theirs))
    assert sum(np.sum(leaf) for leaf in ours) == pytest.approx(
        sum(np.sum(leaf) for leaf in theirs), rel=1e-5
    )
