"""The simulated cluster against what small cases must give."""

import dataclasses

import pytest

from benchmarks._cluster_model import Batch, Cluster, Costs, cut

EXACT = Costs(
    flop_per_second=1.0,
    compile_seconds=10.0,
    cache_seconds=1.0,
    loss_hours=1e12,
    rows_seconds=0.0,
    commit_seconds=0.0,
    spread=0.0,
)


def batch(flop, program="a"):
    return Batch(program=program, flop=flop, trials=1, checkpoint_bytes=6)


def test_batches_hold_one_program_and_all_trials():
    trials = [("a", 1.0, 2), ("b", 3.0, 4)] * 5
    batches = cut(trials, 2)
    assert [(b.program, b.trials) for b in batches] == [
        *[("a", 2), ("a", 2), ("a", 1)],
        *[("b", 2), ("b", 2), ("b", 1)],
    ]
    assert sum(b.flop for b in batches) == 20.0
    assert sum(b.checkpoint_bytes for b in batches) == 30


@pytest.mark.parametrize("shared", [True, False])
def test_one_worker_compiles_once_and_is_never_idle(shared):
    found = Cluster(1, EXACT).run([batch(30), batch(20)], shared_queue=shared)
    assert found.hours * 3600 == pytest.approx(60)
    assert found.idle == pytest.approx(0)
    # Six bytes each minute of training and compiling.
    assert found.checkpoint_rate == pytest.approx(0.1)


def test_the_second_worker_reads_the_first_ones_program():
    found = Cluster(2, EXACT).run([batch(30), batch(39)], shared_queue=True)
    # The larger batch goes first, and compiles.
    assert found.hours * 3600 == pytest.approx(49)
    assert found.idle == pytest.approx(1 - (49 + 31) / 98)


def test_a_lost_worker_repeats_at_most_a_checkpoint():
    costs = dataclasses.replace(EXACT, loss_hours=0.1)
    calm = Cluster(4, EXACT).run([batch(3600)] * 8, shared_queue=True)
    found = Cluster(4, costs).run([batch(3600)] * 8, shared_queue=True)
    assert found.losses > 40
    assert found.hours > calm.hours
    assert found.hours <= calm.hours + found.losses * 120 / 3600


def test_the_store_takes_parts_one_after_another():
    costs = dataclasses.replace(EXACT, commit_seconds=5.0, compile_seconds=0.0)
    found = Cluster(10, dataclasses.replace(costs, cache_seconds=0.0)).run(
        [batch(1)] * 10, shared_queue=True
    )
    assert found.hours * 3600 == pytest.approx(51)
    assert found.store_busy == pytest.approx(50 / 60)
