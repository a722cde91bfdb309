"""Ray workers: rows are those of a local run, whatever becomes of a worker."""

import fcntl
import importlib.util
import json
import signal
import time

import pytest

from slicebench import results
from slicebench.errors import InputError
from slicebench.runner import (
    LostBatchError,
    Options,
    Overrides,
    Session,
    Shard,
    Stopped,
    make_study,
    ray_session,
)
from slicebench.runner.dispatch import Batch, Line, Queue
from slicebench.runner.locks import held, only_one, open_as_worker
from slicebench.runner.ray_cluster import Size, absolute, check_executor, size_workers
from slicebench.runner.ray_crew import Ended, Hand
from slicebench.runner.stopping import Stop
from tests import command
from tests.runner import small

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
LINE, OTHER = Line("organ", 0, "wide"), Line("organ", 1, "wide")
APART = Line("stroke", 0, "narrow")


def batches(*costs, start=0):
    return [
        Batch(f"b{start + place}", (f"t{start + place}",), cost)
        for place, cost in enumerate(costs)
    ]


def names(unit):
    return [batch.name for batch in unit.batches]


def test_units_shrink_towards_the_end_and_every_batch_is_dealt_once():
    queue = Queue()
    queue.put(LINE, batches(*[1.0] * 20))
    sizes, seen = [], []
    while unit := queue.take(LINE, 2):
        sizes.append(len(unit.batches))
        seen += names(unit)
    assert sizes == [5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    assert seen == [f"b{place}" for place in range(20)]
    assert queue.take(LINE, 2) is None


def test_a_worker_goes_on_with_what_it_has_compiled():
    queue = Queue()
    queue.put(LINE, batches(1.0))
    queue.put(OTHER, batches(1.0, start=1))
    queue.put(APART, batches(9.0, start=2))
    assert [queue.take(LINE, 1).line for _ in range(3)] == [LINE, OTHER, APART]
    queue.put(LINE, batches(1.0))
    queue.put(APART, batches(9.0, start=2))
    assert queue.take(None, 1).line == APART


def test_what_a_lost_worker_had_comes_first_and_a_program_can_be_dropped():
    queue = Queue()
    queue.put(LINE, batches(1.0, 1.0))
    queue.put(APART, batches(1.0, start=5))
    queue.put(LINE, batches(1.0, start=9), first=True)
    assert names(queue.take(LINE, 9)) == ["b9"]
    queue.drop("wide")
    assert len(queue) == 1
    assert queue.take(LINE, 1).line == APART


@pytest.mark.parametrize(
    ("nodes", "given", "expected"),
    [
        # One worker with all cores of a machine like the driver's, one a node.
        ([{"CPU": 2.0}, {"CPU": 2.0}], {}, (2, 2.0, 0, 2)),
        # Nodes that are smaller than the driver's machine set the size.
        ([{"CPU": 1.0}, {"CPU": 4.0}], {}, (5, 1.0, 0, 1)),
        # Also where its devices are more than its cores.
        ([{"CPU": 1.0}], {"local": True}, (1, 1.0, 0, 2)),
        # A head that only schedules has no worker.
        ([{"CPU": 0.0}, {"CPU": 4.0}], {}, (2, 2.0, 0, 2)),
        # Elsewhere workers wait for their place, on one machine they share it.
        ([{"CPU": 2.0}], {"wanted": 2}, (2, 2.0, 0, 2)),
        ([{"CPU": 2.0}], {"wanted": 2, "local": True}, (2, 1.0, 0, 2)),
        ([{"CPU": 2.0}], {"wanted": 3, "local": True}, (3, 0.66, 0, 2)),
        # A folder that was begun with four devices goes on with four.
        ([{"CPU": 2.0}], {"recorded": 4}, (1, 2.0, 0, 4)),
        # One worker a GPU; nodes without one do nothing.
        ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}], {}, (4, 1, 1, None)),
    ],
)
def test_how_many_workers_of_which_size(nodes, given, expected, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    given = {"wanted": None, "local": False, "devices": 2, "recorded": None} | given
    workers, cpus, gpus, devices = expected
    assert size_workers(nodes, **given) == Size(
        workers=workers, cpus=cpus, gpus=gpus, devices=devices
    )


def test_a_cluster_without_cpus_is_refused():
    with pytest.raises(InputError, match="no node of the cluster offers a CPU"):
        size_workers([{}], wanted=None, local=False, devices=2, recorded=None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ray_address=auto"], "--ray_address=auto: needs --executor=ray"),
        (["--ray_workers=2"], "--ray_workers=2: needs --executor=ray"),
        (["--executor=ray", "--shard=0/2"], "with --executor=ray"),
        (["--executor=ray", "--ray_address=somewhere"], "HOST:PORT"),
        (["--executor=ray", "--ray_address=ray://a:1"], "HOST:PORT"),
        (["--executor=ray", "--ray_address=127.0.0.1:1"], "cannot be reached"),
    ],
)
@needs_ray
def test_flags_that_cannot_be(tmp_path, flags, words):
    workdir = tmp_path / "w"
    outcome = command.run(
        "--experiment=budget_sweep", "--smoke", f"--workdir={workdir}", *flags
    )
    assert outcome.status == 2
    (line,) = outcome.errors
    assert words in line
    assert not (workdir / "experiment.json").exists()


