import dataclasses
import json
import typing

import pandas as pd
import pytest

from slicebench import spec
from slicebench.results import Store
from tests.command import ROOT


def make_trial(**changes):
    settings = {
        "task": "heart",
        "target": "all",
        "fold": 0,
        "dims": "2d",
        "budget": 12,
        "num_volumes": 6,
        "slices_per_volume": 2,
        "volume_strategy": "random",
        "strategy": "random",
        "features": "none",
        "scope": "within",
        "interpolation": "none",
        "pseudo_weight": 0.0,
        "selection_seed": 3,
        "training_seed": 3,
        "network": spec.Network(),
        "training": spec.Training(),
        "program": "abc",
        "context": "def",
    }
    return spec.Trial(**settings | changes)


OTHER = {
    "task": "liver",
    "target": "front",
    "fold": 1,
    "dims": "3d",
    "budget": 24,
    "num_volumes": 12,
    "slices_per_volume": None,
    "volume_strategy": "diverse",
    "strategy": "k_center",
    "features": "intensity",
    "scope": "pooled",
    "interpolation": "linear",
    "pseudo_weight": 0.5,
    "selection_seed": 4,
    "training_seed": 5,
    "network": spec.Network(width=8),
    "training": spec.Training(augmentation=spec.Augmentation(noise=0.1)),
    "program": "abd",
    "context": "deg",
    "inputs_digest": "0f3a",
}


def test_equal_values_have_equal_json_whatever_their_order():
    one = spec.canonical_json({"b": (1, 2), "a": {"d": None, "c": 0.5}})
    assert one == spec.canonical_json({"a": {"c": 0.5, "d": None}, "b": [1, 2]})
    assert one == '{"a":{"c":0.5,"d":null},"b":[1,2]}'
    assert json.loads(spec.canonical_json(spec.Network())) == {
        "width": 16,
        "depth": 4,
        "max_width": 320,
    }


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="set has no canonical JSON form"):
        spec.canonical_json({1, 2})
    with pytest.raises(TypeError, match="type has no canonical JSON form"):
        spec.canonical_json(spec.Network)


def test_digests_are_stable_over_versions():
    """A changed digest would make every finished trial be trained again."""
    assert spec.digest({"a": 1}) == "015abd7f5cc57a2d"
    assert len(spec.digest("x", 32)) == 32
    assert spec.digest("x", 32).startswith(spec.digest("x"))


def test_a_trial_is_known_by_every_field():
    fields = {field.name for field in dataclasses.fields(spec.Trial)}
    assert fields == set(OTHER)
    ids = {make_trial().trial_id}
    for name, value in OTHER.items():
        ids.add(make_trial(**{name: value}).trial_id)
    assert len(ids) == len(OTHER) + 1
    assert make_trial().trial_id == make_trial().trial_id


def test_a_trial_is_known_by_the_results_layout(monkeypatch):
    before = make_trial().trial_id
    monkeypatch.setattr(spec, "RESULTS_SCHEMA", spec.RESULTS_SCHEMA + 1)
    assert make_trial().trial_id != before


def test_trials_of_a_cell_differ_in_seeds_only():
    assert make_trial().cell() == make_trial(selection_seed=9, training_seed=8).cell()
    longer = {"training": spec.Training(steps=7)}
    for name in spec.CELL_FIELDS:
        changes = longer if name == "steps" else {name: OTHER[name]}
        assert make_trial(**changes).cell() != make_trial().cell()


def test_a_program_is_named_by_all_that_fixes_compilation():
    program = spec.Program(
        dims="2d",
        network=spec.Network(),
        training=spec.Training(),
        grid=(64, 64),
        channels=1,
        classes=2,
        slices=256,
    )
    changes = {
        "dims": "3d",
        "network": spec.Network(depth=3),
        "training": spec.Training(steps=9),
        "grid": (64, 48),
        "channels": 2,
        "classes": 3,
        "slices": 512,
    }
    names = {program.name}
    for name, value in changes.items():
        names.add(dataclasses.replace(program, **{name: value}).name)
    assert len(names) == len(changes) + 1


def test_seeds_are_independent_between_purposes():
    seeds = {
        spec.derive_seed(seed, *purpose)
        for seed in range(50)
        for purpose in (("volumes",), ("weights",), ("slices", "a"), ("slices", 1))
    }
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_purposes_do_not_run_into_each_other():
    assert spec.derive_seed(1, "ab", "c") != spec.derive_seed(1, "a", "bc")
    assert spec.derive_seed(1, "1") != spec.derive_seed(1, 1)
    assert spec.derive_seed(1, 2) != spec.derive_seed(12)


@pytest.mark.parametrize(
    "kind",
    [
        spec.Network,
        spec.Augmentation,
        spec.Training,
        spec.Program,
        spec.Trial,
        spec.Contrast,
        spec.TaskInfo,
        spec.Experiment,
    ],
)
def test_specifications_cannot_be_changed_and_take_names_only(kind):
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))
    documented = kind.__doc__.split("Attributes:")[1]
    for field in dataclasses.fields(kind):
        assert f"{field.name}:" in documented


def test_claims_are_those_of_the_verdict_rule():
    assert set(typing.get_args(spec.Claim)) == {
        "superior",
        "noninferior",
        "equivalent",
    }


def published_trials():
    for folder in sorted((ROOT / "docs" / "results").glob("*/*/trials")):
        yield from Store(folder.parent).read_trials().to_dict("records")


def test_published_trials_keep_their_ids():
    """A new field that entered every digest would orphan the committed results."""
    rows = list(published_trials())
    assert len(rows) > 50
    names = {field.name for field in dataclasses.fields(spec.Trial)}
    for row in rows:
        network = json.loads(row["network"])
        training = json.loads(row["training"])
        training["augmentation"] = spec.Augmentation(**training["augmentation"])
        values = {name: row[name] for name in names} | {
            "network": spec.Network(**network),
            "training": spec.Training(**training),
            "inputs_digest": _text(row["inputs_digest"]),
        }
        if pd.isna(row["slices_per_volume"]):
            values["slices_per_volume"] = None
        assert spec.Trial(**values).trial_id == row["trial_id"]


def _text(value):
    return "" if pd.isna(value) else value
