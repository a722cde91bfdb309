import pathlib

import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner import Options, Overrides, make_study, parse_names, parse_numbers
from slicebench.runner.experiments import (
    experiment_names,
    load_experiment,
    override,
    resolve,
)

FOLDER = pathlib.Path(__file__).parents[2] / "experiments"
INFO = spec.TaskInfo(
    name="made_up",
    pool_volumes=40,
    min_slices=12,
    median_slices=16,
    grid=(64, 64),
    synthetic=True,
)


def test_every_file_of_the_folder_is_an_experiment():
    files = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    assert experiment_names() == files
    assert "budget_sweep" in files


@pytest.mark.parametrize("name", experiment_names())
@pytest.mark.parametrize("smoke", [False, True])
def test_shipped_experiments_build_and_pass_the_checks(name, smoke):
    experiment = override(load_experiment(name, smoke=smoke), Overrides())
    assert experiment.name == name
    assert experiment.question.endswith("?")
    for synthetic in (True, False):
        info = spec.TaskInfo(**{**vars(INFO), "synthetic": synthetic})
        training = resolve(experiment.training, info)
        network = resolve(experiment.network, info)
        assert training.steps >= 10
        assert network.depth >= 2
    if smoke:
        assert experiment.num_seeds <= 2 or experiment.ceiling_seeds <= 2


@pytest.mark.parametrize("name", experiment_names())
def test_smoke_forms_resolve_to_at_most_two_programs(name, tmp_path):
    study = make_study(Options(experiment=name, workdir=tmp_path / "work", smoke=True))
    assert 1 <= len(study.programs) <= 2
    assert len({trial.trial_id for trial in study.trials}) == len(study.trials) > 0
    assert {trial.program for trial in study.trials} == set(study.programs)
    assert not (tmp_path / "work").exists()


def test_every_docstring_has_question_and_command():
    for path in FOLDER.glob("[a-z]*.py"):
        text = path.read_text()
        assert "Question:" in text
        assert f"--experiment={path.stem}" in text


def test_the_sweep_adapts_its_budgets_to_the_pool():
    sweep = load_experiment("budget_sweep", smoke=False)
    for volumes in (12, 40, 160, 1000):
        info = spec.TaskInfo(**{**vars(INFO), "pool_volumes": volumes})
        for budget in resolve(sweep.budgets, info):
            assert budget <= volumes / 2
        for density in resolve(sweep.slices_per_volume, info):
            assert density <= info.min_slices


