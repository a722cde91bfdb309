import re

import pytest

from benchmarks import metrics


def test_other_ways_agree_and_a_table_is_printed(capsys):
    metrics.main(["--cases=2", "--rounds=2"])
    printed = capsys.readouterr().out
    assert "2 cases, median shape [35 50 36]" in printed
    assert re.search(r"largest difference to scipy: dice 0.0e\+00", printed)
    assert re.search(r"\| scipy \| [\d.]+ \([\d.]+-[\d.]+\) \|", printed)


def test_different_answers_end_the_run(capsys):
    label, spacing = next(metrics.draw_labels())
    case = metrics.Case(label, label, spacing)
    ways = {
        "slicebench": metrics.by_scipy(),
        "off": lambda _: {(1, "dice"): 0.9, (2, "hd95"): 0.0},
    }
    with pytest.raises(SystemExit, match="answers differ by more than"):
        metrics.check([case], ways)
    assert "largest difference to off: dice 1.0e-01, hd95 0.0e+00" in (
        capsys.readouterr().out
    )
