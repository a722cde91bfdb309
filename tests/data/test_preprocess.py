"""Fitting on the pool, and cases on the grid and back."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from slicebench.data import Settings, Volume, parse_target, preprocess
from slicebench.errors import InputError
from tests.data import folders

TARGET = parse_target("all", (("front", 1), ("back", 2)))
SMALL = Settings(max_size=64, multiple=8)


def write_case(folder, name, image, label=None, spacing=(1.0, 1.0, 3.0)):
    """Files are written slices last; without a label there is no label file."""
    affine = np.diag([*spacing, 1.0])
    folders.save(folder / f"{name}_image.nii.gz", image, affine)
    if label is not None:
        folders.save(folder / f"{name}_label.nii.gz", label, affine)
    return Volume(
        name=name,
        group=name,
        image_paths=(folder / f"{name}_image.nii.gz",),
        label_path=folder / f"{name}_label.nii.gz",
        slice_axis=2,
    )


def draw_blob(shape, seed=0):
    """Smooth label regions, so that a Dice after resampling is meaningful."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (4, 4, 0))
    label = (field > 0).astype(np.uint8) + (field > np.quantile(field, 0.8))
    return field.astype(np.float32), label.astype(np.uint8)


def predict_native(case):
    """Maps a perfect prediction on the grid back to the native grid."""
    onehot = np.eye(3, dtype=np.float32)[case.label].transpose(0, 3, 1, 2)
    rows, columns = case.to_native
    return (rows @ onehot @ columns.T).argmax(axis=1)


def dice(a, b, value):
    return (
        2
        * ((a == value) & (b == value)).sum()
        / ((a == value).sum() + (b == value).sum())
    )


def test_grid_is_the_smallest_multiple_that_holds_every_pool_image(tmp_path):
    shapes = [(30, 40, 3), (33, 20, 5), (17, 41, 2)]
    pool = [
        write_case(tmp_path, f"c{i}", np.zeros(shape, np.float32))
        for i, shape in enumerate(shapes)
    ]
    fitted = preprocess.fit(pool, ["MRI"], SMALL)
    assert fitted == preprocess.Fitted(
        grid=(40, 48), spacing=(1.0, 1.0), windows=(None,)
    )


def test_spacing_is_the_pool_median(tmp_path):
    pool = [
        write_case(
            tmp_path, f"c{i}", np.zeros((20, 20, 2), np.float32), spacing=(s, 2 * s, 9)
        )
        for i, s in enumerate([0.8, 1.0, 3.0])
    ]
    fitted = preprocess.fit(pool, ["MRI"], SMALL)
    assert fitted.spacing == pytest.approx((1.0, 2.0))
    assert fitted.grid == (64, 64)  # 60 mm at 1 mm, 120 mm at 2 mm


def test_spacing_grows_where_the_grid_would_exceed_its_limit(tmp_path):
    pool = [write_case(tmp_path, "c", np.zeros((256, 128, 2), np.float32))]
    fitted = preprocess.fit(pool, ["MRI"], Settings(max_size=70, multiple=16))
    assert fitted.spacing == pytest.approx((4.0, 4.0))
    assert fitted.grid == (64, 32)
    assert preprocess.shrink_factor(pool[0], fitted) == 1


def test_fit_reads_images_only(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 200, (12, 12, 3)).astype(np.float32)
    pool = [write_case(tmp_path, "c", image)]
    assert not pool[0].label_path.exists()
    window = preprocess.fit(pool, ["CT"], SMALL).windows[0]
    assert window is not None
    assert window.std > 0


def test_only_ct_channels_get_a_window(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 200, (12, 12, 3, 2)).astype(np.float32)
    fitted = preprocess.fit([write_case(tmp_path, "c", image)], ["PET", "CT"], SMALL)
    assert fitted.windows[0] is None
    assert fitted.windows[1] is not None


def test_a_given_window_is_for_ct_alone(tmp_path):
    image = np.random.default_rng(0).normal(0, 200, (12, 12, 3, 2)).astype(np.float32)
    pool = [write_case(tmp_path, "c", image)]
    settings = Settings(max_size=64, multiple=16, ct_window=(-50.0, 80.0))
    fitted = preprocess.fit(pool, ["PET", "CT"], settings)
    assert fitted.windows[0] is None
    assert fitted.windows[1] is not None
    assert fitted.windows[1][:2] == (-50.0, 80.0)
    prepared = preprocess.prepare_image(pool[0], fitted)[..., 1]
    mean, std = fitted.windows[1].mean, fitted.windows[1].std
    assert prepared.min() == pytest.approx((-50 - mean) / std, abs=1e-5)
    assert prepared.max() == pytest.approx((80 - mean) / std, abs=1e-5)
    assert settings.record["ct_window"] == (-50.0, 80.0)
    assert "ct_window" not in SMALL.record
    with pytest.raises(InputError, match="channels: PET, MRI"):
        preprocess.fit(pool, ["PET", "MRI"], settings)
    with pytest.raises(InputError, match="nothing within it differs"):
        preprocess.fit(
            pool, ["PET", "CT"], Settings(max_size=64, ct_window=(5000.0, 6000.0))
        )


