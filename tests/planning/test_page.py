"""The worklist's page in a real browser."""

import json

import numpy as np
import pytest
from PIL import Image

from slicebench.planning.costs import Costs
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.writing import write_plan
from tests.planning.scans import write_folder
from tests.report.browser import Browser, binary

pytestmark = pytest.mark.skipif(binary() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    scans = write_folder(folder / "scans", cases=6, shape=(24, 20, 12))
    evil = "<b onclick=alert(1)>x"
    (scans / "case_00.nii.gz").rename(scans / f"{evil}.nii.gz")
    request = Request(
        images=scans, budget=12, test_patients=0, slices_per_volume=2, seed=5
    )
    write_plan(make_plan(request, (), Costs()), folder / "plan")
    return folder / "plan"


@pytest.fixture(scope="module")
def browser(written, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280, 1000)
        opened.open(written / "worklist.html")
        yield opened


def rows_of(written, case):
    rows = json.loads((written / "worklist.json").read_text())["rows"]
    return [row for row in rows if row["case"] == case]


GREY = """(() => {
  const view = document.getElementById('view');
  const all = view.getContext('2d').getImageData(0, 0, view.width, view.height).data;
  return [view.width, view.height, Array.from(all.filter((_, i) => i % 4 === 0))];
})()"""
MARKS = """[...document.querySelectorAll('#marks i')].map(
  (mark) => parseFloat(mark.style.left))"""
BUTTONS = "document.querySelectorAll('#rows td button')"


def shown(browser):
    width, height, values = browser.value(GREY)
    return np.array(values, float).reshape(height, width)


def test_nothing_is_loaded_or_complained_about(browser, written):
    requests = browser.reported("Network.requestWillBeSent")
    assert {r["request"]["url"].split(":")[0] for r in requests} <= {"file", "data"}
    assert sum(r["request"]["url"].startswith("file") for r in requests) == 1
    assert not browser.reported("Runtime.exceptionThrown")
    assert not [
        entry
        for entry in browser.reported("Log.entryAdded")
        if entry["entry"]["level"] == "error"
    ]
    assert browser.value("document.querySelectorAll('#volumes b').length") == 0


def test_every_volume_shows_its_chosen_slices_and_their_pictures(browser, written):
    count = browser.value("document.querySelectorAll('#volumes button').length")
    assert count == 6
    for index in range(count):
        browser.value(f"document.querySelectorAll('#volumes button')[{index}].click()")
        case = browser.value("document.getElementById('case').textContent")
        rows = rows_of(written, case)
        numbers = browser.value(f"[...{BUTTONS}].map(b => b.textContent)")
        assert [int(text) for text in numbers] == [r["display_number"] for r in rows]
        marks = browser.value(MARKS)
        expected = [100 * row["slice_index"] / 11 for row in rows]
        np.testing.assert_allclose(marks, expected, atol=1e-3)
        for place, row in enumerate(rows):
            browser.value(
                f"document.querySelectorAll('#rows td button')[{place}].click()"
            )
            assert (
                browser.value("document.getElementById('view').className") == "chosen"
            )
            picture = np.asarray(Image.open(written / row["thumbnail"]), float)
            # JPEG in the page, PNG beside it.
            assert np.abs(shown(browser) - picture).mean() < 4


def test_keys_walk_through_slices_and_tick_them_off(browser, written):
    browser.open(written / "worklist.html")
    first = browser.value("document.getElementById('number').textContent")
    browser.press("ArrowRight", 39)
    assert browser.value("document.getElementById('number').textContent") != first
    browser.press("ArrowLeft", 37)
    assert browser.value("document.getElementById('number').textContent") == first
    browser.press(" ", 32, " ")
    assert "1 of 12" in browser.value("document.getElementById('done').textContent")
    assert browser.value("document.getElementById('view').className") == "done"
    browser.press("n", 78, "n")
    browser.press("n", 78, "n")
    current = "document.querySelector('[aria-current=true] span').textContent"
    rows = json.loads((written / "worklist.json").read_text())["rows"]
    assert browser.value(current) == rows[2]["case"]
    # The tick outlives the page.
    browser.open(written / "worklist.html")
    assert "1 of 12" in browser.value("document.getElementById('done').textContent")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.resize(width, phone=width < 500)
    assert browser.value("document.documentElement.scrollWidth") <= width
