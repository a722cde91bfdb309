"""Reading real runs, and what a run costs beyond its training steps."""

import json
import subprocess

import jax
import pandas as pd
import pytest

from benchmarks import _runs, overhead
from benchmarks._engine import Trials, case_of, program_of
from benchmarks._throughput_cases import CASES, flat_case, volume_case
from slicebench.runner.record import _program
from slicebench.training.engine import Plan

COMPUTE = {
    "sessions": 1,
    "wall_seconds": 100.0,
    "trial_steps": 400,
    "compile_seconds": 10.0,
    "training_seconds": 70.0,
    "evaluation_seconds": 5.0,
}
TINY = flat_case(2, 1, (8, 8), 2, slices=4)


@pytest.fixture
def run(tmp_path):
    """A work folder of two trials of a tiny program."""
    for name in ("trials", "results"):
        (tmp_path / name).mkdir()
    steps = TINY.program.training.steps
    trials = {"program": [TINY.program.name] * 2, "steps": [steps] * 2}
    pd.DataFrame(trials).to_parquet(tmp_path / "trials" / "part-a.parquet")
    scores = {"metric": ["dice", "dice", "nsd"], "score": [0.5, 0.7, 0.1]}
    pd.DataFrame(scores).to_parquet(tmp_path / "results" / "part-a.parquet")
    experiment = {
        "experiment": "budget_sweep",
        "device": {"count": jax.local_device_count()},
        "programs": [_program(TINY.program)],
        "plan": {
            "programs": {
                TINY.program.name: {
                    "devices": 1,
                    "trials_per_device": 1,
                    "how": "fixed",
                }
            }
        },
    }
    for name, content in (("compute", COMPUTE), ("experiment", experiment)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return _runs.read_run(tmp_path)


def test_a_run_tells_its_parts(run):
    assert run.wall == 100
    assert run.parts == {"compile": 10, "training": 70, "evaluation": 5}
    assert run.once == 10
    assert len(run.trials()) == 2
    assert len(run.scores()) == 3


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        _runs.read_run(tmp_path)


def test_a_command_that_fails_tells_its_last_lines(tmp_path, monkeypatch):
    def fail(command, **options):
        return subprocess.CompletedProcess(
            command, 2, "", "noise\nslicebench: bad flag"
        )

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(RuntimeError, match="status 2\nnoise\nslicebench: bad flag"):
        _runs.run_main(tmp_path, ["--steps=0"])


@pytest.mark.parametrize(
    "case", [*CASES.values(), volume_case(2, 2, (2, 4, 4), 1, volume=(3, 6, 6))]
)
def test_programs_come_back_from_their_record(case):
    record = json.loads(json.dumps(_program(case.program)))
    assert program_of(record) == case.program
    again = case_of(case.program)
    assert case.program.slices % again.depth == 0
    assert again.program is case.program


def test_overhead_is_what_is_not_isolated_steps(run):
    fixed = overhead.Isolated([5.0, 10.0, 8.0], 400)
    found = overhead.Overhead(run, {"p": fixed})
    assert found.ideal() == 50
    assert found.share == pytest.approx(0.5)
    # The slowest round takes 80 s of the 100, the fastest 40.
    assert found.range == pytest.approx([0.2, 0.6])
    parts = found.parts()
    assert sum(parts.values()) == pytest.approx(run.wall)
    assert parts["training beyond them"] == pytest.approx(20)
    assert parts["rest"] == pytest.approx(15)
    page = overhead.describe(found)
    assert "overhead: 50.0% (20.0% to 60.0%)" in page
    assert "| compile | 10.0 | 10.0% |" in page
    assert overhead.row(found, "machine", 0.1)["spread"] == pytest.approx([0.2, 0.6])


def test_isolated_steps_are_timed_under_the_runs_plan(run, monkeypatch):
    plans = []

    def rate(self, steps):
        plans.append(self.engine.plan)
        return 40.0

    monkeypatch.setattr(Trials, "rate", rate)
    found = overhead.measure(run, rounds=2)
    ((name, isolated),) = found.programs.items()
    assert name == TINY.program.name
    assert isolated.rates == [40.0, 40.0]
    assert isolated.trial_steps == 2 * TINY.program.training.steps
    assert set(plans) == {Plan(devices=1, trials_per_device=1)}


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("compute", "sessions", 2), ("experiment", "device", {"count": 64})],
)
def test_runs_that_cannot_be_compared_are_refused(run, part, key, value):
    getattr(run, part)[key] = value
    with pytest.raises(ValueError, match=str(run.workdir)):
        overhead.measure(run, rounds=1)
