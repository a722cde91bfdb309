"""Every registered name works from the command line, on phantoms and real volumes."""

import dataclasses

import numpy as np
import pytest

from slicebench.interpolation import INTERPOLATIONS
from slicebench.results import Store
from slicebench.selection import (
    FEATURES,
    ORACLES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    strategy_names,
)
from slicebench.training.features import TRAINED_FEATURES
from tests import command
from tests.data import folders
from tests.runner import small

SHIPPED = sorted({*strategy_names()} - {"random_again"})
SWEEP = ("--experiment=budget_sweep", "--smoke", "--steps=2", "--num_seeds=1")
CELLS = ("--budgets=8", "--slices_per_volume=4", "--ceiling_seeds=0")


def sweep(workdir, *flags):
    found = command.run(*SWEEP, *CELLS, f"--workdir={workdir}", *flags, report=False)
    assert found.status == 0, found.err
    return Store(workdir).read_trials()


def names(registry, *without):
    return ",".join(sorted(set(registry) - set(without)))


def check_names(workdir, *data):
    """Runs every strategy, volume strategy, feature and interpolation."""
    trials = sweep(
        workdir / "strategies",
        f"--strategies={','.join(SHIPPED)}",
        f"--features={names(FEATURES, 'file')}",
        *data,
    )
    assert set(trials["strategy"]) == set(SHIPPED) >= {*ORACLES, "max_herding"}
    assert set(trials["features"]) == {*FEATURES, "none"} - {"file"}
    assert set(trials["annotated_slices"]) == {8}
    trials = sweep(
        workdir / "volumes",
        f"--volume_strategies={names(VOLUME_STRATEGIES, 'stratified')}",
        *data,
    )
    assert set(trials["volume_strategy"]) == set(VOLUME_STRATEGIES) - {"stratified"}
    trials = sweep(
        workdir / "interpolations",
        "--strategies=fixed_interval",
        f"--interpolations={names(INTERPOLATIONS, 'morphological_itk')}",
        *data,
    )
    assert set(trials["interpolation"]) == set(INTERPOLATIONS) - {"morphological_itk"}
    filled = trials[trials["interpolation"] != "none"]
    assert (filled["interpolated_slices"] > 0).all()
    pooled = [name for name in STRATEGIES if name in SHIPPED]
    trials = sweep(
        workdir / "pooled", "--scope=pooled", f"--strategies={','.join(pooled)}", *data
    )
    assert set(trials["annotated_slices"]) == {8}
    assert set(trials["strategy"]) == set(pooled)


def test_every_name_works_on_a_phantom(tmp_path, monkeypatch):
    for name, settings in TRAINED_FEATURES.items():
        short = dataclasses.replace(settings, steps=4)
        monkeypatch.setitem(TRAINED_FEATURES, name, short)
    check_names(tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_every_name_works_on_real_volumes(tmp_path):
    folder = folders.real_folder("Dataset004_Hippocampus")
    check_names(tmp_path, f"--data={folder}")


@pytest.mark.parametrize("folder", ["strategies", "volumes"])
def test_names_from_files(tmp_path, folder):
    """The user's features and strata, for the phantom's pool."""
    cases = small.task().pool
    if folder == "volumes":
        path = tmp_path / "scanner.csv"
        rows = [f"{case.name},{'ab'[i % 2]}" for i, case in enumerate(cases)]
        path.write_text("\n".join(["case,scanner", *rows]))
        flags = ("--volume_strategies=stratified", f"--strata_file={path}")
    else:
        path = tmp_path / "mine.npz"
        rng = np.random.default_rng(0)
        np.savez(path, **{c.name: rng.normal(size=(c.depth, 4)) for c in cases})
        flags = ("--strategies=k_center", "--features=file", f"--feature_file={path}")
    trials = sweep(tmp_path / "run", *flags)
    assert trials["inputs_digest"].str.len().eq(16).all()
