"""The user's own features: what is read, and what is refused by name."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from slicebench.errors import InputError
from slicebench.selection import (
    FEATURES,
    Features,
    handed_in,
    load_feature_file,
    make_features,
)
from tests.selection.test_selection import make_case

CASES, DEPTHS = ["a", "b"], [3, 2]
ROWS = {"a": np.arange(12.0).reshape(3, 4), "b": np.ones((2, 4), dtype=np.float32)}


def write_npz(folder, **changes):
    arrays = {k: v for k, v in (ROWS | changes).items() if v is not None}
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz"


def make_table(rows=ROWS):
    parts = [
        pd.DataFrame(values, columns=[f"f{i}" for i in range(values.shape[1])]).assign(
            case=name, slice=range(len(values))
        )
        for name, values in rows.items()
    ]
    return pd.concat(parts, ignore_index=True)


def write_parquet(folder, table):
    table.to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def test_both_forms_are_read(tmp_path):
    table = make_table().sample(frac=1.0, random_state=0)
    for path in (write_npz(tmp_path), write_parquet(tmp_path, table)):
        for given in (path, str(path)):
            rows = load_feature_file(given, CASES, DEPTHS)
            for case, part in zip(CASES, rows, strict=True):
                np.testing.assert_array_equal(part, ROWS[case])
                assert part.dtype == np.float64


def test_other_cases_of_the_dataset_may_be_there(tmp_path):
    extra = {"c": np.full((9, 7), np.nan)}
    path = write_npz(tmp_path, **extra)
    assert len(load_feature_file(path, CASES, DEPTHS, others=["c", "d"])) == 2
    with pytest.raises(InputError, match="case c is not in the dataset"):
        load_feature_file(path, CASES, DEPTHS)
    more = make_table(ROWS | {"c": np.ones((9, 4))})
    path = write_parquet(tmp_path, more)
    assert len(load_feature_file(path, CASES, DEPTHS, others={"c"})) == 2
    with pytest.raises(InputError, match="case c is not in the dataset"):
        load_feature_file(path, CASES, DEPTHS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": None}, "case a is missing"),
        ({"a": None, "b": np.ones((5, 4))}, "a is missing; case b has 2 .* but 5 rows"),
        ({"b": np.ones(2)}, r"case b is float64 of shape \(2,\)"),
        ({"b": np.array([["x"], ["y"]])}, "case b is <U1 of shape"),
        ({"b": np.ones((2, 4), dtype=complex)}, "case b has complex numbers"),
        ({"b": np.array([[1.0] * 4, [np.inf] * 4])}, "case b slice 1 holds NaN or inf"),
        ({"b": np.ones((2, 3))}, r"\[3, 4\] columns"),
        ({"a": np.ones((3, 0)), "b": np.ones((2, 0))}, r"\[0\] columns"),
    ],
)
def test_what_an_archive_lacks_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=f"rows.npz.*{message}"):
        load_feature_file(write_npz(tmp_path, **changes), CASES, DEPTHS)


def test_pickled_objects_are_refused(tmp_path):
    path = write_npz(tmp_path, b=np.array([{}, {}], dtype=object))
    with pytest.raises(InputError, match=r"rows\.npz: .*plain arrays"):
        load_feature_file(path, CASES, DEPTHS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(index=1), "case a slice 1 is missing"),
        (lambda t: t[t.case == "a"], "case b is missing"),
        (lambda t: pd.concat([t, t.iloc[[4]]]), "case b slice 1 is there twice"),
        (
            lambda t: t.assign(slice=t.slice + 1),
            "a slice 0 is missing.*slice 3 is too",
        ),
        (lambda t: t.assign(slice=t.slice * 1.0), "column slice holds float64"),
        (lambda t: t.rename(columns={"f3": "g"}), "columns f0, f1, f2, g.*are needed"),
        (lambda t: t[["case", "slice"]], "columns case, slice; "),
        (lambda t: t.assign(f2=np.nan), "case a slice 0 holds NaN.*case b slice 1"),
        (lambda t: t.assign(f2="x"), "case a is .* not rows of numbers"),
    ],
)
def test_what_a_table_lacks_is_named(tmp_path, change, message):
    path = write_parquet(tmp_path, change(make_table()))
    with pytest.raises(InputError, match=f"rows.parquet.*{message}"):
        load_feature_file(path, CASES, DEPTHS)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_files_that_cannot_be_read_are_refused(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    with pytest.raises(InputError, match="no such file"):
        load_feature_file(path, CASES, DEPTHS)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"rows.*(plain arrays|not a Parquet file)"):
        load_feature_file(path, CASES, DEPTHS)
    with pytest.raises(InputError, match=r"rows\.csv: .*\.npz or \.parquet"):
        load_feature_file(tmp_path / "rows.csv", CASES, DEPTHS)


POOL = [make_case("a", 3), make_case("b", 2)]


def test_features_come_from_where_their_entry_says(tmp_path):
    images = make_features("intensity", FEATURES["intensity"], POOL)
    assert [len(rows) for rows in images] == DEPTHS
    path = write_npz(tmp_path, c=np.ones((1, 1)))
    read = make_features("file", FEATURES["file"], POOL, file=path, others=["c"])
    np.testing.assert_array_equal(read[0], ROWS["a"])
    entry = Features(extract=handed_in, reference="a network", source="training")
    seen = []

    def train(given):
        seen.extend(given)
        return tuple(np.ones((len(image), 2)) for image in given)

    trained = make_features("net", entry, POOL, trainers={"net": train})
    assert [rows.shape for rows in trained] == [(3, 2), (2, 2)]
    assert all(a is case.image for a, case in zip(seen, POOL, strict=True))


def test_what_is_not_handed_in_is_named():
    with pytest.raises(InputError, match="--features=file: the path of a file"):
        make_features("file", FEATURES["file"], POOL)
    entry = dataclasses.replace(FEATURES["file"], source="training")
    with pytest.raises(InputError, match="--features=net: nothing here can train"):
        make_features("net", entry, POOL, trainers={"other": handed_in})
    with pytest.raises(InputError, match="2 images: this kind is read from a file"):
        FEATURES["file"].extract([case.image for case in POOL])
