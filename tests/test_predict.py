"""Kept weights on new scans: turned as in training, ensembled, on native grids."""

import dataclasses
import shutil
import sys

import jax
import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from slicebench.errors import InputError
from slicebench.evaluation.native import prepare_native_map, to_native_labels
from slicebench.models.topology import plan_volumetric
from slicebench.planning.costs import Costs
from slicebench.planning.importing import read_labels
from slicebench.planning.plan import Request, make_plan
from slicebench.planning.training import TrainingRequest, train
from slicebench.planning.writing import write_plan
from slicebench.predict import (
    Ensemble,
    find_turned_scans,
    predict_folder,
    read_trained,
)
from slicebench.predict import __main__ as command_line
from slicebench.predict.networks import _prepare
from slicebench.predict.weights import parse_program
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.spec import Network, Training
from slicebench.training.step import make_init
from tests import command
from tests.planning import annotator
from tests.planning.test_training import SETTINGS

OBLIQUE = np.array(
    [[-1.9, 0.4, 0.1, 20], [-0.4, -1.9, 0.2, -7], [0.1, -0.1, 3.0, 4], [0, 0, 0, 1]]
)


def train_on(folder, dims, steps):
    """Trains two networks on three annotated volumes."""
    scans = folder / "scans"
    if not scans.exists():
        annotator.write_scans(scans, cases=6)
    request = Request(
        images=scans,
        budget=15,
        test_patients=2,
        slices_per_volume=5,
        classes=("ball",),
    )
    write_plan(make_plan(request, (), Costs()), folder / f"plan_{dims}")
    labels = folder / f"labels_{dims}"
    annotator.annotate(folder / f"plan_{dims}", labels)
    found = read_labels(folder / f"plan_{dims}", labels, empty_is_done=True)
    out = folder / f"run_{dims}"
    train(
        found,
        TrainingRequest(
            out=out,
            dims=dims,
            seeds=3,
            network=Network(width=4, depth=2),
            training=Training(steps=steps, batch=4, patch=(8, 16, 16)),
            settings=SETTINGS,
        ),
    )
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_on(tmp_path_factory.mktemp("predict"), "2d", 40)


@pytest.fixture
def trained(run):
    return read_trained(run)


def scans_in(folder, trained, **options):
    return find_turned_scans(folder, trained, **options)


def test_all_seeds_on_the_same_slices_are_taken_together(run, trained):
    assert set(trained.trial_ids) == set(Store(run).read_trials()["trial_id"])
    assert trained.words.startswith("3 networks trained on the same slices")
    assert trained.orientation == "SLP"
    assert trained.classes == ("ball",)
    for record in read_json(run / "experiment.json")["programs"]:
        assert parse_program(record).name == record["name"]


def test_an_ensemble_is_the_mean_of_probabilities(run, trained, tmp_path):
    annotator.write_scans(tmp_path / "scans", cases=1)
    (scan,) = scans_in(tmp_path / "scans", trained)
    case = _prepare(scan, trained.fitted)
    single = [
        Ensemble(read_trained(run, name)).probabilities(case)
        for name in trained.trial_ids
    ]
    together = Ensemble(trained)
    mean = together.probabilities(case)
    np.testing.assert_allclose(mean, np.mean(single, axis=0), atol=1e-6)
    np.testing.assert_allclose(mean.sum(-1), 1, atol=1e-5)
    assert not np.allclose(single[0], single[1], atol=1e-3)
    native = to_native_labels(mean, prepare_native_map(case))
    np.testing.assert_array_equal(together.predict(scan), scan.to_stored(native))


def test_the_same_scan_stored_otherwise_has_the_same_prediction(trained, tmp_path):
    """Permuted and mirrored files of one oblique scan: one place in the world."""
    image, plain = annotator.image_of(3), None
    for number, turn in enumerate(
        [
            [[0, 1], [1, 1], [2, 1]],
            [[0, -1], [1, 1], [2, -1]],
            [[2, 1], [0, -1], [1, 1]],
            [[1, -1], [2, -1], [0, -1]],
        ]
    ):
        turned = apply_orientation(image, np.array(turn))
        affine = OBLIQUE @ inv_ornt_aff(np.array(turn), image.shape)
        folder = tmp_path / f"scans_{number}"
        annotator.save(turned, folder / "case.nii.gz", affine)
        out = tmp_path / f"out_{number}"
        predict_folder(trained, scans_in(folder, trained), out)
        found = nib.load(out / "case.nii.gz")
        source = nib.load(folder / "case.nii.gz")
        np.testing.assert_array_equal(found.affine, source.affine)
        assert found.shape == turned.shape
        assert found.get_data_dtype() == np.uint8
        for name in ("sform", "qform"):
            codes = [
                getattr(each.header, f"get_{name}")(coded=True)[1]
                for each in (found, source)
            ]
            assert codes[0] == codes[1]
        back = np.asarray(found.dataobj)
        if plain is None:
            plain = back
            assert back.any()
            continue
        np.testing.assert_array_equal(back, apply_orientation(plain, np.array(turn)))


