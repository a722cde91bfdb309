"""Segmentations of 3D Slicer, MITK and others, put onto the image's grid."""

import gzip
import json
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from slicebench.errors import InputError
from slicebench.planning import segmentations
from slicebench.planning.importing import progress_lines, read_labels
from slicebench.planning.segmentations import case_of, read_nrrd
from tests.planning.test_geometry import TURNS, affine_of, rotated
from tests.planning.test_importing import AFFINE, annotate, plan, record

__all__ = ["plan"]  # a fixture

pytest.importorskip("nrrd")

SHAPE = (6, 7, 8)
CLASSES = ("left", "right")
SPACES = {
    "left-posterior-superior": np.array([-1, -1, 1]),
    "right-anterior-superior": np.array([1, 1, 1]),
    "LPS": np.array([-1, -1, 1]),
}


def labels(seed=0):
    """Two classes away from every border, in no symmetrical way."""
    label = np.zeros(SHAPE, np.uint8)
    label[1:4, 2:5, 1:6] = np.random.default_rng(seed).integers(0, 3, (3, 3, 5))
    label[1, 2, 1] = label[3, 4, 5] = 1
    return label


def write_nrrd(
    path,
    layers,
    affine,
    *,
    segments=(),
    start=(0, 0, 0),
    space="left-posterior-superior",
    extra=(),
):
    """Writes layers (layer first) in the order of lines that Teem's writer has.

    Args:
      start: First voxel of the block on the image's grid.
      segments: Name, layer and label value.
    """
    signs = SPACES[space]
    steps = affine[:3, :3] * signs[:, None]
    origin = (affine @ [*start, 1])[:3] * signs
    rows = ["({:.17g},{:.17g},{:.17g})".format(*step) for step in steps.T]
    several = len(layers) > 1
    sizes = [len(layers)] * several + [*layers.shape[1:]]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        {"uint8": "type: unsigned char", "float32": "type: float"}[str(layers.dtype)],
        f"dimension: {3 + several}",
        f"space: {space}",
        "sizes: " + " ".join(map(str, sizes)),
        "space directions: " + " ".join(["none"] * several + rows),
        "kinds: " + "list " * several + "domain domain domain",
        "endian: little",
        "encoding: gzip",
        "space origin: ({:.17g},{:.17g},{:.17g})".format(*origin),
    ]
    for number, (name, layer, value) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Name:={name}",
        ]
    lines += [f"{key}:={value}" for key, value in extra]
    data = np.ascontiguousarray(layers.transpose(3, 2, 1, 0)).tobytes()
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + gzip.compress(data))
    return path


BOTH = (("right", 0, 2), ("left", 0, 1))


@pytest.mark.parametrize(("order", "signs"), TURNS)
@pytest.mark.parametrize("tilt", [0, 14])
def test_a_cropped_block_lands_on_its_voxels(order, signs, tilt, tmp_path):
    """Slicer may store the block that holds labels only, in any of these grids."""
    affine = rotated(rotated(affine_of(order, signs), tilt, 0), tilt, 2)
    label = labels()
    block = label[1:4, 2:5, 1:6][None]
    path = write_nrrd(
        tmp_path / "a.seg.nrrd", block, affine, segments=BOTH, start=(1, 2, 1)
    )
    found = read_nrrd(path, SHAPE, affine, CLASSES)
    np.testing.assert_array_equal(found, label)


@pytest.mark.parametrize("space", SPACES)
def test_every_space_means_the_same_place(space, tmp_path):
    affine = rotated(affine_of((1, 0, 2), (1, -1, 1)), 20, 1)
    path = write_nrrd(
        tmp_path / "a.nrrd", labels()[None], affine, segments=BOTH, space=space
    )
    np.testing.assert_array_equal(read_nrrd(path, SHAPE, affine, CLASSES), labels())


def test_a_file_stored_along_other_axes_is_turned_not_resampled(tmp_path):
    affine = affine_of((0, 1, 2), (1, 1, 1))
    turned = labels().transpose(2, 0, 1)[:, ::-1]
    other = affine[:, [2, 0, 1, 3]].copy()
    other[:3, 3] += (SHAPE[0] - 1) * other[:3, 1]
    other[:3, 1] *= -1
    path = write_nrrd(tmp_path / "a.nrrd", turned[None].copy(), other, segments=BOTH)
    np.testing.assert_array_equal(read_nrrd(path, SHAPE, affine, CLASSES), labels())


