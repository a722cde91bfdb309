"""What a selection reads beyond images, and how it names its trials."""

import dataclasses

import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.runner import inputs as module
from slicebench.runner.inputs import Inputs
from slicebench.runner.tasks import TaskWork
from tests.runner import small

NAMES = [case.name for case in small.task().pool]


@pytest.fixture
def strata(tmp_path):
    path = tmp_path / "strata.csv"
    rows = [f"{name},{'ab'[index % 2]}" for index, name in enumerate(NAMES)]
    path.write_text("\n".join(["case,scanner", *rows]))
    return path


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "mine.npz"
    rng = np.random.default_rng(0)
    np.savez(path, **{c.name: rng.normal(size=(c.depth, 3)) for c in small.task().pool})
    return path


@pytest.fixture
def trainings(monkeypatch):
    """Counts trainings; the features are the seed and the slice's number."""
    calls: list[int] = []

    def train(name, images, *, seed):
        assert name == "autoencoder"
        calls.append(seed)
        return tuple(
            np.stack([np.full(len(i), seed % 97), np.arange(len(i))], 1) / 7
            for i in images
        )

    monkeypatch.setattr(module, "train_features", train)
    return calls


def make_trial(**changes):
    return dataclasses.replace(small.sparse_trials()[0], **changes)


def test_only_what_is_read_has_a_digest(strata, features):
    given = Inputs(feature_file=features, strata_file=str(strata))
    assert given.digest("none", "random") == ""
    assert given.digest("intensity", "k_center") == ""
    digests = {
        given.digest("file", "random"),
        given.digest("none", "stratified"),
        given.digest("file", "stratified"),
        given.digest("autoencoder", "random"),
        given.digest("contrastive", "random"),
    }
    assert len(digests) == 5
    before = given.digest("none", "stratified")
    strata.write_text(strata.read_text().replace(",a", ",c"))
    assert given.digest("none", "stratified") != before


def test_a_file_that_is_needed_or_named_in_vain_is_refused(strata, features):
    with pytest.raises(InputError, match=r"--features=file: --feature_file=FILE"):
        Inputs().digest("file", "random")
    with pytest.raises(InputError, match=r"--strata_file=FILE or FILE:COLUMN"):
        Inputs().digest("none", "stratified")
    with pytest.raises(InputError, match=r"--feature_file=.*no trial reads it"):
        Inputs(feature_file=features).check([make_trial()], [])
    with pytest.raises(InputError, match=r"--strata_file=.*no trial reads it"):
        Inputs(strata_file=str(strata)).check([make_trial()], [])
    with pytest.raises(InputError, match=r"cannot be read"):
        Inputs(strata_file="gone.csv").digest("none", "stratified")
    used = [make_trial(features="file"), make_trial(volume_strategy="stratified")]
    both = Inputs(feature_file=features, strata_file=str(strata))
    both.check(used, [small.task()])
    strata.write_text("case,scanner\nnobody,a\n")
    with pytest.raises(InputError, match=r"case nobody is not in the dataset"):
        both.check(used, [small.task()])
    np.savez(features, nobody=np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"case nobody is not in the dataset"):
        Inputs(feature_file=features).check(used[:1], [small.task()])


def test_the_users_features_steer_the_selection(tmp_path, features):
    trial = make_trial(
        strategy="k_center",
        features="file",
        num_volumes=4,
        slices_per_volume=2,
        budget=8,
    )
    work = TaskWork(small.task(), Inputs(feature_file=features))
    other = tmp_path / "other.npz"
    rng = np.random.default_rng(1)
    rows = {c.name: rng.normal(size=(c.depth, 3)) for c in small.task().pool}
    np.savez(other, **rows)
    again = TaskWork(small.task(), Inputs(feature_file=other))
    assert work.select(trial).volumes == again.select(trial).volumes
    assert work.select(trial).slices != again.select(trial).slices


@pytest.mark.parametrize("suffix", ["", ":scanner"])
def test_volumes_are_balanced_over_the_users_strata(strata, suffix):
    work = TaskWork(small.task(), Inputs(strata_file=f"{strata}{suffix}"))
    trial = make_trial(volume_strategy="stratified", num_volumes=6, budget=6)
    trial = dataclasses.replace(trial, slices_per_volume=1)
    for seed in range(5):
        chosen = work.select(dataclasses.replace(trial, selection_seed=seed)).volumes
        odd = sum(volume % 2 for volume in chosen)
        assert abs(odd - 3) <= 1


def test_features_are_trained_once_and_kept(tmp_path, trainings):
    given = Inputs(folder=tmp_path / "features")
    first = given.features("autoencoder", small.task())
    assert len(trainings) == 1
    kept = Inputs(folder=tmp_path / "features").features("autoencoder", small.task())
    assert len(trainings) == 1
    for one, two in zip(first, kept, strict=True):
        np.testing.assert_array_equal(one, two)
    assert [len(rows) for rows in kept] == [c.depth for c in small.task().pool]


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_damaged_features_are_trained_again(tmp_path, trainings, caplog, damage):
    given = Inputs(folder=tmp_path)
    given.features("autoencoder", small.task())
    (path,) = tmp_path.glob("autoencoder-*.npz")
    if damage is None:
        np.savez(path, rows=np.zeros((3, 2)))
    else:
        path.write_bytes(damage)
    given.features("autoencoder", small.task())
    assert len(trainings) == 2
    assert "trained again" in caplog.text