def test_what_is_there_is_not_predicted_again(trained, tmp_path):
    annotator.write_scans(tmp_path / "scans", cases=3)
    out = tmp_path / "out"
    scans = scans_in(tmp_path / "scans", trained)
    told = []
    words = predict_folder(trained, scans, out, tell=told.append)
    assert words == [f"3 scans predicted, 0 were there already: {out}"]
    assert told[-1] == "3 of 3 scans, 0 s left"
    made = {path.name: path.read_bytes() for path in out.glob("case*")}
    assert len(made) == 3
    (out / "case_01.nii.gz").unlink()
    (out / "case_00.nii.gz").write_bytes(b"mine")
    (out / ".case_02.nii.gz").write_bytes(b"half")
    words = predict_folder(trained, scans, out)
    assert words[0].startswith("1 scans predicted, 2 were there")
    assert (out / "case_01.nii.gz").read_bytes() == made["case_01.nii.gz"]
    assert (out / "case_00.nii.gz").read_bytes() == b"mine"
    assert not (out / ".case_02.nii.gz").exists()
    record = read_json(out / "prediction.json")
    assert record["labels"] == {"background": 0, "ball": 1}


def test_predictions_of_other_networks_are_not_mixed_in(run, trained, tmp_path):
    annotator.write_scans(tmp_path / "scans", cases=1)
    scans = scans_in(tmp_path / "scans", trained)
    one = read_trained(run, trained.trial_ids[0])
    out = tmp_path / "out"
    write_json_atomic(out / "prediction.json", {"networks": list(one.trial_ids)})
    with pytest.raises(InputError, match="predictions of other networks"):
        predict_folder(trained, scans, out)
    with pytest.raises(InputError, match="holds the scans"):
        predict_folder(trained, scans, tmp_path / "scans")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files"):
        predict_folder(trained, scans, tmp_path / "other")


def test_other_channels_are_refused(trained, tmp_path):
    two = np.stack([annotator.image_of(0)] * 2, axis=-1)
    annotator.save(two, tmp_path / "two" / "case.nii.gz")
    with pytest.raises(InputError, match="2 channels instead of 1"):
        scans_in(tmp_path / "two", trained)
    folder = annotator.write_scans(tmp_path / "named", cases=1)
    write_json_atomic(folder / "dataset.json", {"channel_names": {"0": "CT"}})
    with pytest.raises(InputError, match="channels CT; the networks were trained on"):
        scans_in(folder, trained)


@pytest.mark.parametrize(
    ("scale", "dims", "message"),
    [
        ((0.01, 0.01, 0.01), "2d", "Are its units mm"),
        ((3, 3, 1), "2d", "in-plane spacing 6 x 6 mm"),
        ((1, 1, 3), "3d", "9 mm between slices, in training 3 mm"),
        ((1, 1, 3), "2d", None),
    ],
)
def test_spacings_that_a_network_cannot_know(trained, tmp_path, scale, dims, message):
    affine = annotator.AFFINE @ np.diag([*scale, 1.0])
    annotator.save(annotator.image_of(0), tmp_path / "scans" / "case.nii.gz", affine)
    program = dataclasses.replace(trained.program, dims=dims)
    trained = dataclasses.replace(trained, program=program)
    if message is None:
        assert len(scans_in(tmp_path / "scans", trained)) == 1
        return
    with pytest.raises(InputError, match=message):
        scans_in(tmp_path / "scans", trained)
    assert len(scans_in(tmp_path / "scans", trained, any_spacing=True)) == 1


