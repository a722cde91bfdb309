"""The examples of docs/extending.md run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest

from slicebench.interpolation import INTERPOLATIONS
from slicebench.results import Store
from slicebench.runner.experiments import load_experiment, override
from slicebench.runner.options import Overrides
from slicebench.selection import (
    FEATURES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    PoolView,
    select,
)
from tests import command
from tests.selection.pools import make_view

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture(autouse=True)
def registries():
    """What an example adds is taken away again."""
    kinds = (STRATEGIES, FEATURES, VOLUME_STRATEGIES, INTERPOLATIONS)
    before = [(r, dict(r)) for r in kinds]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


def load(tmp_path, index):
    path = tmp_path / "mine.py"
    path.write_text(EXAMPLES[index])
    return override(load_experiment(str(path), smoke=True), Overrides())


def test_a_strategy_of_ten_lines(tmp_path):
    experiment = load(tmp_path, 0)
    assert experiment.strategies == ("random", "last_slices")
    chosen = select(
        make_view([5, 9, 7]),
        volume_strategy="random",
        strategy="last_slices",
        num_volumes=3,
        slices_per_volume=2,
        budget=6,
        scope="within",
        seed=0,
    )
    assert chosen.slices == ((3, 4), (7, 8), (5, 6))


def test_features_and_volumes_of_ones_own(tmp_path):
    experiment = load(tmp_path, 1)
    assert experiment.features == ("mean_and_spread",)
    images = [np.random.default_rng(d).normal(size=(d, 6, 6, 1)) for d in (4, 6)]
    features = FEATURES["mean_and_spread"].extract(images)
    assert [rows.shape for rows in features] == [(4, 2), (6, 2)]
    view = PoolView(
        cases=("a", "b"),
        depths=(4, 6),
        spacing=((1.0, 1.0, 1.0),) * 2,
        features=features,
    )
    assert VOLUME_STRATEGIES["thickest"].select(view, 1, 0).tolist() == [1]


def test_an_interpolation_of_ten_lines_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(EXAMPLES[2])
    outcome = command.run(f"--experiment={path}", "--smoke", "--workdir=out")
    assert outcome.status == 0, outcome.err
    trials = Store(tmp_path / "out").read_trials().set_index("interpolation")
    assert set(trials.index) == {"none", "from_below"}
    assert (trials.loc[["from_below"], "interpolated_slices"] > 0).all()


def test_every_example_is_tested():
    assert len(EXAMPLES) == 3
