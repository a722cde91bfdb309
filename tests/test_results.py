import json
import math
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slicebench.errors import InputError
from slicebench.results import (
    RESULTS,
    TRIALS,
    Store,
    _store,
    read_json,
    read_many,
    read_progress,
    trials_of,
    write_json_atomic,
)
from tests import made_up

PLAN = made_up.Plan(num_seeds=2, num_cases=3, classes=("organ", "lesion"))


@pytest.fixture
def batch():
    trials = made_up.make_trials("blobs", "2d", PLAN)
    rng = made_up.np.random.default_rng(0)
    return made_up.make_rows(trials, PLAN, made_up.Truth(), rng)


def halves(batch):
    rows, scores = batch
    for part in (rows[:5], rows[5:]):
        ids = {row["trial_id"] for row in part}
        yield part, [score for score in scores if score["trial_id"] in ids]


def parts(workdir: Path, folder: str) -> list[str]:
    return sorted(path.name for path in (workdir / folder).iterdir())


def test_what_is_written_is_read_back(tmp_path, batch):
    rows, scores = batch
    store = Store(tmp_path)
    store.append("one", rows, scores)
    trials, table = store.read_trials(), store.read_results()
    assert list(table.columns) == RESULTS.names
    assert list(trials.columns) == TRIALS.names
    assert len(trials) == len(rows)
    assert len(table) == len(scores)
    key = ["trial_id", "case", "class_name", "metric"]
    found = table.set_index(key)["score"].to_dict()
    assert found == {tuple(s[name] for name in key): s["score"] for s in scores}
    assert store.done() == {row["trial_id"] for row in rows}
    assert json.loads(trials["network"].iloc[0])["width"] == 8
    assert str(table["slices_per_volume"].dtype) == "Int64"
    assert trials.loc[trials["strategy"] == "all", "slices_per_volume"].isna().all()


def test_a_score_inherits_the_factors_of_its_trial(tmp_path, batch):
    rows, scores = batch
    Store(tmp_path).append("one", rows, scores)
    table = Store(tmp_path).read_results().set_index("trial_id")
    for row in rows:
        first = table.loc[row["trial_id"]].iloc[0]
        assert first["budget"] == row["budget"]
        assert first["strategy"] == row["strategy"]
        assert first["status"] == row["status"]


def test_an_empty_store_has_no_rows_and_all_columns(tmp_path):
    store = Store(tmp_path)
    assert store.done() == set()
    assert list(store.read_results().columns) == RESULTS.names
    assert len(store.read_trials()) == 0


def test_equal_rows_in_any_order_are_equal_bytes(tmp_path, batch):
    rows, scores = batch
    for folder, direction in (("a", 1), ("b", -1)):
        Store(tmp_path / folder).append("one", rows[::direction], scores[::direction])
    for kind in ("results", "trials"):
        first, second = (
            (tmp_path / folder / kind / "part-one.parquet").read_bytes()
            for folder in ("a", "b")
        )
        assert first == second


def test_tables_do_not_depend_on_the_parts(tmp_path, batch):
    Store(tmp_path / "whole").append("one", *batch)
    for number, part in enumerate(halves(batch)):
        Store(tmp_path / "split").append(f"part{number}", *part)
    whole, split = Store(tmp_path / "whole"), Store(tmp_path / "split")
    assert whole.read_results().equals(split.read_results())
    assert whole.read_trials().equals(split.read_trials())


def test_progress_and_chosen_trials_are_those_of_the_whole_table(tmp_path, batch):
    store = Store(tmp_path)
    for number, part in enumerate(halves(batch)):
        store.append(f"part{number}", *part)
    whole = store.read_trials().set_index("trial_id").sort_index()
    found = read_progress(store).set_index("trial_id").sort_index()
    assert list(found) == ["program", "steps", "seconds", "status"]
    assert found.astype(object).equals(whole[list(found)].astype(object))
    few = sorted(whole.index)[:3]
    chosen = trials_of(store, [*few, "absent"]).set_index("trial_id").sort_index()
    assert chosen.equals(whole.loc[few])
    assert len(read_progress(Store(tmp_path / "absent"))) == 0
    assert len(trials_of(store, [])) == 0


