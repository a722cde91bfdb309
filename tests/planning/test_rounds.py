"""A second round: other slices of the same scans, with the same test patients."""

import json

import nibabel as nib
import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.planning.choose import quotas
from slicebench.planning.costs import Costs
from slicebench.planning.importing import progress_lines, read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.writing import write_plan
from tests.planning.scans import AFFINE, write_folder, write_scan
from tests.planning.test_plan import run


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """16 scans of 8 slices; 3 kept for testing, 2 slices of each of 5 planned."""
    folder = tmp_path_factory.mktemp("rounds")
    write_folder(folder / "scans", cases=16)
    request = Request(
        images=folder / "scans",
        budget=10,
        test_patients=3,
        slices_per_volume=2,
        classes=("organ",),
    )
    write_plan(make_plan(request, (), Costs()), folder / "one")
    return folder


def record(folder):
    return json.loads((folder / "plan.json").read_text())


def rows_of(folder):
    return {(row["case"], row["slice_index"]) for row in record(folder)["rows"]}


def kept_for_testing(folder):
    return {e["case"] for e in record(folder)["cases"] if e["side"] == "test"}


def again(first, *, plans=("one",), **changes):
    given = {
        "images": first / "scans",
        "budget": 6,
        "slices_per_volume": 2,
        "test_patients": 3,
        "exclude": tuple(first / name for name in plans),
        **changes,
    }
    return make_plan(Request(**given), (), Costs())


def test_no_slice_comes_twice_and_test_patients_stay(first, tmp_path):
    found = again(first, seed=5)
    write_plan(found, tmp_path / "two")
    assert not rows_of(first / "one") & rows_of(tmp_path / "two")
    assert len(rows_of(tmp_path / "two")) == 6
    assert kept_for_testing(tmp_path / "two") == kept_for_testing(first / "one")
    assert not {scan.name for scan in found.test} & {
        choice.scan.name for choice in found.choices
    }


@pytest.mark.parametrize("slices", [2, 3])
def test_new_volumes_come_before_open_ones(first, slices):
    opened = {case for case, _ in rows_of(first / "one")}
    names = [c.scan.name for c in again(first, slices_per_volume=slices).choices]
    assert len(names) == 6 / slices
    assert not opened & set(names)


def test_open_volumes_are_filled_when_no_new_one_is_left(first):
    """13 volumes, five of them with two slices: eight new ones take four each."""
    opened = {case for case, _ in rows_of(first / "one")}
    found = again(first, budget=36, slices_per_volume=4, seed=2)
    counts = {choice.scan.name: len(choice.slices) for choice in found.choices}
    assert sorted(n for case, n in counts.items() if case not in opened) == [4] * 8
    assert [n for case, n in counts.items() if case in opened] == [2, 2]
    for strategy in ("fixed_interval", "k_center"):
        other = again(first, budget=60, slices_per_volume=7, strategy=strategy)
        done = rows_of(first / "one")
        rows = {(c.scan.name, number) for c in other.choices for number in c.slices}
        assert len(rows) == 60
        assert {case for case, _ in rows} & opened
        assert not rows & done


def test_rounds_add_up_over_plans(first, tmp_path):
    write_plan(again(first), tmp_path / "two")
    found = again(first, exclude=(tmp_path / "two",), budget=4)
    assert len(found.earlier) == 2
    done = rows_of(first / "one") | rows_of(tmp_path / "two")
    rows = {(c.scan.name, number) for c in found.choices for number in c.slices}
    assert len(rows) == 4
    assert not rows & done
    both = again(first, exclude=(first / "one", tmp_path / "two"), budget=4)
    assert [one.digest for one in both.earlier] == [o.digest for o in found.earlier]


