"""The bounded cache of prepared tasks, and what folds share in memory."""

import logging
import os
import tempfile

import numpy as np
import pytest

from slicebench.data import _builder, _eviction, load_task
from slicebench.errors import InputError
from tests.data import folders

KEYS = ("a", "b", "c")


@pytest.fixture
def entries(tmp_path):
    """Entries of 1000 bytes, used in the order of their names."""
    for number, key in enumerate(KEYS):
        (tmp_path / key).mkdir()
        (tmp_path / key / "records").write_bytes(bytes(1000))
        lock = tmp_path / key / _eviction.LOCK
        lock.touch()
        os.utime(lock, (1000 + number, 1000 + number))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("limit", "left"),
    [(3000, ["a", "b", "c"]), (2999, ["b", "c"]), (1500, ["c"]), (1, ["c"])],
)
def test_least_recently_used_goes_first(entries, limit, left):
    _eviction.shrink(entries, limit, keep=entries / "c")
    assert names(entries) == left


def test_use_is_what_counts(entries):
    with _eviction.using(entries / "a") as there:
        assert there
    _eviction.shrink(entries, 1000, keep=entries / "a")
    assert names(entries) == ["a"]


def test_an_entry_in_use_stays(entries, caplog):
    with _eviction.using(entries / "a"), caplog.at_level(logging.WARNING):
        os.utime(entries / "a" / _eviction.LOCK, (1, 1))
        _eviction.shrink(entries, 500, keep=entries / "c")
        assert names(entries) == ["a", "c"]
        assert "exceed the cache's limit" in caplog.text
    _eviction.shrink(entries, 1000, keep=entries / "c")
    assert names(entries) == ["c"]


def test_an_entry_that_is_gone_is_not_there(tmp_path):
    with _eviction.using(tmp_path / "absent") as there:
        assert not there


def test_unfinished_entries_are_left_alone(entries):
    (entries / "d.incomplete-x").mkdir()
    _eviction.shrink(entries, 1, keep=entries / "c")
    assert names(entries) == ["c", "d.incomplete-x"]


@pytest.mark.parametrize(("given", "size"), [("", 20e9), ("0.5", 5e8), (" 3 ", 3e9)])
def test_limit(monkeypatch, given, size):
    monkeypatch.setenv(_eviction.VARIABLE, given)
    assert _eviction.limit_bytes() == size


@pytest.mark.parametrize("given", ["0", "-1", "inf", "nan", "20 GB"])
def test_limit_that_is_none(monkeypatch, given):
    monkeypatch.setenv(_eviction.VARIABLE, given)
    with pytest.raises(InputError, match=r"allowed is a number of gigabytes above 0"):
        _eviction.limit_bytes()


def test_tasks_share_arrays_and_the_cache_its_room(tmp_path, monkeypatch):
    folder = folders.write_nnunet(tmp_path / "D", 9)
    cache = tmp_path / "cache"
    first = load_task(folder, cache_dir=cache)
    monkeypatch.setenv(_eviction.VARIABLE, "1e-6")
    second = load_task(folder, fold=1, cache_dir=cache)
    assert len(list((cache / "tasks").iterdir())) == 1
    cases = [
        {case.name: case for side in task.sides for case in side}
        for task in (first, second)
    ]
    assert cases[0].keys() == cases[1].keys()
    for name, case in cases[0].items():
        assert case.native_label is cases[1][name].native_label
        assert case.image is cases[1][name].image
        assert not case.native_label.flags.writeable


def test_writing_leaves_no_temporary_folder(tmp_path, monkeypatch):
    folder = folders.write_nnunet(tmp_path / "D", 9)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    load_task(folder, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache" / "tasks").iterdir())
    assert list(scratch.iterdir()) == []


def test_arrays_of_other_shape_or_type_are_not_shared():
    arrays = [
        np.zeros((2, 3), np.uint8),
        np.zeros((3, 2), np.uint8),
        np.zeros((2, 3), np.int8),
    ]
    shared = [_builder._shared(array) for array in arrays]
    assert [(s.shape, s.dtype) for s in shared] == [(a.shape, a.dtype) for a in arrays]
    again = _builder._shared(np.zeros((2, 3), np.uint8))
    assert again is shared[0]