def test_appending_again_changes_nothing(tmp_path, batch):
    store = Store(tmp_path)
    store.append("one", *batch)
    before = store.read_results()
    store.append("one", *batch)
    assert store.read_results().equals(before)
    assert parts(tmp_path, "results") == ["part-one.parquet"]


def test_a_kill_between_the_parts_loses_only_the_batch(tmp_path, batch, monkeypatch):
    first, second = halves(batch)
    store = Store(tmp_path)
    store.append("first", *first)
    write = _store.replace_file

    def killed(path, content):
        if path.parent.name == "trials":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(_store, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        store.append("second", *second)
    monkeypatch.undo()
    assert parts(tmp_path, "results") == ["part-first.parquet", "part-second.parquet"]
    assert store.done() == {row["trial_id"] for row in first[0]}
    assert set(store.read_results()["trial_id"]) == store.done()
    # Another plan cuts batches elsewhere: the orphan must not count twice.
    store.append("third", *second)
    assert len(store.read_results()) == len(batch[1])
    store.clean()
    assert parts(tmp_path, "results") == ["part-first.parquet", "part-third.parquet"]


@pytest.mark.parametrize("folder", ["trials", "results"])
@pytest.mark.parametrize("damage", ["cut", "emptied"])
def test_damaged_parts_are_set_aside_with_a_warning(
    tmp_path, batch, caplog, folder, damage
):
    store = Store(tmp_path)
    store.append("one", *batch)
    whole = store.read_results()
    path = tmp_path / folder / "part-one.parquet"
    path.write_bytes(path.read_bytes()[: 100 if damage == "cut" else 0])
    store.clean()
    assert "part-one.parquet: not a readable Parquet file" in caplog.text
    assert "trained again" in caplog.text
    assert store.done() == set()
    for half in ("trials", "results"):
        assert (tmp_path / half / "damaged-part-one.parquet").is_file()
    store.append("one", *batch)
    store.clean()
    pd.testing.assert_frame_equal(store.read_results(), whole)


def test_a_trials_part_without_its_results_is_set_aside(tmp_path, batch, caplog):
    store = Store(tmp_path)
    store.append("one", *batch)
    (tmp_path / "results" / "part-one.parquet").unlink()
    store.clean()
    assert "results/part-one.parquet: missing" in caplog.text
    assert store.done() == set()
    assert store.read_results().empty


def test_half_written_files_are_ignored_and_cleaned(tmp_path, batch, monkeypatch):
    store = Store(tmp_path)
    store.append("one", *batch)

    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.append("two", [], [])
    monkeypatch.undo()
    assert parts(tmp_path, "results") == [
        ".part-two.parquet.tmp",
        "part-one.parquet",
    ]
    assert len(store.read_results()) == len(batch[1])
    store.clean()
    assert parts(tmp_path, "results") == ["part-one.parquet"]


def test_a_trial_in_two_parts_is_refused(tmp_path, batch):
    store = Store(tmp_path)
    store.append("one", *batch)
    store.append("two", *batch)
    with pytest.raises(InputError, match="is there twice"):
        store.read_trials()
    with pytest.raises(InputError, match="is there twice"):
        store.read_results()


def test_truncated_part_is_named(tmp_path, batch):
    store = Store(tmp_path)
    store.append("one", *batch)
    path = tmp_path / "results" / "part-one.parquet"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"part-one\.parquet: not a readable"):
        store.read_results()
    (tmp_path / "trials" / "part-one.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"trials/part-one\.parquet: not a readable"):
        store.done()


def test_results_part_that_vanished_is_named(tmp_path, batch):
    store = Store(tmp_path)
    store.append("one", *batch)
    (tmp_path / "results" / "part-one.parquet").unlink()
    with pytest.raises(InputError, match=r"results/part-one\.parquet: missing"):
        store.read_results()


@pytest.mark.parametrize("number", ["2", None])
def test_other_schema_number_is_refused(tmp_path, batch, number):
    Store(tmp_path).append("one", *batch)
    path = tmp_path / "trials" / "part-one.parquet"
    metadata = {"slicebench_schema": number} if number else None
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match=f"schema {str(number).lower()}, this version"):
        Store(tmp_path).read_trials()


