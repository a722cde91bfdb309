"""The fidelity benchmark on volumes whose scores are known."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import interpolation_fidelity as fidelity
from slicebench.data.phantoms import make_phantom


def test_failures_count_slices_with_truth():
    truth, guess = np.zeros((2, 4, 6, 6), bool)
    truth[:3, :2] = True
    guess[0, :2] = guess[1, 1:3] = guess[3] = True
    guess[1, 2, 3:] = False  # 6 of 12 and 9 voxels: Dice 12 / 21
    assert fidelity.failure_rate(truth, guess) == pytest.approx(1 / 3)


def test_hidden_slices_alone_are_scored(tmp_path):
    task = make_phantom("phantom_organ", seed=0, smoke=True)
    case = task.pool[0]
    same = np.repeat(case.label[[case.depth // 2]], case.depth, axis=0)
    alike = case.__class__(**{**vars(case), "label": same})
    rows = fidelity.score_gap(task, alike, ["nearest", "linear"], 3, 1)
    assert {row.method for row in rows} == {"nearest", "linear"}
    for row in rows:
        assert (row.dice, row.nsd, row.failures) == (1.0, 1.0, 0.0)
        assert row.gap_mm == 3 * case.spacing[0]
    assert fidelity.score_gap(task, alike, ["nearest"], case.depth, 0) == []
    _, tasks = fidelity.summarise(pd.DataFrame(map(vars, rows)))
    table = fidelity.markdown(tasks)
    assert table.count("**1.000** / 1.000 / 0.00") == 2
    fidelity.draw(tasks, tmp_path / "figure.svg")
    first = (tmp_path / "figure.svg").stat().st_size
    assert first > 1000
