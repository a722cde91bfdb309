"""What the processes of one program tell each other."""

import signal
import threading
import time

import jax
import pytest

from slicebench.runner import EndedElsewhereError, Stopped, processes
from slicebench.runner.processes import Processes, TeamStop
from slicebench.runner.stopping import Stop


class Notes:
    """JAX's key-value store in the memory of one process."""

    def __init__(self):
        self._kept = {}
        self._changed = threading.Condition()

    def key_value_set_bytes(self, key, value, allow_overwrite=False):
        with self._changed:
            assert allow_overwrite or key not in self._kept, key
            self._kept[key] = value
            self._changed.notify_all()

    def blocking_key_value_get_bytes(self, key, timeout_in_ms):
        with self._changed:
            if not self._changed.wait_for(
                lambda: key in self._kept, timeout_in_ms / 1e3
            ):
                raise jax.errors.JaxRuntimeError(f"DEADLINE_EXCEEDED: {key}")
            return self._kept[key]

    def key_value_dir_get_bytes(self, key):
        with self._changed:
            return [(k, v) for k, v in self._kept.items() if k.startswith(key)]

    def key_value_delete(self, key):
        with self._changed:
            del self._kept[key]

    def __len__(self):
        return len(self._kept)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(processes, "_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(processes, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(processes, "_LOST_SECONDS", 0.3)


def together(*tasks):
    """Runs one function in each of several threads."""
    found = [None] * len(tasks)

    def run(place):
        try:
            found[place] = tasks[place]()
        except Exception as error:
            found[place] = error

    threads = [
        threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(tasks))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def pair():
    notes = Notes()
    return notes, [Processes(notes, index, 2) for index in range(2)]


def test_process_0_decides_and_gathers():
    notes, team = pair()

    def talk(one):
        decided = one.decide(lambda: {"index": one.index})
        rows = one.gather([one.index, 0.1])
        one.meet()
        return decided, rows, one.all_agree(True), one.all_agree(one.leads)

    first, second = together(*(lambda one=one: talk(one) for one in team))
    assert first == ({"index": 0}, [[0, 0.1], [1, 0.1]], True, False)
    assert second == ({"index": 0}, None, True, False)
    # Messages that all have read are deleted.
    assert len(notes) <= 3


def test_a_signal_to_any_process_stops_all():
    _, team = pair()
    stops = [TeamStop(Stop(), one) for one in team]
    assert together(*(lambda s=s: s.agree(True) for s in stops)) == [(True, None)] * 2
    stops[1]._mine.asked = signal.SIGTERM

    def until_stopped(stop):
        for _ in range(1000):
            try:
                stop.check()
            except Stopped as end:
                return end.number
        return None

    team[1].ask_to_stop(signal.SIGTERM)
    numbers = together(*(lambda s=s: until_stopped(s) for s in stops))
    assert numbers == [signal.SIGTERM] * 2


@pytest.mark.usefixtures("quick")
def test_an_end_is_told_and_silence_is_noticed():
    _, team = pair()
    for one in team:
        one.watch()
    team[1].leave(("disk is full", 1))
    told = together(lambda: team[0].gather(None))[0]
    assert isinstance(told, EndedElsewhereError)
    assert "process 1 has ended (disk is full)" in str(told)
    assert not told.lost
    team[0].leave(None)
    _, team = pair()
    for one in team:
        one.watch()
    time.sleep(0.1)
    team[1].leave(None)
    lost = together(lambda: team[0].gather(None))[0]
    assert lost.lost
    assert "nothing heard of process 1" in str(lost)
    team[0].leave(None)
