"""Plot functions: given estimates and intervals, what is drawn."""

import math

import numpy as np
import pandas as pd
import pytest

from slicebench import report
from slicebench.report import (
    _cells,
    _curves,
    _gallery,
    _inline,
    _palette,
    _style,
    _tables,
    _words,
)


def _grid(budgets=(8, 16), arms=("random", "k_center")) -> pd.DataFrame:
    rows = [
        {
            "arm": arm,
            "strategy": arm,
            "style": 0,
            "budget": budget,
            "num_volumes": budget // slices,
            "slices_per_volume": slices,
            "estimate": 0.7 - 0.02 * math.log2(slices) + 0.01 * math.log2(budget),
            "low": 0.6,
            "high": 0.8,
            "in_best_set": slices == 1,
            "share_diverged": 0.0,
        }
        for budget in budgets
        for slices in (1, 2, 4)
        for arm in arms
    ]
    return pd.DataFrame(rows)


def _texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_density_has_a_panel_a_budget_and_a_line_an_arm():
    figure = report.density_figure(_grid(), metric="dice")
    assert [axes.get_title("left") for axes in figure.axes] == [
        "8 annotated slices",
        "16 annotated slices",
    ]
    for axes in figure.axes:
        assert len(axes.get_lines()) == 2
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["1\n8\u00d71", "2\n4\u00d72", "4\n2\u00d74"]


def test_a_dozen_arms_stay_inside_panel_and_figure():
    arms = tuple(f"a strategy of long name {number:02d}" for number in range(12))
    figure = report.density_figure(_grid(budgets=(8,), arms=arms), metric="dice")
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    drawn = np.concatenate([line.get_xdata() for line in axes.get_lines()])
    assert low < drawn.min() < drawn.max() < high
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_density_draws_estimates_and_intervals_on_a_log2_axis():
    cells = _grid(budgets=(8,), arms=("random",))
    axes = report.density_figure(cells, metric="dice").axes[0]
    line = axes.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(line.get_ydata(), cells["estimate"])
    segments = axes.collections[0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], [[0.6, 0.8]] * 3)


def test_ceiling_is_drawn_with_its_value():
    level = report.Level(0.912, 0.9, 0.92)
    figure = report.density_figure(_grid(), metric="dice", ceiling=level)
    assert _texts(figure) == ["all labels 0.912"] * 2
    assert figure.axes[0].get_ylim()[1] > 0.912


def test_a_diverged_cell_does_not_squeeze_the_others():
    cells = _grid(budgets=(8,), arms=("random",))
    cells.loc[0, ["estimate", "low", "high", "share_diverged"]] = [0.1, 0.0, 0.3, 0.5]
    figure = report.density_figure(cells, metric="dice")
    assert figure.axes[0].get_ylim()[0] > 0.5
    assert "0.100" in _texts(figure)


def test_strategies_keep_their_colours_whatever_else_is_drawn():
    few = _palette.looks(["random", "k_center"])
    many = _palette.looks(["a", "b", "random", "k_center", "fixed_interval", "c"])
    assert all(many[name] == look for name, look in few.items())
    assert len(set(many.values())) == 6
    suite = ["random", "k_center", *(f"other{number}" for number in range(11))]
    assert len(set(_palette.looks(suite).values())) == 13


def test_budget_has_a_panel_an_arm():
    figure = report.budget_figure(_grid(), metric="dice")
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["random", "k-center"]
    assert all(len(axes.get_lines()) == 3 for axes in figure.axes)


def test_map_frames_the_set_of_best_allocations():
    figure = report.allocation_figure(_grid(arms=("random",)), metric="dice")
    frames = [p for p in figure.axes[0].patches if not p.get_fill()]
    assert len(frames) == 2
    assert "0.730" in _texts(figure)
    assert "\u00b10.100" in _texts(figure)


def test_forest_draws_margins_and_says_verdicts():
    rows = [
        {
            "heading": "liver, 2D",
            "label": f"{number} slices",
            "estimate": 0.01 * number,
            "low": 0.0,
            "high": 0.04,
            "margin": margin,
            "verdict": verdict,
        }
        for number, margin, verdict in (
            (1, 0.012, "superior"),
            (2, math.nan, "exploratory"),
        )
    ]
    figure = report.forest_figure(pd.DataFrame(rows), metric="dice")
    strips = figure.axes[0].patches
    assert [(s.get_x(), s.get_width()) for s in strips] == [(-0.012, 0.024)]
    assert "0.010 [0.000, 0.040]  superior" in _texts(figure)
    assert "liver, 2D" in _texts(figure)


