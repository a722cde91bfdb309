"""Parts of the page that only some runs have, and pages that must be shortened."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from slicebench.errors import InputError
from slicebench.report import (
    _estimates,
    _fitting,
    _learning,
    _methods,
    _pooled,
    _reading,
    _seed_plan,
    _sequential,
    _tables,
    write_report,
)
from slicebench.results import Store
from tests.report import runs

CONTRAST = {
    "name": "k_center against random",
    "task": "liver",
    "target": "all",
    "dims": "2d",
    "metric": "dice",
    "kind": "difference",
    "where": {"budget": 48},
    "a": {"strategy": "k_center"},
    "b": {"strategy": "random"},
    "estimate": 0.01,
    "margin": 0.012,
    "num_seeds": 20,
    "num_cases": 30,
    "components": {"sd_seed": 0.01, "sd_case": 0.02, "sd_residual": 0.03},
    "resolvable": 0.015,
    "seeds_needed": 33,
    "cases_needed": None,
}


def test_the_plan_says_which_side_limits():
    part = _seed_plan.seed_plan({"contrasts": [CONTRAST], "variance": []})
    assert part is not None
    (table,) = part.tables
    fields = {
        c.label: cell.text for c, cell in zip(table.columns, table.rows[0], strict=True)
    }
    assert fields["Seeds needed"] == "33"
    assert fields["Cases needed"] == "limited by seeds"
    assert (fields["Resolvable"], fields["SD case"]) == ("0.015", "0.02")
    assert _seed_plan.seed_plan({"contrasts": [{"components": None}]}) is None


def test_variance_components_stand_in_a_table():
    row = {"task": "liver", "target": "all", "dims": "3d", "metric": "dice"}
    row |= {"budget": 48, "strategy": "random", "sd_seed": 0.02, "sd_case": 0.05}
    part = _seed_plan.seed_plan({"contrasts": [], "variance": [row]})
    assert part is not None
    text = [cell.text for cell in part.tables[0].rows[0]]
    assert text[0] == "liver, 3D"
    assert {"48", "random", "0.02", "0.05"} <= set(text)


def _finding(**values) -> dict:
    members = [
        {
            "task": name,
            "target": "all",
            "estimate": e,
            "low": e - 0.02,
            "high": e + 0.02,
        }
        for name, e in (("liver", 0.01), ("spleen", 0.03))
    ]
    found = {"name": "k_center against random", "dims": "2d", "metric": "dice"}
    found |= {"claim": "superior", "num_tasks": 2, "members": members}
    found |= {"estimate": 0.02, "low": -0.01, "high": 0.05, "i2": 0.25}
    found |= {"prediction_low": -0.08, "prediction_high": 0.12, "case_series": True}
    return found | values


def test_findings_over_tasks_have_interval_and_prediction(tmp_path):
    part = _pooled.pooled({"pooled": [_finding()]}, tmp_path)
    assert part is not None
    assert part.text[0].replace("\u2212", "-") == (
        "k_center against random, 2D, over 2 tasks: 0.020 Dice [-0.010, 0.050]; in "
        "one more task like these [-0.080, 0.120]."
    )
    assert "case series" in part.text[-1]
    (view,) = part.figures
    assert "mean over 2 tasks: 0.020" in view.svg
    assert [row[0].text for row in part.tables[1].rows] == [
        "k_center against random"
    ] * 2


def test_one_task_has_no_findings_over_tasks(tmp_path):
    alone = _finding(estimate=None, num_tasks=1, reason="fewer than two tasks")
    assert _pooled.pooled({"pooled": [alone]}, tmp_path) is None
    assert _pooled.pooled({}, tmp_path) is None


def _looks(state: str, task: str = "liver", contrasts: int = 1) -> dict:
    look = {"name": "n", "task": task, "dims": "2d", "metric": "dice", "state": state}
    look |= {"estimate": 0.1, "low": 0.05, "high": 0.15, "margin": 0.01}
    look |= {"information_fraction": 0.25, "level_one_sided": 0.001}
    look |= {"p_superior": 0.0005, "verdict": "superior", "reason": None}
    unit = {"task": task, "dims": "2d", "seeds": [8, 16], "looks_taken": 1}
    return {
        "units": [{**unit, "state": state}],
        "looks": [{"look": 1, "seeds": 8, "contrasts": [look] * contrasts}],
        "state": state,
    }


@pytest.mark.parametrize("state", ["decided", "case-limited", "cap reached"])
def test_looks_say_where_the_run_stands(state):
    part = _sequential.looks({"looks": _looks(state)})
    assert part is not None
    assert part.text[0].startswith(f"liver, 2D: after 8 of at most 16 seeds, {state}: ")
    units, table = part.tables
    assert [cell.text for cell in units.rows[0]] == ["liver, 2D", "1", "8", "16", state]
    (row,) = table.rows
    shown = dict(zip([c.label for c in table.columns], row, strict=True))
    assert shown["Estimate [interval of the look]"].text == "0.100 [0.050, 0.150]"
    assert shown["Of planned information"].text == "25.0 %"
    assert shown["State"].text == state
    assert _sequential.looks({}) is None


def test_looks_at_nothing_do_not_claim_a_decision():
    part = _sequential.looks({"looks": _looks("decided", contrasts=0)})
    assert part is not None
    assert "after 8 of at most 16 seeds, nothing to decide" in part.text[0]
    assert "every planned contrast" not in " ".join(part.text)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    runs.write_run(folder, **runs.SMALL, cases=3)
    store = Store(folder)
    trials = store.read_trials()
    curve = np.linspace(1.5, 0.3, 50).tolist()
    trials["loss_curve"] = pd.Series([curve] * len(trials), dtype=object)
    runs.rewrite(folder, trials, store.read_results())
    return folder


def test_learning_curves_are_drawn_where_they_are_stored(small):
    part = _learning.learning(_reading.read_run(small))
    assert part is not None
    last = {row[6].text for row in part.tables[0].rows}
    assert last == {"0.3"}
    assert "1.500 to 0.300" in part.figures[0].svg
    run = _reading.read_run(small)
    without = run.trials.drop(columns=["loss_curve"])
    assert _learning.learning(_with_trials(run, without)) is None


def _with_trials(run: _reading.Run, trials: pd.DataFrame) -> _reading.Run:
    return dataclasses.replace(run, trials=trials)


def test_without_images_no_picture_is_left(small):
    page = write_report(small)
    assert "data:image/png" in page.read_text(encoding="utf-8")
    assert list((small / "figures").glob("examples-*"))
    write_report(small, images=False)
    text = page.read_text(encoding="utf-8")
    assert "data:image" not in text
    assert "<image" not in text
    assert 'id="examples"' not in text
    assert "--no_images" in text
    assert not list((small / "figures").glob("examples-*"))
    assert (small / "examples").is_dir()


@pytest.fixture(scope="module")
def context(small):
    """What the page of `small` is made from; its page was refused."""
    page = write_report(small)
    before = page.read_bytes()
    (small / "tables" / "cells.csv").unlink()
    captured = {}

    def refused(context):
        captured.update(context)
        raise InputError("too large")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fitting, "page", refused)
        with pytest.raises(InputError, match="too large"):
            write_report(small)
    # What was written before is still there, and what can be written is.
    assert page.read_bytes() == before
    assert (small / "tables" / "cells.csv").is_file()
    return captured


def test_a_page_too_large_is_shortened_step_by_step_and_says_so(context, monkeypatch):
    text = _fitting.page(context)
    assert len(text.encode()) < _fitting.LARGEST
    said = {
        "Example pictures stand in figures/ alone": '<section id="examples">',
        "Figures of NSD and HD95 stand in figures/ alone": 'id="nsd-over-density',
        "Figures are arranged for wide screens only": 'class="for-narrow"',
        "All figures stand in figures/ alone": "<svg",
    }
    left = dict(said)
    while left:
        monkeypatch.setattr(_fitting, "LARGEST", len(text.encode()) - 1)
        shorter = _fitting.page(context)
        assert len(shorter.encode()) <= _fitting.LARGEST
        gone = [note for note in left if note in shorter]
        assert gone
        assert all(left[note] in text for note in gone)
        assert not any(said[note] in shorter for note in gone)
        left = {note: mark for note, mark in left.items() if note not in gone}
        text = shorter
    assert "figures/dice-over-density-blobs-2d-0.svg" in text
    assert "each halving of slices per volume" in text


def test_a_page_that_cannot_be_made_small_is_refused(context, monkeypatch):
    monkeypatch.setattr(_fitting, "LARGEST", 1000)
    with pytest.raises(
        InputError, match=r"report\.html: .*tasks and dims: 1"
    ) as caught:
        _fitting.page(context)
    assert "tables/, figures/ and summary.json are written" in str(caught.value)


def test_methods_cite_what_was_used_and_nothing_else(small):
    run = _reading.read_run(small)
    found = _methods.methods(run, _estimates.estimate(run).summary)
    text = " ".join(found.paragraphs)
    assert "{" not in text
    numbers = [f"[{number}]" for number in range(1, len(found.references) + 1)]
    assert all(number in text for number in numbers)
    assert any("U-Net" in reference for reference in found.references)
    assert not any("core-set" in reference for reference in found.references)
    assert "3 development, 40 pool, 3 test cases" in text
    assert "trained for 100 steps" in text


def test_tables_are_written_as_latex_too(tmp_path):
    frame = pd.DataFrame([{"name": "a_b & 50 %", "x": -0.5}])
    columns = (_tables.Column("name", "Name"), _tables.Column("x", "X", "score"))
    table = _tables.Table(name="t", title="T", frame=frame, columns=columns)
    _tables.write_tables(tmp_path, [table])
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert lines[1] == r"\begin{tabular}{lr}"
    assert r"a\_b \& 50 \% & $-$0.500 \\" in lines
