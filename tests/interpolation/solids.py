"""Solids with known cross-sections, and measures of planes."""

import numpy as np

HALF_MM = 40.0
"""Half the side of every plane, in mm."""


def plane_grid(pixel):
    """Row and column coordinates in mm from the middle of the plane."""
    rows, columns = (
        (np.arange(int(2 * HALF_MM / side)) - (2 * HALF_MM / side - 1) / 2) * side
        for side in pixel
    )
    return rows[:, None], columns[None, :]


def disc(pixel, radius, centre=(0.0, 0.0)):
    rows, columns = plane_grid(pixel)
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def stack(planes):
    return np.stack(planes).astype(np.uint8)


def every(depth, gap):
    annotated = np.zeros(depth, bool)
    annotated[::gap] = True
    return annotated


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def area_radius(mask, pixel):
    """Radius in mm of the disc of a mask's area."""
    return np.sqrt(np.count_nonzero(mask) * pixel[0] * pixel[1] / np.pi)


def as_hard(pseudo):
    return pseudo.argmax(axis=-1) if pseudo.ndim == 4 else pseudo
