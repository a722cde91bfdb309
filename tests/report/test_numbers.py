"""Every number of a page stands in a CSV file next to it."""

import collections
from pathlib import Path

import pytest

from slicebench.report import write_report
from tests.report import runs
from tests.report.numbers import Page, numbers, pieces, unexplained, written

FILES = {
    "dice-": ("cells",),
    "nsd-": ("cells",),
    "hd95-": ("cells",),
    "contrasts-": ("contrasts",),
    "strategies-minus-": ("strategy_differences",),
    "interpolation-": ("interpolation",),
    "pooled-": ("pooled", "pooled_members"),
    "learning-": ("learning_curves",),
    "cases-": ("cases", "case_quartiles"),
    "ranking-": ("ranking",),
    "overlap-": ("overlap_by_density",),
    "examples-": ("examples", "overview"),
}
"""Beginning of a figure's name, and the files that hold its numbers."""

SECTIONS = {
    "header": ("overview",),
    "verdicts": ("overview", "contrasts"),
    "pooled": ("pooled",),
    "looks": ("looks_units",),
    "task": ("ceilings",),
}
"""Beginning of a section's anchor, and the files that hold its sentences' numbers."""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = runs.write_full_run(tmp_path_factory.mktemp("run"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(workdir) -> Page:
    return Page((workdir / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tables(workdir) -> dict[str, list[dict[str, str]]]:
    names = [path.stem for path in (workdir / "tables").glob("*.csv")]
    return {name: runs.read_table(workdir, name) for name in names}


def _rows(tables, names) -> list[dict[str, str]]:
    return [row for name in names for row in tables[name]]


def test_every_row_of_a_table_is_a_row_of_its_file(page, tables):
    shown = {name for name, rows in page.tables if rows}
    assert {
        *("case_quartiles", "cases", "ceilings", "cells", "classes"),
        *("compute", "contrasts", "diverged", "interpolation", "learning_curves"),
        *("looks", "looks_units", "overlap", "pooled", "pooled_members", "programs"),
        *("ranking", "seed_plan", "strategy_differences", "variance", "worst_cases"),
    } <= shown
    for name, rows in page.tables:
        for fields in rows:
            values = {value for _, value in fields if value}
            texts = " ; ".join(text for text, _ in fields)
            whole = [row for row in tables[name] if values <= set(row.values())]
            assert whole, (name, texts)
            assert unexplained(texts, whole) == [], (name, texts)


def test_a_verdict_is_its_row_of_the_contrasts_in_words(page, tables):
    assert len(page.verdicts) == len(tables["contrasts"]) > 8
    for sentence, anchor in page.verdicts:
        assert len(numbers(sentence)) >= 3, sentence
        row = tables["contrasts"][int(anchor.removeprefix("contrast-"))]
        assert unexplained(sentence, [row]) == [], sentence


def test_sentences_have_their_numbers_from_the_files_of_their_section(page, tables):
    read: collections.Counter[str] = collections.Counter()
    for section, text in page.prose:
        start = next((name for name in SECTIONS if section.startswith(name)), "")
        rows = _rows(tables, SECTIONS.get(start, ()))
        for sentence in pieces(text, (": ", "; ", " of ", r", (?=\d+ )")):
            assert unexplained(sentence, rows) == [], (section, text)
        read[start] += len(numbers(text))
    assert all(read[name] for name in SECTIONS)


def test_figures_draw_and_say_what_stands_in_their_files(page, tables):
    found: collections.Counter[str] = collections.Counter()
    for name, (alt, drawn) in page.figures.items():
        start = next(start for start in FILES if name.startswith(start))
        rows = _rows(tables, FILES[start])
        said = pieces(alt, ("; ", r"\. ", " to ", ", worst ", ", last ", ": "))
        # The figure of cases names several of them in one line.
        lines = [p for t in drawn for p in pieces(t, (", ",))]
        for text in [*(lines if start == "cases-" else drawn), *said]:
            assert unexplained(text, rows) == [], (name, text)
        found[start] += len(numbers(alt))
    assert all(found[start] for start in FILES)


def test_a_number_that_stands_in_no_file_is_noticed(page, tables):
    """The tests above can fail: a changed digit, and numbers of two rows mixed."""
    sentence, anchor = page.verdicts[0]
    row = tables["contrasts"][int(anchor.removeprefix("contrast-"))]
    estimate = f"{float(row['estimate']):.3f}"
    assert estimate in written(row)
    assert unexplained(sentence.replace("[", "[7.777, "), [row]) == ["7.777"]
    rows = [{"a": "0.1", "b": "0.2"}, {"a": "0.3", "b": "0.4"}]
    assert unexplained("0.100 [0.200]", rows) == []
    assert unexplained("0.100 [0.400]", rows) != []
