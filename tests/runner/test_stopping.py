"""Signals end a run where it can go on, and it ends with the same bytes."""

import errno
import os
import signal
import threading

import pandas as pd
import pytest

from slicebench import main, runner
from slicebench.results import Store
from slicebench.runner import Options, Overrides, Session, Stopped, make_study
from slicebench.runner.stopping import Stop, stoppable

COLUMNS = ["trial_id", "case", "class_name", "metric"]


def options(workdir):
    return Options(
        experiment="budget_sweep",
        workdir=workdir,
        smoke=True,
        overrides=Overrides(
            budgets=(4,), slices_per_volume=(1, 2), ceiling_seeds=0, steps=(40,)
        ),
    )


def rows(workdir):
    found = Store(workdir).read_results()
    return found.sort_values(COLUMNS, ignore_index=True)


@pytest.fixture(autouse=True)
def parsed():
    """Flags have their defaults, whatever ran before."""
    main.FLAGS.mark_as_parsed()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    asked = options(workdir)
    Session(make_study(asked), asked).run()
    return rows(workdir)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_stopped_run_goes_on_from_its_checkpoint(
    tmp_path, monkeypatch, whole, number
):
    asked = options(tmp_path / "run")
    session = Session(make_study(asked), asked)
    calls = []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(session, "_show_rate", interrupt)
    with pytest.raises(Stopped) as stopped:
        session.run()
    assert stopped.value.number == number
    (folder,) = (tmp_path / "run" / "checkpoints").glob("batch-*")
    assert 0 < int(next(folder.iterdir()).name) < 40
    assert rows(tmp_path / "run").empty
    steps = []
    again = Session(make_study(asked), asked)
    monkeypatch.setattr(
        again, "_show_rate", lambda *_: steps.append(again._accounts.steps)
    )
    again.run()
    assert 0 < steps[0] < 2 * 40
    pd.testing.assert_frame_equal(rows(tmp_path / "run"), whole, check_exact=True)
    assert not list((tmp_path / "run" / "checkpoints").glob("batch-*"))


def test_a_finished_batch_is_written_before_the_end(tmp_path, monkeypatch, whole):
    asked = options(tmp_path / "run")
    session = Session(make_study(asked), asked)
    run_batch = session._run_batch

    def then_stop(*arguments):
        finish = run_batch(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return finish

    monkeypatch.setattr(session, "_run_batch", then_stop)
    with pytest.raises(Stopped):
        session.run()
    done = rows(tmp_path / "run")
    assert 0 < done["trial_id"].nunique() < whole["trial_id"].nunique()
    expected = whole.loc[whole["trial_id"].isin(done["trial_id"])]
    pd.testing.assert_frame_equal(
        done, expected.reset_index(drop=True), check_exact=True
    )


def test_handlers_are_put_back_and_a_second_signal_acts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == signal.SIGINT
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        with pytest.raises(Stopped, match="SIGINT"):
            stop.check()
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def look():
        with stoppable() as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop.asked))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


@pytest.mark.parametrize(
    ("raised", "status", "name"),
    [
        (Stopped(signal.SIGTERM), 143, "SIGTERM"),
        (Stopped(signal.SIGINT), 130, "SIGINT"),
        (KeyboardInterrupt(), 130, "SIGINT"),
    ],
)
def test_exit_status_tells_the_signal(monkeypatch, capsys, raised, status, name):
    def stop(_):
        raise raised

    monkeypatch.setattr(main, "read_options", lambda: None)
    monkeypatch.setattr(main, "run", stop)
    with pytest.raises(SystemExit) as end:
        main.main(["slicebench"])
    assert end.value.code == status
    assert f"stopped by {name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        ValueError('Error writing local file "x": No space left on device [os_error]'),
    ],
)
def test_a_full_disk_ends_with_one_line(monkeypatch, capsys, raised):
    def fail(_):
        raise RuntimeError("writing failed") from raised

    monkeypatch.setattr(main, "read_options", lambda: None)
    monkeypatch.setattr(main, "run", fail)
    with pytest.raises(SystemExit) as end:
        main.main(["slicebench"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a file cannot be written" in line


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail(_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(main, "read_options", lambda: None)
    monkeypatch.setattr(main, "run", fail)
    with pytest.raises(OSError, match="Permission denied"):
        main.main(["slicebench"])


def test_nothing_asked_nothing_stopped():
    Stop().check()
    assert runner.Stopped is Stopped
