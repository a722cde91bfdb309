"""Made-up parts of many trials: what a run would have written, stage by stage."""

import numpy as np
import pytest

from benchmarks import million
from benchmarks._million_parts import METRICS, write_parts
from slicebench import runner
from slicebench.results import Store
from slicebench.runner.options import Shard
from slicebench.runner.shards import share_of, work
from slicebench.runner.status import status_text
from slicebench.statistics import read_index


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return runner.Options(
        experiment="budget_sweep",
        workdir=tmp_path_factory.mktemp("million"),
        smoke=True,
        overrides=runner.Overrides(num_seeds=3),
    )


@pytest.fixture(scope="module")
def study(options):
    made = runner.make_study(options)
    assert write_parts(made, options.workdir, batch=4, scores=16) >= 2
    return made


def test_parts_are_those_of_the_study(study, options):
    store = Store(options.workdir)
    store.clean()
    ids = {trial.trial_id for trial in study.trials}
    assert store.done() == ids
    assert set(store.read_trials()["trial_id"]) == ids
    results = store.read_results()
    assert set(results["metric"]) == set(METRICS)
    classes = len(next(iter(study.tasks.values())).classes)
    per_trial = 16 // (classes * len(METRICS)) * classes * len(METRICS)
    assert len(results) == per_trial * len(ids)


def test_status_knows_them(study, options):
    count = len(study.trials)
    assert f"{count} of {count} trials done, 0 to go" in status_text(study, options)


def test_every_score_is_read(study, options):
    index = read_index(Store(options.workdir))
    dice = [scores for place, scores in index.items() if place[3] == "dice"]
    assert sum(len(scores.table) for scores in dice) == len(study.trials)
    assert all(np.isfinite(scores.values).all() for scores in dice)
    # Every class is in every case: no false positives where it is not.
    assert not {place[3] for place in index} & {"fp_ml", "fp_rate"}


def test_the_ledger_is_a_stage(study, options):
    rows = list(million.run_stage("ledger", options.workdir))
    assert [row["stage"] for row in rows] == ["look for damage", "ledger"]
    assert rows[-1]["of what"] == f"{len(study.trials)} trials done"
    assert all(row["peak GB"] > 0 for row in rows)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_trials_are_dealt_as_by_looking_at_every_share(study, count):
    costs = [work(trial, study.programs[trial.program]) for trial in study.trials]
    order = sorted(range(len(costs)), key=lambda place: -costs[place])
    loads, dealt = [0.0] * count, [[] for _ in range(count)]
    for place in order:
        least = loads.index(min(loads))
        loads[least] += costs[place]
        dealt[least].append(place)
    for index, places in enumerate(dealt):
        mine = share_of(study.trials, study.programs, Shard(index, count))
        assert mine == tuple(study.trials[place] for place in sorted(places))


def test_trials_share_their_network_and_schedule(study):
    kept = {id(trial.training) for trial in study.trials}
    assert len(kept) == len(study.programs)
