"""Training look by look: planned looks, stopping, resuming, and crossed seeds."""

import dataclasses
import json
import pathlib

import pytest

from experiments import budget_sweep, seed_components
from slicebench.errors import InputError
from slicebench.results import Store, read_json
from slicebench.runner import Options, Overrides, make_study
from slicebench.runner.look_plan import plan_looks, reachable_looks
from slicebench.runner.looks import Record, Unit, look_lines, units, up_to
from slicebench.spec import Contrast
from slicebench.statistics import _margins
from slicebench.training import engine
from tests import command
from tests.runner.small import NOWHERE

EXPERIMENT = """
import dataclasses
from experiments import budget_sweep
from slicebench.spec import Contrast

def get_experiment(*, smoke=False):
    pair = Contrast(
        name="1 against 2", family="allocation", where={"strategy": "random"},
        a={"slices_per_volume": 1}, b={"slices_per_volume": 2},
    )
    sweep = budget_sweep.get_experiment(smoke=True)
    return dataclasses.replace(sweep, name="pair", contrasts=(pair,))
"""


def options(*, smoke=False, num_seeds=None, experiment="budget_sweep"):
    return Options(
        experiment=str(experiment),
        workdir=NOWHERE,
        smoke=smoke,
        overrides=Overrides(num_seeds=num_seeds),
        stop_when_decided=True,
    )


@pytest.mark.parametrize(
    ("num_seeds", "smoke", "looks"),
    [
        (None, False, (8, 16, 32)),
        (None, True, (2, 3, 4)),
        (32, False, (8, 16, 32)),
        (40, False, (8, 16, 32)),
        (16, False, (8, 16)),
        (12, False, (8, 12)),
        (8, False, (8,)),
        (5, False, (5,)),
    ],
)
def test_the_number_of_seeds_caps_the_looks_where_it_is_given(num_seeds, smoke, looks):
    given = options(num_seeds=num_seeds, smoke=smoke)
    assert plan_looks(budget_sweep.get_experiment(), given) == looks


def test_without_the_flag_there_are_no_looks():
    given = dataclasses.replace(options(), stop_when_decided=False)
    assert plan_looks(budget_sweep.get_experiment(), given) == ()
    assert reachable_looks((), 5, "made") == ()