def test_weights_that_cannot_be_used(run, trained, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_trained(tmp_path)
    with pytest.raises(InputError, match="--trial=zz: 0 networks"):
        read_trained(run, "zz")
    for name in ("trials", "results"):
        shutil.copytree(run / name, tmp_path / name)
    shutil.copy(run / "experiment.json", tmp_path)
    with pytest.raises(InputError, match="no finished network has kept weights"):
        read_trained(tmp_path)
    final = tmp_path / "checkpoints" / "final"
    first = trained.trial_ids[0]
    shutil.copytree(run / "checkpoints" / "final" / first, final / first)
    assert read_trained(tmp_path).trial_ids == (first,)
    shutil.rmtree(final / first)
    (final / first).mkdir()
    with pytest.raises(InputError, match="weights cannot be read"):
        read_trained(tmp_path)


def test_changed_records_are_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "experiment.json"
    record = read_json(path)
    record["programs"][0]["network"]["width"] = 8
    write_json_atomic(path, record)
    with pytest.raises(InputError, match="the record was changed"):
        read_trained(tmp_path / "run")


def test_windows_of_3d_networks_come_back_to_the_native_grid(trained, tmp_path):
    """With first weights: what is predicted does not matter, where it lies does."""
    network = trained.program.network
    program = dataclasses.replace(
        trained.program,
        dims="3d",
        volumetric=plan_volumetric(network, (8, 16, 16), (32, 32), 8, (3.0, 2.0, 2.0)),
    )
    words = jax.random.key_data(jax.random.key(0))
    params = jax.tree.map(np.asarray, jax.jit(make_init(program))(words).params)
    trained = dataclasses.replace(trained, program=program, params=(params,))
    annotator.save(annotator.image_of(0), tmp_path / "scans" / "a.nii.gz", OBLIQUE)
    (scan,) = scans_in(tmp_path / "scans", trained)
    case = _prepare(scan, trained.fitted)
    ensemble = Ensemble(trained)
    found = ensemble.probabilities(case)
    assert found.shape == (8, 32, 32, 2)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert ensemble.predict(scan).shape == annotator.SHAPE


@pytest.mark.slow
def test_volumes_are_predicted_by_trained_3d_networks(tmp_path):
    run = train_on(tmp_path, "3d", 4)
    trained = read_trained(run)
    predict_folder(trained, scans_in(tmp_path / "scans", trained), tmp_path / "out")
    found = nib.load(tmp_path / "out" / "case_00.nii.gz")
    assert found.shape == annotator.SHAPE
    np.testing.assert_array_equal(found.affine, annotator.AFFINE)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """A run of the benchmark itself, with its weights."""
    folder = tmp_path_factory.mktemp("benchmark") / "Dataset501_Balls"
    for number in range(12):
        name = f"case_{number:02d}"
        image = annotator.image_of(number)
        annotator.save(image, folder / "imagesTr" / f"{name}_0000.nii.gz")
        truth = annotator.truth_of(number)
        annotator.save(truth, folder / "labelsTr" / f"{name}.nii.gz")
    content = {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "ball": 1},
        "numTraining": 12,
        "file_ending": ".nii.gz",
    }
    write_json_atomic(folder / "dataset.json", content)
    done = command.run(
        "--experiment=label_ceiling",
        "--smoke",
        f"--data={folder}",
        "--max_size=32",
        "--keep_weights",
        f"--workdir={folder.parent / 'run'}",
    )
    assert done.status == 0, done.err
    return folder


def test_weights_of_the_benchmark_go_by_development_dice(benchmark, tmp_path):
    run = benchmark.parent / "run"
    trials = Store(run).read_trials().sort_values("development_dice")
    best = trials.iloc[-1]
    trained = read_trained(run)
    assert trained.trial_ids == (best["trial_id"],)
    assert f"best development Dice ({best['development_dice']:.3f})" in trained.words
    worst = trials.iloc[0]["trial_id"]
    assert read_trained(run, worst[:12]).trial_ids == (worst,)
    predict_folder(trained, scans_in(benchmark, trained), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("case_*.nii.gz"))) == 12
    # What the run itself scored is what is written here.
    results = Store(run).read_results()
    mine = results[(results["trial_id"] == best["trial_id"])]
    for row in mine[mine["metric"] == "dice"].itertuples():
        label = annotator.read(tmp_path / "out" / f"{row.case}.nii.gz") == 1
        truth = annotator.truth_of(int(row.case[-2:])) == 1
        both = 2 * np.count_nonzero(label & truth)
        dice = both / (np.count_nonzero(label) + np.count_nonzero(truth))
        assert dice == pytest.approx(row.score, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--weights: not given"),
        (("--weights=w", "--images=i", "extra"), "unexpected argument 'extra'"),
        (("--slice_axis=x",), "slice_axis"),
        (("--weights=w", "--images=i", "--out=o"), "no such file"),
    ],
)
def test_bad_calls_end_with_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    flags = command_line.FLAGS
    flags.unparse_flags()
    for name in flags:
        flags[name].unparse()
    with command.quiet_logging(), pytest.raises(SystemExit) as caught:
        command_line.run()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