@pytest.mark.parametrize("shape", [(30, 40, 3), (31, 39, 1), (32, 48, 4)])
def test_unchanged_spacing_is_exact_there_and_back(tmp_path, shape):
    image, label = draw_blob(shape)
    case = write_case(tmp_path, "c", image, label)
    fitted = preprocess.Fitted(grid=(32, 48), spacing=(1.0, 1.0), windows=(None,))
    made = preprocess.prepare_case(case, fitted, TARGET)
    top, left = (32 - shape[0]) // 2, (48 - shape[1]) // 2
    inner = np.s_[:, top : top + shape[0], left : left + shape[1]]
    native = np.moveaxis(image, 2, 0)
    expected = (native - native.mean()) / native.std()
    np.testing.assert_allclose(made.image[inner][..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(made.label[inner], np.moveaxis(label, 2, 0))
    assert np.count_nonzero(made.image) == np.count_nonzero(made.image[inner])
    assert made.label.sum() == made.label[inner].sum()
    np.testing.assert_array_equal(made.native_label, np.moveaxis(label, 2, 0))
    np.testing.assert_array_equal(predict_native(made), made.native_label)
    rows, columns = made.to_native
    np.testing.assert_array_equal(
        rows @ made.image[..., 0] @ columns.T, made.image[inner][..., 0]
    )
    assert made.spacing == (3.0, 1.0, 1.0)
    assert made.depth == shape[2]


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.7, 0.9), (1.4, 1.2), (2.0, 1.0)])
def test_changed_spacing_there_and_back_is_close(tmp_path, spacing):
    size = [int(40 / step) for step in spacing]
    _, label = draw_blob((40, 40, 3))
    zoom = (size[0] / 40, size[1] / 40, 1)
    label = ndimage.zoom(label, zoom, order=0, grid_mode=True, mode="nearest")
    case = write_case(
        tmp_path, "c", label.astype(np.float32), label, spacing=(*spacing, 3.0)
    )
    fitted = preprocess.Fitted(grid=(48, 48), spacing=(1.0, 1.0), windows=(None,))
    made = preprocess.prepare_case(case, fitted, TARGET)
    native = predict_native(made)
    for value in (0, 1, 2):
        assert dice(native, made.native_label, value) > 0.9
    # The image is the label itself: both must lie alike on the grid.
    image = made.image[..., 0]
    assert image[made.label == 2].mean() > image[made.label == 1].mean() + 0.5
    assert (
        image[made.label == 1].mean() > image[(made.label == 0) & (image != 0)].mean()
    )


def test_a_case_larger_than_the_grid_is_shrunk_whole(tmp_path):
    image, label = draw_blob((60, 40, 2))
    label[:3] = label[-3:] = 2  # tissue at both ends must survive
    case = write_case(tmp_path, "c", image, label)
    fitted = preprocess.Fitted(grid=(32, 48), spacing=(1.0, 1.0), windows=(None,))
    assert preprocess.shrink_factor(case, fitted) == pytest.approx(60 / 32)
    made = preprocess.prepare_case(case, fitted, TARGET)
    assert (made.label[:, [0, -1], 20:28] == 2).all()
    for value in (0, 1, 2):
        assert dice(predict_native(made), made.native_label, value) > 0.85


def test_other_cases_do_not_change_what_a_case_becomes(tmp_path):
    image, label = draw_blob((30, 40, 3))
    case = write_case(tmp_path, "c", image, label)
    fitted = preprocess.fit([case], ["MRI"], SMALL)
    moved = dataclasses.replace(case, group="other")
    first, second = (
        preprocess.prepare_case(volume, fitted, TARGET) for volume in (case, moved)
    )
    np.testing.assert_array_equal(first.image, second.image)


@pytest.mark.parametrize("sizes", [(8, 16), (96, 0)])
def test_settings_that_make_no_grid(sizes):
    with pytest.raises(InputError, match=r"max_size .* and multiple .*allowed"):
        Settings(max_size=sizes[0], multiple=sizes[1])


def test_a_field_of_view_keeps_the_centre_and_leaves_the_rest_to_background(tmp_path):
    field, label = draw_blob((48, 32, 3))
    case = write_case(tmp_path, "c", field, label)
    settings = Settings(max_size=64, multiple=8, field_of_view=24.0)
    fitted = preprocess.fit([case], ["MRI"], settings)
    made = preprocess.prepare_case(case, fitted, TARGET)
    assert fitted.grid == (24, 24)
    centre = made.native_label[:, 12:36, 4:28]
    np.testing.assert_array_equal(made.label, centre)
    native = predict_native(made)
    np.testing.assert_array_equal(native[:, 12:36, 4:28], centre)
    assert native.sum() == centre.sum()


def test_a_case_of_other_spacing_is_cut_to_the_same_field(tmp_path):
    pool = write_case(tmp_path, "a", *draw_blob((48, 48, 3)))
    wide = write_case(tmp_path, "b", *draw_blob((48, 48, 3)), spacing=(2.0, 2.0, 3.0))
    settings = Settings(max_size=64, multiple=8, field_of_view=24.0)
    fitted = preprocess.fit([pool], ["MRI"], settings)
    assert preprocess.shrink_factor(wide, fitted) == 1.0
    assert preprocess.prepare_case(wide, fitted, TARGET).image.shape[1:3] == (24, 24)


def test_settings_without_a_field_of_view_are_recorded_as_before_there_was_one():
    assert Settings().record == {"max_size": 96, "multiple": 16}
    assert Settings(field_of_view=50.0).record["field_of_view"] == 50.0


@pytest.mark.parametrize("given", [0.0, -3.0, float("nan"), float("inf")])
def test_an_impossible_field_of_view_is_refused(given):
    with pytest.raises(InputError, match=r"--field_of_view=.*above 0 mm"):
        Settings(field_of_view=given)