OWN = """
from slicebench.spec import Experiment

def get_experiment(*, smoke=False):
    return Experiment(name="mine", question="Which?", tasks=("phantom_organ",),
                      budgets=(4 if smoke else 8,), slices_per_volume=(1,))
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert load_experiment(str(path), smoke=False).budgets == (8,)
    assert load_experiment(str(path), smoke=True).budgets == (4,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "defines no get_experiment"),
        ("get_experiment = 3", "defines no get_experiment"),
        ("def get_experiment(*, smoke):\n    return 5", "returned int"),
        ("def get_experiment(:", "cannot be run"),
        ("import no_such_package_anywhere", "no_such_package_anywhere"),
    ],
)
def test_a_file_that_is_no_experiment(tmp_path, text, words):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_experiment(str(path), smoke=False)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_experiments_are_told_what_exists():
    with pytest.raises(InputError) as caught:
        load_experiment("budget_swep", smoke=False)
    assert "budget_swep" in str(caught.value)
    for name in experiment_names():
        assert name in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        load_experiment("absent/mine.py", smoke=False)


def base():
    return load_experiment("budget_sweep", smoke=True)


def test_flags_replace_axes_and_leave_the_others():
    given = Overrides(
        budgets=(6,), strategies=("random", "k_center"), num_seeds=5, ceiling_seeds=0
    )
    changed = override(base(), given)
    assert changed.budgets == (6,)
    assert changed.strategies == ("random", "k_center")
    assert (changed.num_seeds, changed.ceiling_seeds) == (5, 0)
    assert changed.slices_per_volume == base().slices_per_volume
    assert changed.contrasts == base().contrasts


def test_learning_rate_and_loss_change_only_themselves():
    given = Overrides(learning_rate=4e-3, dice_classes="present")
    changed = resolve(override(base(), given).training, INFO)
    before = vars(resolve(base().training, INFO))
    asked = {"learning_rate": 4e-3, "dice_classes": "present"}
    assert changed == spec.Training(**before | asked)


def test_the_shipped_loss_leaves_the_identity_of_trials_as_it_was():
    assert "dice_classes" not in spec.canonical_json(spec.Training())
    changed = spec.Training(dice_classes="present")
    assert '"dice_classes":"present"' in spec.canonical_json(changed)


def test_steps_change_only_the_steps_of_a_schedule():
    changed = resolve(override(base(), Overrides(steps=(70,))).training, INFO)
    before = resolve(base().training, INFO)
    assert changed.steps == 70
    assert changed == spec.Training(**{**vars(before), "steps": 70})
    full = load_experiment("budget_sweep", smoke=False)
    changed = resolve(override(full, Overrides(steps=(70,))).training, INFO)
    assert (changed.steps, changed.batch) == (70, resolve(full.training, INFO).batch)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tasks": ("phantom_heart",)}, ["--tasks", "phantom_heart", "phantom_organ"]),
        ({"strategies": ("best",)}, ["--strategies", "'best'", "fixed_interval"]),
        ({"volume_strategies": ("all",)}, ["--volume_strategies", "random"]),
        ({"features": ("deep",)}, ["--features", "'deep'", "intensity"]),
        ({"scope": ("global",)}, ["--scope", "pooled, within"]),
        ({"interpolations": ("spline",)}, ["--interpolations", "none"]),
        ({"dims": ("4d",)}, ["--dims", "'4d'", "2d"]),
        ({"steps": (10, 20)}, ["--steps=10,20", "one value"]),
        ({"num_seeds": 0}, ["--num_seeds=0", "1 or more"]),
        ({"ceiling_seeds": -1}, ["--ceiling_seeds=-1", "0 or more"]),
    ],
)
def test_values_that_do_not_exist_are_refused(given, words):
    with pytest.raises(InputError) as caught:
        override(base(), Overrides(**given))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"where": {"stratgy": "random"}}, "'stratgy'"),
        ({"each": ("budgets",)}, "'budgets'"),
        ({"metric": "accuracy"}, "'accuracy'"),
        ({"claim": "better"}, "'better'"),
        ({"kind": "ratio"}, "'ratio'"),
    ],
)
def test_misspelt_contrasts_are_refused(changes, word):
    contrast = spec.Contrast(name="few", family="one")
    for name, value in changes.items():
        # As in a file that no type checker has seen.
        object.__setattr__(contrast, name, value)
    experiment = spec.Experiment(**{**vars(base()), "contrasts": (contrast,)})
    with pytest.raises(InputError, match=word):
        override(experiment, Overrides())


def test_names_and_numbers_of_a_flag():
    assert parse_names("strategies", None) is None
    assert parse_names("strategies", ["a", " b "]) == ("a", "b")
    assert parse_numbers("budgets", None) is None
    assert parse_numbers("budgets", ["12", "3"]) == (12, 3)


@pytest.mark.parametrize("values", [["a", ""], ["a", "a"], [""]])
def test_names_must_be_distinct_and_not_empty(values):
    with pytest.raises(InputError, match=r"--strategies=.*distinct names"):
        parse_names("strategies", values)


@pytest.mark.parametrize("values", [["abc"], ["0"], ["-3"], ["1.5"], ["1e3"]])
def test_numbers_are_whole_and_positive(values):
    with pytest.raises(InputError, match=f"--budgets={values[0]}.*whole numbers"):
        parse_numbers("budgets", values)
