"""The page as a whole: what it says, and that it is self-contained and safe."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slicebench.report import verdict_lines, write_report
from slicebench.results import read_json
from tests import made_up
from tests.report import runs


class Page(HTMLParser):
    """Collects what the tests ask for."""

    def __init__(self, text: str):
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "use", "path", "image", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def prose(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    runs.write_run(folder, classes=("front", "back"), diverged=1)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(workdir) -> Page:
    return Page((workdir / "report.html").read_text(encoding="utf-8"))


def test_every_number_of_a_table_stands_in_a_csv_file(workdir, page):
    stored = set()
    for path in (workdir / "tables").glob("*.csv"):
        for row in runs.read_table(workdir, path.stem):
            stored.update(row.values())
    shown = [attrs["data-value"] for _, attrs in page.tags if "data-value" in attrs]
    assert len(shown) > 200
    assert [value for value in shown if value not in stored] == []


def test_shown_scores_are_the_stored_ones_rounded(workdir, page):
    rows = runs.read_table(workdir, "cells")
    assert {row["metric"] for row in rows} == {"dice", "nsd", "hd95"}
    for row in rows:
        places = 2 if row["metric"] == "hd95" else 3
        parts = [float(row[name]) for name in ("estimate", "low", "high")]
        middle, low, high = (f"{part:.{places}f}" for part in parts)
        assert f"{middle} [{low}, {high}]" in page.prose.replace("\u2212", "-")


def test_verdicts_stand_on_the_page_in_words(workdir, page):
    summary = read_json(workdir / "summary.json")
    assert summary["contrasts"]
    for contrast in summary["contrasts"]:
        size = f"{abs(contrast['estimate']):.3f}"
        assert size in page.prose
        assert contrast["verdict"] in page.prose
    assert "each halving of slices per volume" in page.prose
    assert "k-center instead of random" in page.prose


def test_phantoms_are_marked_in_the_page_and_in_the_lines(workdir, page):
    wanted = "synthetic: expected by construction: k_center equals random"
    assert wanted in page.prose
    experiment = read_json(workdir / "experiment.json")
    lines = verdict_lines(read_json(workdir / "summary.json"), experiment)
    assert lines
    assert all("synthetic: expected by construction" in line for line in lines)


def test_real_tasks_are_not_called_synthetic(tmp_path):
    runs.write_run(tmp_path, synthetic=False, **runs.SMALL)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).prose.lower()
    assert "synthetic" not in text
    assert "expected by construction" not in text


def test_nothing_is_loaded_from_anywhere(page):
    assert "http:" not in page.text
    assert "https:" not in page.text
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"@import|url\((?!#)", page.text)
    assert "link" not in {tag for tag, _ in page.tags}
    assert "default-src 'none'" in page.text


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page.text)
    assert targets
    assert {a or b for a, b in targets} <= set(ids)


def test_every_figure_has_a_text_and_files(workdir, page):
    # A figure is there twice, wide and narrow, with one text.
    labels = {a.get("aria-label") for tag, a in page.tags if tag == "svg"}
    assert len(labels) >= 6
    assert all(label and len(label) > 30 for label in labels)
    stems = {path.stem for path in (workdir / "figures").glob("*.svg")}
    assert stems == {path.stem for path in (workdir / "figures").glob("*.png")}
    assert len(stems) == len(labels)
    assert len(page.text) < 5_000_000


def test_heads_of_tables_are_buttons(page):
    heads = page.text.count('<th scope="col"')
    assert heads > 20
    assert page.text.count('<button type="button">') == heads


def test_command_versions_splits_and_attribution_are_there(workdir, page):
    experiment = read_json(workdir / "experiment.json")
    assert experiment["command"] in page.prose
    for name, version in experiment["versions"].items():
        assert f"{name} {version}" in page.prose
    for case in experiment["tasks"][0]["split"]["development"]:
        assert case in page.prose
    assert "made up for tests" in page.prose
    assert experiment["cells_left_out"][0]["reason"] in page.prose
    assert experiment["contrasts_dropped"][0]["reason"] in page.prose


def test_rate_leaves_compiling_out(workdir):
    table = runs.read_table(workdir, "compute")
    rows = {row["quantity"]: row["value"] for row in table}
    trials = read_json(workdir / "experiment.json")["num_trials"]
    rate = float(rows["trials per hour, without compiling"])
    assert rate == pytest.approx(3600 * trials / (700.5 + 50.5))
    assert float(rows["compiling, s (apart from training)"]) == 61.25


def test_diverged_trials_are_named_and_their_share_is_shown(workdir, page):
    rows = runs.read_table(workdir, "diverged")
    assert len(rows) == 1
    assert rows[0]["trial_id"] in page.prose
    assert "1 trial diverged and counts as empty predictions" in page.prose
    assert "33.3 %" in page.prose


def test_ceiling_and_share_are_stated(workdir, page):
    row = runs.read_table(workdir, "ceilings")[0]
    share = float(row["best_estimate"]) / float(row["estimate"])
    assert float(row["share_of_ceiling"]) == pytest.approx(share)
    assert f"= {100 * share:.1f} % of the same network on all labels" in page.prose


def test_without_chosen_slices_nothing_is_said_of_choices(workdir, page):
    assert "choices" not in [attrs.get("id") for _, attrs in page.tags]
    assert "What the strategies chose" not in page.prose
    assert not list((workdir / "tables").glob("overlap*"))
    assert not list((workdir / "figures").glob("overlap*"))


def test_the_same_results_give_the_same_bytes(workdir):
    def everything() -> dict[str, bytes]:
        paths = [p for p in workdir.rglob("*") if p.is_file()]
        return {str(path.relative_to(workdir)): path.read_bytes() for path in paths}

    before = everything()
    write_report(workdir)
    assert everything() == before


def test_names_are_shown_and_never_run(tmp_path):
    evil = "<script>alert(1)</script>"
    runs.write_run(tmp_path, **runs.SMALL)
    experiment = read_json(tmp_path / "experiment.json")
    task = experiment["tasks"][0]
    task["split"]["development"] = [evil, '"><img src=x onerror=alert(2)>']
    task["attribution"] = evil
    task["expected"] = f"{evil} & more"
    runs.change_experiment(
        tmp_path,
        tasks=[task],
        question=evil,
        command=f"run {evil}",
        contrasts_dropped=[{"name": evil, "reason": evil}],
    )
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in page.tags}
    assert html.escape(evil) in page.text
    assert "alert(2)" in page.prose


def test_names_in_figures_are_escaped_too(tmp_path):
    task = 'liver" onload="alert(1)<b>'
    made_up.write_made_up_run(tmp_path, tasks=(task,), seeds=2, cases=3, **runs.SMALL)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert not any("onload" in attrs for _, attrs in page.tags)
    assert "b" not in {tag for tag, attrs in page.tags if "onload" in str(attrs)}
    assert task in page.prose


def test_summary_holds_json_that_any_reader_takes(workdir):
    text = (workdir / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["experiment"] == "made_up"
