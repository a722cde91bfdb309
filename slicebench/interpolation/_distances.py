"""Signed distances in the plane, in mm."""

import edt
import numpy as np
from jaxtyping import Bool, Float32, Integer

Pixel = tuple[float, float]
"""Distance between voxel centres along height and width in mm."""


def signed_distances(
    plane: Integer[np.ndarray, "height width"] | Bool[np.ndarray, "height width"],
    classes: list[int],
    pixel: Pixel,
) -> Float32[np.ndarray, "class height width"]:
    """Returns each class's distance to its own border, positive inside.

    Distances run from voxel centre to the nearest centre on the other side of
    the border, less half of the smaller side of a voxel, because the border
    lies between them: across that side the function has slope 1 and no jump. Across
    a longer one it is as steep as two halves of the shorter leave it, up to 2: a
    border that is blended there is placed to within part of a voxel.

    Args:
      plane: Class indices, or a mask, whose class is 1.
      classes: Classes wanted, each in `plane` somewhere.
      pixel: Voxel size in the plane.

    Returns:
      Distances in mm; the plane's diagonal inside a class that fills it.
    """
    half = min(pixel) / 2
    # One transform gives every class's inside: it measures to the next label.
    inside = _distance(np.ascontiguousarray(plane).astype(np.uint16) + 1, pixel)
    found = np.empty((len(classes), *plane.shape), np.float32)
    for index, value in enumerate(classes):
        own = plane == value
        found[index] = np.where(own, inside - half, half - _distance(~own, pixel))
    return found


def depth_inside(
    mask: Bool[np.ndarray, "height width"], pixel: Pixel
) -> Float32[np.ndarray, "height width"]:
    """Returns the distance to the border inside a mask, 0 outside it."""
    return np.where(mask, _distance(mask, pixel) - np.float32(min(pixel) / 2), 0)


def _distance(
    labels: Integer[np.ndarray, "height width"] | Bool[np.ndarray, "height width"],
    pixel: Pixel,
) -> Float32[np.ndarray, "height width"]:
    found = edt.edt(labels, anisotropy=pixel, parallel=1)
    # Without any border in the plane the library says infinity.
    limit = np.hypot(*np.multiply(labels.shape, pixel))
    return np.minimum(found, np.float32(limit))
