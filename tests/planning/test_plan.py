"""From a folder of scans to the folder of a plan, through the command line."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from nibabel.affines import apply_affine
from PIL import Image

from slicebench.data.scans import find_scans
from slicebench.planning import __main__ as command_line
from slicebench.planning import worklist
from slicebench.planning.costs import Costs
from slicebench.planning.geometry import upright
from slicebench.planning.pictures import Planes, grey, window
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.writing import write_plan
from tests.planning.scans import AFFINE, write_folder
from tests.planning.test_recommend import LADDER, known

NAMES = ("worklist.csv", "test_cases.csv", "plan.json", "worklist.json")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("scans"), cases=16)


@pytest.fixture(scope="module")
def plan(scans):
    request = Request(images=scans, budget=11, test_patients=3, slices_per_volume=2)
    return make_plan(request, (), Costs())


@pytest.fixture(scope="module")
def written(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("plans") / "one"
    write_plan(plan, out)
    return out


def rows_of(folder):
    with (folder / "worklist.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_worklist_has_a_row_for_every_slice_of_the_budget(written):
    rows = rows_of(written)
    assert len(rows) == 11
    assert list(rows[0]) == list(worklist.COLUMNS)
    assert [int(row["rank"]) for row in rows] == list(range(1, 12))
    assert len({(row["case"], row["slice_index"]) for row in rows}) == 11
    for row in rows:
        assert int(row["display_number"]) == int(row["slice_index"]) + 1
        assert (row["anatomical_axis"], row["direction"]) == ("axial", "I to S")
        centre = apply_affine(AFFINE, [5.5, 4.5, int(row["slice_index"])])
        ras = [float(row[f"{name}_ras_mm"]) for name in "xyz"]
        np.testing.assert_allclose(ras, centre, atol=1e-3)
        lps = [float(row[f"{name}_lps_mm"]) for name in "xyz"]
        np.testing.assert_allclose(lps, centre * [-1, -1, 1], atol=1e-3)


def test_test_patients_are_listed_apart(written):
    with (written / "test_cases.csv").open(newline="") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    assert len(cases) == 3
    assert not cases.keys() & {row["case"] for row in rows_of(written)}
    # 8 neighbours: opened for 1 minute, one slice of 1.5, seven of 0.9.
    assert {float(row["minutes"]) for row in cases.values()} == {8.8}


def test_json_and_csv_agree(written):
    record = json.loads((written / "plan.json").read_text())
    table = json.loads((written / "worklist.json").read_text())
    assert record["rows"] == table["rows"]
    kept = [(row["case"], str(row["slice_index"])) for row in record["rows"]]
    assert kept == [(row["case"], row["slice_index"]) for row in rows_of(written)]


def test_thumbnails_show_the_slice_that_they_name(written, scans):
    """Each picture is nearest to its own slice among all slices of its volume."""
    by_name = {scan.name: scan for scan in find_scans(scans).scans}
    for row in rows_of(written):
        scan = by_name[row["case"]]
        image = scan.load_image()[0]
        planes = Planes(scan, "image", 192)
        shown = np.asarray(Image.open(written / row["thumbnail"]), float)
        turn = upright(scan.affine, scan.slice_axis)
        gaps = []
        for plane in image:
            own = grey(turn.apply(plane), window(image, "image"))
            scaled = Image.fromarray(np.ascontiguousarray(own)).resize(planes.size)
            gaps.append(np.abs(np.asarray(scaled, float) - shown).mean())
        assert int(np.argmin(gaps)) == int(row["slice_index"])


def test_equal_seeds_give_equal_bytes(plan, written, tmp_path):
    write_plan(plan, tmp_path / "again")
    files = sorted(p.relative_to(written) for p in written.rglob("*") if p.is_file())
    assert len(files) == 10 + 11
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_a_slice_page_shows_nothing_that_could_run(tmp_path):
    """Case names come from file names, and those may hold anything."""
    evil = "<img src=x onerror=alert(1)>"
    folder = write_folder(tmp_path / "scans", cases=4)
    (folder / "case_00.nii.gz").rename(folder / f"{evil}.nii.gz")
    request = Request(images=folder, budget=4, test_patients=0, slices_per_volume=1)
    write_plan(make_plan(request, (), Costs()), tmp_path / "out")
    page = (tmp_path / "out" / "worklist.html").read_text()
    assert evil not in page
    assert "\\u003cimg src=x" in page


def test_a_time_buys_slices_at_the_recommended_density(scans):
    near = known(*LADDER, spacing=(3.0, 1.0, 1.0), slices=8.0)
    request = Request(images=scans, minutes=75.0, test_patients=2)
    found = make_plan(request, (near,), Costs(volume=2, foreground_slice=1))
    # 14 volumes are left. 12 of 4 slices take 72 minutes, a 13th of one slice 3 more.
    assert found.evidence is near
    assert found.recommendation.slices_per_volume == 4
    assert found.budget == 49
    assert found.minutes <= 75
    assert found.flips


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["planning", *arguments])
    flags = command_line.FLAGS
    flags.unparse_flags()
    for name in flags:
        flags[name].unparse()
    with pytest.raises(SystemExit) as caught:
        command_line.run()
    return caught.value.code, capsys.readouterr()


def test_the_command_line_writes_a_plan_and_says_why(
    scans, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "plan"
    flags = (f"--images={scans}", "--budget=6", f"--out={out}", "--test_patients=2")
    status, printed = run(monkeypatch, capsys, *flags)
    assert not status
    assert printed.out.startswith("6 slices: 1 of each of 6 volumes (stratified)")
    assert "No evidence" in printed.out
    assert all((out / name).exists() for name in NAMES)
    status, printed = run(monkeypatch, capsys, *flags)
    assert status == 2
    assert "holds files" in printed.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--budget=6"], "--images: not given"),
        (["--images=SCANS"], "give one of them"),
        (["--images=SCANS", "--budget=6", "--minutes=5"], "give one of them"),
        (["--images=SCANS", "--budget=0"], "--budget=0"),
        (["--images=SCANS", "--budget=4000"], "are possible"),
        (["--images=SCANS", "--minutes=1"], "takes 2.5"),
        (["--images=SCANS", "--budget=6", "--test_patients=15"], "0 to 14"),
        (["--images=SCANS", "--budget=6", "--strategy=best"], "best"),
        (["--images=SCANS", "--budget=6", "--strategy=extent_random"], "oracle"),
        (["--images=SCANS", "--budget=6", "--cost_slice=1"], "cost_slice"),
        (["--images=SCANS", "--budget=6", "--groups=none.csv"], "no such file"),
        (["--images=SCANS", "--budget=x"], "budget"),
        (["--images=SCANS", "--budget=6", "--evidence=nowhere"], "nowhere"),
        (["--images=SCANS", "--budget=6", "more"], "more"),
    ],
)
def test_bad_input_ends_with_status_2_and_leaves_nothing(
    flags, message, scans, tmp_path, monkeypatch, capsys
):
    given = [flag.replace("SCANS", str(scans)) for flag in flags]
    out = tmp_path / "plan"
    status, printed = run(monkeypatch, capsys, *given, f"--out={out}")
    assert status == 2
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert not out.exists()


def test_patients_with_several_scans_stay_on_one_side(scans, tmp_path):
    stream = io.StringIO("case,patient\n")
    stream.seek(0, io.SEEK_END)
    for number in range(16):
        stream.write(f"case_{number:02d},{number // 2}\n")
    (tmp_path / "groups.csv").write_text(stream.getvalue())
    request = Request(
        images=scans,
        budget=6,
        test_patients=3,
        groups=f"{tmp_path / 'groups.csv'}:patient",
    )
    found = make_plan(request, (), Costs())
    assert len(found.test) == 6
    assert not {s.group for s in found.test} & {s.group for s in found.pool}
