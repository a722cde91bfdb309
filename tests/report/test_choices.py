"""What the strategies chose: tables, maps, and cells that are copies of others."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slicebench import report, statistics
from slicebench.report import _choices, _gaps, _reading, _tables
from tests.report import runs
from tests.report.test_page import Page

COPY = {
    "task": "blobs",
    "budget": 8,
    "slices_per_volume": 1,
    "strategy": "fixed_interval",
    "interpolation": "linear",
    "pseudo_weight": 0.5,
}
LEFT_OUT = [
    {
        "cell": COPY,
        "reason": "identical by construction to random at one slice per volume",
    },
    {
        "cell": {**COPY, "strategy": "random"},
        "reason": "identical by construction to none at one slice per volume",
    },
    {
        "cell": {"task": "blobs", "budget": 64, "slices_per_volume": 32},
        "reason": "32 slices per volume, the pool's thinnest volume has 16",
    },
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    strategies = ("random", "k_center", "mine")
    runs.write_run(folder, strategies=strategies, slices_per_volume=(2, 16), seeds=2)
    runs.write_choices(folder, alike=("mine",))
    # Each fold of a task names the cells that it leaves out.
    runs.change_experiment(folder, cells_left_out=LEFT_OUT + LEFT_OUT)
    report.write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(workdir) -> Page:
    return Page((workdir / "report.html").read_text(encoding="utf-8"))


def test_table_has_a_row_a_contrast_of_strategies(workdir, page):
    rows = {row["name"]: row for row in runs.read_table(workdir, "overlap")}
    assert list(rows) == [
        "k_center against random, k = 2",
        "k_center against random, k = 16",
        "mine against random, k = 2",
        "mine against random, k = 16",
    ]
    sparse, whole, same, _ = rows.values()
    assert 0 <= float(sparse["jaccard"]) < 0.5
    assert float(sparse["expected_jaccard"]) == pytest.approx((1 / 8) / (2 - 1 / 8))
    assert float(sparse["coverage_a"]) == 1 / 8
    assert (sparse["num_pairs"], sparse["may_be_pooled"]) == ("2", "yes")
    # Every slice of a volume leaves nothing to choose.
    assert float(whole["coverage_b"]) == 1.0
    assert (whole["jaccard"], whole["may_be_pooled"]) == ("1.0", "no")
    assert (same["jaccard"], same["may_be_pooled"]) == ("1.0", "no")
    assert same["reason"] == statistics.IDENTICAL
    shown = f"{float(sparse['jaccard']):.3f} ({float(sparse['lowest']):.3f} to "
    assert shown in page.prose
    assert page.prose.count("1.000 (1.000 to 1.000)") == 3


def test_table_is_sorted_like_the_others_and_stands_in_its_section(page):
    section = page.text[page.text.index('<section id="choices">') :]
    section = section[: section.index("</section>")]
    assert "What the strategies chose" in section
    assert section.count('<table class="sortable">') == 1
    assert "tables/overlap.csv" in section
    assert '<a href="#choices">' in page.text


def test_verdicts_say_where_nothing_was_compared(page):
    verdicts = page.text[: page.text.index('<section id="choices">')]
    noted = [part for part in verdicts.split("<li") if statistics.IDENTICAL in part]
    assert len(noted) == 1
    assert "mine instead of random" in noted[0]


def test_matrix_file_holds_every_pair_of_every_budget(workdir):
    rows = runs.read_table(workdir, "overlap_matrix")
    arms = {(row["arm_a"], row["arm_b"]) for row in rows}
    assert arms == {("random", "k_center"), ("random", "mine"), ("k_center", "mine")}
    assert [int(row["budget"]) for row in rows] == [8] * 3 + [16] * 6
    same = [row for row in rows if row["arm_b"] == "mine" and row["arm_a"] == "random"]
    assert [row["jaccard"] for row in same] == ["1.0"] * 3


def test_map_is_written_and_described(workdir, page):
    for ending in ("svg", "png"):
        assert (workdir / "figures" / f"overlap-blobs-2d-0.{ending}").stat().st_size
    labels = {a["aria-label"] for tag, a in page.tags if tag == "svg"}
    (label,) = [text for text in labels if text and "Overlap of the slices" in text]
    assert "1.00 (random and mine)" in label
    assert "16 per volume: 1.00" in label


def test_copies_stand_apart_with_what_they_equal(workdir, page):
    rows = runs.read_table(workdir, "identical")
    # Both are random without interpolation in the end, the first by way of the second.
    trained = "task blobs, budget 8, slices per volume 1, strategy random"
    assert [row["equals"] for row in rows] == [trained, trained]
    assert "interpolation linear" in rows[0]["cell"]
    refused = runs.read_table(workdir, "left_out")
    assert [row["reason"] for row in refused] == [LEFT_OUT[2]["reason"]]
    titles = ("Identical by construction: trained once", "Cells left out")
    first, second = (page.prose.index(title) for title in titles)
    assert first < page.prose.index(LEFT_OUT[0]["reason"]) < second
    assert second < page.prose.index(LEFT_OUT[2]["reason"])


def test_a_copy_that_names_no_factor_keeps_the_words_of_its_reason():
    reason = "identical by construction to all slices of every volume"
    entry = {"cell": {"task": "blobs", "budget": 8}, "reason": reason}
    copies = _gaps.twins({"cells_left_out": [entry]}).frame
    assert copies["equals"].tolist() == ["all slices of every volume"]


def test_one_strategy_has_nothing_to_compare(tmp_path):
    runs.write_run(tmp_path, **runs.SMALL)
    assert runs.write_choices(tmp_path)["chosen_slices"].notna().any()
    assert _choices.choices(_reading.read_run(tmp_path)) is None


def _pairs(*rows: dict) -> pd.DataFrame:
    base = {"task": "t", "target": "all", "dims": "2d", "budget": 8, "num_volumes": 4}
    base |= {"slices_per_volume": 2, "lowest": 0.0, "highest": 1.0, "num_pairs": 1}
    base |= {"jaccard": 0.2, "expected_jaccard": 0.1, "coverage_a": 0.25}
    base |= {"coverage_b": 0.25, "strategy_a": "a", "strategy_b": "b"}
    for side in "ab":
        base |= {f"volume_strategy_{side}": "random", f"features_{side}": "none"}
        base |= {f"scope_{side}": "within"}
    return pd.DataFrame([base | row for row in rows])


def test_arms_are_named_by_what_differs_and_known_ones_come_first():
    named = _choices.with_arms(
        _pairs(
            {"strategy_b": "random", "coverage_a": 0.4, "coverage_b": 0.3},
            {"features_b": "intensity"},
            {"features_b": "file", "volume_strategy_b": "calr"},
        )
    )
    assert named["arm_a"].tolist() == ["random", "a", "a"]
    assert named["arm_b"].tolist() == [
        "a",
        "b, volumes random, intensity",
        "b, volumes calr, file",
    ]
    # Sides are swapped whole.
    assert named.loc[0, ["strategy_a", "strategy_b"]].tolist() == ["random", "a"]
    assert named.loc[0, ["coverage_a", "coverage_b"]].tolist() == [0.3, 0.4]


def test_budgets_are_averaged_by_their_pairs():
    pairs = _choices.with_arms(
        _pairs({"jaccard": 0.2, "num_pairs": 3}, {"budget": 16, "jaccard": 0.6})
    )
    drawn = _choices.over_budgets(pairs)
    assert drawn["jaccard"].tolist() == pytest.approx([(3 * 0.2 + 0.6) / 4])
    assert drawn["coverage"].tolist() == [0.25]


def _drawn(arms: tuple[str, ...], densities: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "arm_a": a,
                "arm_b": b,
                "slices_per_volume": density,
                "jaccard": 0.1 * density + 0.01 * place,
                "expected_jaccard": math.nan if density == 4 else 0.07,
                "coverage": 0.125 * density,
            }
            for density in densities
            for place, (a, b) in enumerate(itertools.combinations(arms, 2))
        ]
    )


def test_map_has_a_panel_a_density_and_a_field_a_pair():
    arms = ("random", "k_center", "mine")
    figure = report.overlap_figure(_drawn(arms, (1, 4)), arms=arms)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["1 slice per volume", "4 slices per volume"]
    first = figure.axes[0]
    fields = {text.get_position(): text.get_text() for text in first.texts}
    assert fields == {(0.5, 0.5): "0.10", (0.5, 1.5): "0.11", (1.5, 1.5): "0.12"}
    ticks = [[t.get_text() for t in first.get_xticklabels()]]
    ticks.append([t.get_text() for t in first.get_yticklabels()])
    assert ticks == [["random", "k-center"], ["k-center", "mine"]]
    assert first.get_ylim() == (2, 0)
    notes = [axes.get_xlabel() for axes in figure.axes]
    assert notes == ["by chance 0.07, coverage 0.12", "coverage 0.50"]


def test_colours_mean_the_same_in_every_panel():
    arms = ("a", "b")
    figure = report.overlap_figure(_drawn(arms, (1, 4)), arms=arms)
    meshes = [axes.collections[0] for axes in figure.axes]
    assert [mesh.get_clim() for mesh in meshes] == [(0, 1), (0, 1)]
    values = [np.asarray(mesh.get_array()).item() for mesh in meshes]
    assert values == pytest.approx([0.1**0.5, 0.4**0.5])


def test_numbers_that_would_not_fit_are_left_out():
    many = tuple(f"s{number:02d}" for number in range(40))
    figure = report.overlap_figure(_drawn(many, (1,)), arms=many)
    assert not figure.axes[0].texts


def test_a_range_shows_its_ends():
    frame = pd.DataFrame([{"x": 0.25, "lowest": 0.1, "highest": 0.5}])
    columns = (_tables.Column("x", "X", "range"),)
    table = _tables.Table(name="t", title="T", frame=frame, columns=columns)
    assert table.rows[0][0].text == "0.250 (0.100 to 0.500)"
    assert table.rows[0][0].numeric
