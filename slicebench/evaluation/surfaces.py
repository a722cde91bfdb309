"""Surface elements of voxel masks: where they lie, how large, how far apart.

The definition is that of Nikolov et al. 2018 (arXiv 1809.04430, section "Surface
Dice" and appendix): a surface element sits at each corner that eight voxels
share whenever some, but not all, of the eight belong to the mask; its area is
that of the marching-cubes triangles between them, in mm^2. Distances run from
element to element. Outside the volume is background, so a mask that touches
the border has a surface there.

Boundary voxels, the other common definition, are not used: their number grows
with the sampling and not with the surface, and on anisotropic grids a coarse
slice face would weigh as little as a thin side face.

Elements live on the corner grid: element `(i, j, k)` touches voxels `i - 1` and
`i`, and so on, so a volume of `d` slices has `d + 1` layers of elements.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import edt
import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]


class Box(NamedTuple):
    """A half-open box of array indices.

    Attributes:
      start: First index on each axis.
      stop: One past the last index on each axis.
    """

    start: Triple
    stop: Triple

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index expression that cuts the box out of its array."""
        return self.within(Box((0, 0, 0), self.stop))

    @property
    def shape(self) -> Triple:
        """Extent on each axis."""
        (a, b, c), (x, y, z) = self
        return x - a, y - b, z - c

    def within(self, frame: "Box") -> tuple[slice, slice, slice]:
        """Index expression that cuts the box out of the array over `frame`."""
        first, second, third = (
            slice(start - origin, stop - origin)
            for start, stop, origin in zip(
                self.start, self.stop, frame.start, strict=True
            )
        )
        return first, second, third

    def union(self, other: "Box") -> "Box":
        """Returns the smallest box that holds both."""
        return Box(
            _triple(map(min, self.start, other.start)),
            _triple(map(max, self.stop, other.stop)),
        )

    def contains(self, other: "Box") -> bool:
        """Whether the other box lies inside this one."""
        return self.union(other) == self

    def grow(self, margin: int, limit: Triple) -> "Box":
        """Returns the box widened on all sides, clipped to `[0, limit)`."""
        return Box(
            _triple(max(0, start - margin) for start in self.start),
            _triple(
                min(size, stop + margin)
                for stop, size in zip(self.stop, limit, strict=True)
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surface:
    """All surface elements of one mask.

    Attributes:
      box: Part of the corner grid that holds them.
      border: Whether there is an element, on `box`.
      areas: Area of each element in mm^2, in C order of `border`.
      area: Their sum.
    """

    box: Box
    border: Bool[np.ndarray, "depth height width"]
    areas: Float[np.ndarray, " element"]
    area: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistanceMap:
    """Squared distance in mm^2 to the nearest element of one surface.

    Attributes:
      box: Part of the corner grid that is covered; it holds the whole surface,
        which makes every value in it exact.
      squared: The values.
    """

    box: Box
    squared: Float32[np.ndarray, "depth height width"]


def bounding_box(mask: Bool[np.ndarray, "depth height width"]) -> Box | None:
    """Returns the smallest box that holds the mask, None for an empty mask."""
    rows = mask.any(axis=2)
    sides = (rows.any(axis=-1), rows.any(axis=0), mask.any(axis=(0, 1)))
    hits = [np.flatnonzero(side) for side in sides]
    if not hits[0].size:
        return None
    return Box(
        _triple(int(hit[0]) for hit in hits), _triple(int(hit[-1]) + 1 for hit in hits)
    )


def find_surface(
    mask: Bool[np.ndarray, "depth height width"], box: Box, spacing: Spacing
) -> Surface:
    """Returns the surface of a mask that has been cut out of its volume.

    Args:
      mask: The part of the mask inside `box`; all the rest is background.
      box: Where it lies in the volume.
      spacing: Voxel spacing in mm, slices first.
    """
    codes = _neighbour_codes(mask)
    border = (codes != 0) & (codes != 255)
    areas = element_areas(spacing)[codes[border]]
    a, b, c = box.stop
    return Surface(
        box=Box(box.start, (a + 1, b + 1, c + 1)),
        border=border,
        areas=areas,
        area=float(areas.sum()),
    )


def map_distances(surface: Surface, box: Box, spacing: Spacing) -> DistanceMap:
    """Returns exact squared distances to a surface on a box that holds it."""
    away = np.ones(box.shape, np.uint8)
    away[surface.box.within(box)] = ~surface.border
    # 8-bit integers, not booleans: the transform is three times as fast on them.
    squared = edt.edtsq(away, anisotropy=spacing, parallel=1)
    return DistanceMap(box=box, squared=squared)


def look_up(
    distances: DistanceMap, surface: Surface
) -> Float32[np.ndarray, " element"]:
    """Returns the squared distance at each element of another surface, in mm^2."""
    return distances.squared[surface.box.within(distances.box)][surface.border]


@functools.lru_cache(maxsize=256)
def element_areas(spacing: Spacing) -> Float[np.ndarray, "256"]:
    """Returns the area in mm^2 of a surface element for each neighbour code.

    Bit `4 * i + 2 * j + k` of a code tells whether voxel `(i, j, k)` of the 2x2x2
    neighbourhood is in the mask. Codes 0 and 255 have no surface.

    Args:
      spacing: Voxel spacing in mm, slices first.

    >>> element_areas((1.0, 2.0, 3.0))[0b00001111]  # one face of 2 mm x 3 mm
    np.float64(6.0)
    """
    codes, normals = _triangles()
    scale = np.prod(spacing) / np.array(spacing)
    sizes = np.linalg.norm(normals * scale, axis=1)
    areas = np.bincount(codes, weights=sizes, minlength=256)
    areas.setflags(write=False)
    return areas


def _triple(values: Iterator[int]) -> Triple:
    first, second, third = values
    return first, second, third


def _neighbour_codes(
    mask: Bool[np.ndarray, "depth height width"],
) -> UInt8[np.ndarray, "depth+1 height+1 width+1"]:
    """Packs the eight voxels round each corner of the grid into one byte."""
    depth, height, width = mask.shape
    padded = np.zeros((depth + 2, height + 2, width + 2), np.uint8)
    padded[1:-1, 1:-1, 1:-1] = mask
    pairs = padded[:, :, :-1] | padded[:, :, 1:] << 1
    squares = pairs[:, :-1] | pairs[:, 1:] << 2
    return squares[:-1] | squares[1:] << 4


_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
_FACES = tuple(
    tuple(np.flatnonzero(_CORNERS[:, axis] == side)[[0, 1, 3, 2]].tolist())
    for axis in range(3)
    for side in (0, 1)
)
"""The corners of each face of the unit cube, in cyclic order."""

Edge = frozenset[int]


@functools.cache
def _triangles() -> tuple[
    Shaped[np.ndarray, " triangle"], Float[np.ndarray, "triangle 3"]
]:
    """Returns the marching-cubes triangles of all codes as normals.

    A normal's length is the triangle's area on the unit grid; its components
    scale with the faces of the voxel. Triangle vertices are edge midpoints.
    The published table follows three conventions, reproduced here: a code with
    more than four voxels has the surface of its complement, voxels that touch
    in an edge or a corner only are separated, and a polygon that is not flat
    is cut into the fan of largest area.

    Returns:
      The code each triangle belongs to, and the normals.
    """
    codes, normals = [], []
    for code in range(1, 255):
        few = code if code.bit_count() <= 4 else 255 - code
        for loop in _loops([bool(few >> corner & 1) for corner in range(8)]):
            points = np.array([_CORNERS[list(edge)].mean(axis=0) for edge in loop])
            fan = _largest_fan(points)
            normals.append(fan)
            codes.append(np.full(len(fan), code))
    return np.concatenate(codes), np.concatenate(normals)


def _loops(inside: list[bool]) -> Iterator[list[Edge]]:
    """Yields the closed polygons that part voxels inside from those outside."""
    joined: dict[Edge, list[Edge]] = {}
    for face in _FACES:
        for one, other in _segments(face, inside):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    while joined:
        edge = next(iter(joined))
        loop = []
        while edge in joined:
            loop.append(edge)
            ahead = joined.pop(edge)
            edge = ahead[0] if ahead[0] in joined else ahead[1]
        yield loop


def _segments(face: tuple[int, ...], inside: list[bool]) -> Iterator[tuple[Edge, Edge]]:
    """Yields the lines in which the surface crosses one face of the cube."""
    edges = [frozenset((face[k - 1], face[k])) for k in range(4)]
    crossed = [edge for edge in edges if len({inside[corner] for corner in edge}) == 2]
    if len(crossed) == 2:
        yield crossed[0], crossed[1]
    elif len(crossed) == 4:
        for k in range(4):
            if inside[face[k]]:
                yield edges[k], edges[(k + 1) % 4]


def _largest_fan(
    points: Float[np.ndarray, "point 3"],
) -> Float[np.ndarray, "triangle 3"]:
    """Returns normals of the triangle fan with the largest total area."""
    fans = []
    for apex in range(len(points)):
        spokes = np.roll(points, -apex, axis=0)[1:] - points[apex]
        fans.append(0.5 * np.cross(spokes[:-1], spokes[1:]))
    return max(fans, key=lambda fan: round(np.linalg.norm(fan, axis=1).sum(), 9))
