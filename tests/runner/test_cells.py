import dataclasses

import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner.cells import CEILING, make_cells
from slicebench.runner.contrasts import plan_contrasts

INFO = spec.TaskInfo(
    name="made_up",
    pool_volumes=10,
    min_slices=6,
    median_slices=8,
    grid=(16, 16),
    synthetic=True,
)


def experiment(**changes):
    settings = {
        "name": "made_up",
        "question": "Which?",
        "tasks": (),
        "budgets": (12,),
        "slices_per_volume": (2, 4),
        "num_seeds": 3,
        "ceiling_seeds": 1,
    }
    return spec.Experiment(**settings | changes)


def make(**changes):
    return make_cells(experiment(**changes), INFO, total_slices=77)


def shapes(cells):
    return [
        (c.factors["budget"], c.factors["num_volumes"], c.factors["slices_per_volume"])
        for c in cells
    ]


def reasons(left):
    return {
        (item.cell["budget"], item.cell["slices_per_volume"]): item.reason
        for item in left
    }


def test_cells_spend_their_budget_and_the_ceiling_comes_last():
    cells, left = make()
    assert shapes(cells) == [(12, 6, 2), (12, 3, 4), (77, 10, None)]
    assert [cell.seeds for cell in cells] == [3, 3, 1]
    assert cells[-1].factors["strategy"] == CEILING
    assert left == []
    for cell in cells:
        assert set(cell.factors) == set(spec.CELL_FIELDS) - {"task", "target"}


def test_no_ceiling_without_its_seeds():
    assert shapes(make(ceiling_seeds=0)[0]) == [(12, 6, 2), (12, 3, 4)]


def test_what_does_not_fit_is_left_out_with_its_reason():
    cells, left = make(budgets=(4, 8, 24, 40, 12), slices_per_volume=(1, 2, 3, 4))
    assert shapes(cells[:-1]) == [
        (4, 4, 1),
        (4, 2, 2),
        (8, 8, 1),
        (8, 4, 2),
        (8, 2, 4),
        (12, 6, 2),
        (12, 4, 3),
        (12, 3, 4),
        (24, 8, 3),
        (24, 6, 4),
        (40, 10, 4),
    ]
    found = reasons(left)
    assert found[4, 3] == "3 slices per volume do not divide 4"
    assert found[12, 1] == "12 volumes are needed, the pool has 10"
    assert found[4, 4] == "one volume only: its patient would decide the score"
    assert all(item.cell["task"] == "made_up" for item in left)
    assert len(cells) - 1 + len(left) == 5 * 4


def test_slices_beyond_the_thinnest_volume_are_left_out():
    with pytest.raises(InputError, match=r"--slices_per_volume: 7 .* thinnest volume"):
        make(budgets=(14,), slices_per_volume=(2, 7))


def test_an_interval_at_one_slice_is_random_by_construction():
    axes = {"budgets": (8,), "slices_per_volume": (1, 2), "ceiling_seeds": 0}
    cells, left = make(strategies=("random", "fixed_interval"), **axes)
    assert len(cells) == 3
    assert "identical by construction" in left[0].reason
    assert left[0].cell["strategy"] == "fixed_interval"
    alone, none = make(strategies=("fixed_interval",), **axes)
    assert len(alone) == 2
    assert none == []


def test_a_random_slice_of_one_segment_is_random_by_construction():
    axes = {"budgets": (8,), "slices_per_volume": (1,), "ceiling_seeds": 0}
    cells, left = make(strategies=("random", "stratified", "central"), **axes)
    assert [cell.factors["strategy"] for cell in cells] == ["random", "central"]
    assert left[0].reason.startswith("identical by construction to random")


def test_volumes_annotated_whole_are_trained_once():
    info = dataclasses.replace(INFO, min_slices=4, median_slices=4, max_slices=4)
    made = experiment(
        strategies=("random", "central"),
        interpolations=("none", "linear"),
        budgets=(8,),
        slices_per_volume=(2, 4),
        ceiling_seeds=0,
    )
    cells, left = make_cells(made, info, total_slices=100)
    assert len([c for c in cells if c.factors["slices_per_volume"] == 2]) == 4
    assert len([c for c in cells if c.factors["slices_per_volume"] == 4]) == 1
    assert {item.reason for item in left} == {
        f"identical by construction to {first} where volumes are annotated whole"
        for first in ("random", "none")
    }