def test_missing_ray_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    asked = Options(experiment="budget_sweep", workdir=tmp_path, executor="ray")
    with pytest.raises(InputError, match=r"slicebench\[ray\]"):
        check_executor(asked)


def test_shards_are_refused_before_ray_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    asked = Options(experiment="x", workdir=tmp_path, executor="ray", shard=Shard(0, 2))
    with pytest.raises(InputError, match="one of both is allowed"):
        check_executor(asked)


def test_options_of_a_worker_mean_the_same_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = Options(
        experiment="mine.py",
        workdir=small.NOWHERE,
        data=(small.NOWHERE / "data",),
        strata_file="table.csv:scanner",
    )
    found = absolute(asked)
    assert found.experiment == str(tmp_path / "mine.py")
    assert found.workdir == tmp_path / small.NOWHERE
    assert found.data == (tmp_path / small.NOWHERE / "data",)
    assert found.strata_file == str(tmp_path / "table.csv:scanner")
    assert found.splits_file is None
    shipped = Options(experiment="budget_sweep", workdir=small.NOWHERE)
    assert absolute(shipped).experiment == "budget_sweep"


def test_a_run_waits_for_workers_of_an_earlier_one(tmp_path):
    with only_one(tmp_path):
        worker = open_as_worker(tmp_path)
    with (
        pytest.raises(InputError, match="workers of an earlier run"),
        only_one(tmp_path, patience=0.1),
    ):
        raise AssertionError
    worker.close()
    with only_one(tmp_path, patience=0.1):
        pass


def test_one_batch_has_one_worker(tmp_path):
    stop = Stop()
    with held(tmp_path / "locks" / "b", stop.check):
        stop.asked = signal.SIGTERM
        with pytest.raises(Stopped), held(tmp_path / "locks" / "b", stop.check):
            raise AssertionError
    with held(tmp_path / "locks" / "b", stop.check) as _:
        file = (tmp_path / "locks" / "b").open()
        with file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def options(workdir, **given):
    return Options(
        experiment="budget_sweep",
        workdir=workdir,
        smoke=True,
        overrides=Overrides(budgets=(4,), slices_per_volume=(1, 2), steps=(40,)),
        **given,
    )


def ray_options(workdir, **given):
    return options(workdir, executor="ray", checkpoint_seconds=0.0, **given)


def lost(job):
    return Ended(Hand(1, None), job, None, "its node is gone")


@needs_ray
def test_a_batch_that_takes_down_every_worker_ends_the_run(tmp_path):
    asked = ray_options(tmp_path)
    session = ray_session.RaySession(make_study(asked), asked)
    line = Line("phantom_organ", 0, next(iter(session.study.programs)))
    session._queue.put(line, batches(1.0))
    for _ in range(4):
        session._deal_again(lost(session._queue.take(None, 1)))
    unit = session._queue.take(None, 1)
    with pytest.raises(LostBatchError, match=r"b0: 5 workers .*its node is gone"):
        session._deal_again(lost(unit))


@needs_ray
def test_workers_that_never_start_end_the_run(tmp_path):
    asked = ray_options(tmp_path)
    session = ray_session.RaySession(make_study(asked), asked)
    for _ in range(4):
        session._deal_again(lost(None))
    with pytest.raises(InputError, match="workers do not start"):
        session._deal_again(lost(None))


