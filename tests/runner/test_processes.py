"""Several processes that are one program: rows are those of one process."""

import dataclasses
import json
import signal
import socket
import threading
import time

import pytest

from slicebench import results
from slicebench.errors import InputError
from slicebench.runner import (
    Options,
    Overrides,
    Shard,
    make_study,
    team_session,
)
from slicebench.runner.joining import check_processes, joined
from slicebench.runner.team_session import TeamCheckpoints, TeamSession
from tests import command
from tests.runner import small

COUNT = 2


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def flags(workdir, *given):
    return (
        "--experiment=budget_sweep",
        "--smoke",
        "--budgets=4",
        "--slices_per_volume=1,2",
        "--steps=20",
        f"--workdir={workdir}",
        *given,
    )


def start(*given):
    """Starts two processes of one device each."""
    port = free_port()
    return [
        command.start(
            *given,
            f"--num_processes={COUNT}",
            f"--process_id={index}",
            f"--coordinator=127.0.0.1:{port}",
            devices=1,
            JAX_PLATFORMS="cpu",
        )
        for index in range(COUNT)
    ]


def finish(team):
    """Reads from both at once, so that none waits for its reader."""
    outcomes = [None] * COUNT

    def read(place):
        outcomes[place] = command.finish(team[place])

    readers = [threading.Thread(target=read, args=(n,)) for n in range(COUNT)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return outcomes


def checkpointed(workdir):
    """Batches that have a complete checkpoint."""
    found = workdir.glob("checkpoints/batch-*/*")
    return {path.parent.name for path in found if path.name.isdecimal()}


def wait_for_checkpoint(team, workdir):
    while all(p.poll() is None for p in team) and not checkpointed(workdir):
        time.sleep(0.05)


def result_bytes(workdir):
    return {path.name: path.read_bytes() for path in (workdir / "results").iterdir()}


def trial_rows(workdir):
    """The trials table without what a clock decides."""
    table = results.Store(workdir).read_trials().drop(columns="seconds")
    return table.sort_values("trial_id", ignore_index=True)


def check_equal(ours, theirs):
    assert result_bytes(ours) == result_bytes(theirs)
    assert len(result_bytes(ours)) == 3
    assert trial_rows(ours).equals(trial_rows(theirs))
    assert not list((ours / "checkpoints").glob("batch-*"))
    assert not list(ours.rglob("*.tmp"))
    assert not (ours / ".team").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process with two devices."""
    workdir = tmp_path_factory.mktemp("whole")
    outcome = command.finish(command.start(*flags(workdir), JAX_PLATFORMS="cpu"))
    assert outcome.status == 0, outcome.err
    return workdir


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """The same with time enough between a checkpoint and the end of its batch."""
    workdir = tmp_path_factory.mktemp("longer")
    given = flags(workdir, "--steps=60")
    outcome = command.finish(command.start(*given, JAX_PLATFORMS="cpu"))
    assert outcome.status == 0, outcome.err
    return workdir


def test_two_processes_give_the_rows_of_one(tmp_path, whole):
    workdir = tmp_path / "team"
    first, second = finish(start(*flags(workdir)))
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert "Warning" not in first.err + second.err
    assert "report" in first.out
    assert second.out == ""
    assert (workdir / "report.html").exists()
    check_equal(workdir, whole)
    told = json.loads((workdir / "experiment.json").read_text())
    assert told["device"]["count"] == COUNT
    spent = json.loads((workdir / "compute.json").read_text())
    assert spent["trial_steps"] == 5 * 20
    shown = [sorted(p.name for p in d.glob("examples/**/*")) for d in (workdir, whole)]
    assert shown[0] == shown[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("victim", [0, 1])
def test_one_signal_stops_all_and_any_number_goes_on(
    tmp_path, longer, number, status, victim
):
    workdir = tmp_path / "team"
    given = flags(workdir, "--steps=60", "--checkpoint_seconds=0")
    team = start(*given)
    wait_for_checkpoint(team, workdir)
    team[victim].send_signal(number)
    for outcome in finish(team):
        assert outcome.status == status, outcome.err
        assert len(outcome.errors) == 1
    assert len(results.Store(workdir).done()) < 5
    assert checkpointed(workdir)
    # One process goes on where two have stopped, and the other way round.
    if victim:
        outcome = command.finish(command.start(*given, JAX_PLATFORMS="cpu"))
    else:
        outcome, _ = finish(start(*given))
    assert outcome.status == 0, outcome.err
    assert "goes on from step" in outcome.err
    check_equal(workdir, longer)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_both_go_on(tmp_path, whole, victim):
    workdir = tmp_path / "team"
    given = flags(workdir, "--checkpoint_seconds=0")
    team = start(*given)
    wait_for_checkpoint(team, workdir)
    team[victim].kill()
    begin = time.monotonic()
    left = finish(team)[1 - victim]
    assert time.monotonic() - begin < 180
    assert left.status != 0
    if victim:
        assert left.status == 1
        assert "nothing heard of process 1" in left.err
    outcomes = finish(start(*given))
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    check_equal(workdir, whole)


SEVERAL = ["--num_processes=2", "--process_id=0", "--coordinator=127.0.0.1:1"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--num_processes=2"], "needs --process_id and --coordinator"),
        (["--process_id=0"], "needs --num_processes and --coordinator"),
        (["--coordinator=a:1"], "needs --num_processes and --process_id"),
        ([*SEVERAL, "--process_id=2"], "numbers from 0 to 1"),
        ([*SEVERAL, "--process_id=-1"], "numbers from 0 to 1"),
        ([*SEVERAL, "--coordinator=somewhere"], "HOST:PORT"),
        ([*SEVERAL, "--plan=timed"], "give --plan=fixed"),
        ([*SEVERAL, "--workdir=memory://x"], "one folder that they share"),
        ([*SEVERAL, "--executor=ray"], "--executor=ray with --coordinator"),
        ([*SEVERAL, "--shard=0/2"], "--shard=0/2 with --coordinator"),
        ([*SEVERAL, "--stop_when_decided"], "--stop_when_decided with"),
        ([*SEVERAL, "--keep_weights"], "--keep_weights with"),
        ([*SEVERAL, "--dry_run"], "--dry_run with"),
        (["--coordinator=auto", "--status"], "--status with --coordinator=auto"),
    ],
)
def test_flags_that_cannot_be(tmp_path, given, words):
    outcome = command.run(*flags(tmp_path / "w", *given))
    assert outcome.status == 2
    (line,) = outcome.errors
    assert words in line
    assert not (tmp_path / "w").exists()


def options(**given):
    return Options(experiment="budget_sweep", workdir=small.NOWHERE, **given)


def test_one_process_joins_nobody():
    alone = options(num_processes=1, process_id=0, coordinator="127.0.0.1:1")
    for asked in (options(), options(plan="timed", shard=Shard(0, 2)), alone):
        check_processes(asked)
        with joined(asked) as team:
            assert team is None


class Alone:
    """A team of one, which agrees with itself."""

    index, count, leads = 0, 1, True

    def decide(self, make):
        return make()

    def gather(self, value):
        return [value]

    def meet(self):
        return None

    def all_agree(self, yes):
        return yes

    def asked_to_stop(self):
        return None


@pytest.mark.usefixtures("two_devices")
def test_a_team_of_one_is_a_run_of_one_process(tmp_path, whole):
    """Also from a damaged checkpoint, which is set aside."""
    asked = dataclasses.replace(
        options(smoke=True, checkpoint_seconds=0.0),
        workdir=tmp_path,
        overrides=Overrides(budgets=(4,), slices_per_volume=(1, 2), steps=(20,)),
    )
    session = TeamSession(make_study(asked), asked, Alone())
    session.run()
    check_equal(tmp_path, whole)
    other = dataclasses.replace(asked, workdir=tmp_path / "other")
    session = TeamSession(make_study(other), other, Alone())
    found = session._checkpoints(list(session.study.trials[:2]))
    assert isinstance(found, TeamCheckpoints)
    (found.folder / "10").mkdir(parents=True)
    assert found.restore(small.program_work().engine.abstract_state()) is None
    assert (found.folder / "unreadable-10").is_dir()
    found.remove()
    assert not found.folder.exists()


def test_every_process_resolves_alike(tmp_path):
    asked = dataclasses.replace(options(smoke=True), workdir=tmp_path)
    team = Alone()
    team.gather = lambda value: [value, "other"]
    with pytest.raises(InputError, match="--process_id=1: resolves the experiment"):
        TeamSession(make_study(asked), asked, team).run()


def test_a_folder_that_is_not_shared_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(team_session, "_TOKEN_SECONDS", 0.0)
    asked = dataclasses.replace(options(smoke=True), workdir=tmp_path)
    team = Alone()
    team.decide = lambda _: "token of another folder"
    with pytest.raises(InputError, match="does not see the folder of process 0"):
        TeamSession(make_study(asked), asked, team)._share_folder()
