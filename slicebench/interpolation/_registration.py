"""Dense registration of neighbouring slices, all of a volume at once.

Demons (Thirion 1998) with the symmetric forces of Vercauteren et al. (2009),
smoothed as a fluid (each update) and as an elastic body (the whole field), from
coarse to fine. Slices are one batch: every step is a few array operations over
all pairs. In the plane everything is in voxels.
"""

import functools
import hashlib

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

FINEST = 64
"""Largest height and width at which fields are computed, in voxels."""
COARSEST = 12
"""Smallest height or width at which a coarser level is still added."""
ITERATIONS = 8
"""Updates on each level."""
UPDATE_SIGMA = 1.0
"""Smoothing of each update, in voxels of the level."""
FIELD_SIGMA = 2.0
"""Smoothing of the whole field, in voxels of the level."""
NOISE = 0.1
"""Difference, in standard deviations of the volume, that is taken for noise."""

_CACHED = 64

Fields = Float32[np.ndarray, "pair 2 height width"]


class Motion:
    """How slices of one volume lie on their neighbours.

    Attributes:
      up: For each voxel of slice i + 1, where it is on slice i, as rows and
        columns to add; pair i.
      down: For each voxel of slice i, where it is on slice i + 1, likewise.
    """

    def __init__(self, up: Fields, down: Fields):
        self.up = up
        self.down = down


def find_motion(image: Float[np.ndarray, "depth height width channel"]) -> Motion:
    """Registers every slice to both neighbours.

    The last few volumes' results are kept: trials that annotate other slices of
    a volume share its registration.
    """
    return _cached(_ByContent(image))


class _ByContent:
    """An array that compares by shape and bytes."""

    def __init__(self, array: np.ndarray):
        self.array = array
        content = np.ascontiguousarray(array)
        self._key = (array.shape, hashlib.sha256(content.data).digest())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContent) and self._key == other._key


@functools.lru_cache(maxsize=_CACHED)
def _cached(image: _ByContent) -> Motion:
    planes = np.moveaxis(image.array, -1, 0).astype(np.float32)
    spread = planes.std(axis=(1, 2, 3), keepdims=True)
    planes = planes / np.where(spread > 0, spread, 1)
    low, high = planes[:, :-1], planes[:, 1:]
    return Motion(register(high, low), register(low, high))


def register(
    fixed: Float32[np.ndarray, "channel pair height width"],
    moving: Float32[np.ndarray, "channel pair height width"],
) -> Fields:
    """Returns, for each voxel of `fixed`, where it lies in `moving`.

    Args:
      fixed: Slices, of standard deviation about 1.
      moving: The slices they are registered to.

    Returns:
      Rows and columns to add, on the full grid.
    """
    shape = fixed.shape[2:]
    field = np.zeros((fixed.shape[1], 2, 1, 1), np.float32)
    for size in _levels(shape):
        field = _resize_field(field, size)
        field = _refine(_resize(fixed, size), _resize(moving, size), field)
    return _resize_field(field, shape)


def _levels(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Returns the grids of the levels, coarse to fine.

    >>> _levels((96, 80))
    [(12, 10), (24, 20), (48, 40)]
    """
    height, width = shape
    while max(height, width) > FINEST:
        height, width = (height + 1) // 2, (width + 1) // 2
    sizes = [(height, width)]
    while min(height, width) > COARSEST:
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes[::-1]


def _refine(
    fixed: Float32[np.ndarray, "channel pair height width"],
    moving: Float32[np.ndarray, "channel pair height width"],
    field: Fields,
) -> Fields:
    slope = _gradient(fixed)
    smooth = (0, 0, UPDATE_SIGMA, UPDATE_SIGMA)
    for _ in range(ITERATIONS):
        warped = sample(moving, field)
        force = (slope + _gradient(warped)) / 2
        gap = fixed - warped
        squares = (force**2).sum(axis=0) + gap**2 + np.float32(NOISE**2)
        update = (force * gap / squares).sum(axis=1)
        update = ndimage.gaussian_filter(update.swapaxes(0, 1), smooth, truncate=3.0)
        field = ndimage.gaussian_filter(
            field + update, (0, 0, FIELD_SIGMA, FIELD_SIGMA), truncate=3.0
        )
    return field


def _gradient(
    planes: Float32[np.ndarray, "channel pair height width"],
) -> Float32[np.ndarray, "2 channel pair height width"]:
    """Returns central differences along rows and columns; 0 on a single line."""
    slopes = np.zeros((2, *planes.shape), np.float32)
    for axis in (2, 3):
        if planes.shape[axis] > 1:
            slopes[axis - 2] = np.gradient(planes, axis=axis)
    return slopes


def sample(
    planes: Float32[np.ndarray, "channel pair height width"], field: Fields
) -> Float32[np.ndarray, "channel pair height width"]:
    """Reads planes at moved places, bilinear; the edge goes on outside."""
    channels, pairs, height, width = planes.shape
    rows = np.arange(height, dtype=np.float32)[:, None] + field[:, 0]
    columns = np.arange(width, dtype=np.float32) + field[:, 1]
    rows = np.clip(rows, 0, height - 1)
    columns = np.clip(columns, 0, width - 1)
    top = np.minimum(rows.astype(np.int32), max(height - 2, 0))
    left = np.minimum(columns.astype(np.int32), max(width - 2, 0))
    # float32 less int32 would be float64.
    down, right = rows - top.astype(np.float32), columns - left.astype(np.float32)
    first = np.arange(pairs, dtype=np.int32)[:, None, None] * (height * width)
    corner = first + top * width + left
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    flat = np.ascontiguousarray(planes).reshape(channels, -1)
    upper = flat[:, corner] * (1 - right) + flat[:, corner + beside] * right
    corner += below
    lower = flat[:, corner] * (1 - right) + flat[:, corner + beside] * right
    return upper * (1 - down) + lower * down


def _resize(
    planes: Float32[np.ndarray, "first second height width"], size: tuple[int, ...]
) -> Float32[np.ndarray, "first second rows columns"]:
    """Averages to a smaller grid, or interpolates to a larger one."""
    for axis, (old, new) in enumerate(zip(planes.shape[2:], size, strict=True), 2):
        if old != new:
            planes = np.moveaxis(
                np.moveaxis(planes, axis, -1) @ _resizing(old, new).T, -1, axis
            )
    return planes


@functools.cache
def _resizing(old: int, new: int) -> Float32[np.ndarray, "new old"]:
    """Returns the matrix of a triangle filter as wide as the coarser step."""
    step = old / new
    places = (np.arange(new) + 0.5) * step - 0.5
    away = np.abs(places[:, None] - np.arange(old)) / max(step, 1.0)
    weights = np.maximum(1 - away, 0)
    # Before the first and behind the last voxel the nearest one counts alone.
    weights[:, 0] += np.maximum(-places, 0) * (step < 1)
    weights[:, -1] += np.maximum(places - (old - 1), 0) * (step < 1)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _resize_field(
    field: Fields, size: tuple[int, ...]
) -> Float32[np.ndarray, "pair 2 rows columns"]:
    scale = np.array(size, np.float32) / np.array(field.shape[2:], np.float32)
    return _resize(field, size) * scale[:, None, None]