@pytest.mark.parametrize(("wide", "arrows"), [(0.05, 0), (9.0, 2)])
def test_forest_marks_a_prediction_interval_that_leaves_the_figure(wide, arrows):
    row = {
        "heading": "spread, 2D",
        "label": "mean over 3 tasks",
        "estimate": 0.01,
        "low": -0.02,
        "high": 0.04,
        "wide_low": -wide,
        "wide_high": wide,
        "margin": math.nan,
        "verdict": "pooled",
    }
    (axes,) = report.forest_figure(pd.DataFrame([row]), metric="dice").axes
    assert sum(line.get_marker() in ("<", ">") for line in axes.lines) == arrows


@pytest.mark.parametrize("classes", [1, 2])
def test_examples_show_image_truth_and_each_network(classes):
    truth = np.zeros((2, 12, 16), np.uint8)
    truth[:, 3:9, 4:12] = 1
    truth[:, 5:7, 6:9] = classes
    examples = report.Examples(
        image=truth + np.arange(384, dtype=np.float32).reshape(truth.shape) % 7,
        truth=truth,
        predictions=np.stack([truth, 0 * truth], 1),
        row_titles=("one", "two"),
        column_titles=("few", "none"),
        spacing=(1.0, 2.0),
    )
    names = ("a", "b")[:classes]
    figure = report.example_figure(examples, names)
    titles = [axes.get_title("center") for axes in figure.axes[:4]]
    assert titles == ["image", "truth", "few", "none"]
    assert figure.axes[0].get_aspect() == 0.5
    svg = _style.svg_text(figure)
    # Each slice's pixels are stored once, and used again for every column.
    assert svg.count("data:image/png") == 2
    assert svg.count("<use xlink:href") >= 6


def test_drawing_leaves_matplotlib_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    _style.svg_text(report.density_figure(_grid(), metric="dice"))
    assert dict(mpl.rcParams) == before


def test_inline_figures_have_their_own_names():
    svg = _style.svg_text(report.density_figure(_grid(), metric="dice"))
    text = str(_inline.inline(svg, "one", 'says "so" <b>'))
    assert text.startswith('<svg role="img" aria-label="says &quot;so&quot; &lt;b&gt;"')
    assert "http" not in text
    assert "<style" not in text
    assert 'id="one-' in text


def _cell(**values) -> dict:
    base = {"task": "t", "target": "all", "dims": "2d", "budget": 8, "steps": 100}
    base |= {"num_volumes": 4, "slices_per_volume": 2, "volume_strategy": "random"}
    base |= {"strategy": "random", "features": "none", "scope": "within"}
    base |= {"interpolation": "none", "pseudo_weight": 0.0, "metric": "dice"}
    return base | values


def test_arms_are_named_by_what_differs():
    cells = pd.DataFrame(
        [
            _cell(interpolation="distance", pseudo_weight=0.5),
            _cell(),
            _cell(strategy="k_center", features="intensity"),
        ]
    )
    named = _cells.with_arms(cells)
    assert named["arm"].tolist() == [
        "random, interpolation distance, pseudo-labels at 0.5",
        "random, interpolation none, pseudo-labels at 0.0",
        "k_center",
    ]
    assert named["style"].tolist() == [0, 1, 0]


def test_steps_name_an_arm_only_where_one_allocation_has_several():
    by_budget = pd.DataFrame([_cell(), _cell(budget=16, num_volumes=8, steps=200)])
    assert set(_cells.with_arms(by_budget)["arm"]) == {"random"}
    doubled = pd.DataFrame([_cell(), _cell(steps=200)])
    arms = set(_cells.with_arms(doubled)["arm"])
    assert arms == {"random, 100 steps", "random, 200 steps"}


