"""Shares of a study: disjoint, complete, balanced, and one report of them all."""

import collections
import dataclasses

import pandas as pd
import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.results import Store
from slicebench.runner import Options, Overrides, Session, Shard, make_study, preview
from slicebench.runner.options import parse_shard
from slicebench.runner.shards import share_of, work
from slicebench.runner.status import status_text


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    options = Options(
        experiment="budget_sweep", workdir=tmp_path_factory.mktemp("w"), smoke=True
    )
    return make_study(options)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_disjoint_and_complete(study, count):
    shares = [
        share_of(study.trials, study.programs, Shard(index, count))
        for index in range(count)
    ]
    ids = [trial.trial_id for share in shares for trial in share]
    assert sorted(ids) == sorted(trial.trial_id for trial in study.trials)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_share_keeps_the_order_of_the_study(study):
    places = {trial.trial_id: place for place, trial in enumerate(study.trials)}
    mine = [
        places[t.trial_id] for t in share_of(study.trials, study.programs, Shard(1, 3))
    ]
    assert mine == sorted(mine)


def test_dear_and_cheap_programs_are_spread_evenly(study):
    cheap = study.programs[study.trials[0].program]
    dear = dataclasses.replace(cheap, network=spec.Network(width=40, depth=2))
    programs = {"cheap": cheap, "dear": dear}
    trials = [
        dataclasses.replace(
            study.trials[0],
            selection_seed=seed,
            program="dear" if seed < 4 else "cheap",
        )
        for seed in range(40)
    ]
    loads = collections.Counter()
    for index in range(4):
        mine = share_of(trials, programs, Shard(index, 4))
        assert sum(trial.program == "dear" for trial in mine) == 1
        loads[index] = sum(work(trial, programs[trial.program]) for trial in mine)
    assert max(loads.values()) <= 1.01 * min(loads.values())


def test_work_by_hand(study):
    trial = study.trials[0]
    program = study.programs[trial.program]
    height, width = program.grid
    batch, channels = program.training.batch, program.network.width
    assert work(trial, program) == trial.steps * batch * height * width * channels**2


@pytest.mark.parametrize("text", ["4/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_share(text):
    with pytest.raises(InputError, match=r"--shard=.*I/N is allowed"):
        parse_shard(text)


def test_more_shares_than_trials_are_refused(study):
    with pytest.raises(InputError, match=f"has {len(study.trials)} trials"):
        share_of(study.trials, study.programs, Shard(0, len(study.trials) + 1))


def test_shares_and_looks_exclude_each_other(tmp_path):
    options = Options(
        experiment="budget_sweep",
        workdir=tmp_path,
        smoke=True,
        shard=Shard(1, 2),
        stop_when_decided=True,
    )
    with pytest.raises(InputError, match="--shard=1/2 with --stop_when_decided"):
        make_study(options)


def test_shares_trained_apart_give_the_rows_of_one_run(tmp_path):
    def run(name, shard):
        options = Options(
            experiment="budget_sweep",
            workdir=tmp_path / name,
            smoke=True,
            overrides=Overrides(
                budgets=(4,), slices_per_volume=(1, 2), ceiling_seeds=0
            ),
            shard=shard,
        )
        found = make_study(options)
        told = f"share {shard}: 2 trials" in preview(found, options)
        assert told == (shard is not None)
        Session(found, options).run()
        expected = len(found.trials) // (2 if shard else 1)
        assert f"{expected} of {expected} trials done" in status_text(found, options)
        store = Store(options.workdir)
        columns = ["trial_id", "case", "class_name", "metric"]
        return store.read_results().sort_values(columns, ignore_index=True)

    whole = run("whole", None)
    parts = [run(f"part{index}", Shard(index, 2)) for index in range(2)]
    assert set(parts[0]["trial_id"]).isdisjoint(parts[1]["trial_id"])
    columns = ["trial_id", "case", "class_name", "metric"]
    united = pd.concat(parts).sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(united, whole, rtol=1e-4, atol=1e-4)
