"""Seeds of a small task lie in folds: every fold has equally many."""

from collections import Counter

from slicebench.runner import Options, Overrides, make_study
from slicebench.runner.cells import CEILING
from tests.data import folders


def seeds_by_fold(tmp_path, **given):
    folder = folders.write_nnunet(tmp_path / "D", 15)
    study = make_study(
        Options(
            experiment="budget_sweep",
            data=(folder,),
            workdir=tmp_path / "w",
            overrides=Overrides(**given),
        )
    )
    return Counter((trial.strategy == CEILING, trial.fold) for trial in study.trials)


def test_the_ceiling_covers_the_patients_of_every_fold(tmp_path, caplog):
    counts = seeds_by_fold(tmp_path, num_seeds=6, ceiling_seeds=2)
    cells = {counts[False, fold] for fold in range(5)}
    assert len(cells) == 1
    assert cells.pop() % 2 == 0
    assert [counts[True, fold] for fold in range(5)] == [1] * 5
    assert "10 seeds instead of 6, 2 in each" in caplog.text
    assert "5 ceiling seeds instead of 2, 1 in each" in caplog.text


def test_no_ceiling_is_asked_for_and_none_is_made(tmp_path):
    counts = seeds_by_fold(tmp_path, num_seeds=10, ceiling_seeds=0)
    assert not any(ceiling for ceiling, _ in counts)
