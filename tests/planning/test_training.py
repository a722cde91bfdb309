"""Training on what an annotator has done, and on nothing else."""

import jax
import numpy as np
import pytest

from slicebench.data.preprocess import Settings
from slicebench.errors import InputError
from slicebench.planning.costs import Costs
from slicebench.planning.importing import read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.train_command import read_request
from slicebench.planning.training import TrainingRequest, annotated_task, train
from slicebench.planning.writing import write_plan
from slicebench.results import Store, read_json
from slicebench.runner import given_study
from slicebench.runner.tasks import TaskWork
from slicebench.spec import Network, Training
from tests import command
from tests.planning import annotator

SETTINGS = Settings(max_size=32)
TINY = {
    "seeds": 3,
    "network": Network(width=4, depth=2),
    "training": Training(steps=6, batch=4, patch=(8, 16, 16)),
    "settings": SETTINGS,
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    request = Request(
        images=annotator.write_scans(folder / "scans"),
        budget=12,
        test_patients=3,
        slices_per_volume=3,
        classes=("ball",),
    )
    write_plan(make_plan(request, (), Costs()), folder / "plan")
    annotator.annotate(folder / "plan", folder / "labels")
    return folder / "plan"


def imported(plan, labels=None):
    return read_labels(plan, labels or plan.parent / "labels", empty_is_done=True)


def training_inputs(found, dims):
    """Everything that enters the compiled step, and what names the trials."""
    task, given = annotated_task(found, dims, SETTINGS)
    study = given_study(
        task,
        given,
        name="inputs",
        dims=dims,
        num_seeds=2,
        network=TINY["network"],
        training=TINY["training"],
    )
    (program,) = study.programs.values()
    work = TaskWork(task, study.inputs)
    arrays = [work.annotate(trial, program)[0] for trial in study.trials]
    return program, jax.tree.map(np.asarray, (work.make_bank(program), arrays))


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_nothing_but_annotated_slices_enters_training(plan, tmp_path, dims):
    before = training_inputs(imported(plan), dims)
    rng = np.random.default_rng(1)

    def scramble(_, label, done):
        noise = rng.integers(0, 2, label.shape).astype(np.uint8)
        noise[:, :, done] = label[:, :, done]
        return noise

    annotator.annotate(plan, tmp_path / "labels", change=scramble)
    found = imported(plan, tmp_path / "labels")
    assert any(case.outside for case in found.cases)
    used = {case.case for case in found.cases if case.side == "pool"}
    scans, kept = plan.parent / "scans", {}
    for path in sorted(scans.iterdir()):
        if path.name.removesuffix(".nii.gz") not in used:
            kept[path] = path.read_bytes()
            annotator.save(rng.normal(0, 9, annotator.SHAPE).astype(np.float32), path)
    try:
        assert len(kept) == 6
        after = training_inputs(found, dims)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert before[0] == after[0]
    jax.tree.map(np.testing.assert_array_equal, before[1], after[1])


def test_a_changed_annotation_enters_training(plan, tmp_path):
    def invert(_, label, done):
        label[:, :, done] = 1 - label[:, :, done]
        return label

    annotator.annotate(plan, tmp_path / "labels", change=invert)
    (_, before), (_, after) = (
        training_inputs(imported(plan, labels), "2d")
        for labels in (None, tmp_path / "labels")
    )
    assert not np.array_equal(before[0].labels, after[0].labels)


@pytest.fixture(scope="module")
def run(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, train(imported(plan), TrainingRequest(out=out, **TINY))


def test_weights_are_kept_and_test_cases_scored_with_an_interval(run):
    out, words = run
    trials = Store(out).read_trials()
    assert len(trials) == 3
    assert set(trials["annotated_slices"]) == {12}
    kept = {path.name for path in (out / "checkpoints" / "final").iterdir()}
    assert kept == set(trials["trial_id"])
    assert words[0].startswith("3 networks trained, 0 diverged")
    assert words[1].startswith("Dice ")
    assert "on 3 test cases, 3 networks; the interval is" in words[1]
    scores = read_json(out / "evaluation.json")["scores"]
    assert [row["metric"] for row in scores[:3]] == ["dice", "nsd", "hd95"]
    dice = scores[0]
    assert dice["method"] == "two-way"
    assert dice["low"] < dice["mean"] < dice["high"]
    results = Store(out).read_results()
    mean = results[results["metric"] == "dice"]["score"].mean()
    assert dice["mean"] == pytest.approx(mean)


def test_the_same_again_trains_nothing_and_says_the_same(plan, run):
    out, words = run
    parts = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    assert train(imported(plan), TrainingRequest(out=out, **TINY)) == words
    assert parts == {path: path.read_bytes() for path in out.rglob("*.parquet")}


def test_other_annotations_need_another_folder(plan, run, tmp_path):
    annotator.annotate(plan, tmp_path / "labels", change=lambda _, label, __: 1 - label)
    found = imported(plan, tmp_path / "labels")
    with pytest.raises(InputError, match="holds another training"):
        train(found, TrainingRequest(out=run[0], **TINY))


def test_without_a_finished_test_case_networks_are_trained_and_not_scored(
    plan, tmp_path
):
    annotator.annotate(plan, tmp_path / "labels")
    for entry in annotator.record(plan)["cases"]:
        if entry["side"] == "test":
            (tmp_path / "labels" / f"{entry['case']}.nii.gz").unlink()
    found = imported(plan, tmp_path / "labels")
    out = tmp_path / "run"
    words = train(found, TrainingRequest(out=out, **{**TINY, "seeds": 1}))
    assert words[-1].startswith("no test case is labelled slice by slice yet")
    assert read_json(out / "evaluation.json")["scores"] == []
    assert len(list((out / "checkpoints" / "final").iterdir())) == 1


def test_nothing_annotated_is_not_trained(plan, tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="nothing to train on"):
        annotated_task(imported(plan, tmp_path / "labels"), "2d", SETTINGS)


FLAGS = {
    "dims": "2d",
    "seeds": 2,
    "steps": 50,
    "batch": None,
    "width": 8,
    "depth": None,
    "learning_rate": None,
    "max_size": 64,
    "field_of_view": None,
    "ct_window": ["0", "2000"],
    "checkpoint_seconds": 9.0,
}


def test_flags_change_the_defaults_that_they_name(tmp_path):
    request = read_request(tmp_path, FLAGS)
    network, training = request.schedule()
    assert network == Network(width=8, depth=4)
    assert training == Training(steps=50, batch=16)
    assert request.settings == Settings(max_size=64, ct_window=(0.0, 2000.0))
    assert (request.seeds, request.checkpoint_seconds) == (2, 9.0)


@pytest.mark.parametrize("name", ["seeds", "steps", "width", "checkpoint_seconds"])
def test_numbers_below_one_are_refused_by_name(tmp_path, name):
    with pytest.raises(InputError, match=f"--{name}=0"):
        read_request(tmp_path, {**FLAGS, name: 0})


MAIN = ("--experiment=train_on_annotations", "--num_seeds=2", "--max_size=32")


def test_the_main_command_trains_on_what_came_back(plan, tmp_path):
    run = tmp_path / "run"
    outcome = command.run(
        *MAIN,
        *("--steps=6", "--batch=4", "--width=4", "--depth=2"),
        f"--data={plan},{plan.parent / 'labels'}",
        f"--workdir={run}",
    )
    assert outcome.status == 0, outcome.err
    assert "2 networks trained" in outcome.out
    trials = Store(run).read_trials()
    assert len(trials) == 2
    assert set(trials["steps"]) == {6}
    kept = {path.name for path in (run / "checkpoints" / "final").iterdir()}
    assert kept == set(trials["trial_id"])
    assert "slicebench.main" in read_json(run / "experiment.json")["command"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--data: not given"),
        (["--data=absent"], "absent"),
        (["--data=absent", "--strategies=random"], "--strategies with --experiment="),
        (["--data=absent", "--dims=2d,3d"], "--dims=2d,3d: one is allowed"),
        (["--data=absent", "--dims=4d"], "--dims=4d: 2d or 3d is allowed"),
    ],
)
def test_what_the_main_command_cannot_train_on(given, said, tmp_path):
    run = tmp_path / "run"
    outcome = command.run(*MAIN, *given, f"--workdir={run}")
    assert outcome.status == 2
    assert said in outcome.err
    assert not run.exists()
