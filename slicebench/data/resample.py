"""In-plane resampling as separable matrices, and the way back.

One matrix maps a line of native voxels to a line of the grid. Line centres
coincide; where the spacing does not change, offsets are whole voxels, so that
the map is padding or cutting without interpolation. Positions are in voxels.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Float64, Int64

from slicebench.data import prepared

_SAME_SPACING = 1e-3
"""Relative change of spacing below which voxels are copied, not interpolated."""


@dataclasses.dataclass(frozen=True)
class Line:
    """How a line of the grid lies on a line of native voxels.

    Attributes:
      native: Voxels of the native line.
      grid: Voxels of the grid line.
      step: Grid spacing over native spacing.
    """

    native: int
    grid: int
    step: float

    @property
    def _copied(self) -> bool:
        cut = self.native > self.grid * self.step + 1
        same = abs(self.step - 1) < _SAME_SPACING
        return same and (cut or self.native <= self.grid)

    def grid_on_native(self) -> Float64[np.ndarray, " grid"]:
        """Native positions of the grid's voxel centres."""
        index = np.arange(self.grid, dtype=float)
        if self._copied:
            return index - (self.grid - self.native) // 2
        return (index - (self.grid - 1) / 2) * self.step + (self.native - 1) / 2

    def native_on_grid(self) -> Float64[np.ndarray, " native"]:
        """Grid positions of the native voxel centres."""
        index = np.arange(self.native, dtype=float)
        if self._copied:
            return index + (self.grid - self.native) // 2
        return (index - (self.native - 1) / 2) / self.step + (self.grid - 1) / 2

    def to_grid(self) -> Float32[np.ndarray, "grid native"]:
        """Matrix from native intensities to the grid, anti-aliased."""
        return _linear(self.grid_on_native(), self.native, self._factor(self.step))

    def to_native(self) -> Float32[np.ndarray, "native grid"]:
        """Matrix from class probabilities on the grid back to native voxels."""
        return _linear(self.native_on_grid(), self.grid, self._factor(1 / self.step))

    def nearest(self) -> Int64[np.ndarray, " grid"]:
        """Nearest native voxel of each grid voxel; -1 outside the image."""
        positions = self.grid_on_native()
        index = np.floor(positions + 0.5).astype(np.int64)
        return np.where((index >= 0) & (index < self.native), index, -1)

    def _factor(self, step: float) -> float:
        return 1.0 if self._copied else max(step, 1.0)


def _linear(
    positions: Float64[np.ndarray, " out"], size: int, width: float
) -> Float32[np.ndarray, "out size"]:
    """Linear interpolation; a triangle filter `width` times wider when shrinking.

    Rows whose position lies outside the voxels' extent are zero; those inside
    sum to one, so that a flat image stays flat up to its border.
    """
    inside = (positions > -0.5 - 1e-6) & (positions < size - 0.5 + 1e-6)
    clipped = np.clip(positions, 0, size - 1)
    if width == 1:
        matrix = prepared.interpolation_matrix(clipped, size)
    else:
        distance = np.abs(np.arange(size) - clipped[:, None])
        matrix = np.maximum(0, 1 - distance / width)
        matrix /= matrix.sum(axis=1, keepdims=True)
    return (matrix * inside[:, None]).astype(np.float32)
