"""Splits by patient."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from slicebench.data import make_split, num_folds_for, split_from_file, splits
from slicebench.errors import InputError

CASES = [f"c{number:03d}" for number in range(30)]


def write_splits(tmp_path, content):
    path = tmp_path / "splits_final.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@hypothesis.given(
    sizes=st.lists(st.integers(1, 4), min_size=9, max_size=200),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_sides_are_disjoint_complete_and_by_patient(sizes, seed, data):
    groups = [f"p{p}" for p, size in enumerate(sizes) for _ in range(size)]
    cases = [f"c{number}" for number in range(len(groups))]
    folds = num_folds_for(len(sizes))
    fold = data.draw(st.integers(0, folds - 1))
    split = make_split(cases, groups, seed, fold)
    patient = dict(zip(cases, groups, strict=True))
    patients = [{patient[case] for case in side} for side in split.sides.values()]
    assert sorted(case for side in split.sides.values() for case in side) == sorted(
        cases
    )
    assert sum(len(side) for side in patients) == len(sizes)
    assert min(len(side) for side in patients) >= 3
    assert split.num_folds == folds
    order = data.draw(st.permutations(range(len(cases))))
    shuffled = make_split(
        [cases[i] for i in order], [groups[i] for i in order], seed, fold
    )
    assert shuffled == split


@pytest.mark.parametrize(
    ("cases", "sizes"),
    [(260, (26, 156, 78)), (150, (15, 90, 45)), (100, (10, 70, 20)), (9, (3, 3, 3))],
)
def test_sizes(cases, sizes):
    names = [f"c{number}" for number in range(cases)]
    split = make_split(names, names, seed=0)
    assert tuple(len(side) for side in split.sides.values()) == sizes


@pytest.mark.parametrize("cases", [9, 14, 31, 149])
def test_each_case_is_in_the_test_part_of_one_fold(cases):
    names = [f"c{number}" for number in range(cases)]
    folds = num_folds_for(cases)
    splits_ = [make_split(names, names, 1, fold) for fold in range(folds)]
    assert folds > 1
    assert sorted(case for split in splits_ for case in split.test) == sorted(names)
    assert len({split.development for split in splits_}) == folds


def test_seed_changes_the_split():
    assert make_split(CASES, CASES, 0) == make_split(CASES, CASES, 0)
    assert make_split(CASES, CASES, 0).test != make_split(CASES, CASES, 1).test


@pytest.mark.parametrize("fold", [-1, 5])
def test_fold_that_does_not_exist(fold):
    with pytest.raises(InputError, match=f"fold {fold} .*allowed are 0 to 4"):
        make_split(CASES, CASES, 0, fold)


def test_too_few_patients():
    groups = [case[:-1] for case in CASES]
    with pytest.raises(InputError, match="3 patients; a split needs 9 or more"):
        make_split(CASES, groups, 0)


@pytest.mark.parametrize("seed", range(5))
def test_one_patient_with_nearly_all_cases(seed):
    groups = ["big"] * 141 + [f"p{number}" for number in range(9)]
    cases = [f"c{number}" for number in range(150)]
    with pytest.raises(InputError, match="10 patients with 150 cases leave"):
        make_split(cases, groups, seed, num_folds=1)


def test_user_file(tmp_path):
    path = write_splits(
        tmp_path,
        [
            {"train": CASES[:20], "val": CASES[20:26]},
            {"train": CASES[10:], "val": CASES[:10]},
        ],
    )
    split = split_from_file(path, CASES, CASES, 0)
    assert split.test == tuple(CASES[20:26])
    assert sorted(split.development + split.pool) == CASES[:20]
    assert len(split.development) == 3
    assert split.num_folds == 2
    assert split_from_file(path, CASES, CASES, 0, fold=1).test == tuple(CASES[:10])


def test_user_file_draws_development_by_patient(tmp_path):
    groups = [f"p{number // 2}" for number in range(30)]
    path = write_splits(tmp_path, [{"train": CASES[:20], "val": CASES[20:]}])
    split = split_from_file(path, CASES, groups, 0)
    patient = dict(zip(CASES, groups, strict=True))
    development = {patient[case] for case in split.development}
    assert len(development) == 3
    assert not development & {patient[case] for case in split.pool}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a list of objects with `train` and `val`"),
        ([{"train": CASES}], "expected a list of objects with `train` and `val`"),
        ([{"train": [1], "val": [2]}], "expected a list of objects"),
        ([{"train": CASES[:20], "val": ["who"]}], "fold 0 names unknown case who"),
        ([{"train": CASES[:20], "val": CASES[19:]}], "case c019 stands more than once"),
        ([{"train": CASES[:5], "val": CASES[20:]}], "5 patients in `train` and 10"),
        ([{"train": CASES[:20], "val": CASES[28:]}], "20 patients in `train` and 2"),
    ],
)
def test_faults_of_a_user_file(tmp_path, content, message):
    path = write_splits(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        split_from_file(path, CASES, CASES, 0)
    assert str(path) in str(caught.value)


def test_user_file_that_is_missing_or_has_fewer_folds(tmp_path):
    with pytest.raises(InputError, match=r"no\.json: no such file"):
        split_from_file(tmp_path / "no.json", CASES, CASES, 0)
    path = write_splits(tmp_path, [{"train": CASES[:20], "val": CASES[20:]}])
    with pytest.raises(InputError, match="fold 1 does not exist; allowed are 0 to 0"):
        split_from_file(path, CASES, CASES, 0, fold=1)


def test_user_file_with_one_patient_on_two_sides(tmp_path):
    groups = ["p", *CASES[1:29], "p"]
    path = write_splits(tmp_path, [{"train": CASES[:20], "val": CASES[20:]}])
    with pytest.raises(InputError, match=r"same patient on two sides: c000 .*c029"):
        split_from_file(path, CASES, groups, 0)


def test_same_voxels_on_two_sides():
    split = splits.Split(development=("a",), pool=("b", "c"), test=("d",))
    same_side = {"a": "1", "b": "2", "c": "2", "d": "3"}
    splits.check_split(split, {}, same_side)
    with pytest.raises(
        InputError,
        match=r"same image voxels on two sides: c \(pool\) and d \(test\); give both",
    ):
        splits.check_split(split, {}, {"a": "1", "b": "2", "c": "3", "d": "3"})