def test_features_matter_only_to_strategies_that_use_them():
    cells, _ = make(
        strategies=("random", "k_center"), slices_per_volume=(2,), ceiling_seeds=0
    )
    assert [(c.factors["strategy"], c.factors["features"]) for c in cells] == [
        ("random", "none"),
        ("k_center", "intensity"),
    ]


def test_axes_may_follow_the_task():
    cells, _ = make(
        budgets=lambda info: (info.pool_volumes,),
        slices_per_volume=lambda info: (1, info.min_slices - 1),
        ceiling_seeds=0,
    )
    assert shapes(cells) == [(10, 10, 1), (10, 2, 5)]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"budgets": (12, 7), "slices_per_volume": (2,)}, ["--budgets: 7", "made_up"]),
        ({"budgets": (1000,)}, ["--budgets: 1000", "2 to 10 volumes x 1 to 6 slices"]),
        ({"budgets": (12,), "slices_per_volume": (2, 5)}, ["--slices_per_volume: 5"]),
        ({"budgets": (4,), "slices_per_volume": (4,)}, ["--budgets: 4", "one volume"]),
    ],
)
def test_a_value_that_no_cell_can_meet_is_refused(axes, words):
    with pytest.raises(InputError) as caught:
        make(**axes)
    for word in words:
        assert word in str(caught.value)


def contrast(**changes):
    return spec.Contrast(**{"name": "few", "family": "allocation"} | changes)


def plan(*contrasts, **changes):
    made = experiment(contrasts=contrasts, **changes)
    cells, _ = make_cells(made, INFO, total_slices=77)
    return plan_contrasts(made, INFO, "all", cells)


PAIR = contrast(a={"slices_per_volume": 2}, b={"slices_per_volume": 4})


def test_a_contrast_is_made_for_every_value_of_its_axes():
    planned, dropped = plan(PAIR, budgets=(12, 8))
    assert [item["name"] for item in planned] == ["few (budget 8)", "few (budget 12)"]
    assert [item["where"] for item in planned] == [{"budget": 8}, {"budget": 12}]
    assert planned[0]["family"] == "allocation: made_up, 2d"
    assert (planned[0]["task"], planned[0]["target"]) == ("made_up", "all")
    assert (planned[0]["a"], planned[0]["b"]) == (dict(PAIR.a), dict(PAIR.b))
    assert dropped == []


def test_a_contrast_without_axes_keeps_its_name():
    planned, _ = plan(dataclasses.replace(PAIR, each=()))
    assert [item["name"] for item in planned] == ["few"]


def test_a_contrast_over_two_axes():
    planned, _ = plan(
        dataclasses.replace(PAIR, each=("budget", "strategy")),
        budgets=(8, 12),
        strategies=("random", "fixed_interval"),
    )
    assert len(planned) == 4
    assert planned[0]["name"] == "few (budget 8, strategy fixed_interval)"


def test_contrasts_without_cells_are_dropped_by_name():
    other = contrast(a={"strategy": "k_center"}, b={"strategy": "random"})
    planned, dropped = plan(PAIR, other)
    assert len(planned) == 1
    assert dropped == [
        {
            "name": "few (budget 12)",
            "reason": "no cell with budget=12, strategy=k_center",
        }
    ]


def test_the_ceiling_is_no_side_of_a_contrast():
    whole = contrast(a={"strategy": CEILING}, b={"strategy": "random"})
    planned, dropped = plan(whole)
    assert planned == []
    assert len(dropped) == 1


def test_a_slope_needs_two_densities():
    slope = contrast(kind="slope", where={"strategy": "random"})
    assert len(plan(slope)[0]) == 1
    planned, dropped = plan(slope, slices_per_volume=(2,))
    assert planned == []
    assert dropped[0]["reason"] == "fewer than two densities to compare"


def test_a_slope_keeps_to_cells_of_enough_volumes():
    slope = contrast(kind="slope", where={"strategy": "random"}, min_volumes=4)
    axes = {"budgets": (8,), "slices_per_volume": (1, 2, 4)}
    planned, _ = plan(slope, **axes)
    assert planned[0]["where"]["slices_per_volume"] == [1, 2]
    _, dropped = plan(dataclasses.replace(slope, min_volumes=5), **axes)
    assert dropped[0]["reason"] == "fewer than two densities to compare"


def test_values_that_nobody_gave_are_left_out_silently():
    changes = {"budgets": (12, 1000), "slices_per_volume": (2, 4)}
    cells, left = make_cells(
        experiment(**changes), INFO, total_slices=77, given=("slices_per_volume",)
    )
    assert shapes(cells[:-1]) == [(12, 6, 2), (12, 3, 4)]
    assert {item.cell["budget"] for item in left} == {1000}


