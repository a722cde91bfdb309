"""A short form of the fuzzing campaign: the same examples every time."""

import pytest

from tests.hostile import fuzz

NAMES = (
    "NIfTI header",
    "NIfTI",
    "NIfTI, packed after damage",
    "NIfTI, packed before damage",
    "segmentation (.seg.nrrd)",
    "DICOM",
    "dataset.json (nnU-Net)",
    "dataset.json (Decathlon)",
    "groups.csv",
    "splits_final.json",
    "features (.npz)",
    "features (.parquet)",
    "strata",
    "part of trials",
    "part of results",
    "experiment.json",
    "examples (.npz)",
    "plan.json",
    "worklist_state.json",
)
EXAMPLES = 25


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return fuzz.make_targets(tmp_path_factory.mktemp("fuzz"))


def test_every_target_is_tried(targets):
    assert set(targets) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sound_content_is_taken(targets, name):
    found = fuzz.Campaign()
    found.add(targets[name], targets[name].content)
    assert found.outcomes == {"taken": 1}, found.crashes


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_or_harmless(targets, name):
    found = fuzz.Campaign()
    before = fuzz.peak_memory()
    fuzz.fuzz(targets[name], found, EXAMPLES, None)
    assert not found.crashes
    assert found.outcomes["refused"] > EXAMPLES // 10
    assert fuzz.peak_memory() - before < fuzz.MOST_MEMORY
