"""Likeness of slices, computed in blocks of rows so that memory stays bounded."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

SIMILARITY_DECIMALS = 12
"""Similarities are rounded: matrix products of equal rows may differ in the
last bits, and equal slices must tie."""

SUM_DECIMALS = 9
"""Sums over slices are rounded: they must not depend on the order of terms."""

GRID_DECIMALS = 6
"""Rows of about unit scale are rounded to this before they are clustered."""

BLOCK_ENTRIES = 2**21
"""Most entries of a block of similarities: 16 MiB in double precision."""

Similarity = Callable[[Int[np.ndarray, " block"]], Float[np.ndarray, "block row"]]
"""Returns how alike some rows, given by index, are to every row."""


def unit_rows(
    features: Sequence[Float[np.ndarray, "_depth feature"]],
) -> Float[np.ndarray, "row feature"]:
    """Returns the features of all volumes, scaled to length 1; zeros stay."""
    rows = np.concatenate(features).astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def ball_rows(
    features: Sequence[Float[np.ndarray, "_depth feature"]],
) -> Float[np.ndarray, "row feature"]:
    """Returns the features of all volumes, moved and scaled into the unit ball.

    The mean becomes 0 and the largest length 1: Euclidean distances keep their
    order, and one number of decimals fits every unit of measurement.
    """
    rows = np.concatenate(features).astype(np.float64)
    rows -= rows.mean(axis=0)
    longest = np.linalg.norm(rows, axis=1).max(initial=0.0)
    return np.round(rows / longest if longest else rows, SIMILARITY_DECIMALS)


def blocks(count: int, width: int) -> Iterator[Int[np.ndarray, " _block"]]:
    """Yields 0 to count - 1 in blocks whose similarities to `width` rows fit."""
    size = max(1, BLOCK_ENTRIES // max(width, 1))
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def cosine(unit: Float[np.ndarray, "row feature"]) -> Similarity:
    """Returns the cosine similarity; a zero row has 0 to every row."""

    def rows(index: Int[np.ndarray, " block"]) -> Float[np.ndarray, "block row"]:
        product = unit[index] @ unit.T
        return np.round(product, SIMILARITY_DECIMALS, out=product)

    return rows


def squared_distance(unit: Float[np.ndarray, "row feature"]) -> Similarity:
    """Returns squared Euclidean distances between rows of length 1 or 0."""
    squares = np.round((unit * unit).sum(axis=1), SIMILARITY_DECIMALS)

    def rows(index: Int[np.ndarray, " block"]) -> Float[np.ndarray, "block row"]:
        result = unit[index] @ unit.T
        result *= -2.0
        result += squares[index, None] + squares
        np.round(result, SIMILARITY_DECIMALS, out=result)
        return np.maximum(result, 0.0, out=result)

    return rows


def distances(
    a: Float[np.ndarray, "block feature"], b: Float[np.ndarray, "row feature"]
) -> Float[np.ndarray, "block row"]:
    """Returns Euclidean distances, for equal rows equal to the last bit."""
    return np.round(cdist(a, b), SIMILARITY_DECIMALS)


def total_distances(
    rows: Float[np.ndarray, "row feature"],
) -> Float[np.ndarray, " row"]:
    """Returns the sum of each row's distances to all rows."""
    sums = [distances(rows[b], rows).sum(axis=1) for b in blocks(len(rows), len(rows))]
    return np.round(np.concatenate(sums), SUM_DECIMALS)
