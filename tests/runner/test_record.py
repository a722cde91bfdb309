import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner import Options, make_study, preview, status_text
from slicebench.runner.planner import Planner
from slicebench.runner.record import (
    Examples,
    describe,
    refuse_other_training,
    write_experiment,
)
from slicebench.runner.session import batches_of
from tests.runner import small


def content(experiment="sweep", context="one", fold=0):
    return {
        "experiment": experiment,
        "tasks": [{"name": "heart", "fold": fold, "context": context}],
    }


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "experiment.json"
    write_experiment(target, content())
    return target


def test_the_same_experiment_may_be_written_again(path):
    write_experiment(path, content() | {"num_seeds": 9})
    assert json.loads(path.read_text())["num_seeds"] == 9


def test_a_task_or_fold_may_be_added(path):
    write_experiment(path, content(fold=1, context="other"))
    assert json.loads(path.read_text())["tasks"][0]["fold"] == 1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (content(experiment="ceiling"), ["'sweep'", "'ceiling'", "another --workdir"]),
        (content(context="two"), ["heart", "context one, now two", "--workdir"]),
    ],
)
def test_a_folder_of_other_results_is_refused(path, other, words):
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        write_experiment(path, other)
    for word in (str(path.parent), *words):
        assert word in str(caught.value)
    assert path.read_bytes() == before


def test_the_record_is_plain_json_and_complete():
    study = small.study()
    options = Options(
        experiment="budget_sweep", workdir=small.NOWHERE, smoke=True, command="typed"
    )
    planner = Planner("fixed", small.NOWHERE)
    planner.choose(small.program(), 5, build=None)
    record = json.loads(json.dumps(describe(study, options, planner.records)))
    (plan,) = record["plan"]["programs"].values()
    assert plan["how"] == "fixed"
    assert plan["machine"] == record["device"]
    assert plan["trials_per_device"] == plan["steps_per_call"] == 1
    assert record["experiment"] == "budget_sweep"
    assert record["command"] == "typed"
    assert record["num_trials"] == len(study.trials) == 5
    assert record["axes"]["phantom_organ"]["slices_per_volume"] == [1, 2]
    assert record["versions"]["jax"]
    assert record["programs"][0]["parameters"] > 0
    (task,) = record["tasks"]
    assert task["synthetic"]
    assert task["expected"]
    split = task["split"]
    assert [len(split[side]) for side in ("development", "pool", "test")] == [3, 14, 4]
    assert set(split["pool"]).isdisjoint(split["test"])


def test_a_preview_tells_trials_programs_memory_and_time(tmp_path):
    options = Options(experiment="budget_sweep", workdir=tmp_path / "w", smoke=True)
    text = preview(small.study(), options)
    for words in (
        "5 trials in 3 cells",
        "2 seeds a cell",
        "3 development, 14 pool, 4 test cases",
        f"program {small.program().name}: 2d, width 4, depth 2, grid 32x32",
        "GB",
        "estimated time:",
        "contrast: fewer slices of more volumes",
        "dropped: ",
    ):
        assert words in text
    assert not (tmp_path / "w").exists()


def test_a_preview_tells_arms_apart_and_counts_the_seeds_of_each(tmp_path):
    options = Options(
        experiment="interpolation_ablation", workdir=tmp_path / "w", smoke=True
    )
    text = preview(make_study(options), options)
    cells = [line for line in text.splitlines() if " slices = " in line]
    arms = ("none, pseudo weight 0.0", "signed_distance, pseudo weight")
    for line, arm in zip(cells, (arms[0], arms[1], arms[1]), strict=True):
        assert " 2 seeds  " in line
        assert f"interpolation {arm}" in line


def test_a_preview_sums_up_the_contrasts_of_cells_that_are_not_there(tmp_path):
    options = Options(
        experiment="interpolation_ablation", workdir=tmp_path / "w", smoke=True
    )
    found = make_study(options)
    assert len(found.dropped) > 2
    lines = [line for line in preview(found, options).splitlines() if "dropped" in line]
    assert lines[-1].startswith(f"dropped: {len(found.dropped)} contrasts of cells")
    assert len(lines) == 1


def test_the_status_of_a_folder_that_does_not_exist(tmp_path):
    options = Options(experiment="budget_sweep", workdir=tmp_path / "w", smoke=True)
    text = status_text(small.study(), options)
    assert "0 of 5 trials done, 5 to go, 0 diverged" in text
    assert not (tmp_path / "w").exists()


def cut(*done):
    """Training seeds of the batches of seven trials, some of them done."""
    first = small.study().trials[0]
    trials = [dataclasses.replace(first, training_seed=seed) for seed in range(7)]
    batches = batches_of(trials, 3, {trials[seed].trial_id for seed in done})
    return [[trial.training_seed for trial in batch] for batch in batches]


def test_a_resumed_run_has_the_batches_of_an_uninterrupted_one():
    assert cut() == [[0, 1, 2], [3, 4, 5], [6]]
    assert cut(0, 1, 2) == [[3, 4, 5], [6]]
    assert cut(3, 4, 5) == [[0, 1, 2], [6]]
    assert cut(*range(7)) == []


def test_examples_show_the_ceiling_and_every_density(tmp_path):
    task, trials = small.task(), list(small.study().trials)
    cases = (*task.development, *task.test)
    guess = {
        trial.trial_id: [np.ones(case.label.shape, np.uint8) for case in cases]
        for trial in trials
    }
    # A second object goes on where a killed run stopped.
    first = Examples(tmp_path, task, trials)
    half = len(trials) // 2
    first.add({trial.trial_id: guess[trial.trial_id] for trial in trials[:half]})
    second = Examples(tmp_path, task, trials)
    second.add({trial.trial_id: guess[trial.trial_id] for trial in trials[half:]})
    second.finish()
    (path,) = (tmp_path / "examples").glob("*.npz")
    with np.load(path, allow_pickle=False) as file:
        titles = file["column_titles"].tolist()
        assert sorted(titles) == ["2 x 2", "4 x 1", "all slices"]
        assert file["predictions"].shape == (3, 3, 32, 32)
        assert file["predictions"].min() == 1
        assert file["truth"].shape == file["image"].shape == (3, 32, 32)
        assert file["truth"].any((1, 2)).sum() >= 2
    second.finish()


def test_a_folder_may_hold_all_the_trainings_of_an_experiment(tmp_path):
    # Such as a control that is trained twice as long.
    first = small.study().trials[0]
    longer = dataclasses.replace(
        first, training=dataclasses.replace(first.training, steps=24)
    )
    both = dataclasses.replace(small.study(), trials=(longer, first))
    rows = pd.DataFrame(
        [
            {
                "task": trial.task,
                "dims": trial.dims,
                "network": spec.canonical_json(trial.network),
                "training": spec.canonical_json(trial.training),
            }
            for trial in both.trials
        ]
    )
    refuse_other_training(tmp_path, rows, both)
    with pytest.raises(InputError, match=r"\(steps 24 there, 12 now\)"):
        refuse_other_training(tmp_path, rows, small.study())
