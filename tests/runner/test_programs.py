"""How often a whole run compiles, and what it does when memory runs out."""

import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest

from slicebench import results, spec
from slicebench.evaluation.scoring import Scorer
from slicebench.runner import (
    Options,
    OutOfMemoryError,
    Session,
    batches,
    planner,
    timing,
)
from slicebench.runner.session import batches_of
from slicebench.training.engine import Engine, Plan
from tests.runner import small

KEYS = ["trial_id", "case", "class_name", "metric"]
SEEDS = 168
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compiled():
    """Names of the functions that are compiled meanwhile."""
    names = []

    def listen(event, _seconds, **details):
        if event == COMPILED:
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def use_plan(monkeypatch, **plan):
    made = Plan(devices=jax.local_device_count(), **plan)
    monkeypatch.setattr(planner, "choose_plan", lambda _: made)


def options(workdir):
    return Options(experiment="budget_sweep", workdir=workdir, smoke=True)


def many_trials():
    """Three programs on two folds, 168 seeds each: 1008 trials."""
    study, task = small.study(), small.task()
    folds = [dataclasses.replace(task, fold=fold) for fold in (0, 1)]
    programs = [
        dataclasses.replace(
            small.program(),
            network=spec.Network(width=2, depth=1),
            training=dataclasses.replace(small.program().training, weight_decay=decay),
        )
        for decay in (0.0, 0.01, 0.02)
    ]
    first = small.sparse_trials()[0]
    return dataclasses.replace(
        study,
        tasks={(task.name, task.fold): task for task in folds},
        programs={program.name: program for program in programs},
        trials=tuple(
            dataclasses.replace(
                first,
                fold=fold,
                selection_seed=seed,
                training_seed=seed,
                network=program.network,
                training=program.training,
                program=program.name,
            )
            for fold in (0, 1)
            for program in programs
            for seed in range(SEEDS)
        ),
    )


def test_a_thousand_trials_of_three_programs_compile_three_steps(
    tmp_path, monkeypatch, compiled
):
    """Steps and scores are left out; batches, folds, programs and store are real."""
    use_plan(monkeypatch, trials_per_device=4)
    monkeypatch.setattr(Engine, "step", lambda _engine, state, _trials: state)
    row = {"case": "a", "class_name": "organ", "metric": "dice", "score": 0.5}
    monkeypatch.setattr(Scorer, "score", lambda *_, **__: ([row], {"dice": 0.5}))
    calls = []

    def make_predictor(program, plan, cases, *, hard):
        made = original(program, plan, cases, hard=hard)
        slices = sum(case.depth for case in cases)
        empty = np.zeros((plan.trials, slices, *program.grid), np.uint8)
        made.predict = lambda _: calls.append(1) or empty
        return made

    original = batches.make_predictor
    monkeypatch.setattr(batches, "make_predictor", make_predictor)
    study = many_trials()
    assert len(study.trials) == 1008
    Session(study, options(tmp_path / "work")).run()
    trials = results.Store(tmp_path / "work").read_trials()
    assert len(trials) == trials["trial_id"].nunique() == 1008
    assert sorted(set(trials["fold"])) == [0, 1]
    assert len(calls) == 1008 // 8
    assert compiled.count("jit(step)") == 3
    assert compiled.count("jit(init)") == 3


def test_folds_share_compiled_programs(compiled):
    """Training and prediction of another fold of the same shapes."""
    task = small.task()
    other = dataclasses.replace(task, fold=1, pool=task.pool[::-1])
    work = small.program_work()
    first = small.train(work, list(small.study().trials[:2]), small.NOWHERE)
    before = work.predictor.predict(first.params)
    compiled.clear()
    work.use(batches.TaskWork(other))
    second = small.train(work, list(small.study().trials[:2]), small.NOWHERE)
    after = work.predictor.predict(second.params)
    assert [name for name in compiled if "copy" not in name] == []
    assert before.shape == after.shape
    weights = zip(small.weights(first, 0), small.weights(second, 0), strict=True)
    assert any((ours != theirs).any() for ours, theirs in weights)


class Cramped(Engine):
    """Memory runs out where more than one trial is on a device."""

    def compile(self, state, trials):
        super().compile(state, trials)

    def step(self, state, trials):
        if self.plan.trials_per_device > 1 and Cramped.steps >= Cramped.room:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        Cramped.steps += 1
        return super().step(state, trials)


