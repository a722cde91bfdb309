"""The test of the annotation law, on tasks whose truth is known."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import annotation_law
from benchmarks._law_figure import draw
from benchmarks._law_tasks import Cell, LawTask, read_tasks
from slicebench import main, runner
from slicebench.planning.cluster import DepthCorrelation
from slicebench.statistics import AnnotationLaw

TRUE = AnnotationLaw(ceiling=0.9, scale=0.9, power=0.5)
DEPTH = 20


def correlation(length):
    distances = np.arange(DEPTH, dtype=float)
    values = np.exp(-distances / length)
    return DepthCorrelation(
        distances=distances,
        values=values,
        low=values,
        high=values,
        icc=float(values[1:].mean()),
        num_volumes=30,
    )


def make_task(name, length, *, concentration_costs=True, noise=0.0):
    """A task where Dice goes by effective slices, or by slices alone."""
    rng = np.random.default_rng(0)
    known = {0: correlation(length)}
    task = LawTask(
        name=name,
        synthetic=True,
        ceiling=TRUE.ceiling,
        cells={},
        correlations=known,
        neighbour=float(np.exp(-1 / length)),
        depth=DEPTH,
    )
    for budget in (16, 32, 48, 96):
        for density in (1, 2, 4, 8):
            places = [
                np.sort(rng.choice(DEPTH, density, replace=False)).astype(float)
                for _ in range(10 * budget // density)
            ]
            cell = Cell(
                budget=budget,
                density=density,
                dice=np.zeros(10),
                places=tuple(places),
                folds=(0,) * len(places),
            )
            worth = task.worth(cell) if concentration_costs else density
            dice = TRUE.predict(np.array(cell.volumes * worth))
            task.cells[budget, density] = dataclasses.replace(
                cell, dice=dice + rng.normal(0, noise, 10)
            )
    return task


def test_a_true_law_holds():
    tasks = [make_task("near", 3.0), make_task("far", 30.0)]
    table = annotation_law.error_table(tasks, 5)
    assert annotation_law.outcome(table) == {"near": True, "far": True}
    law = table.loc[table["way"] == annotation_law.LAW]
    assert law["gap_error"].max() < 0.01
    assert law["regret_error"].max() < 1e-3


def test_where_concentration_is_free_the_law_does_not_hold():
    tasks = [make_task("free", 10.0, concentration_costs=False), make_task("far", 30.0)]
    table = annotation_law.error_table(tasks, 5).set_index(["task", "way"])
    assert table.loc[("free", "no correlation"), "gap_error"] < 1e-6
    assert table.loc[("free", annotation_law.LAW), "gap_error"] > 0.02
    assert table.loc[("free", "always the largest density"), "regret_error"] < 1e-6
    assert not annotation_law.outcome(table.reset_index())["free"]


def test_concentrated_cells_are_not_read_by_the_prediction():
    task = make_task("near", 3.0)
    means = {key: float(cell.dice.mean()) for key, cell in task.cells.items()}
    worth = annotation_law.worths(task, [])[annotation_law.LAW][0]
    scrambled = {
        (budget, density): dice if density == 1 and budget != 32 else 0.1
        for (budget, density), dice in means.items()
    }
    told, _ = annotation_law.predicted_gap(task, means, worth, 32)
    again, _ = annotation_law.predicted_gap(task, scrambled, worth, 32)
    assert again == told
    measured = TRUE.predict(np.array([32.0])) - TRUE.predict(np.array([4 * worth[8]]))
    assert told == pytest.approx(float(measured[0]), abs=1e-3)


def test_intervals_hold_the_estimate_and_grow_with_noise():
    quiet, loud = (
        annotation_law.error_table([make_task("t", 3.0, noise=noise)], 60)
        for noise in (0.002, 0.02)
    )
    width = [
        (t["regret_high"] - t["regret_low"]).iloc[0] + (t["gap_high"] - t["gap_low"])[0]
        for t in (quiet, loud)
    ]
    assert width[1] > 2 * width[0] > 0


def test_work_folders_are_read_and_drawn(tmp_path):
    workdir = tmp_path / "run"
    words = ["--experiment=annotation_law", "--smoke", f"--workdir={workdir}"]
    command = shlex.join(["python", "-m", "slicebench.main", *words])
    options = runner.Options(
        experiment="annotation_law", smoke=True, workdir=workdir, command=command
    )
    runner.Session(runner.make_study(options), options).run()
    (task,) = read_tasks([workdir])
    assert (task.budgets, task.densities) == ([4, 8, 12], [1, 2])
    assert {len(cell.dice) for cell in task.cells.values()} == {2}
    for (budget, density), cell in task.cells.items():
        assert [len(places) for places in cell.places] == [density] * (
            2 * budget // density
        )
    assert 1 <= task.worth(task.cells[4, 2]) <= 2
    told = annotation_law.gap_table([task])
    assert set(told["budget"]) == {4, 8, 12}
    draw([task], told, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000
    assert isinstance(annotation_law.error_table([task], 2), pd.DataFrame)
    assert Path(main.FLAGS.workdir) == workdir
