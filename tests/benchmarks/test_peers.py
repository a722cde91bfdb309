"""Selection and metrics against peers: same answers, tables and rows."""

import json

import numpy as np
import pytest

from benchmarks import metrics, selection


@pytest.fixture
def no_libraries(monkeypatch):
    empty = {"k_center": {}, "representative": {}}
    monkeypatch.setattr(selection, "importable", lambda: empty)
    monkeypatch.setattr(metrics, "importable", lambda: {"MONAI": None})


def test_selection_is_the_plain_loops(no_libraries, tmp_path, capsys):
    file = tmp_path / "rows.json"
    selection.main(["--quick", "--rounds=1", f"--json={file}"])
    rows = json.loads(file.read_text())
    assert [row["peer_name"] for row in rows] == ["plain loop"] * 2
    assert all(row["ratio"] > 0 for row in rows)
    assert "no library for it can be imported" in capsys.readouterr().out


def test_other_choices_are_refused():
    view = selection.make_view(4, 10)
    quotas = np.full(4, 3)
    ours = selection.STRATEGIES["k_center"].select(view, quotas, 12, 0)
    theirs = (ours[0][::-1] * 0, *ours[1:])
    with pytest.raises(AssertionError):
        selection.check("k_center", view, ours, theirs, by_cover=False)
    best = selection.STRATEGIES["representative"].select(view, quotas, 12, 0)
    selection.check("representative", view, best, best, by_cover=True)
    with pytest.raises(AssertionError):
        selection.check("representative", view, best, ours, by_cover=True)


def test_turns_go_round_the_clusters_until_the_budget_is_spent():
    groups = [np.arange(3), np.arange(1), np.arange(2)]
    assert selection.turns(groups, 5) == [2, 1, 2]
    assert selection.turns(groups, 1) == [1, 0, 0]


def test_choices_from_the_whole_pool_leave_quotas_open():
    view = selection.make_view(3, 8)
    seen = []

    def theirs(view, quotas, budget, seed):
        seen.append((quotas.tolist(), budget))
        return selection.STRATEGIES["k_center"].select(view, quotas, budget, seed)

    race = selection.measure("k_center", "itself", theirs, view, 2, free=True)
    line = race(1)
    assert seen[0] == ([8, 8, 8], 6)
    assert line.quota is None
    assert "| any | itself |" in line.text()


def test_metrics_are_scipys(no_libraries, tmp_path, capsys):
    file = tmp_path / "rows.json"
    metrics.main(["--cases=2", "--rounds=1", f"--json={file}"])
    (row,) = json.loads(file.read_text())
    assert row["peer_name"] == "scipy"
    assert row["ratio"] > 0
    page = capsys.readouterr().out
    assert "cannot be imported: MONAI" in page
    assert "ours over the best peer (scipy)" in page


def test_best_row_takes_the_fastest_peer():
    seconds = {"slicebench": [1.0, 2.0], "a": [8.0, 8.0], "b": [5.0, 6.0]}
    row = metrics.best_row(seconds, 60, 0.5)
    assert row["peer_name"] == "b"
    assert row["ratio"] == pytest.approx(4)
    assert row["spread"] == [3, 5]
    assert row["ratios"]["a"] == pytest.approx(6)


def test_other_answers_end_the_run():
    case = metrics.Case(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), (1.0, 1.0, 1.0))
    ways = {
        "ours": lambda _: {(1, "dice"): 0.5},
        "theirs": lambda _: {(1, "dice"): 0.6},
    }
    with pytest.raises(SystemExit, match="differ"):
        metrics.check([case], ways)
