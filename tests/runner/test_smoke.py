"""Every shipped experiment runs in its smoke form, from flags to report."""

import pytest

from slicebench.results import Store, read_json
from slicebench.runner.experiments import experiment_names
from tests import command


@pytest.mark.parametrize("name", experiment_names())
def test_the_smoke_form_trains_and_reports(name, tmp_path):
    found = command.run(f"--experiment={name}", "--smoke", f"--workdir={tmp_path}")
    assert found.status == 0, found.err
    experiment = read_json(tmp_path / "experiment.json")
    assert len(Store(tmp_path).done()) == experiment["num_trials"] > 0
    assert len(experiment["programs"]) <= 2
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert str(tmp_path / "report.html") in found.out