def result_bytes(workdir):
    return {path.name: path.read_bytes() for path in (workdir / "results").iterdir()}


def trial_rows(workdir):
    """The trials table without what a clock decides."""
    table = results.Store(workdir).read_trials().drop(columns="seconds")
    return table.sort_values("trial_id", ignore_index=True)


def check_equal(ours, theirs, parts):
    assert result_bytes(ours) == result_bytes(theirs)
    assert len(result_bytes(ours)) == parts
    assert trial_rows(ours).equals(trial_rows(theirs))
    assert not list((ours / "checkpoints").glob("batch-*"))
    assert not list(ours.rglob("*.tmp"))
    assert not (ours / "locks").exists()


# The driver is a process of its own: Ray forks, which a process that has used JAX
# should not do.


def flags(workdir, *given):
    return (
        "--experiment=budget_sweep",
        "--smoke",
        "--budgets=4",
        "--slices_per_volume=1,2",
        "--steps=40",
        f"--workdir={workdir}",
        *given,
    )


def checkpointed(workdir):
    """Batches that have a complete checkpoint."""
    found = workdir.glob("checkpoints/batch-*/*")
    return {path.parent.name for path in found if path.name.isdecimal()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A local run."""
    workdir = tmp_path_factory.mktemp("whole")
    asked = options(workdir)
    Session(make_study(asked), asked).run()
    return workdir


@needs_ray
@pytest.mark.usefixtures("two_devices")
def test_two_workers_give_the_rows_of_a_local_run(tmp_path, whole):
    dealt = tmp_path / "dealt"
    process = command.start(*flags(dealt, "--executor=ray", "--ray_workers=2"))
    outcome = command.finish(process)
    assert outcome.status == 0, outcome.err
    assert "Warning" not in outcome.err
    assert "2 workers" in outcome.err
    assert (dealt / "report.html").exists()
    check_equal(dealt, whole, 3)
    told = json.loads((dealt / "experiment.json").read_text())
    assert told["device"]["count"] == 2
    spent = json.loads((dealt / "compute.json").read_text())
    assert spent["trial_steps"] == 5 * 40
    assert spent["training_seconds"] > 0


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_stopped_run_goes_on_from_its_checkpoint(tmp_path, whole, number, status):
    dealt = tmp_path / "dealt"
    given = flags(dealt, "--executor=ray", "--checkpoint_seconds=0")
    process = command.start(*given)
    while process.poll() is None and not checkpointed(dealt):
        time.sleep(0.05)
    process.send_signal(number)
    outcome = command.finish(process)
    assert outcome.status == status, outcome.err
    assert len(outcome.errors) == 1
    assert len(results.Store(dealt).done()) < 5
    assert checkpointed(dealt)
    outcome = command.finish(command.start(*given))
    assert outcome.status == 0, outcome.err
    assert "goes on from step" in outcome.err
    check_equal(dealt, whole, 3)


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
# The nodes are started from this process, which has used JAX.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore::ResourceWarning")
def test_a_node_is_killed_during_the_run(tmp_path, monkeypatch):
    """Two nodes of this machine; the second dies while it trains."""
    from ray.cluster_utils import Cluster

    from tests.runner.test_resume import arguments, write_experiment

    experiment = write_experiment(tmp_path, 60)
    local, dealt = tmp_path / "local", tmp_path / "dealt"
    asked = Options(
        experiment=str(experiment),
        workdir=local,
        smoke=True,
        overrides=Overrides(num_seeds=2),
    )
    Session(make_study(asked), asked).run()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False},
    )
    try:
        second = cluster.add_node(num_cpus=2)
        process = command.start(
            *arguments(experiment, dealt),
            "--num_seeds=2",
            "--executor=ray",
            f"--ray_address={cluster.address}",
        )
        while process.poll() is None and len(checkpointed(dealt)) < 2:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        outcome = command.finish(process)
    finally:
        cluster.shutdown()
    assert outcome.status == 0, outcome.err
    assert "is lost" in outcome.err
    assert "goes on from step" in outcome.err
    trials = results.Store(dealt).read_trials()
    assert trials["trial_id"].is_unique
    check_equal(dealt, local, 3)
