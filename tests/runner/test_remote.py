"""Work folders on other file systems: rows of a local run, whatever happens."""

import dataclasses
import json
import shutil
import signal

import pandas as pd
import pytest

from slicebench import main, remote, spec
from slicebench.errors import InputError
from slicebench.remote import _lease, _packing, _place, _uploads
from slicebench.report.__main__ import report
from slicebench.results import Store
from slicebench.runner import (
    Session,
    Shard,
    Stopped,
    make_study,
    staging,
    work_folder,
)
from tests import command
from tests.report import runs
from tests.runner.places import (
    Flaky,
    contents,
    fill,
    kept_in,
    options,
    same_rows,
    train,
)
from tests.runner.test_resume import write_experiment

FLAGS = (
    "--experiment=budget_sweep",
    "--smoke",
    "--budgets=4",
    "--slices_per_volume=1,2",
    "--ceiling_seeds=0",
)


QUICK = """
import pathlib
import time

from slicebench.remote import _uploads

_uploads.POLL_SECONDS = 0.1


def wait_for_both():
    while len(list(pathlib.Path("PLACE").glob("checkpoints/*/10.json"))) < 2:
        time.sleep(0.1)


"""


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """No waiting; every test has its own place and its own machine."""
    monkeypatch.setattr(_place, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(_lease, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(_uploads, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(Flaky, "root", str(tmp_path / "store"))
    monkeypatch.setattr(Flaky, "failures", 0)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Local folders lie in the returned one; prepared data stay where they are."""
    monkeypatch.setattr(staging, "cache_folder", lambda: tmp_path / "machine")
    return tmp_path / "machine" / "remote"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The rows of a local run."""
    workdir = tmp_path_factory.mktemp("local") / "work"
    given = dataclasses.replace(options(None), workdir=workdir)
    Session(make_study(given), given).run()
    return workdir


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A place with the rows of a run that was killed and went on elsewhere.

    After the kill the place has a lease of the dead, and half a checkpoint more.

    Returns:
      The place; what the first run left there; what --status and the second run said.
    """
    folder = tmp_path_factory.mktemp("resumed")
    place = folder / "place"
    experiment = write_experiment(folder, 12)
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    text = experiment.read_text().replace(kill, f"wait_for_both(); {kill}")
    text = text.replace("STEPS = 12", f"{QUICK}STEPS = 12")
    experiment.write_text(text.replace("PLACE", str(place)))
    flags = (f"--experiment={experiment}", *FLAGS[1:], "--checkpoint_seconds=0")
    flags = (*flags, "--keep_weights", f"--workdir=file://{place}")
    elsewhere = {"SLICEBENCH_CACHE": str(folder / "dead")}
    ended = command.finish(command.start(*flags, DIE_AT_CHECKPOINT="2", **elsewhere))
    assert ended.status == -signal.SIGKILL, ended.err
    left = contents(place)
    lease = json.loads((place / "lease.json").read_text())
    (place / "lease.json").write_text(json.dumps(lease | {"seconds": 1}))
    batch = sorted((place / "checkpoints").glob("batch-*"))[0]
    (batch / "11.tar").write_bytes((batch / "10.tar").read_bytes()[:1000])
    status = command.run(*flags, "--status")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "cache_folder", lambda: folder / "machine")
        outcome = command.run(*flags)
    assert outcome.status == 0, outcome.err
    return place, left, (status, outcome)


def test_a_killed_run_goes_on_on_a_fresh_machine(resumed, local):
    place, left, (status, outcome) = resumed
    found = sorted(name for name in left if name.startswith("checkpoints/batch-"))
    names = [name.rpartition("/")[2] for name in found]
    assert names == ["10.json", "10.tar"] * 2
    assert not [name for name in left if name.startswith("trials/")]
    batch = found[0].split("/")[1]
    assert f"under way: {batch}, last checkpoint at step 10" in status.out
    assert "last gave a sign of life" in status.out
    assert "waits up to 1 s whether it still lives" in outcome.err
    assert outcome.err.count("goes on from step 10") == 2
    same_rows(place, local)


def test_a_finished_place_has_a_work_folder_s_files_and_no_others(resumed):
    place, _, (_, outcome) = resumed
    assert f"report: file://{place}/report.html" in outcome.out
    found = contents(place)
    assert {"report.html", "summary.json", "compute.json"} < found.keys()
    assert not [n for n in found if "batch-" in n or "lease" in n or "upload" in n]
    final = place / "checkpoints" / "final"
    for name in Store(place).read_trials()["trial_id"]:
        assert (final / name / "_METADATA").is_file()
    assert not kept_in(place.parent / "machine" / "remote")


def test_another_machine_sees_a_finished_place_and_changes_nothing(resumed, machine):
    place = resumed[0]
    url, before = f"file://{place}", contents(place)
    trials = Store(place).done()
    with work_folder(options(url)) as here:
        assert Store(here.workdir).done() == trials
        final = here.workdir / "checkpoints" / "final"
        assert {path.name for path in final.iterdir()} == trials
    with pytest.raises(InputError, match=f"^{url}: holds results of experiment"):
        train(options(url))
    assert contents(place) == before


def test_a_look_at_a_place_writes_nothing(machine, tmp_path):
    url = f"file://{tmp_path}/place"
    outcome = command.run(*FLAGS, f"--workdir={url}", "--shard=1/2", "--dry_run")
    assert outcome.status == 0, outcome.err
    assert f"work folder: {url}/shard-1-of-2\n" in outcome.out
    assert not (tmp_path / "place").exists()
    assert not machine.exists()


def test_a_checkpoint_that_is_not_whole_is_not_used(machine, tmp_path, caplog):
    source = tmp_path / "10"
    (source / "inner" / "empty").mkdir(parents=True)
    (source / "inner" / "array").write_bytes(b"123")
    record = _packing.pack(source, tmp_path / "10.tar")
    place = remote.open_place(f"file://{tmp_path}/place")
    for step in (10, 20, 30):
        place.put(tmp_path / "10.tar", f"checkpoints/batch-a/{step}.tar")
    half = (json.dumps(record | {"bytes": 1}) + "\n").encode()
    place.write("checkpoints/batch-a/10.json", json.dumps(record).encode())
    place.write("checkpoints/batch-a/20.json", half)
    with work_folder(options(place.url)) as here:
        found = here.workdir / "checkpoints" / "batch-a"
        assert [path.name for path in found.iterdir()] == ["10"]
        assert contents(found / "10") == contents(source)
        assert (found / "10" / "inner" / "empty").is_dir()
    assert "20 of file" in caplog.text
    assert "is not complete" in caplog.text
    names = [f"checkpoints/batch-a/10.{kind}" for kind in ("json", "tar")]
    assert place.names() == names


def test_writes_that_fail_a_few_times_cost_nothing(local, machine, tmp_path):
    Flaky.failures = 3
    with work_folder(options("flaky://sweep")) as here:
        fill(here.workdir, local)
    assert Flaky.failures == 0
    same_rows(tmp_path / "store" / "sweep", local)
    assert not kept_in(machine)


def test_a_place_that_takes_no_rows_ends_with_a_clear_error(local, machine, tmp_path):
    Flaky.failures = 10**6
    given = options("flaky://key:secret@sweep")

    def write():
        with work_folder(given) as here:
            assert "secret" not in repr(here)
            fill(here.workdir, local)

    with pytest.raises(remote.RemoteError) as caught:
        write()
    text = str(caught.value)
    assert text.startswith("flaky://sweep: cannot be written (trials/part-")
    assert "no answer from ***" in text
    (kept,) = kept_in(machine)
    assert f"2 files are kept in {kept}: the same command on this machine" in text
    same_rows(kept, local)
    assert not Store(tmp_path / "store" / "sweep").done()
    Flaky.failures = 0
    with work_folder(given) as here:
        same_rows(here.workdir, local)
    same_rows(tmp_path / "store" / "sweep", local)
    assert not kept_in(machine)


def test_the_command_ends_with_status_1_where_rows_cannot_be_carried_away(
    machine, monkeypatch
):
    def run(self):
        (self.options.workdir / "trials").mkdir()
        (self.options.workdir / "trials" / "part-a.parquet").write_bytes(b"rows")

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(main, "_report", lambda _: None)
    Flaky.failures = 10**6
    outcome = command.run(*FLAGS, "--workdir=flaky://key:secret@sweep")
    assert outcome.status == 1
    (line,) = outcome.errors
    assert "the same command on this machine goes on" in line
    assert "secret" not in outcome.err + outcome.out


def test_rows_left_on_a_machine_give_way_to_those_trained_elsewhere(
    local, machine, tmp_path
):
    """Kept rows of one part are there already under another part's name."""
    url = "memory://bucket/left"
    with work_folder(options(url)) as here:
        fill(here.workdir, local)
    name = sorted((local / "trials").iterdir())[0].name
    folder = machine / spec.digest(url)
    for half in ("trials", "results"):
        (folder / half).mkdir(parents=True)
        shutil.copyfile(local / half / name, folder / half / "part-other.parquet")
    with work_folder(options(url)) as here:
        same_rows_but_names = Store(here.workdir).read_results()
        pd.testing.assert_frame_equal(same_rows_but_names, Store(local).read_results())
    names = remote.open_place(url).names()
    assert "trials/superseded-part-other.parquet" in names
    assert "trials/part-other.parquet" not in names


def test_parts_that_were_taken_out_go_from_the_place(local, machine):
    url = "memory://bucket/retried"
    with work_folder(options(url)) as here:
        fill(here.workdir, local)
    place = remote.open_place(url)
    part = next(name for name in place.names() if name.startswith("trials/part-"))
    with work_folder(options(url)) as here:
        for half in (part, part.replace("trials", "results")):
            path = here.workdir / half
            path.rename(path.with_name(f"retried-{path.name}"))
    names = place.names()
    assert part not in names
    assert part.replace("trials/", "trials/retried-") in names
    assert part.replace("trials/", "results/retried-") in names


def test_shares_are_united_from_and_into_the_place(machine, tmp_path):
    whole = Store(runs.write_run(tmp_path / "whole", **runs.SMALL))
    trials, scores = whole.read_trials(), whole.read_results()
    url = "memory://bucket/shares"
    for index in range(2):
        share = runs.write_run(tmp_path / f"share{index}", **runs.SMALL)
        mine = trials.iloc[index::2]
        rows = scores.loc[scores["trial_id"].isin(mine["trial_id"])]
        runs.rewrite(share, mine, rows)
        target = remote.append_name(url, Shard(index, 2).folder)
        with work_folder(options(target)) as here:
            fill(here.workdir, share)
    lines = report([url], None, images=True)
    assert lines[-1] == f"{url}/all/report.html"
    place = remote.open_place(url)
    names = place.names()
    assert {"all/report.html", "all/summary.json", "all/experiment.json"} < {*names}
    record = json.loads(place.read("all/experiment.json"))
    folders = [source["folder"] for source in record["merged_from"]]
    assert folders == [f"{url}/shard-{index}-of-2" for index in range(2)]
    remote.fetch_for_reading(place.at("all"), tmp_path / "all")
    pd.testing.assert_frame_equal(Store(tmp_path / "all").read_results(), scores)
    place.write("other/mine.txt", b"mine")
    with pytest.raises(InputError, match="other: is not empty and holds no merged"):
        report([url], f"{url}/other", images=True)
    with pytest.raises(InputError, match=f"{url}/none: holds no experiment.json"):
        report([f"{url}/none"], None, images=True)


def test_a_second_run_is_refused_while_the_first_lives(machine, tmp_path):
    given = options("memory://bucket/held")
    with work_folder(given), pytest.raises(InputError, match="another process of this"):
        train(given)
    place = remote.open_place("memory://bucket/held")
    first = remote.Lease(place, "one", lambda: None)
    first._seconds = 0.6
    first.acquire()
    with pytest.raises(InputError, match=r"held: another process runs there, on "):
        train(given)
    first.release()
    assert place.names() == []


def test_a_stopped_run_carries_its_rows_away(local, machine):
    url = "memory://bucket/stopped"

    def stop():
        with work_folder(options(url)) as here:
            fill(here.workdir, local)
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        stop()
    names = remote.open_place(url).names()
    parts = {f"trials/{path.name}" for path in (local / "trials").iterdir()}
    assert parts < set(names)
    assert remote.LEASE_FILE not in names


def test_a_run_whose_lease_was_taken_carries_nothing_away(local, machine, monkeypatch):
    monkeypatch.setattr(_uploads, "POLL_SECONDS", 60.0)
    url = "memory://bucket/taken"
    place = remote.open_place(url)

    def lose():
        with work_folder(options(url)) as here:
            place.write(remote.LEASE_FILE, b'{"owner": "another"}')
            fill(here.workdir, local)

    with pytest.raises(remote.RemoteError, match="another process has taken over"):
        lose()
    assert place.names() == [remote.LEASE_FILE]
    (kept,) = kept_in(machine)
    same_rows(kept, local)


def test_a_silent_lease_is_taken_over_and_its_holder_stops(machine):
    lost = []
    place = remote.open_place("memory://bucket/silent")
    dead = remote.Lease(place, "one", lambda: lost.append(1))
    dead._seconds = 0.2
    dead.acquire()
    dead._end.set()
    dead._thread.join()
    other = remote.Lease(place, "two", lambda: None)
    other.acquire()
    assert other.is_safe()
    dead.renew()
    assert dead.lost
    assert not dead.is_safe()
    dead.release()
    assert place.names() == [remote.LEASE_FILE]
    other.release()
    assert place.names() == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dropbox://bucket/sweep", "needs the package dropboxdrivefs; pip install"),
        ("nowhere://bucket/sweep", "Protocol not known: nowhere"),
        ("s3://bucket/sweep?key=secret", "is allowed, without ::, ? and #"),
        ("memory://", "names no bucket or folder"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(machine, url, words):
    outcome = command.run(*FLAGS, f"--workdir={url}")
    assert outcome.status == 2
    (line,) = outcome.errors
    assert words in line


def test_ray_on_other_machines_and_a_place_are_refused(machine):
    flags = ("--executor=ray", "--ray_address=auto")
    outcome = command.run(*FLAGS, "--workdir=memory://bucket/ray", *flags)
    assert outcome.status == 2
    assert "need a folder that all of them see" in outcome.errors[0]
