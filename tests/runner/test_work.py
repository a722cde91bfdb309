"""What trials annotate, and how a batch is trained."""

import dataclasses
import itertools

import numpy as np
import pytest

from slicebench import spec
from slicebench.runner.batches import _effort
from slicebench.runner.cells import CEILING
from slicebench.runner.tasks import TaskWork
from slicebench.selection import ORACLES, STRATEGIES, VOLUME_STRATEGIES
from tests.runner import small

STRATEGY_NAMES = sorted(STRATEGIES)


@pytest.fixture(scope="module")
def work():
    return TaskWork(small.task())


@pytest.fixture(scope="module")
def compiled():
    return small.program_work()


def make_trial(**changes):
    trial = small.sparse_trials()[0]
    strategy = changes.get("strategy", trial.strategy)
    uses = STRATEGIES[strategy].uses_features if strategy in STRATEGIES else False
    features = "intensity" if uses else "none"
    if "num_volumes" in changes:
        density = changes.get("slices_per_volume", trial.slices_per_volume)
        changes["budget"] = changes["num_volumes"] * density
    return dataclasses.replace(trial, **{"features": features} | changes)


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
@pytest.mark.parametrize(("volumes", "density"), [(2, 1), (5, 3), (14, 2)])
def test_the_budget_is_spent_exactly(work, strategy, volumes, density):
    trial = make_trial(
        strategy=strategy, num_volumes=volumes, slices_per_volume=density
    )
    arrays, columns = work.annotate(trial, small.program())
    assert columns["annotated_slices"] == volumes * density == trial.budget
    assert arrays.sizes[0] == trial.budget
    assert arrays.order.shape == (2, small.program().slices)
    chosen = arrays.order[0, : trial.budget]
    depths = [case.depth for case in small.task().pool]
    volume = np.repeat(np.arange(len(depths)), depths)[chosen]
    assert np.unique(volume, return_counts=True)[1].tolist() == [density] * volumes


def test_columns_count_foreground_and_work(work):
    trial = make_trial(num_volumes=3, slices_per_volume=4)
    arrays, columns = work.annotate(trial, small.program())
    labels = np.concatenate([case.label for case in small.task().pool])
    found = labels[arrays.order[0, :12]].any((1, 2))
    assert columns["annotated_foreground"] == found.sum()
    (name,) = small.task().classes
    assert columns["foreground_by_class"][name]["slices"] == found.sum()
    assert 1 <= columns["foreground_by_class"][name]["volumes"] <= 3


def test_columns_name_the_chosen_slices_and_their_share_of_the_chosen_volumes(work):
    arrays, columns = work.annotate(
        make_trial(num_volumes=3, slices_per_volume=4), small.program()
    )
    depths = np.array([case.depth for case in small.task().pool])
    chosen = np.sort(arrays.order[0, :12])
    assert columns["chosen_slices"] == chosen.tolist()
    volumes = np.unique(np.repeat(np.arange(len(depths)), depths)[chosen])
    assert columns["coverage"] == pytest.approx((4 / depths[volumes]).mean())


def test_effort_counts_epochs_over_annotated_slices():
    annotated = {"annotated_slices": 12}
    effort = _effort(small.program(), annotated, np.array([48, 0]))
    assert effort == {
        "epochs": 4.0,
        "supervised_voxels": 48 * 32 * 32,
        "interpolated_share": 0.0,
    }
    # A patch of a quarter of the plane counts as a quarter of a slice.
    volumetric = spec.Volumetric(patch=(4, 16, 16), kernels=(), pools=())
    patches = dataclasses.replace(small.program(), volumetric=volumetric)
    effort = _effort(patches, annotated, np.array([48, 16]))
    assert effort == {
        "epochs": 1.0,
        "supervised_voxels": 64 * 16 * 16,
        "interpolated_share": 0.25,
    }


def test_the_ceiling_annotates_every_slice_and_no_padding(work):
    trial = next(t for t in small.study().trials if t.strategy == CEILING)
    arrays, columns = work.annotate(trial, small.program())
    total = sum(case.depth for case in small.task().pool)
    assert columns["annotated_slices"] == total == trial.budget
    assert arrays.order[0, :total].tolist() == list(range(total))


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_gives_every_strategy_the_same_volumes(work, seed):
    trials = [
        make_trial(
            strategy=name, num_volumes=5, slices_per_volume=2, selection_seed=seed
        )
        for name in STRATEGY_NAMES
    ]
    assert len({work.select(trial).volumes for trial in trials}) == 1
    assert len({work.select(trial).slices for trial in trials}) > 1


