"""Looks at two equal arms: outcomes are counted from the looks of a run."""

import csv

import numpy as np

from benchmarks import _calibration_looks, calibration


def test_every_simulation_ends_at_its_own_look():
    """Far above, far below, and equal with little noise."""
    noise = np.random.default_rng(0).normal(0, 0.01, (32, _calibration_looks.CASES))
    noise -= noise.mean()
    outcomes = _calibration_looks.follow(np.stack([noise + 0.1, noise - 0.1, noise]))
    assert outcomes[:2] == [(8, "superior", "decided"), (8, "inferior", "decided")]
    assert outcomes[2][1:] == ("equivalent", "decided")
    assert outcomes[2][0] in _calibration_looks.LOOKS
    assert _calibration_looks.follow(noise[None]) == outcomes[2:]


def test_outcomes_are_shares_that_add_up():
    outcomes = [
        (8, "superior", "decided"),
        (16, "inconclusive", "case-limited"),
        (32, "inconclusive", "cap reached"),
        (32, "equivalent", "decided"),
    ]
    row = _calibration_looks._shares(outcomes)
    assert row["decided_superior"] == row["decided_equivalent"] == 0.25
    assert row["decided_inferior"] == 0
    assert row["case_limited"] == row["cap_reached"] == 0.25
    assert row["mean_seeds"] == 22
    assert "| x | 25.0 % | 0.0 % | 25.0 % | 25.0 % | 25.0 % | 22.0 |" in (
        _calibration_looks.table([{"scenario": "x", **row}])
    )


def test_the_published_table_is_within_the_nominal_error():
    with open("docs/results/calibration_looks.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["scenario"] for row in rows] == list(_calibration_looks.NAMES)
    for row in rows:
        error = 2 * (0.025 * 0.975 / int(row["simulations"])) ** 0.5
        assert float(row["decided_superior"]) <= 0.025 + error
        assert float(row["decided_inferior"]) <= 0.025 + error


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    row = _calibration_looks._shares([(8, "superior", "decided")])
    rows = [{"scenario": "x", "cases": 20, **row}]
    monkeypatch.setattr(_calibration_looks, "run", lambda _: rows)
    out = tmp_path / "looks.csv"
    calibration._FLAGS(["", "--looks", f"--out={out}"])
    calibration.main([])
    calibration._FLAGS.unparse_flags()
    assert "| x | 100.0 % |" in capsys.readouterr().out
    (found,) = csv.DictReader(out.read_text().splitlines())
    assert (found["decided_superior"], found["stopped_at_8"]) == ("1.0", "1.0")
