"""The throughput race: turns, failures, ratios, rows and exit status."""

import json
import time

import pytest

from benchmarks import _throughput_ways as ways_module
from benchmarks import throughput
from benchmarks._throughput_cases import CASES, DEMO_CASE
from benchmarks._throughput_ways import ALONE, OURS, WAYS, Outcome, Timing, ways_of
from benchmarks._throughput_workers import Group, Ready, WayError

EAGER = "PyTorch, one after another"
PROCESSES = "PyTorch, a process a core"
LEFT_OUT = "PyTorch, a process a core, GroupNorm"
CASE = CASES[DEMO_CASE]
HERE = "tests.benchmarks.test_throughput"


class SleepingBench:
    """Stands for a library: a step takes as long as its settings say."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.trials = {}

    def prepare(self, method, case, trials):
        if method == "broken":
            raise RuntimeError("no compiler\nand more lines")
        self.trials[method] = trials
        return Ready(compile_seconds=0.5, parameters=case.batch, trials=trials)

    def run(self, method, steps):
        if method == "late":
            raise MemoryError
        if method == "deadly":
            raise SystemExit
        time.sleep(self.seconds * steps)
        return steps * self.trials[method]

    def drop(self):
        self.trials.clear()

    def settled(self, word):
        return word, self.trials["sleep"]


@pytest.fixture(scope="module")
def group():
    made = Group(f"{HERE}:SleepingBench", 2, {"seconds": 0.02})
    yield made
    made.close()


def test_rates_of_processes_that_start_together_are_added(group):
    assert group.prepare("sleep", CASE, 3) == (0.5, CASE.batch, 6)
    start = time.perf_counter()
    rate = group.rate("sleep", 5)
    wall = time.perf_counter() - start
    # Each process does 3 trials x 5 steps in at least 0.1 s.
    assert 30 / wall <= rate <= 300


def test_a_fault_is_told_in_one_line_and_the_processes_stay(group):
    with pytest.raises(WayError, match=r"^RuntimeError: no compiler$"):
        group.prepare("broken", CASE, 1)
    group.prepare("late", CASE, 1)
    with pytest.raises(WayError, match="MemoryError"):
        group.rate("late", 1)
    group.prepare("sleep", CASE, 1)
    assert group.rate("sleep", 1) > 0
    group.drop()
    with pytest.raises(WayError, match="KeyError"):
        group.rate("sleep", 1)


def test_a_library_that_is_missing_is_told():
    missing = Group("benchmarks.no_such_module:Bench", 1, {})
    missing.drop()
    with pytest.raises(WayError, match=r"ModuleNotFoundError.*no_such_module"):
        missing.prepare("eager", CASE, 1)
    missing.close()


def test_a_process_that_dies_fails_its_ways_and_does_not_hang():
    dying = Group(f"{HERE}:SleepingBench", 1, {"seconds": 0.0})
    dying.prepare("deadly", CASE, 1)
    with pytest.raises(WayError, match="during run"):
        dying.rate("deadly", 1)
    with pytest.raises(WayError, match="during run"):
        dying.prepare("sleep", CASE, 1)
    dying.drop()
    dying.close()


class FakeGroup:
    """Answers from a table and notes who was asked in which order."""

    def __init__(self, rates, log, parameters=7):
        self.rates, self.log, self.parameters = rates, log, parameters

    def prepare(self, method, case, trials):
        self.log.append(("prepare", case.name, trials))
        if self.rates[method] is None:
            raise WayError("unprepared")
        return Ready(1.0, self.parameters, trials)

    def rate(self, method, steps):
        self.log.append(("run", method, steps))
        if self.rates[method] == 0:
            raise WayError("broke down")
        return self.rates[method]

    def drop(self):
        self.log.append(("drop",))


def way(name, role="peer", group="fake process a core"):
    return ways_module.Way(name=name, role=role, group=group, method=name)


def test_ways_take_turns_and_those_that_fail_are_left_out():
    log = []
    rates = {"a": 2.0, "b": 1.0, "c": None, "d": 0, "slow": 0.5}
    ways = [way("a"), way("b"), way("c"), way("d"), way("slow", "record")]
    groups = {"fake process a core": FakeGroup(rates, log)}
    outcome = throughput.race(CASE, ways, groups, 2, rounds=2, steps=10)
    assert [entry[:2] for entry in log if entry[0] == "run"] == [
        *(("run", name) for name in ("a", "b", "d", "slow")),
        *(("run", name) for name in ("b", "slow", "a")),
    ]
    assert {entry[1:] for entry in log if entry[0] == "run"} == {
        *((name, 10) for name in "abd"),
        ("slow", 2),
    }
    assert log[-1] == ("drop",)
    assert dict(outcome.failures) == {"c": "unprepared", "d": "broke down"}
    assert {n: t.rates for n, t in outcome.timings.items()} == {
        "a": [2.0, 2.0],
        "b": [1.0, 1.0],
        "slow": [0.5, 0.5],
    }


def test_networks_of_different_size_are_refused():
    groups = {
        "x": FakeGroup({"a": 1.0}, [], parameters=7),
        "y": FakeGroup({"b": 1.0}, [], parameters=8),
    }
    ways = [way("a", group="x"), way("b", group="y")]
    with pytest.raises(RuntimeError, match="number of weights"):
        throughput.race(CASE, ways, groups, 2, rounds=1, steps=1)


def make_outcome(case=CASE, failures=None, **extra):
    rates = {
        OURS: [10.0, 30.0, 20.0],
        ALONE: [5.0, 10.0, 10.0],
        EAGER: [8.0, 8.0, 9.0],
        PROCESSES: [10.0, 20.0, 5.0],
        "bare jax.vmap": [99.0, 99.0, 99.0],
    } | extra
    timings = {name: Timing(values, 3.0, 7, 2) for name, values in rates.items()}
    return Outcome(case, WAYS, timings, failures or {})


def test_ratios_are_taken_round_by_round_against_the_best_peer():
    row = make_outcome().row("machine", 0.1)
    assert row["peer_name"] == PROCESSES
    assert (row["ours"], row["peer"], row["alone"]) == (20, 10, 10)
    # Rounds 10/10, 30/20, 20/5: not the ratio of medians, which is 2.
    assert row["ratio"] == 1.5
    assert row["spread"] == [1, 4]
    assert row["ratio_to_alone"] == 2
    assert row["compile_seconds"] == 3
    assert row["unit"] == "trial_steps_per_s"
    assert json.loads(json.dumps(row)) == row


def test_a_row_without_peers_has_nulls():
    failures = dict.fromkeys([EAGER], "ModuleNotFoundError: No module named 'torch'")
    outcome = Outcome(CASE, WAYS, {OURS: Timing([4.0], 1.0, 7, 2)}, failures)
    row = outcome.row("machine", 0.1)
    assert row["ours"] == 4
    assert row["peer"] is row["ratio"] is row["spread"] is row["alone"] is None
    assert "No module named 'torch'" in outcome.table()
    assert "best peer" not in throughput.describe(outcome)


def test_the_page_names_both_comparisons():
    page = throughput.describe(make_outcome())
    assert f"ours over the best peer ({PROCESSES}): 1.50 (1.00-4.00)" in page
    assert "trials together over one trial with the machine: 2.00 (2.00-3.00)" in page
    assert f"| {EAGER} | 8.00 (8.00-9.00) | 125.0 |" in page


def test_full_form_fails_where_the_quick_form_misses_the_best_peer(capsys):
    near, far = [10.2, 20.4, 5.1], [12.0, 24.0, 6.0]
    assert throughput.verdict([make_outcome(**{LEFT_OUT: near})], quick=False) == 0
    assert "holds the best peer" in capsys.readouterr().out
    message = throughput.verdict([make_outcome(**{LEFT_OUT: far})], quick=False)
    assert LEFT_OUT in str(message)
    assert throughput.verdict([make_outcome(**{LEFT_OUT: far})], quick=True) == 0


def test_a_compiled_peer_counts_as_quick_in_the_demo_case_only():
    compiled = "PyTorch, one after another, torch.compile"
    other = next(case for name, case in CASES.items() if name != DEMO_CASE)
    extra = {compiled: [20.0, 40.0, 10.0]}
    assert make_outcome(**extra).missed() is None
    assert make_outcome(other, **extra).missed() == compiled


def test_run_fails_where_the_own_side_fails():
    outcome = Outcome(CASE, WAYS, {}, {OURS: "XlaRuntimeError: out of memory"})
    assert "out of memory" in str(throughput.verdict([outcome], quick=True))


def test_quick_form_is_part_of_the_full_form():
    for case in CASES.values():
        quick, full = ways_of(case, quick=True), ways_of(case, quick=False)
        assert set(quick) < set(full) == set(WAYS)
        assert {OURS, EAGER, PROCESSES} <= {way.name for way in quick}


def test_gpu_race_has_both_peers_of_the_quick_form():
    quick = ways_of(CASE, quick=True, gpu=True)
    assert {way.method for way in quick if way.role == "peer"} == {
        "half",
        "half, graphs",
    }
    assert {way.group for way in quick} == {"jax gpu", "torch gpu"}


def test_turns_of_small_networks_hold_more_steps():
    steps = [throughput.turn_steps(case, gpu=False) for case in CASES.values()]
    assert all(3 <= number <= 20 for number in steps)
    assert throughput.turn_steps(CASE, gpu=False) == max(steps)


def test_further_methods_are_called_in_every_process(group):
    group.prepare("sleep", CASE, 3)
    assert group.call("settled", "yes") == [("yes", 3)] * 2
    with pytest.raises(WayError, match="AttributeError"):
        group.call("unknown")


def test_trials_of_a_way_fill_the_cores_once():
    cores = {way.name: ways_module.trials_per_process(way, 4) for way in WAYS}
    assert (cores[OURS], cores[ALONE], cores[EAGER], cores[PROCESSES]) == (4, 1, 4, 1)


def test_unknown_groups_are_refused():
    with pytest.raises(ValueError, match="unknown group attic"):
        ways_module.make_group("attic", 2, "")