@pytest.mark.parametrize("seed", range(4))
def test_volumes_of_a_seed_are_nested_over_budgets(work, seed):
    chosen = [
        set(
            work.select(
                make_trial(num_volumes=count, slices_per_volume=2, selection_seed=seed)
            ).volumes
        )
        for count in (2, 3, 5, 9, 14)
    ]
    for fewer, more in itertools.pairwise(chosen):
        assert fewer < more


def test_seeds_differ(work):
    trials = [make_trial(num_volumes=5, selection_seed=seed) for seed in range(4)]
    assert len({work.select(trial).volumes for trial in trials}) > 1


def test_equal_choices_are_made_once(work, monkeypatch):
    trial = make_trial(num_volumes=7, selection_seed=11)
    first = work.select(trial)
    monkeypatch.setattr("slicebench.runner.tasks.select", None)
    assert work.select(dataclasses.replace(trial, training_seed=5)) is first


def test_the_same_seed_draws_equal_batches_for_every_strategy(work):
    keys = {
        work.annotate(make_trial(strategy=name), small.program())[0].key.tobytes()
        for name in STRATEGY_NAMES
    }
    assert len(keys) == 1


def test_a_short_batch_is_filled_up_and_its_trial_unchanged(compiled, tmp_path):
    """Three trials on a plan of two: the last one trains beside its own copy."""
    trials = list(small.study().trials[:3])
    assert compiled.plan.trials == 2
    pair = small.train(compiled, [trials[2], trials[0]], tmp_path / "pair")
    alone = small.train(compiled, trials[2:], tmp_path / "alone")
    assert alone.step.shape == (2,)
    for ours, theirs in zip(
        small.weights(alone, 0), small.weights(pair, 0), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_progress_and_checkpoints_follow_the_steps(compiled, tmp_path):
    trials = list(small.study().trials[:2])
    done = []
    whole = small.train(compiled, trials, tmp_path, 0.0, done.append)
    assert done == [0, 10, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["10"]
    done.clear()
    resumed = small.train(compiled, trials, tmp_path, 0.0, done.append)
    assert done == [10, 2]
    for index in (0, 1):
        for ours, theirs in zip(
            small.weights(resumed, index), small.weights(whole, index), strict=True
        ):
            assert ours.tobytes() == theirs.tobytes()


def test_the_program_is_compiled_once_for_cells_and_seeds(compiled, tmp_path):
    small.train(compiled, list(small.study().trials[:2]), tmp_path / "one")
    spent = compiled.engine.compile_seconds
    assert spent > 0
    for start in range(0, len(small.study().trials), 2):
        batch = list(small.study().trials[start : start + 2])
        small.train(compiled, batch, tmp_path / f"batch{start}")
    assert compiled.engine.compile_seconds == spent


@pytest.mark.parametrize(
    "volume_strategy", sorted(VOLUME_STRATEGIES.keys() - {"stratified"})
)
def test_every_volume_strategy_reaches_the_pool(work, volume_strategy):
    uses = VOLUME_STRATEGIES[volume_strategy].uses_features
    trial = make_trial(
        volume_strategy=volume_strategy,
        num_volumes=5,
        slices_per_volume=2,
        features="intensity" if uses else "none",
    )
    chosen = work.select(trial)
    assert len(chosen.volumes) == 5
    assert chosen.annotated_slices == 10


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_oracles_are_shown_the_labels(work, name):
    uses = ORACLES[name].uses_features
    trial = make_trial(
        strategy=name,
        num_volumes=4,
        slices_per_volume=3,
        features="intensity" if uses else "none",
    )
    _, columns = work.annotate(trial, small.program())
    assert columns["annotated_slices"] == 12
    assert columns["annotated_foreground"] > 0
    assert (columns["extent_marks"] > 0) == name.startswith("extent")


def test_interpolated_labels_fill_the_gaps_of_the_chosen_volumes(work):
    trial = dataclasses.replace(
        make_trial(strategy="fixed_interval", num_volumes=3, slices_per_volume=3),
        interpolation="nearest",
        pseudo_weight=0.5,
    )
    program = dataclasses.replace(small.program(), pseudo_slots=128)
    arrays, columns = work.annotate(trial, program)
    wanted = []
    depths = [case.depth for case in small.task().pool]
    starts = np.cumsum(depths) - depths
    chosen = work.select(trial)
    for volume, slices in zip(chosen.volumes, chosen.slices, strict=True):
        gaps = set(range(slices[0], slices[-1])) - set(slices)
        wanted += [starts[volume] + place for place in sorted(gaps)]
    count = columns["interpolated_slices"]
    assert arrays.pseudo.source[:count].tolist() == wanted
    assert arrays.pseudo.sizes[0] == count == len(wanted)
    sums = arrays.pseudo.shares[:count].astype(int).sum(-1)
    assert (sums == 255).all()
    assert not arrays.pseudo.shares[count:].any()
