"""Nothing that nobody annotated may reach a training.

All labels of unannotated slices, and all images and labels of development and
test cases, are replaced by noise; training must not notice.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench import spec
from slicebench.interpolation import INTERPOLATIONS
from slicebench.runner.tasks import TaskWork
from slicebench.selection import STRATEGIES, VOLUME_STRATEGIES
from slicebench.training.features import TRAINED_FEATURES
from slicebench.training.patches import draw_patches
from slicebench.training.pseudo import draw_mixed
from slicebench.training.sampling import draw_batch, draw_slices
from tests.runner import small

STEPS = 6
AUGMENTATION = spec.Augmentation()
MIXED = dataclasses.replace(small.program(), pseudo_slots=64)
VOLUMETRIC = dataclasses.replace(
    small.program(),
    dims="3d",
    volumetric=spec.Volumetric(patch=(8, 16, 16), kernels=(), pools=()),
)


def noise_labels(label, seed):
    return np.random.default_rng(seed).integers(0, 2, label.shape).astype(np.uint8)


def scrambled(task, annotated):
    """The task with noise in place of all that training must not see."""
    pool = []
    for number, (case, kept) in enumerate(zip(task.pool, annotated, strict=True)):
        noise = noise_labels(case.label, number)
        label = np.where(kept[:, None, None], case.label, noise)
        pool.append(dataclasses.replace(case, label=label, native_label=label))

    def replace(cases):
        return tuple(
            dataclasses.replace(
                case,
                image=np.random.default_rng(n).normal(size=case.image.shape),
                label=noise_labels(case.label, n),
                native_label=noise_labels(case.native_label, n),
            )
            for n, case in enumerate(cases)
        )

    return dataclasses.replace(
        task,
        development=replace(task.development),
        pool=tuple(pool),
        test=replace(task.test),
    )


@jax.jit
def first_batches(arrays, bank):
    def draw(step):
        key = jax.random.fold_in(jax.random.wrap_key_data(arrays.key), step)
        which, change = jax.random.split(key)
        slices = draw_slices(arrays, which, 8, "balanced")
        return draw_batch(bank, slices, change, AUGMENTATION)

    return jax.vmap(draw)(np.arange(STEPS))


def first_patches(trial, bank):
    trial, bank = jax.tree.map(jnp.asarray, (trial, bank))

    def draw(step):
        key = jax.random.fold_in(jax.random.wrap_key_data(trial.key), step)
        return draw_patches(trial, bank, *jax.random.split(key), VOLUMETRIC)

    return jax.vmap(draw)(np.arange(STEPS))


def make_trials(strategy):
    uses = STRATEGIES[strategy].uses_features
    return [
        dataclasses.replace(
            trial, strategy=strategy, features="intensity" if uses else "none"
        )
        for trial in small.sparse_trials()[:2]
    ]


def first_mixed(trial, bank):
    trial, bank = jax.tree.map(jnp.asarray, (trial, bank))

    def draw(step):
        key = jax.random.fold_in(jax.random.wrap_key_data(trial.key), step)
        return draw_mixed(trial, bank, *jax.random.split(key), MIXED)

    return jax.vmap(draw)(np.arange(STEPS))


def training_inputs(task, trial):
    work = TaskWork(task)
    program, draw = small.program(), first_batches
    if trial.dims == "3d":
        program, draw = VOLUMETRIC, first_patches
    elif trial.interpolation != "none":
        program, draw = MIXED, first_mixed
    arrays, columns = work.annotate(trial, program)
    drawn = draw(arrays, work.make_bank(program))
    return jax.tree.leaves((arrays, drawn)), columns


def masks(task, trials):
    work = TaskWork(task)
    depths = [case.depth for case in task.pool]
    both = [work.select(trial).mask(depths) for trial in trials]
    return [np.any(volume, axis=0) for volume in zip(*both, strict=True)]


@pytest.mark.parametrize("dims", ["2d", "3d"])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_training_inputs_do_not_depend_on_hidden_labels(strategy, dims):
    assert_blind(dataclasses.replace(make_trials(strategy)[1], dims=dims))


def assert_blind(trial):
    """Demands equal bytes where hidden labels are noise, which they are then."""
    task = small.task()
    hidden = scrambled(task, masks(task, [trial]))
    labels = np.concatenate([case.label for case in task.pool])
    noisy = np.concatenate([case.label for case in hidden.pool])
    assert (labels != noisy).any((1, 2)).sum() == len(labels) - trial.budget
    ours, columns = training_inputs(hidden, trial)
    theirs, known = training_inputs(task, trial)
    assert columns == known
    for one, other in zip(ours, theirs, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("name", sorted(set(VOLUME_STRATEGIES) - {"stratified"}))
@pytest.mark.parametrize("scope", ["within", "pooled"])
def test_chosen_volumes_do_not_depend_on_hidden_labels(name, scope):
    uses = VOLUME_STRATEGIES[name].uses_features
    assert_blind(
        dataclasses.replace(
            make_trials("k_center")[1],
            volume_strategy=name,
            features="intensity" if uses else "none",
            strategy="k_center" if uses else "random",
            scope=scope,
            slices_per_volume=2 if scope == "within" else None,
        )
    )


@pytest.mark.parametrize(
    "name", sorted(set(INTERPOLATIONS) - {"none", "morphological_itk"})
)
def test_interpolated_labels_do_not_depend_on_hidden_ones(name):
    trial = dataclasses.replace(
        make_trials("fixed_interval")[1],
        num_volumes=2,
        slices_per_volume=3,
        budget=6,
        interpolation=name,
        pseudo_weight=0.5,
    )
    (_, columns) = training_inputs(small.task(), trial)
    assert columns["interpolated_slices"] > 5
    assert_blind(trial)


@pytest.mark.parametrize("name", ["autoencoder", "contrastive"])
def test_trained_features_do_not_depend_on_hidden_labels(name, monkeypatch):
    quick = dataclasses.replace(TRAINED_FEATURES[name], steps=3)
    monkeypatch.setitem(TRAINED_FEATURES, name, quick)
    trial = make_trials("k_center")[1]
    assert_blind(dataclasses.replace(trial, features=name))


def test_training_inputs_do_depend_on_annotated_labels():
    task = small.task()
    trial = make_trials("random")[1]
    nothing = [np.zeros(case.depth, bool) for case in task.pool]
    ours, _ = training_inputs(scrambled(task, nothing), trial)
    theirs, _ = training_inputs(task, trial)
    assert any(
        np.asarray(one).tobytes() != np.asarray(other).tobytes()
        for one, other in zip(ours, theirs, strict=True)
    )


def test_weights_do_not_depend_on_hidden_labels(tmp_path):
    task = small.task()
    trials = make_trials("representative")
    hidden = scrambled(task, masks(task, trials))
    open_state = small.train(small.program_work(task), trials, tmp_path / "open")
    hidden_state = small.train(small.program_work(hidden), trials, tmp_path / "hidden")
    for index in range(len(trials)):
        for ours, theirs in zip(
            small.weights(hidden_state, index),
            small.weights(open_state, index),
            strict=True,
        ):
            assert ours.tobytes() == theirs.tobytes()
    assert (
        np.asarray(hidden_state.loss).tobytes() == np.asarray(open_state.loss).tobytes()
    )
