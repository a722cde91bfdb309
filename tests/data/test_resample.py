"""Resampling matrices."""

import numpy as np
import pytest

from slicebench.data.resample import Line


@pytest.mark.parametrize(("native", "grid"), [(5, 8), (8, 8), (7, 8), (1, 16)])
def test_unchanged_spacing_is_padding(native, grid):
    line = Line(native, grid, 1.0)
    start = (grid - native) // 2
    values = np.arange(1, native + 1, dtype=np.float32)
    expected = np.zeros(grid, np.float32)
    expected[start : start + native] = values
    np.testing.assert_array_equal(line.to_grid() @ values, expected)
    np.testing.assert_array_equal(line.to_native() @ expected, values)
    nearest = np.full(grid, -1)
    nearest[start : start + native] = np.arange(native)
    np.testing.assert_array_equal(line.nearest(), nearest)


@pytest.mark.parametrize("step", [0.4, 0.7, 1.3, 2.0, 3.7])
@pytest.mark.parametrize("native", [20, 21])
def test_lines_share_their_centre_and_keep_a_ramp(step, native):
    grid = int(np.ceil(native / step)) + 2
    line = Line(native, grid, step)
    np.testing.assert_allclose(line.grid_on_native().mean(), (native - 1) / 2)
    np.testing.assert_allclose(line.native_on_grid().mean(), (grid - 1) / 2)
    positions = line.grid_on_native()
    inner = (positions > step) & (positions < native - 1 - step)
    ramp = line.to_grid() @ np.arange(native)
    np.testing.assert_allclose(ramp[inner], positions[inner], atol=0.1 * step)


@pytest.mark.parametrize("step", [0.4, 1.0, 1.3, 3.7])
def test_flat_line_stays_flat_inside_and_zero_outside(step):
    line = Line(20, 64, step)
    flat = line.to_grid() @ np.ones(20, np.float32)
    inside = line.nearest() >= 0
    np.testing.assert_allclose(flat[inside], 1, atol=1e-6)
    np.testing.assert_array_equal(flat[~inside], 0)
    np.testing.assert_allclose(line.to_native().sum(axis=1), 1, atol=1e-6)


def test_shrinking_does_not_alias():
    """A pattern finer than the grid becomes its mean."""
    line = Line(64, 16, 4.0)
    pattern = np.tile([0.0, 1.0], 32)
    np.testing.assert_allclose(line.to_grid()[2:-2] @ pattern, 0.5, atol=0.02)


def test_enlarging_is_linear_interpolation():
    line = Line(3, 6, 0.5)
    values = np.array([0.0, 2.0, 4.0])
    expected = np.interp(line.grid_on_native(), np.arange(3), values)
    np.testing.assert_allclose(line.to_grid() @ values, expected, atol=1e-6)


def test_nothing_is_cropped_where_spacing_nearly_stays():
    line = Line(2000, 1999, 2000 / 1999)
    assert np.ptp(line.grid_on_native()) > 1998


def test_a_smaller_field_of_view_is_cut_out_without_interpolation():
    line = Line(12, 4, 1.0)
    native = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(line.to_grid() @ native, [4, 5, 6, 7])
    np.testing.assert_array_equal(line.nearest(), [4, 5, 6, 7])
    back = line.to_native() @ np.ones(4, np.float32)
    np.testing.assert_array_equal(back, [0] * 4 + [1] * 4 + [0] * 4)