def run_cramped(monkeypatch, workdir, room, each=2):
    """Runs the smoke sweep; memory runs out after so many steps."""
    Cramped.steps, Cramped.room = 0, room
    monkeypatch.setattr(batches, "Engine", Cramped)
    use_plan(monkeypatch, trials_per_device=each)
    Session(small.study(), options(workdir)).run()
    return results.Store(workdir)


def scores(store):
    return store.read_results().sort_values(KEYS, ignore_index=True)


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """Scores of the sweep with one trial on a device from the start."""
    workdir = tmp_path_factory.mktemp("roomy")
    Session(small.study(), options(workdir)).run()
    return scores(results.Store(workdir))


@pytest.mark.parametrize("room", [5, pytest.param(17, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("two_devices")
def test_a_run_goes_on_with_fewer_trials(
    tmp_path, monkeypatch, caplog, roomy, compiled, room
):
    """In the first batch, and in the second one after the first was written."""
    workdir = tmp_path / "work"
    store = run_cramped(monkeypatch, workdir, room)
    pd.testing.assert_frame_equal(scores(store), roomy, rtol=0.02, atol=0.02)
    assert len(store.read_trials()) == 5
    warnings = [r.message for r in caplog.records if "out of memory" in r.message]
    assert len(warnings) == 1
    assert "with 2 trials a device, goes on with 1" in warnings[0]
    (plan,) = json.loads((workdir / "experiment.json").read_text())["plan"][
        "programs"
    ].values()
    assert plan["trials_per_device"] == 1
    sizes = {
        len(pd.read_parquet(path)) for path in (workdir / "trials").glob("*.parquet")
    }
    assert sizes == ({2, 1} if room < 12 else {4, 1})
    assert not list((workdir / "checkpoints").glob("batch-*"))
    assert compiled.count("jit(step)") == 2
    before = scores(store)
    Session(small.study(), options(workdir)).run()
    pd.testing.assert_frame_equal(scores(store), before)
    assert compiled.count("jit(step)") == 2


def test_one_trial_that_does_not_fit_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Engine,
        "step",
        lambda *_: (_ for _ in ()).throw(
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        ),
    )
    with pytest.raises(OutOfMemoryError, match="one trial does not fit"):
        Session(small.study(), options(tmp_path / "work")).run()


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_a_timed_run_uses_what_was_compiled_for_timing(
    tmp_path, monkeypatch, roomy, compiled
):
    """Two plans are timed for real: one and two steps a call."""
    monkeypatch.setenv("SLICEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timing, "SHARE", 1e9)
    moves = timing.moves
    monkeypatch.setattr(timing, "moves", lambda program: moves(program)[-1:])
    workdir = tmp_path / "work"
    given = dataclasses.replace(options(workdir), plan="timed")
    Session(small.study(), given).run()
    store = results.Store(workdir)
    pd.testing.assert_frame_equal(scores(store), roomy, rtol=0.02, atol=0.02)
    record = json.loads((workdir / "experiment.json").read_text())["plan"]
    (plan,) = record["programs"].values()
    assert plan["how"] == "timed"
    steps = [c["plan"]["steps_per_call"] for c in plan["candidates"]]
    assert steps == [1, 2]
    assert all(c["trial_steps_per_s"] > 0 for c in plan["candidates"])
    assert (compiled.count("jit(step)"), compiled.count("jit(steps)")) == (1, 1)
    assert len(list((tmp_path / "cache" / "plans").glob("*.json"))) == 1
    assert json.loads((workdir / "compute.json").read_text())["planning_seconds"] > 0


def test_the_host_is_a_chunk_ahead_of_the_devices(tmp_path, monkeypatch):
    """The second chunk is under way before the first one is waited for."""
    work, events = small.program_work(), []
    step = work.engine.step
    monkeypatch.setattr(
        work.engine, "step", lambda *given: events.append("step") or step(*given)
    )
    trials = list(small.study().trials[:2])
    small.train(work, trials, tmp_path / "a", progress=events.append)
    assert events == [0, *["step"] * 12, 10, 2]
    events.clear()
    small.train(work, trials, tmp_path / "b", checkpoint_seconds=0)
    assert (tmp_path / "b" / "10").is_dir()
    events.clear()
    state = small.train(work, trials, tmp_path / "b", progress=events.append)
    assert events == [10, "step", "step", 2]
    assert state.step.tolist() == [12, 12]


def test_batches_of_a_smaller_plan_leave_finished_trials_out():
    first = small.study().trials[0]
    trials = [dataclasses.replace(first, training_seed=seed) for seed in range(7)]
    done = {trial.trial_id for trial in trials[:4]}
    sizes = [len(batch) for batch in batches_of(trials, 2, done)]
    assert sizes == [2, 1]