def test_import_counts_every_round(first, tmp_path):
    """Segmentations of both rounds are used, each from its own folder."""
    found = again(first, budget=40, slices_per_volume=4)
    write_plan(found, tmp_path / "two")
    opened = {case for case, _ in rows_of(first / "one")}
    assert opened & {choice.scan.name for choice in found.choices}
    folders = {}
    for name, plan in (("one", first / "one"), ("two", tmp_path / "two")):
        folders[name] = tmp_path / f"labels_{name}"
        folders[name].mkdir()
        for case in {case for case, _ in rows_of(plan)}:
            label = np.zeros((12, 10, 8), np.uint8)
            label[3:5, 3:5, [s for c, s in rows_of(plan) if c == case]] = 1
            path = folders[name] / f"{case}.nii.gz"
            nib.save(nib.Nifti1Image(label, AFFINE), path)
    state = tmp_path / "state.json"
    digest = record(first / "one")["digest"]
    state.write_text(json.dumps({"plan": digest, "done": []}))
    imported = read_labels(
        tmp_path / "two", [folders["two"], folders["one"]], state=state
    )
    words = progress_lines(imported)
    assert words[0].startswith("50 of 50 slices")
    assert "round 1: 10 of 10 slices, round 2: 40 of 40 slices" in words
    assert not any(case.outside for case in imported.cases)


def test_new_scans_join_the_pool_and_changed_ones_are_refused(first, tmp_path):
    scans = write_folder(tmp_path / "scans", cases=18)
    found = again(first, images=scans, budget=20, slices_per_volume=2)
    assert len(found.pool) == 15
    assert len(found.test) == 3
    write_scan(scans / "case_03.nii.gz", seed=99)
    (scans / "case_05.nii.gz").unlink()
    with pytest.raises(InputError) as caught:
        again(first, images=scans)
    assert "case_03: its image has changed" in str(caught.value)
    assert "case_05: is gone" in str(caught.value)
    with pytest.raises(InputError, match="slices ran along axis 2, now 0"):
        again(first, slice_axis=0)


def test_patients_are_those_of_the_first_round(first, tmp_path):
    lines = ["case,patient"] + [f"case_{n:02d},p{n // 2}" for n in range(16)]
    (tmp_path / "groups.csv").write_text("\n".join(lines) + "\n")
    groups = str(tmp_path / "groups.csv")
    with pytest.raises(InputError, match="its patient was case_00, is p0"):
        again(first, groups=groups)
    one = again(first, exclude=(), groups=groups)
    write_plan(one, tmp_path / "one")
    two = again(first, exclude=(tmp_path / "one",))
    assert {scan.name for scan in two.test} == {scan.name for scan in one.test}
    assert {scan.group for scan in two.pool} == {scan.group for scan in one.pool}


def test_plans_of_other_test_patients_do_not_follow_each_other(first, tmp_path):
    write_plan(again(first, exclude=(), seed=8), tmp_path / "other")
    with pytest.raises(InputError, match="different scans for testing"):
        again(first, exclude=(first / "one", tmp_path / "other"))


def test_a_pool_that_is_used_up_says_so(first):
    with pytest.raises(InputError, match="1 to 16 are possible"):
        again(first, budget=17, slices_per_volume=2)


@pytest.mark.parametrize(
    ("budget", "most", "depths", "had", "expected"),
    [
        (3, 2, [9, 9, 9], [1, 1, 1], [1, 1, 1]),
        (4, 4, [9, 9], [3, 0], [1, 3]),
        (5, 4, [9, 9], [3, 0], [1, 4]),
        (2, 4, [9, 9], [0, 0], [2]),
        (3, 3, [1, 9, 9], [1, 2, 0], [0, 1, 2]),
    ],
)
def test_shares_count_what_a_volume_had(budget, most, depths, had, expected):
    found = quotas(budget, most, depths, had)
    assert found == expected
    assert sum(found) == budget


def test_the_command_line_goes_on_where_the_last_plan_ended(
    first, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "two"
    flags = (f"--exclude={first / 'one'}", "--budget=6", f"--out={out}")
    status, printed = run(monkeypatch, capsys, *flags)
    assert not status
    assert "round 2: 10 slices of 5 volumes were planned before" in printed.out
    assert record(out)["classes"] == ["organ"]
    assert record(out)["earlier"][0]["folder"] == str(first / "one")
    script = (out / "worklist_slicer.py").read_text()
    assert str(first / "one") in script
    status, printed = run(monkeypatch, capsys, "--exclude=nowhere", *flags[1:])
    assert status == 2
    assert "nowhere" in printed.err
