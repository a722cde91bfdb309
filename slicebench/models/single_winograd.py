"""Short convolutions along one axis with fewer multiplications.

Winograd's minimal filtering F(m, 3) (Lavin and Gray 2016, after Toom and Cook)
computes m neighbouring outputs of a filter of three taps from m + 2 products
in place of 3 m. Here a product is a whole convolution over the other axes:

    outputs = A^T ((B^T inputs) * (G kernel))

and all three transforms are linear, so both gradients use their transposes.
F(4, 3) halves the multiplications at a float32 error of some 1e-6 of the
largest output.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

TAPS = 3
"""Length of the filters."""

Matrix = tuple[tuple[float, ...], ...]


class Scheme(NamedTuple):
    """The three matrices of F(m, 3).

    Attributes:
      inputs: B^T, one row a product.
      kernel: G, one row a product.
      outputs: A^T, one row an output.
    """

    inputs: Matrix
    kernel: Matrix
    outputs: Matrix


SCHEMES = {
    4: Scheme(
        inputs=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        kernel=(
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        outputs=(
            (1, 1, 1, 1, 1, 0),
            (0, 1, -1, 2, -2, 0),
            (0, 1, 1, 4, 4, 0),
            (0, 1, -1, 8, -8, 1),
        ),
    ),
    2: Scheme(
        inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        kernel=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
}
"""F(4, 3) at the points 0, 1, -1, 2, -2, infinity; F(2, 3) at 0, 1, -1, infinity."""


def best_tile(length: int) -> int:
    """Returns the tile with the fewest products along an axis, 0 for none.

    An axis that does not divide is filled up with zeros. At a tie the smaller
    tile is more accurate.

    >>> best_tile(32), best_tile(6), best_tile(1)
    (4, 2, 0)
    """
    products = {tile: -(-length // tile) * (tile + TAPS - 1) for tile in (2, 4)}
    tile = min(products, key=lambda tile: products[tile])
    return tile if products[tile] < TAPS * length else 0


def input_slabs(
    images: Float[Array, "first length *rest"], tile: int
) -> list[Float[Array, "first tiles *rest"]]:
    """Transforms images along their second axis, one array a product.

    Args:
      images: Zero beyond both ends.
      tile: Outputs of a tile, a key of `SCHEMES`.
    """
    length = images.shape[1]
    whole = length + -length % tile
    padded = _pad(images, 1, 1 + whole - length)
    taps = [
        lax.slice_in_dim(padded, tap, tap + whole - tile + 1, tile, axis=1)
        for tap in range(tile + TAPS - 1)
    ]
    return [_combine(row, taps) for row in SCHEMES[tile].inputs]


def kernel_slabs(
    kernel: Float[Array, "taps ..."], tile: int
) -> list[Float[Array, "..."]]:
    """Transforms a kernel along its first axis, one array a product."""
    return [_combine(row, list(kernel)) for row in SCHEMES[tile].kernel]


def merge_outputs(
    slabs: Sequence[Float[Array, "first tiles *rest"]], tile: int, length: int
) -> Float[Array, "first length *rest"]:
    """Turns products into outputs along the second axis."""
    parts = [_combine(row, slabs) for row in SCHEMES[tile].outputs]
    first, tiles, *rest = slabs[0].shape
    whole = jnp.stack(parts, axis=2).reshape(first, tiles * tile, *rest)
    return whole[:, :length]


def slope_slabs(
    slopes: Float[Array, "first length *rest"], tile: int
) -> list[Float[Array, "first tiles *rest"]]:
    """Transpose of `merge_outputs`."""
    padded = _pad(slopes, 0, -slopes.shape[1] % tile)
    parts = [padded[:, output::tile] for output in range(tile)]
    return [_combine(column, parts) for column in _turn(SCHEMES[tile].outputs)]


def merge_kernel(
    slabs: Sequence[Float[Array, "..."]], tile: int
) -> Float[Array, "taps ..."]:
    """Transpose of `kernel_slabs`."""
    return jnp.stack(
        [_combine(column, slabs) for column in _turn(SCHEMES[tile].kernel)]
    )


def _pad(
    images: Float[Array, "first length *rest"], before: int, after: int
) -> Float[Array, "first longer *rest"]:
    return jnp.pad(images, [(0, 0), (before, after), *[(0, 0)] * (images.ndim - 2)])


def _turn(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _combine(
    weights: Sequence[float], arrays: Sequence[Float[Array, "*shape"]]
) -> Float[Array, "*shape"]:
    """Weighted sum that leaves out zeros and multiplications by one."""
    terms = [
        array if weight == 1 else weight * array
        for weight, array in zip(weights, arrays, strict=True)
        if weight
    ]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