def test_itk_writes_what_is_read(tmp_path):
    """SimpleITK reads the image's geometry, crops and writes by itself."""
    sitk = pytest.importorskip("SimpleITK")
    affine = rotated(rotated(affine_of((2, 0, 1), (-1, 1, 1)), 17, 0), 9, 1)
    nib.save(nib.Nifti1Image(labels(), affine), tmp_path / "label.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "label.nii.gz"), sitk.sitkUInt8)
    block = image[1:4, 2:5, 1:6]
    for number, (name, layer, value) in enumerate(BOTH):
        block.SetMetaData(f"Segment{number}_Name", name)
        block.SetMetaData(f"Segment{number}_Layer", str(layer))
        block.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(block, str(tmp_path / "a.seg.nrrd"), True)
    stored: Any = nib.load(tmp_path / "label.nii.gz")
    found = read_nrrd(tmp_path / "a.seg.nrrd", SHAPE, stored.affine, CLASSES)
    np.testing.assert_array_equal(found, labels())


def test_layers_hold_segments_that_once_overlapped(tmp_path):
    label = labels()
    layers = np.stack([7 * (label == 1), 1 * (label == 2)]).astype(np.uint8)
    segments = (("LEFT ", 0, 7), ("right", 1, 1), ("Segment_1", 1, 9))
    path = write_nrrd(tmp_path / "a.seg.nrrd", layers, AFFINE, segments=segments)
    # An unknown segment without a voxel does no harm.
    np.testing.assert_array_equal(read_nrrd(path, SHAPE, AFFINE, CLASSES), label)
    layers[1][label == 1] = 1
    path = write_nrrd(tmp_path / "a.seg.nrrd", layers, AFFINE, segments=segments)
    with pytest.raises(ValueError, match="belong to both left and right"):
        read_nrrd(path, SHAPE, AFFINE, CLASSES)


def test_mitk_names_its_labels_in_json(tmp_path):
    groups = [{"labels": [{"name": "right", "value": 2}, {"name": "left", "value": 1}]}]
    extra = [
        ("modality", "org.mitk.multilabel.segmentation"),
        ("org.mitk.multilabel.segmentation.labelgroups", json.dumps(groups)),
    ]
    path = write_nrrd(tmp_path / "a.nrrd", labels()[None], AFFINE, extra=extra)
    found = read_nrrd(path, SHAPE, AFFINE, CLASSES)
    np.testing.assert_array_equal(found, labels())
    swapped = read_nrrd(path, SHAPE, AFFINE, ("right", "left"))
    np.testing.assert_array_equal(swapped, np.array([0, 2, 1])[labels()])


def test_without_names_label_values_count(tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", labels()[None], AFFINE)
    np.testing.assert_array_equal(read_nrrd(path, SHAPE, AFFINE, ()), labels())


def test_a_single_voxel_means_that_nothing_was_outlined(tmp_path):
    """Slicer writes it for empty segmentations, with a geometry that means nothing."""
    empty = np.zeros((1, 1, 1, 1), np.uint8)
    path = write_nrrd(tmp_path / "a.nrrd", empty, np.eye(4), segments=(("left", 0, 1),))
    assert not read_nrrd(path, SHAPE, AFFINE, CLASSES).any()


def changed(**values):
    affine = AFFINE.copy()
    for name, value in values.items():
        affine[int(name[1]), int(name[2])] += value
    return affine


@pytest.mark.parametrize(
    ("affine", "segments", "message"),
    [
        (changed(a03=0.4), BOTH, "do not coincide"),
        (changed(a00=0.2), BOTH, "do not coincide"),
        (changed(a03=0.7 * 4), BOTH, "lie outside"),
        (AFFINE, (("liver", 0, 1),), "segment 'liver' is none of the classes: left"),
        (AFFINE, (("left", 3, 1),), "in layer 3 of 1"),
    ],
)
def test_what_does_not_fit_is_refused(affine, segments, message, tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", labels()[None], affine, segments=segments)
    with pytest.raises(ValueError, match=message):
        read_nrrd(path, SHAPE, AFFINE, CLASSES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"space: left-posterior-superior", b"space: scanner-xyz", "`space` is"),
        (b"space directions", b"# directions", "no `space directions`"),
        (b"encoding: gzip", b"encoding: raw", "not a sound NRRD file"),
        (b"NRRD0004", b"NIFT0004", "not a sound NRRD file"),
        (b"space origin", b"# origin", "does not say where"),
    ],
)
def test_broken_files_are_refused(old, new, message, tmp_path):
    path = write_nrrd(tmp_path / "a.nrrd", labels()[None], AFFINE, segments=BOTH)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_nrrd(path, SHAPE, AFFINE, CLASSES)


def test_fractions_are_no_labels(tmp_path):
    layers = labels()[None].astype(np.float32)
    path = write_nrrd(tmp_path / "a.nrrd", layers, AFFINE)
    with pytest.raises(ValueError, match="voxels are float32"):
        read_nrrd(path, SHAPE, AFFINE, CLASSES)
    extra = [("Segmentation_SourceRepresentation", "Fractional labelmap")]
    path = write_nrrd(tmp_path / "a.nrrd", labels()[None], AFFINE, extra=extra)
    with pytest.raises(ValueError, match="fractional"):
        read_nrrd(path, SHAPE, AFFINE, CLASSES)


def test_names_of_files(tmp_path):
    names = ("a.nii", "a.nii.gz", "a.seg.nrrd", "a.nrrd")
    assert {case_of(tmp_path / name) for name in names} == {"a"}
    for name in ("a.png", ".a.nii", "a.interim.nrrd", "worklist_state.json"):
        assert case_of(tmp_path / name) is None


def test_without_pynrrd_the_message_says_what_to_install(tmp_path, monkeypatch):
    def gone(_):
        raise ImportError

    monkeypatch.setattr(segmentations.importlib, "import_module", gone)
    with pytest.raises(InputError, match="pip install"):
        read_nrrd(tmp_path / "a.nrrd", SHAPE, AFFINE, CLASSES)


def test_segmentations_of_slicer_come_back_through_import(plan, tmp_path):
    """NIfTI from one folder, seg.nrrd from another, a case in both."""
    planned = annotate(plan, tmp_path / "labels")
    first = next(iter(planned))
    folder = plan / "segmentations"
    folder.mkdir()
    for case in list(planned)[:3]:
        path = tmp_path / "labels" / f"{case}.nii.gz"
        stored: Any = nib.load(path)
        label = np.asarray(stored.dataobj).copy()
        if case == first:
            rest = label.copy()
            rest[:, :, planned[case][0]] = 0
            nib.save(nib.Nifti1Image(rest, stored.affine), path)
            label[:, :, planned[case][1]] = 0
        else:
            path.unlink()
        write_nrrd(
            folder / f"{case}.seg.nrrd", label[None], stored.affine, segments=BOTH
        )
    found = read_labels(plan, [folder, tmp_path / "labels"])
    assert progress_lines(found)[0] == "14 of 14 slices, 7 of 7 cases done"
    for case in list(planned)[:3]:
        state = next(each for each in found.cases if each.case == case)
        assert state.label == plan / "imported" / f"{case}.nii.gz"
        stored = nib.load(state.label)
        np.testing.assert_allclose(stored.affine, AFFINE, atol=1e-5)
        assert state.done == tuple(planned[case])
    # The plan's own folder is where tools save; nothing else has to be said.
    found = read_labels(plan)
    done = sum(len(each.done) for each in found.cases)
    assert done == sum(len(planned[case]) for case in list(planned)[:3]) - 1
    write_nrrd(
        folder / f"{first}.seg.nrrd",
        np.ones((1, 12, 10, 8), np.uint8),
        AFFINE,
        segments=(("liver", 0, 1),),
    )
    with pytest.raises(InputError, match="segment 'liver'"):
        read_labels(plan)
    assert record(plan)["classes"] == ["left", "right"]
