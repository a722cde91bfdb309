"""Which plan is taken: recorded, kept, timed or fixed; and how plans are kept."""

import dataclasses
import json
import logging
import pathlib

import jax
import pytest
from absl.testing import flagsaver

from slicebench import main
from slicebench.data.cache import cache_folder
from slicebench.results import write_json_atomic
from slicebench.runner import Options, plan_cache, preview, timing
from slicebench.runner.memory import OutOfMemoryError, is_out_of_memory
from slicebench.runner.plan_cache import parse_plan
from slicebench.runner.planner import Planner
from slicebench.runner.plans import choose_plan
from slicebench.training.engine import Plan
from tests import command
from tests.runner import small
from tests.runner.test_timing import FIRST, Track

LONG = 10**6
FAST = dataclasses.replace(FIRST, trials_per_device=2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLICEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_track():
    """Two trials a device are fastest."""
    return Track(lambda plan: 10.0 - abs(plan.trials_per_device - 2))


def choose(planner, trials=LONG, track=None):
    plan, engine = planner.choose(
        small.program(), trials, track.build if track else None
    )
    return plan, engine, planner.records[small.program().name]


def plan_files(cache):
    return sorted((cache / "plans").glob("*"))


def record_run(workdir, planner):
    records = {"plan": {"name": planner.mode, "programs": planner.records}}
    write_json_atomic(workdir / "experiment.json", records)


def test_the_fixed_plan_is_chosen_without_timing_or_keeping(tmp_path, cache):
    plan, engine, record = choose(Planner("fixed", tmp_path))
    assert plan == choose_plan(small.program()) == FIRST
    assert engine is None
    assert record["how"] == "fixed"
    assert plan_files(cache) == []


def test_a_short_run_is_not_timed(tmp_path, cache, caplog):
    caplog.set_level(logging.INFO, "slicebench")
    plan, _, record = choose(Planner("timed", tmp_path), trials=5)
    assert plan == FIRST
    assert record["how"] == "fixed"
    assert "too short for timing plans" in record["reason"]
    assert "too short for timing plans" in caplog.text
    assert plan_files(cache) == []


def test_a_long_run_is_timed_and_its_plan_kept(tmp_path, cache):
    track = make_track()
    plan, engine, record = choose(Planner("timed", tmp_path), track=track)
    assert plan == engine.plan == FAST
    assert record["how"] == "timed"
    assert {c["plan"]["trials_per_device"] for c in record["candidates"]} == {1, 2, 4}
    (kept,) = plan_files(cache)
    content = json.loads(kept.read_text())
    assert content["program"] == small.program().name
    assert content["versions"]["jax"] == jax.__version__
    again, engine, record = choose(Planner("timed", tmp_path))
    assert again == FAST
    assert engine is None
    assert record["how"] == "kept"
    assert record["candidates"] == content["candidates"]


def test_a_kept_plan_is_of_one_program_and_machine(tmp_path, monkeypatch):
    plan_cache.save(small.program(), FAST, [])
    program = small.program()
    other = dataclasses.replace(
        program, training=dataclasses.replace(program.training, steps=14)
    )
    assert plan_cache.load(program) is not None
    assert plan_cache.load(other) is None
    monkeypatch.setattr(plan_cache, "_cpu_model", lambda: "another")
    assert plan_cache.load(program) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"plan": null}',
        '{"plan": {"devices": 2}}',
        '{"plan": {"devices": 2, "trials_per_device": 0}}',
        '{"plan": {"devices": 2, "trials_per_device": 1, "steps_per_call": 5}}',
        '{"plan": {"devices": 99, "trials_per_device": 1}}',
        '{"plan": {"devices": 2, "trials_per_device": 1, "layout": "x"}}',
    ],
)
def test_a_damaged_kept_plan_is_ignored(tmp_path, cache, caplog, text):
    plan_cache.save(small.program(), FAST, [])
    (kept,) = plan_files(cache)
    kept.write_text(text)
    assert plan_cache.load(small.program()) is None
    assert "cannot be used and is ignored" in caplog.text
    assert choose(Planner("timed", tmp_path), trials=1)[0] == FIRST


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(tmp_path, cache, caplog):
    cache.write_text("a file where the folder should be")
    plan, _, record = choose(Planner("timed", tmp_path), track=make_track())
    assert plan == FAST
    assert record["how"] == "timed"
    assert "plans are not kept" in caplog.text


