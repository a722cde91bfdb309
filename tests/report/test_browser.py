"""The page in a real browser: silence, sorting, links, widths and hostile names."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from slicebench.report import write_report
from slicebench.results import Store
from tests.report import browser, runs

pytestmark = pytest.mark.skipif(
    browser.binary() is None, reason="no Chromium on the path (chromium, google-chrome)"
)

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report with a case and a task that carry markup in their names."""
    folder = tmp_path_factory.mktemp("run")
    runs.write_run(folder, strategies=("random", "k_center"), tasks=("blobs",))
    store = Store(folder)
    results = store.read_results()
    results["case"] = results["case"].replace(
        {"blobs_00": EVIL, "blobs_01": f"a{EVIL}"}
    )
    runs.rewrite(folder, store.read_trials(), results)
    return write_report(folder)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory, page) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280)
        opened.open(page)
        yield opened


def test_it_opens_in_silence_and_asks_for_nothing(chromium, page):
    chromium.open(page)
    assert chromium.value("document.querySelectorAll('figure').length") > 5
    assert chromium.reported("Log.entryAdded", "Runtime.exceptionThrown") == []
    assert (
        chromium.reported("Runtime.consoleAPICalled", "Page.javascriptDialogOpening")
        == []
    )
    asked = chromium.reported("Network.requestWillBeSent")
    addresses = {event["request"]["url"] for event in asked}
    assert {url for url in addresses if not url.startswith("data:")} == {
        page.resolve().as_uri()
    }


def test_a_name_with_markup_is_shown_and_not_run(chromium):
    shown = chromium.value(
        "[...document.querySelectorAll('#spread td')].map(cell => cell.textContent)"
    )
    assert EVIL in shown
    assert chromium.value("document.querySelectorAll('script').length") == 1
    assert EVIL in chromium.value(
        "[...document.querySelectorAll('#spread svg text')].map(t => t.textContent)"
        ".join(' ')"
    )


_COLUMN = """[...document.querySelectorAll('#cells table')][0].tBodies[0].rows"""


def test_a_pressed_head_sorts_and_says_so(chromium):
    head = "document.querySelectorAll('#cells th')[6]"
    values = f"[...{_COLUMN}].map(row => Number(row.cells[6].dataset.value))"
    sort = f"{head}.getAttribute('aria-sort')"
    assert chromium.value(f"{head}.textContent").strip().startswith("Dice")
    assert chromium.value(sort) is None
    chromium.value(f"{head}.firstElementChild.focus()")
    chromium.press("Enter", 13, "\r")
    rising = chromium.value(values)
    assert (chromium.value(sort), rising) == ("ascending", sorted(rising))
    assert len(set(rising)) > 3
    chromium.press(" ", 32, " ")
    assert chromium.value(sort) == "descending"
    assert chromium.value(values) == sorted(rising, reverse=True)


def test_a_verdict_leads_to_its_row(chromium):
    target = "document.querySelector('a.evidence').hash.slice(1)"
    row = f"document.getElementById({target})"
    assert chromium.value(f"{row}.closest('details').open") is False
    chromium.value("document.querySelector('a.evidence').click()")
    chromium.value("new Promise(done => setTimeout(done, 50))")
    assert chromium.value(f"{row}.closest('details').open") is True
    assert chromium.value("location.hash.slice(1)") == chromium.value(target)
    said = chromium.value(
        "document.querySelector('.verdict > span:last-child').textContent"
    )
    compared = chromium.value(f"{row}.cells[1].textContent")
    assert compared in said


def test_every_link_leads_somewhere(chromium):
    lost = chromium.value(
        "[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
        ".filter(h => !h.startsWith('#') || !document.getElementById(h.slice(1)))"
    )
    assert lost == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_width(chromium, page, width):
    chromium.resize(width, phone=width < 500)
    chromium.open(page)
    assert chromium.value("document.documentElement.scrollWidth") <= width
    visible = (
        "[...document.querySelectorAll('figure svg')].filter("
        "svg => svg.getBoundingClientRect().width > 0).length"
    )
    # Figures in folded parts have no size.
    assert chromium.value(visible) >= 5
    kinds = (".for-wide", ".for-narrow")
    shown = [
        chromium.value(f"getComputedStyle(document.querySelector('{kind}')).display")
        for kind in kinds
    ]
    assert shown == (["none", "block"] if width == 390 else ["block", "none"])
    chromium.resize(1280)


def _ink(chromium: browser.Browser) -> str:
    return chromium.value(
        "getComputedStyle(document.querySelector('figure svg text')).fill"
    )


def test_figures_follow_the_colour_scheme(chromium, page):
    chromium.open(page)
    chromium.media("light")
    light = _ink(chromium)
    chromium.media("dark")
    dark = _ink(chromium)
    chromium.media("dark", "print")
    printed = _ink(chromium)
    chromium.media("light")
    assert (light, dark) == ("rgb(31, 41, 51)", "rgb(228, 232, 236)")
    assert printed == light


def test_everything_named_is_named_for_a_screen_reader(chromium):
    empty = chromium.value(
        "[...document.querySelectorAll('svg[role=img], [role=region], nav')]"
        ".filter(part => !(part.getAttribute('aria-label') || '').trim()).length"
    )
    assert empty == 0
    assert chromium.value("document.querySelectorAll('th:not([scope])').length") == 0
    heads = "[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])"
    levels = chromium.value(heads)
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
