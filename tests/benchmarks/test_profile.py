"""Reading a trace: unions of intervals, pauses, thread pools."""

from typing import NamedTuple

import pytest

from benchmarks import profile
from benchmarks._machine import cores


class Event(NamedTuple):
    name: str
    start_ns: float
    duration_ns: float


class Line(NamedTuple):
    name: str
    events: list


class Plane(NamedTuple):
    name: str
    lines: list


def test_busy_time_is_a_union_and_pauses_are_its_gaps():
    lane = profile.lane_of("a", [(5e9, 6e9), (0, 2e9), (1e9, 3e9), (1e9, 1.5e9)])
    assert lane == ("a", 4.0, [2.0])
    assert profile.lane_of("a", []) == ("a", 0.0, [])


def test_operations_of_device_threads_count_and_nothing_else():
    planes = [
        Plane(
            "/host:CPU",
            [
                Line(
                    "tf_XLAPjRtCpuClient/1",
                    [Event("dot", 0, 1e9), Event("Pool::Await", 0, 9e9)],
                ),
                Line("tf_XLAEigen/2", [Event("dot", 0.5e9, 1e9)]),
                Line("tf_XLAPjRtCpuClient/3", [Event("wait for it", 2e9, 9e9)]),
                Line("python", [Event("dot", 0, 9e9)]),
            ],
        ),
        Plane("/device:GPU:0", [Line("stream", [Event("wait_kernel", 0, 3e9)])]),
        Plane("/host:metadata", [Line("tf_XLAPjRtCpuClient/1", [Event("x", 0, 9)])]),
    ]
    assert profile.lanes_of(planes) == [
        ("/device:GPU:0", 3.0, []),
        ("tf_XLAEigen/2", 1.0, []),
        ("tf_XLAPjRtCpuClient/1", 1.0, []),
    ]


def test_table_and_row_give_shares():
    lanes = [profile.Lane("one", 9.0, [0.5, 0.25]), profile.Lane("two", 7.0, [])]
    steady = profile.Steady(10.0, lanes, 5.0 * cores(), 3, 2)
    page = profile.describe(steady)
    assert "| one | 9.00 | 90.0% | 500.0, 250.0 |" in page
    assert "processor time 50.0%" in page
    assert "all 2 devices together: 80.0% busy" in page
    row = profile.row(steady, "machine", 0.1)
    assert row["busy_share"] == {"one": 0.9, "two": 0.7}
    assert row["busy"] == pytest.approx(0.8)
    assert row["processor_share"] == pytest.approx(0.5)


def test_watcher_gives_up_where_the_run_ends_first(tmp_path):
    watcher = profile.Watcher(tmp_path, 1)
    watcher.start()
    watcher.stop()
    assert watcher.seconds is None


@pytest.mark.slow
def test_steady_state_of_a_real_run(tmp_path):
    profile._FLAGS(["profile"])
    steady = profile.record(tmp_path, batches=1, steps=20)
    assert steady.written == 1
    assert steady.seconds > 0
    assert max(lane.busy for lane in steady.lanes) > 0.2 * steady.seconds
