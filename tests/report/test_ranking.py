"""Ranks of strategies on the page, in a file and in a figure."""

import csv

import pytest

from slicebench.report import write_report
from tests.report import runs

STRATEGIES = ("random", "fixed_interval", "k_center")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = runs.write_run(
        tmp_path_factory.mktemp("ranked"), budgets=(8,), strategies=STRATEGIES
    )
    write_report(folder)
    return folder


def test_every_strategy_has_a_row_and_ranks_add_up(workdir):
    with (workdir / "tables" / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["place"], []).append(row)
    assert len(groups) > 1
    for found in groups.values():
        assert sorted(row["strategy"] for row in found) == sorted(STRATEGIES)
        assert sum(float(row["mean_rank"]) for row in found) == pytest.approx(6)
        assert sum(float(row["p_best"]) for row in found) == pytest.approx(1)
        ranks = [float(row["mean_rank"]) for row in found]
        assert ranks == sorted(ranks)
        (reference,) = [row for row in found if row["strategy"] == "random"]
        assert reference["improvement"] == ""


def test_the_page_has_the_section_with_a_figure_for_each_comparison(workdir):
    page = (workdir / "report.html").read_text()
    assert '<section id="ranking">' in page
    assert '<a href="#ranking">' in page
    figures = list((workdir / "figures").glob("ranking-*.png"))
    assert 2 * len(figures) == page.count("Ranks of 3 strategies") > 2


def test_two_strategies_are_not_ranked(tmp_path):
    folder = runs.write_run(tmp_path, budgets=(8,), strategies=STRATEGIES[:2])
    write_report(folder)
    assert '<section id="ranking">' not in (folder / "report.html").read_text()
    assert not (folder / "tables" / "ranking.csv").exists()
