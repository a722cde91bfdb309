"""What interpolated masks gain, over density and over the gap in mm."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slicebench.report import (
    _estimates,
    _gap_mm,
    _interpolation,
    _interpolation_figure,
    _reading,
)
from slicebench.results import Store
from tests.report import runs

GAIN = -0.2
SEEDS, CASES = 6, 5


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    axes = {**runs.SMALL, "slices_per_volume": (1, 2, 4)}
    runs.write_run(folder, **axes, seeds=SEEDS, cases=CASES, ceiling_seeds=0)
    runs.add_interpolation(folder, GAIN, seeds=SEEDS, cases=CASES)
    runs.write_choices(folder)
    return folder


@pytest.fixture(scope="module")
def run(workdir) -> _reading.Run:
    return _reading.read_run(workdir)


@pytest.fixture(scope="module")
def numbers(run) -> _estimates.Numbers:
    return _estimates.estimate(run)


@pytest.fixture(scope="module")
def effects(run, numbers) -> pd.DataFrame:
    return _interpolation.effects(run, numbers.cells, numbers.summary)


def _gap_of(trials: pd.DataFrame, slices: int) -> float:
    """Mean distance in slices, spelled out from volume to volume."""
    found = []
    for chosen in trials["chosen_slices"]:
        by_volume: dict[int, list[int]] = {}
        for index in chosen:
            by_volume.setdefault(index // runs.DEPTH, []).append(index)
        assert {len(run) for run in by_volume.values()} == {slices}
        found.append(np.mean([np.diff(sorted(run)) for run in by_volume.values()]))
    return float(np.mean(found))


def test_effects_are_those_of_the_planned_contrasts(numbers, effects):
    assert effects["slices_per_volume"].tolist() == [2, 4]
    planned = {
        contrast["where"]["slices_per_volume"]: contrast
        for contrast in numbers.summary["contrasts"]
        if "interpolation" in (contrast["a"] or {})
    }
    for row in effects.to_dict("records"):
        contrast = planned[row["slices_per_volume"]]
        for name in ("estimate", "low", "high", "margin", "verdict"):
            assert row[name] == contrast[name], name
        assert row["verdict"] == "inferior"
        assert row["estimate"] == pytest.approx(GAIN, abs=0.05)


def test_gaps_are_those_of_the_chosen_slices(workdir, effects):
    trials = Store(workdir).read_trials()
    for row in effects.to_dict("records"):
        slices = row["slices_per_volume"]
        ours = trials[
            (trials["interpolation"] == "linear")
            & (trials["slices_per_volume"] == slices)
        ]
        wanted = _gap_of(ours, slices)
        assert row["gap_slices"] == pytest.approx(wanted)
        assert row["gap_mm"] == pytest.approx(runs.SPACING[0] * wanted)
        assert row["gap_from"] == _gap_mm.CHOSEN
        assert row["coverage"] == pytest.approx(slices / runs.DEPTH)


def test_without_chosen_slices_gaps_follow_from_what_there_is(workdir):
    trials = Store(workdir).read_trials()
    some = trials[trials["slices_per_volume"] == 4].assign(chosen_slices=None)
    task = {"name": "blobs", "fold": 0, "spacing": [3.0, 1, 1], "median_slices": 20}
    assert _gap_mm.gap(some, [task]) == (4.0, 12.0, "coverage")
    unknown = some.assign(coverage=float("nan"))
    assert _gap_mm.gap(unknown, [task]) == (5.0, 15.0, "median depth")
    bare = _gap_mm.gap(some, [{"name": "blobs"}])
    assert bare.slices == 4.0
    assert np.isnan(bare.mm)


def test_the_section_has_figure_and_table(run, numbers):
    part = _interpolation.interpolation(run, numbers.cells, numbers.summary)
    assert part is not None
    (view,) = part.figures
    assert (run.workdir / "figures" / f"{view.name}.png").is_file()
    assert "gap between annotated slices (mm)" in view.svg
    assert len(part.tables[0].rows) == 2
    plain = numbers.cells[numbers.cells["interpolation"] == "none"]
    assert _interpolation.interpolation(run, plain, numbers.summary) is None


def test_differences_are_drawn_over_density_and_over_the_gap(effects):
    figure = _interpolation_figure.interpolation_figure(effects)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["slices per volume", "gap between annotated slices (mm)"]
    gaps = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert gaps == [f"{gap:.3g}" for gap in sorted(effects["gap_mm"])]
    for axes, column in zip(figure.axes, ("slices_per_volume", "gap_mm"), strict=True):
        _, line, *_ = axes.get_lines()
        ordered = effects.sort_values(column)
        np.testing.assert_allclose(line.get_ydata(), ordered["estimate"])
        strip = axes.patches[0]
        margin = effects["margin"].iloc[0]
        assert (strip.get_y(), strip.get_height()) == pytest.approx(
            (-margin, 2 * margin)
        )


def test_a_gap_that_is_not_known_leaves_its_panel_out(effects):
    unknown = effects.assign(gap_mm=float("nan"))
    figure = _interpolation_figure.interpolation_figure(unknown)
    assert [axes.get_xlabel() for axes in figure.axes] == ["slices per volume"]


def test_more_steps_without_interpolation_are_a_reference_of_their_own(numbers):
    cells = numbers.cells
    dice = cells[cells["metric"] == "dice"]
    longer = dice[dice["interpolation"] == "none"].assign(steps=200)
    pairs = _interpolation._pairs(
        pd.concat([dice, longer], ignore_index=True).dropna(
            subset=["slices_per_volume"]
        )
    )
    words = [_interpolation._arm(*pair) for pair in pairs]
    assert [word.replace("\u2212", "-") for word in words] == [
        "linear at weight 0.5 - none",
        "linear at weight 0.5 - none at 2 times the steps",
    ] * 2