def _contrast(**values) -> dict:
    base = {"name": "n", "task": "liver", "target": "all", "dims": "2d"}
    base |= {"metric": "dice", "kind": "slope", "where": {"budget": 48}}
    base |= {"a": {}, "b": {}, "estimate": 0.012, "low": 0.008, "high": 0.016}
    base |= {"verdict": "superior", "margin": 0.01, "num_seeds": 20}
    return base | {"negligible": False, "reason": None} | values


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {},
            "liver, 2D, 48 slices: each halving of slices per volume gains 0.012 Dice "
            "[0.008, 0.016]: superior",
        ),
        (
            {"target": "tumour", "estimate": -0.012, "verdict": "inferior"},
            "liver (tumour), 2D, 48 slices: each halving of slices per volume changes "
            "Dice by -0.012 [0.008, 0.016]: inferior",
        ),
        (
            {
                "kind": "difference",
                "a": {"strategy": "k_center"},
                "b": {"strategy": "random"},
                "verdict": "equivalent",
                "slices_saved": {"estimate": 0.25},
                "num_seeds": 6,
            },
            "liver, 2D, 48 slices: k-center instead of random gains 0.012 Dice "
            "[0.008, 0.016]: equivalent (margin 0.010; like 25 % more slices; few "
            "seeds: 6)",
        ),
        (
            {"verdict": "inconclusive", "slices_saved": {"estimate": 0.25}},
            "liver, 2D, 48 slices: each halving of slices per volume gains 0.012 Dice "
            "[0.008, 0.016]: inconclusive",
        ),
        (
            {"metric": "hd95", "estimate": 1.5, "low": 1.0, "high": 2.0},
            "liver, 2D, 48 slices: each halving of slices per volume lowers HD95 by "
            "1.50 mm [1.00, 2.00]: superior",
        ),
        (
            {
                "metric": "hd95",
                "estimate": -1.5,
                "low": -2.0,
                "high": -1.0,
                "where": {},
            },
            "liver, 2D: each halving of slices per volume raises HD95 by 1.50 mm (as a "
            "gain: -1.50 [-2.00, -1.00]): superior",
        ),
        (
            {"estimate": None, "verdict": "inconclusive", "reason": "no cells"},
            "liver, 2D, 48 slices: each halving of slices per volume: no estimate (no "
            "cells): inconclusive",
        ),
        (
            {"negligible": True},
            "liver, 2D, 48 slices: each halving of slices per volume gains 0.012 Dice "
            "[0.008, 0.016]: superior (negligible: within the margin)",
        ),
    ],
)
def test_verdicts_read_as_sentences(values, line):
    lines = report.verdict_lines({"contrasts": [_contrast(**values)]})
    assert [text.replace("\u2212", "-") for text in lines] == [line]


def test_contrasts_without_verdict_come_last():
    contrasts = [_contrast(verdict="exploratory"), _contrast()]
    lines = report.verdict_lines({"contrasts": contrasts})
    assert [line.endswith(": superior") for line in lines] == [True, False]
    assert lines[1].endswith("exploratory, no verdict")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("decided", "inconclusive"),
        ("case-limited", "more seeds would not settle it"),
        ("cap reached", "not settled at the last look"),
    ],
)
def test_a_contrast_that_looks_left_open_says_why(state, said):
    contrast = _contrast(verdict="inconclusive", state=state)
    (line,) = report.verdict_lines({"contrasts": [contrast]})
    assert said in line
    assert ("settle" in line) == (state != "decided")


def test_factors_of_every_kind_become_words():
    values = {"budget": 8, "slices_per_volume": [1, 2], "interpolation": "none"}
    assert _words.factors(values) == [
        "8 slices",
        "1 or 2 per volume",
        "no interpolation",
    ]


def test_csv_values_read_back_exactly(tmp_path):
    frame = pd.DataFrame({"x": [0.1 + 0.2, math.nan], "n": ["a,b", 'c"d']})
    table = _tables.Table(name="t", title="T", frame=frame, columns=())
    _tables.write_tables(tmp_path, [table])
    back = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(back, frame)


def test_many_exploratory_contrasts_stand_in_the_table_only(tmp_path):
    many = [_contrast(verdict="exploratory")] * 100 + [_contrast()]
    rows = _gallery.contrast_rows(many)
    (view,) = _gallery.forest_figures(rows, tmp_path)
    assert str(view.svg).count("exploratory") == 0
    assert "0.012, superior" in str(view.svg)


@pytest.mark.parametrize("count", [2, 12, 45])
def test_any_number_of_strategies_leaves_room_for_the_lines(count):
    rows = [
        {
            "arm": f"representative, contrastive {number}",
            "strategy": f"mine{number}",
            "style": 0,
            "budget": 8,
            "num_volumes": 2,
            "slices_per_volume": 4,
            "estimate": 0.5 + number / 100,
            "low": 0.4,
            "high": 0.7,
        }
        for number in range(count)
    ]
    figure = _curves.density_figure(pd.DataFrame(rows), metric="dice")
    assert len(_style.png_bytes(figure)) > 1000
    (axes,) = figure.axes
    assert axes.get_window_extent().height > 100


def test_compact_drawings_keep_their_words_and_places():
    svg = '<svg a="1"><!-- no --><text x="1.23456" style="fill: #1f2933">0.0123</text>'
    image = '<use transform="matrix(0.123456 0 0 1 0 0)"/></svg>'
    text = str(_inline.inline(svg + image, "n", "what it shows"))
    assert 'x="1.23"' in text
    assert ">0.0123<" in text
    assert "0.123456" in text
    assert "no -->" not in text
    assert "var(--c-1f2933)" in text
