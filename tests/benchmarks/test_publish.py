"""Published folders hold every row, and none of the patients' pictures unasked."""

import pytest

from benchmarks.publish import publish
from slicebench.results import Store
from tests.report import runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return runs.write_run(tmp_path_factory.mktemp("finished"))


def test_every_row_is_copied_into_one_part(finished, tmp_path):
    target = tmp_path / "docs" / "x"
    count = publish(finished, target, images=False)
    assert count == len(Store(finished).done())
    for read in (Store.read_trials, Store.read_results):
        assert read(Store(target)).equals(read(Store(finished)))
    for folder in ("trials", "results"):
        assert len(list((target / folder).iterdir())) == 1
    assert (target / "tables" / "cells.csv").exists()
    assert (target / "report.html").stat().st_size < 5_000_000
    assert not [*target.rglob("*.svg"), *target.rglob("*.tex")]


def test_a_second_time_replaces_the_folder(finished, tmp_path):
    publish(finished, tmp_path / "x", images=False)
    (tmp_path / "x" / "stale").write_text("")
    publish(finished, tmp_path / "x", images=False)
    assert not (tmp_path / "x" / "stale").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_pictures_of_patients_are_copied_on_demand_only(finished, tmp_path):
    for images in (False, True):
        publish(finished, tmp_path / "x", images=images)
        assert (tmp_path / "x" / "examples").exists() == images
        assert bool(list((tmp_path / "x" / "figures").glob("examples*"))) == images


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 trials"):
        publish(tmp_path / "none", tmp_path / "x", images=False)
