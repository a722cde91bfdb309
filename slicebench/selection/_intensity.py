"""Slice features from intensities: small images, then principal components."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from slicebench.errors import InputError

THUMBNAIL = 12
"""Most rows and columns of the averaged slice."""

COMPONENTS = 32
"""Most principal components."""

DECIMALS = 6
"""Features are rounded: images are normalised, so that smaller digits hold
rounding errors only, which would tell equal slices apart."""


def intensity(
    images: Sequence[Float[np.ndarray, "_depth height width channel"]],
) -> tuple[Float[np.ndarray, "_depth feature"], ...]:
    """Describes slices by the principal components of their thumbnails.

    Each slice is averaged over equal areas to 12 x 12 (fewer where the grid is
    smaller), all channels in one row; at most 32 principal components follow,
    fitted on these images. Their signs are fixed by the largest loading, so
    that a second fit gives the same features.

    Args:
      images: Normalised images of the pool on one grid, without padding.

    Returns:
      Features of each image's slices, float64.

    Raises:
      InputError: If the images differ in height, width or channels.
    """
    grids = {image.shape[1:] for image in images}
    if len(grids) != 1:
        raise InputError(
            f"intensity features: images of {sorted(grids)} (height, width, "
            "channels); one grid for all is needed"
        )
    rows = np.concatenate([_thumbnails(image) for image in images])
    cuts = np.cumsum([len(image) for image in images])[:-1]
    return tuple(np.split(_principal_components(rows), cuts))


def _thumbnails(
    image: Float[np.ndarray, "depth height width channel"],
) -> Float[np.ndarray, "depth pixel"]:
    rows = area_average(image.shape[1], min(THUMBNAIL, image.shape[1]))
    columns = area_average(image.shape[2], min(THUMBNAIL, image.shape[2]))
    small = np.einsum("rh,dhwc,kw->drkc", rows, image, columns, optimize=True)
    return small.reshape(len(image), -1)


def area_average(size: int, cells: int) -> Float[np.ndarray, "cells size"]:
    """Returns the matrix that averages a line of pixels over equal cells.

    Pixels that a border cuts count by the share inside.

    >>> area_average(3, 2)
    array([[0.66666667, 0.33333333, 0.        ],
           [0.        , 0.33333333, 0.66666667]])
    """
    borders = np.linspace(0.0, size, cells + 1)
    pixels = np.arange(size)
    low = np.maximum(borders[:-1, None], pixels)
    high = np.minimum(borders[1:, None], pixels + 1)
    return np.maximum(high - low, 0.0) * cells / size


def _principal_components(
    rows: Float[np.ndarray, "row pixel"],
) -> Float[np.ndarray, "row component"]:
    if not np.ptp(rows, axis=0).any():  # without variance nothing can be fitted
        return np.zeros((len(rows), 1))
    count = min(COMPONENTS, *rows.shape)
    # scikit-learn orients each component by its largest loading.
    components = PCA(count, svd_solver="full").fit_transform(rows)
    return np.round(components, DECIMALS)