@pytest.mark.parametrize("mode", ["timed", "fixed"])
def test_a_resumed_run_keeps_the_plan_of_its_work_folder(tmp_path, cache, mode):
    first = Planner("timed", tmp_path)
    record = choose(first, track=make_track())[2]
    record_run(tmp_path, first)
    for kept in plan_files(cache):
        kept.unlink()
    plan, _, again = choose(Planner(mode, tmp_path))
    assert plan == FAST
    assert again == record


def test_a_resumed_run_on_another_machine_says_what_changed(
    tmp_path, monkeypatch, caplog
):
    first = Planner("timed", tmp_path)
    choose(first, track=make_track())
    record_run(tmp_path, first)
    monkeypatch.setattr(plan_cache, "_cpu_model", lambda: "Newer CPU")
    assert choose(Planner("fixed", tmp_path))[0] == FIRST
    assert "the machine changed (cpu " in caplog.text
    assert "Newer CPU now" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"plan": 3}',
        '{"plan": {"programs": {"a": {"devices": 1}}}}',
        '{"plan": {"programs": {"a": {"how": "kept", "reason": "", "machine": 3}}}}',
        '{"plan": {"programs": {"a": {"how": "kept", "reason": ""}}}}',
    ],
)
def test_a_record_of_another_form_is_left_out(tmp_path, text):
    (tmp_path / "experiment.json").write_text(text)
    assert Planner("fixed", tmp_path).records == {}


def test_running_out_of_memory_halves_the_plan_and_is_remembered(tmp_path, caplog):
    planner = Planner("timed", tmp_path)
    choose(planner, track=make_track())
    smaller = planner.shrink(small.program(), FAST)
    assert smaller == FIRST
    record = planner.records[small.program().name]
    assert record["trials_per_device"] == 1
    assert "out of memory with 2 trials a device" in record["reason"]
    assert "out of memory with 2 trials a device, goes on with 1" in caplog.text
    assert plan_cache.load(small.program())[0] == FIRST
    with pytest.raises(OutOfMemoryError, match="one trial does not fit"):
        planner.shrink(small.program(), smaller)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: failed to allocate"), True),
        (jax.errors.JaxRuntimeError("INTERNAL: CUDA error: out of memory"), True),
        (jax.errors.JaxRuntimeError("INTERNAL: broken"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error, is_it):
    assert is_out_of_memory(error) == is_it


def test_a_plan_comes_back_from_its_record():
    plan = Plan(devices=1, trials_per_device=3, layout="grouped", steps_per_call=4)
    assert parse_plan(small.program(), dataclasses.asdict(plan)) == plan


@pytest.mark.parametrize(
    ("mode", "keep", "words"),
    [
        ("fixed", False, "(fixed plan)"),
        ("timed", True, "(kept plan)"),
        ("timed", False, "the run is too short for timing others"),
    ],
)
def test_a_preview_says_which_plan(tmp_path, mode, keep, words):
    if keep:
        plan_cache.save(small.program(), FAST, [])
    options = Options(
        experiment="budget_sweep", workdir=tmp_path / "w", smoke=True, plan=mode
    )
    text = preview(small.study(), options)
    trials = 2 if keep else 1
    noun = "trials" if keep else "trial"
    assert f"on 2 devices x {trials} {noun}, layout single, 1 step a call" in text
    assert words in text


def test_a_preview_says_that_plans_will_be_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "SHARE", 1e9)
    options = Options(
        experiment="budget_sweep", workdir=tmp_path / "w", smoke=True, plan="timed"
    )
    assert "first plan of a few that will be timed" in preview(small.study(), options)


def test_plans_are_kept_beside_the_prepared_tasks(cache):
    plan_cache.save(small.program(), FAST, [])
    assert cache_folder() == cache.resolve()
    assert [path.parent for path in plan_files(cache)] == [cache / "plans"]
    assert isinstance(cache, pathlib.Path)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ([], "timed"),
        (["--smoke"], "fixed"),
        (["--smoke", "--plan=timed"], "timed"),
        (["--plan=fixed"], "fixed"),
    ],
)
def test_plans_are_timed_unless_a_run_is_tiny(given, mode):
    with flagsaver.flagsaver():
        main.parse_flags(["slicebench", *given])
        assert main.read_options().plan == mode


def test_a_network_too_large_for_the_machine_ends_with_status_one(monkeypatch):
    def fail(_):
        raise OutOfMemoryError("program a: one trial does not fit")

    monkeypatch.setattr(main, "run", fail)
    outcome = command.run("--smoke")
    assert outcome.status == 1
    assert outcome.errors == ["slicebench: program a: one trial does not fit"]