def test_missing_columns_are_listed(tmp_path, batch):
    Store(tmp_path).append("one", *batch)
    path = tmp_path / "results" / "part-one.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["score", "case"]), path)
    with pytest.raises(InputError, match="columns missing: case, score"):
        Store(tmp_path).read_results()


def test_several_folders_merge_and_refuse_doubles(tmp_path, batch):
    Store(tmp_path / "whole").append("one", *batch)
    folders = [tmp_path / "shard0", tmp_path / "shard1"]
    for folder, part in zip(folders, halves(batch), strict=True):
        Store(folder).append("one", *part)
    trials, table = read_many(folders)
    assert trials.equals(Store(tmp_path / "whole").read_trials())
    assert table.equals(Store(tmp_path / "whole").read_results())
    with pytest.raises(InputError, match="is there twice"):
        read_many([*folders, tmp_path / "whole"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"unknown \['colour'\]"),
        ({"budget": None}, r"missing \['budget'\]"),
        ({"status": "tired"}, "status 'tired'"),
    ],
)
def test_impossible_trial_rows(tmp_path, batch, change, message):
    rows, _ = batch
    with pytest.raises(ValueError, match=message):
        Store(tmp_path).append("one", [rows[0] | change], [])
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"unknown \['colour'\]"),
        ({"score": math.nan}, "not finite"),
        ({"trial_id": "nobody"}, "its trial is not in the batch"),
    ],
)
def test_impossible_score_rows(tmp_path, batch, change, message):
    rows, scores = batch
    with pytest.raises(ValueError, match=message):
        Store(tmp_path).append("one", rows, [scores[0] | change])


def test_doubles_and_bad_names_are_refused(tmp_path, batch):
    rows, scores = batch
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="a trial is there twice"):
        store.append("one", [rows[0], rows[0]], [])
    with pytest.raises(ValueError, match="a score is there twice"):
        store.append("one", rows, [scores[0], scores[0]])
    with pytest.raises(ValueError, match="missing"):
        store.append("one", rows, [{"trial_id": rows[0]["trial_id"]}])
    with pytest.raises(ValueError, match="part name"):
        store.append("../one", rows, scores)


def test_a_loss_that_is_not_finite_becomes_null(tmp_path, batch):
    rows, _ = batch
    Store(tmp_path).append("one", [rows[0] | {"final_loss": math.inf}], [])
    assert Store(tmp_path).read_trials()["final_loss"].isna().all()


def test_no_column_of_a_part_is_untyped():
    typed = (pa.string(), pa.int64(), pa.float64(), pa.list_(pa.int32()))
    typed = (*typed, pa.list_(pa.float32()))
    for schema in (RESULTS, TRIALS):
        assert all(field.type in typed for field in schema)


def test_chosen_slices_are_read_back_and_missing_ones_stay_missing(tmp_path, batch):
    rows, scores = batch
    rows = [{**row, "chosen_slices": None, "coverage": None} for row in rows]
    rows[0] |= {"chosen_slices": [3, 5, 11], "coverage": 0.25}
    rows[0] |= {"loss_curve": [1.5, 0.25]}
    Store(tmp_path).append("one", rows, scores)
    trials = Store(tmp_path).read_trials().set_index("trial_id")
    first = trials.loc[rows[0]["trial_id"]]
    assert first["chosen_slices"].tolist() == [3, 5, 11]
    assert first["coverage"] == 0.25
    assert first["loss_curve"].tolist() == [1.5, 0.25]
    assert trials["chosen_slices"].isna().sum() == len(rows) - 1


def test_json_round_trip_and_faults(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json_atomic(path, {"b": [1.5, None, "µ"]})
    assert read_json(path) == {"b": [1.5, None, "µ"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_atomic(path, {"b": math.nan})
    assert read_json(path) == {"b": [1.5, None, "µ"]}
    path.write_text("[1]")
    with pytest.raises(InputError, match="holds list, not an object"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_json(path)
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "nothing.json")
