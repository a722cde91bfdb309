"""The sweep race: rates, ratios and the peer's training loop."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import sweep
from benchmarks._runs import Run
from slicebench import spec

torch = pytest.importorskip("torch", reason="PyTorch is in the extra `bench`")

from benchmarks import _sweep_torch  # noqa: E402
from benchmarks._sweep_torch import Parts  # noqa: E402


@pytest.fixture(autouse=True)
def flags():
    sweep._FLAGS(["sweep", "--full_steps=400"])


class FakeRun(Run):
    def trials(self):
        return pd.DataFrame({"steps": [100, 100]})

    def scores(self):
        return pd.DataFrame({"metric": ["dice", "nsd"], "score": [0.5, 0.1]})


def test_own_rate_grows_training_alone_and_leaves_out_compilation(tmp_path):
    compute = {
        "wall_seconds": 50.0,
        "compile_seconds": 20.0,
        "planning_seconds": 4.0,
        "training_seconds": 20.0,
        "evaluation_seconds": 4.0,
    }
    side = sweep.our_side(
        FakeRun(workdir=tmp_path, compute=compute, experiment={}), 400
    )
    # 26 s without what is paid once, and 3 x 20 s of training more.
    assert side.rate["monai"] == pytest.approx(3600 * 2 / 86)
    assert side.parts == pytest.approx({"training": 10, "evaluation": 2, "rest": 1})
    assert side.dice == 0.5


def make_parts(scale=1.0):
    return Parts(
        selection=scale, training=10 * scale, prediction=2, monai=5, ours=1, dice=0.6
    )


def test_rates_of_processes_are_added():
    side = sweep.join([[make_parts(), make_parts()], [make_parts(2)]], steps=100)
    first = 2 * (1 + 40 + 2 + 5)
    second = 2 + 80 + 2 + 5
    assert side.rate["monai"] == pytest.approx(3600 * (2 / first + 1 / second))
    assert side.rate["ours"] > side.rate["monai"]
    assert side.parts["training"] == pytest.approx(40 / 3)


def make_sides(*rates):
    return [
        sweep.Side({"monai": rate, "ours": 2 * rate}, {"training": 1.0}, 0.5)
        for rate in rates
    ]


def test_row_and_page_compare_with_the_best_peer():
    found = {
        "slicebench": make_sides(30, 60, 40),
        sweep.SPLIT: make_sides(20, 20, 20),
        sweep.SHARED: make_sides(10, 10, 10),
    }
    row = sweep.row(found, "monai", "machine", 0.1, 4, 100, [5.0])
    assert row["peer_name"] == sweep.SPLIT
    assert row["ratio"] == 2
    assert row["spread"] == [1.5, 3]
    assert row["unit"] == "trials_per_hour"
    assert json.loads(json.dumps(row)) == row
    page = sweep.describe(found, [5.0], 4, 100)
    assert f"best peer ({sweep.SPLIT}, monai metrics): 2.00 (1.50-3.00)" in page


def test_the_real_command_holds_the_part_of_the_sweep():
    found = sweep.arguments(60)
    assert "--slices_per_volume=1,4" in found
    assert "--steps=60" in found


STILL = spec.Augmentation(
    shift=0, scale=0, rotation=0, gain=0, offset=0, noise=0, flip=False
)


def test_no_augmentation_changes_nothing():
    images = torch.rand(2, 1, 4, 6)
    labels = torch.randint(3, (2, 4, 6), dtype=torch.uint8)
    again, truth = _sweep_torch.augment(images, labels, STILL, torch.Generator())
    torch.testing.assert_close(again, images, atol=1e-5, rtol=0)
    assert truth.tolist() == labels.tolist()


def test_augmentation_is_the_engines(monkeypatch):
    """With every draw at its largest, both sides read the same places."""
    import jax.numpy as jnp

    from slicebench.training import sampling

    def ones(shape, generator=None):
        return torch.ones(shape)

    how = spec.Augmentation(shift=0.1, rotation=30, scale=0.2, gain=0, offset=0)
    how = spec.Augmentation(**{**how.__dict__, "noise": 0, "flip": True})
    monkeypatch.setattr(torch, "rand", ones)
    monkeypatch.setattr(
        sampling.jax.random, "uniform", lambda _key, shape: jnp.ones(shape)
    )
    rows, columns = sampling.coordinates(None, 1, (5, 9), how)
    # Ramps show where they were read; what lies outside repeats the edge.
    y, x = np.mgrid[:5, :9].astype(np.float32)
    ramps = torch.from_numpy(np.stack([y, x])[None])
    labels = torch.zeros(1, 5, 9, dtype=torch.uint8)
    read, _ = _sweep_torch.augment(ramps, labels, how, torch.Generator())
    # Shifts are shares of the grid here and of its span there.
    np.testing.assert_allclose(read[0, 0], np.clip(rows[0], 0, 4), atol=0.15)
    np.testing.assert_allclose(read[0, 1], np.clip(columns[0], 0, 8), atol=0.15)


def test_a_third_of_a_batch_holds_a_class():
    annotated = np.arange(10, 20)
    holds = np.zeros((30, 2), bool)
    holds[12, 0] = True
    holds[5, 1] = True
    rng = np.random.default_rng(0)
    draw = _sweep_torch._sampler(annotated, holds, 9, rng)
    for _ in range(5):
        batch = draw()
        assert batch.shape == (9,)
        assert set(batch[:3]) == {12}
        assert set(batch) <= set(annotated)
    empty = _sweep_torch._sampler(annotated, holds & False, 9, rng)
    assert set(empty()) <= set(annotated)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_loop_of_the_peer_trains_and_scores(tmp_path):
    pytest.importorskip("monai", reason="MONAI is in the extra `bench`")
    from slicebench.runner import Options, Overrides

    options = Options(
        experiment="budget_sweep",
        workdir=tmp_path,
        smoke=True,
        overrides=Overrides(num_seeds=1, ceiling_seeds=0, steps=(6,)),
    )
    bench = _sweep_torch.SweepBench(threads=1, rank=0, processes=2)
    ready = bench.prepare("loop", options, 0)
    assert ready.trials == 1
    assert bench.run("loop", 6) == 6
    (parts,) = bench.parts()
    for name in ("selection", "training", "prediction", "monai", "ours"):
        assert getattr(parts, name) > 0
    judge = bench._judge
    perfect = [case.native_label for case in judge._cases]
    assert judge.by_monai(perfect) == pytest.approx(1)
    bench.drop()
    assert bench.parts() == []
