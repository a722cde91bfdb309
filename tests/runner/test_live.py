"""TensorBoard scalars, read back from the event files."""

import importlib.util
import math
import struct

import pytest

from slicebench.errors import InputError
from slicebench.results import Store
from slicebench.runner import Options, Overrides, Session, make_study
from slicebench.runner.live import FOLDER, Scalars, run_name

pytest.importorskip("tensorboardX")


def events(folder):
    """Scalars of a run as (name, step, value), by the TFRecord layout."""
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.glob("events.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + size])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            place += 16 + size
    return found


TRIAL = {
    "trial_id": "abc",
    "task": "heart",
    "dims": "2d",
    "num_volumes": 24,
    "slices_per_volume": 2,
    "volume_strategy": "random",
    "strategy": "k_center",
    "interpolation": "none",
    "selection_seed": 3,
    "steps": 40,
    "loss_curve": [1.0, 0.5, 0.25, 0.125],
    "development_dice": 0.75,
    "development_nsd": math.nan,
    "development_hd95": None,
}


def test_a_trial_is_a_run_of_its_own(tmp_path):
    scalars = Scalars(tmp_path)
    for _ in range(2):
        scalars.add([TRIAL])
    assert run_name(TRIAL) == "heart-2d/24x2-random-k_center-none-seed3-abc"
    assert run_name({**TRIAL, "slices_per_volume": None}).startswith("heart-2d/24-all")
    assert events(tmp_path / FOLDER / run_name(TRIAL)) == [
        ("loss", 10, 1.0),
        ("loss", 20, 0.5),
        ("loss", 30, 0.25),
        ("loss", 40, 0.125),
        ("development/dice", 40, 0.75),
    ]
    assert events(tmp_path / FOLDER / "sweep") == [
        ("finished_trials", 1, 1.0),
        ("development/dice", 1, 0.75),
    ]


def test_a_missing_package_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"--tensorboard.*slicebench\[tensorboard\]"):
        Scalars(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_sweep_writes_every_trial_and_catches_up(tmp_path):
    def run(tensorboard, seeds):
        options = Options(
            experiment="budget_sweep",
            workdir=tmp_path,
            smoke=True,
            tensorboard=tensorboard,
            overrides=Overrides(
                budgets=(4,), slices_per_volume=(1,), ceiling_seeds=0, num_seeds=seeds
            ),
        )
        Session(make_study(options), options).run()

    run(tensorboard=False, seeds=1)
    assert not (tmp_path / FOLDER).exists()
    run(tensorboard=True, seeds=2)
    trials = Store(tmp_path).read_trials()
    assert len(trials) == 2
    for row in trials.to_dict("records"):
        found = events(tmp_path / FOLDER / run_name(row))
        losses = [value for name, _, value in found if name == "loss"]
        assert losses == pytest.approx(list(row["loss_curve"]))
        assert ("development/dice", row["steps"]) in [e[:2] for e in found]