@pytest.mark.parametrize(
    ("changes", "num_seeds", "words"),
    [
        ({"contrasts": ()}, None, "no primary contrast"),
        ({"training_seeds": 3}, None, "trains each selection from several seeds"),
        ({}, 1, "--num_seeds=1: 2 or more"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(changes, num_seeds, words):
    experiment = dataclasses.replace(budget_sweep.get_experiment(), **changes)
    with pytest.raises(InputError, match=words):
        plan_looks(experiment, options(num_seeds=num_seeds))


@pytest.mark.parametrize(
    ("looks", "folds", "reachable"),
    [
        ((8, 16, 32), 1, (8, 16, 32)),
        ((8, 16, 32), 5, (10, 15, 30)),
        ((8, 16, 32), 3, (9, 15, 30)),
        ((8, 12), 5, (10,)),
        ((4,), 5, (10,)),
    ],
)
def test_folds_have_equally_many_seeds_at_every_look(looks, folds, reachable):
    assert reachable_looks(looks, folds, "made") == reachable


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "pair.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(scope="module")
def folder(file):
    return file.parent / "work"


def run(file, folder, *flags):
    """Runs the command; returns its outcome and how often a step was compiled."""
    made = []
    original = engine.make_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "make_step", lambda *a: made.append(1) or original(*a))
        outcome = command.run(
            f"--experiment={file}", f"--workdir={folder}", "--smoke", *flags
        )
    return outcome, len(made)


FLAG = "--stop_when_decided"


@pytest.fixture(scope="module")
def stopped(file, folder):
    """A run whose contrast is decided at once, for its margin is very wide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_margins.FIXED_MARGINS, "dice", 50.0)
        outcome, compiled = run(file, folder, FLAG)
    files = {p.name: json.loads(p.read_text()) for p in folder.glob("*.json")}
    return outcome, compiled, files, len(Store(folder).done())


@pytest.fixture(scope="module")
def capped(stopped, file, folder):
    """The same folder with its own margin, which needs more seeds than there are."""
    outcome, compiled = run(file, folder, FLAG)
    return outcome, compiled


def test_a_run_stops_at_the_look_that_decides(stopped):
    outcome, compiled, files, done = stopped
    assert outcome.status == 0, outcome.err
    assert compiled == 1
    # Two seeds of two cells, and the network on all labels.
    assert done == 5 == files["experiment.json"]["num_trials"]
    assert files["experiment.json"]["num_seeds"] == 2
    assert files["experiment.json"]["looks"] == {"phantom_organ": [2, 3, 4]}
    looks = files["looks.json"]
    assert looks["state"] == "decided"
    assert [look["seeds"] for look in looks["looks"]] == [2]
    assert looks["units"][0]["looks_taken"] == 1
    (entry,) = looks["looks"][0]["contrasts"]
    assert (entry["verdict"], entry["state"]) == ("equivalent", "decided")
    assert 0 < entry["information_fraction"] < 1
    assert "phantom_organ, 2d: decided after 2 seeds" in outcome.err


def test_the_summary_has_the_verdicts_of_the_looks(stopped):
    files = stopped[2]
    summary = files["summary.json"]
    assert summary["looks"] == files["looks.json"]
    (entry,) = summary["contrasts"]
    assert (entry["verdict"], entry["state"]) == ("equivalent", "decided")
    assert entry["verdict_of_one_look"] in ("equivalent", "inconclusive")


def test_a_run_goes_on_until_its_cap_with_one_compiled_step(capped, folder):
    outcome, compiled = capped
    assert outcome.status == 0, outcome.err
    assert compiled == 1
    looks = read_json(folder / "looks.json")
    assert looks["state"] == "cap reached"
    assert [look["seeds"] for look in looks["looks"]] == [2, 3, 4]
    assert [look["contrasts"][0]["state"] for look in looks["looks"]] == [
        "going on",
        "going on",
        "cap reached",
    ]
    for number, seeds in enumerate((2, 3, 4)):
        head = f"look {number + 1} of 3, {seeds} seeds, phantom_organ, 2d: 1 against 2"
        assert outcome.err.count(head) == 1
    assert "phantom_organ, 2d: goes on to 4 seeds" in outcome.err
    experiment = read_json(folder / "experiment.json")
    assert (experiment["num_trials"], experiment["num_seeds"]) == (9, 4)


def test_the_trials_are_those_of_a_run_without_looks(capped, file, folder):
    given = dataclasses.replace(
        options(smoke=True, num_seeds=4, experiment=file), stop_when_decided=False
    )
    planned = {trial.trial_id for trial in make_study(given).trials}
    assert Store(folder).done() == planned


def test_the_same_command_again_takes_the_same_looks(capped, file, folder):
    before = (folder / "looks.json").read_bytes()
    outcome, compiled = run(file, folder, FLAG)
    assert outcome.status == 0
    assert compiled == 0
    assert (folder / "looks.json").read_bytes() == before
    assert "look 3 of 3, 4 seeds" in outcome.err


def test_status_says_how_far_the_looks_are(capped, file, folder):
    outcome, _ = run(file, folder, FLAG, "--status")
    assert "9 trials done, 9 at most, 0 diverged" in outcome.out
    assert "phantom_organ, 2d: cap reached after 4 seeds" in outcome.out
    outcome, _ = run(file, folder.parent / "absent", FLAG, "--status")
    assert "0 of 5 trials of look 1 of 3 (2 seeds)" in outcome.out


def test_other_looks_at_seen_results_are_refused(capped, file, folder):
    before = (folder / "looks.json").read_bytes()
    outcome, _ = run(file, folder, FLAG, "--num_seeds=3")
    assert outcome.status == 2
    (error,) = outcome.errors
    for word in ("after 2, 3 and 4 seeds, now 2 and 3", "--num_seeds", "--workdir"):
        assert word in error
    assert (folder / "looks.json").read_bytes() == before


def test_a_dry_run_tells_looks_trials_and_power(file, tmp_path):
    outcome, _ = run(file, tmp_path / "work", FLAG, "--dry_run")
    assert "at most 4 seeds a cell" in outcome.out
    words = "phantom_organ, 2d: after 2, 3 and 4 seeds, at 5, 7 and 9 trials"
    assert f"looks: {words}" in outcome.out
    assert "superior, power 0." in outcome.out
    assert " by 2, 0." in outcome.out
    assert not (tmp_path / "work").exists()


def test_a_task_without_primary_contrast_says_so(tmp_path):
    outcome = command.run("--smoke", FLAG, "--dry_run", f"--workdir={tmp_path}")
    assert "no primary contrast to decide, 2 seeds" in outcome.out
    study = make_study(options(smoke=True))
    (unit,) = units(study)
    (line,) = look_lines(study, unit, [[]])
    assert "no primary contrast to be decided" in line


def test_looks_at_tasks_that_do_not_run_now_are_kept(capped, folder, tmp_path, file):
    content = read_json(folder / "looks.json")
    for thing in (
        *content["units"],
        *(e for x in content["looks"] for e in x["contrasts"]),
    ):
        thing["task"] = "elsewhere"
    (tmp_path / "looks.json").write_text(json.dumps(content))
    study = make_study(options(smoke=True, experiment=file))
    record = Record(study, pathlib.Path(tmp_path))
    (unit,) = units(study)
    entries = json.loads((folder / "looks.json").read_text())["looks"][0]["contrasts"]
    record.add(unit, [entries])
    written = read_json(tmp_path / "looks.json")
    assert {known["task"] for known in written["units"]} == {"elsewhere", unit.task}
    assert [len(look["contrasts"]) for look in written["looks"]] == [2, 1, 1]
    assert written["state"] == "going on"


def test_only_the_asked_seeds_of_a_unit_are_trained(file):
    study = make_study(options(smoke=True, experiment=file))
    (unit,) = units(study)
    assert {t.selection_seed for t in up_to(study, {unit: 3})} == {0, 1, 2}
    assert up_to(study, {Unit("elsewhere", "2d"): 3}) == ()


@pytest.fixture(scope="module")
def crossed():
    given = Options(experiment="seed_components", workdir=NOWHERE, smoke=True)
    return make_study(given)


def test_every_selection_is_trained_from_every_training_seed(crossed):
    cells = {}
    for trial in crossed.trials:
        pair = trial.selection_seed, trial.training_seed
        cells.setdefault(trial.cell(), []).append(pair)
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [sorted(found) for found in cells.values()] == [pairs, pairs]
    assert len({trial.trial_id for trial in crossed.trials}) == len(crossed.trials)


def test_equal_seeds_are_the_trials_of_a_study_that_does_not_cross(crossed, tmp_path):
    path = tmp_path / "plain.py"
    path.write_text(
        "import dataclasses\n"
        "from experiments import seed_components\n"
        "def get_experiment(*, smoke=False):\n"
        "    crossed = seed_components.get_experiment(smoke=smoke)\n"
        "    return dataclasses.replace(crossed, training_seeds=None)\n"
    )
    plain = make_study(Options(experiment=str(path), workdir=NOWHERE, smoke=True))
    same = [t for t in crossed.trials if t.selection_seed == t.training_seed]
    assert {t.trial_id for t in plain.trials} == {t.trial_id for t in same}


def test_the_network_on_all_labels_has_one_seed_for_both(tmp_path):
    given = Options(
        experiment="seed_components",
        workdir=NOWHERE,
        smoke=True,
        overrides=Overrides(ceiling_seeds=2),
    )
    ceiling = [t for t in make_study(given).trials if t.strategy == "all"]
    assert [(t.selection_seed, t.training_seed) for t in ceiling] == [(0, 0), (1, 1)]


def test_the_counts_of_a_crossed_cell_are_told(tmp_path):
    flags = ("--experiment=seed_components", "--smoke", f"--workdir={tmp_path}/work")
    outcome = command.run(*flags, "--dry_run")
    assert "2 selection seeds x 2 training seeds a cell" in outcome.out
    assert "4 x 1     4 seeds" in outcome.out


def test_training_seeds_must_be_there(tmp_path):
    path = tmp_path / "none.py"
    path.write_text(
        "import dataclasses\n"
        "from experiments import seed_components\n"
        "def get_experiment(*, smoke=False):\n"
        "    crossed = seed_components.get_experiment(smoke=smoke)\n"
        "    return dataclasses.replace(crossed, training_seeds=0)\n"
    )
    with pytest.raises(InputError, match="training_seeds 0: 1 or more"):
        make_study(Options(experiment=str(path), workdir=NOWHERE, smoke=True))


def test_the_full_experiment_crosses_four_with_four():
    full = seed_components.get_experiment()
    assert (full.num_seeds, full.training_seeds) == (4, 4)
    assert all(not contrast.primary for contrast in full.contrasts)
    assert isinstance(full.contrasts[0], Contrast)