def test_an_experiment_of_which_nothing_fits_says_why():
    with pytest.raises(InputError, match="1000 cannot be met"):
        make_cells(experiment(budgets=(1000,)), INFO, total_slices=77, given=())


def test_the_scope_pooled_has_no_quota():
    cells, _ = make(scope=("pooled",), ceiling_seeds=0)
    assert shapes(cells) == [(12, 6, None), (12, 3, None)]


def test_the_scope_pooled_may_draw_from_the_whole_pool():
    cells, left = make(scope=("within", "pooled"), pooled_from="pool", ceiling_seeds=0)
    assert shapes(cells) == [(12, 6, 2), (12, 10, None), (12, 3, 4)]
    assert left == []


def test_interpolation_has_weights_and_needs_two_slices_a_volume():
    cells, left = make(
        slices_per_volume=(1, 2),
        budgets=(8,),
        interpolations=("none", "linear"),
        pseudo_weights=(0.5, 1.0),
        ceiling_seeds=0,
    )
    kinds = [
        (
            c.factors["slices_per_volume"],
            c.factors["interpolation"],
            c.factors["pseudo_weight"],
        )
        for c in cells
    ]
    assert kinds == [
        (1, "none", 0.0),
        (2, "none", 0.0),
        (2, "linear", 0.5),
        (2, "linear", 1.0),
    ]
    assert {item.reason for item in left} == {
        "identical by construction to none at one slice per volume"
    }


def test_a_cell_is_left_out_only_if_its_twin_is_trained():
    cells, left = make(
        slices_per_volume=(1, 2), budgets=(8,), interpolations=("linear",)
    )
    densities = [c.factors["slices_per_volume"] for c in cells]
    assert densities == [1, 2, None]
    assert left == []


def test_steps_are_a_factor_and_contrasts_take_the_schedule_unless_they_say():
    made = experiment(
        training=spec.Training(steps=100),
        interpolations=("none", "linear"),
        steps_factors=(0.5, 1, 2),
        keep=lambda cell: cell["interpolation"] == "none" or cell["steps_factor"] == 1,
        slices_per_volume=(2,),
        contrasts=(
            spec.Contrast(
                name="filled",
                family="f",
                a={"interpolation": "linear"},
                b={"interpolation": "none"},
            ),
            spec.Contrast(
                name="filled against twice the work",
                family="f",
                a={"interpolation": "linear", "steps_factor": 1},
                b={"interpolation": "none", "steps_factor": 2},
            ),
        ),
    )
    cells, _ = make_cells(made, INFO, total_slices=77)
    assert [(c.factors["interpolation"], c.factors["steps"]) for c in cells] == [
        ("none", 50),
        ("none", 100),
        ("none", 200),
        ("linear", 100),
        ("none", 100),
    ]
    (first, second), dropped = plan_contrasts(made, INFO, "all", cells)
    assert dropped == []
    assert first["where"]["steps"] == 100
    assert second["a"] == {"interpolation": "linear", "steps": 100}
    assert second["b"] == {"interpolation": "none", "steps": 200}
    assert "steps" not in second["where"]


def test_other_steps_are_explored_by_contrasts_that_name_none():
    made = experiment(
        training=spec.Training(steps=100),
        steps_factors=(0.5, 1, 2),
        budgets=(8,),
        slices_per_volume=(1, 2),
        contrasts=(
            spec.Contrast(
                name="spread",
                family="f",
                a={"slices_per_volume": 1},
                b={"slices_per_volume": 2},
            ),
        ),
    )
    cells, _ = make_cells(made, INFO, total_slices=77)
    planned, dropped = plan_contrasts(made, INFO, "all", cells)
    assert dropped == []
    found = {
        item["name"]: (item["where"]["steps"], item["primary"]) for item in planned
    }
    assert found == {
        "spread (budget 8)": (100, True),
        "spread, 0.5 x the steps (budget 8)": (50, False),
        "spread, 2 x the steps (budget 8)": (200, False),
    }
    assert len({item["family"] for item in planned}) == 3


def test_one_schedule_needs_no_word_about_steps():
    cells, _ = make()
    made = experiment(
        contrasts=(spec.Contrast(name="x", family="f", a={"strategy": "random"}),)
    )
    planned, _ = plan_contrasts(made, INFO, "all", cells)
    assert all("steps" not in item["where"] for item in planned)
