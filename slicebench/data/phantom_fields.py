"""Drawing tools of the phantoms: a patient's random lines, fields and shapes.

Lengths in the plane are shares of half the grid's side: rows and columns run
from -1 to 1. Positions along depth run from -1 (first slice) to 1 (last).
Depths in shapes are given in the same in-plane unit through `slice_step`.
"""

import numpy as np
from jaxtyping import Bool, Float

Plane = Float[np.ndarray, "#depth #height #width"]
Stack = Float[np.ndarray, "depth height width"]
Mask = Bool[np.ndarray, "depth height width"]


class Patient:
    """One patient's grid and random draws.

    Along depth, a draw is the sum of a part that is constant in the patient
    and a part that varies with a Gaussian correlation exp(-d^2 / (2 l^2)) at
    d slices; `patient_share` is the share of variance of the constant part.

    Attributes:
      rng: The patient's generator.
      shape: Depth, height and width of the volume.
      z: Relative positions along depth, as `depth 1 1`.
      y: Row coordinates as `1 height 1`.
      x: Column coordinates as `1 1 width`.
      pixel: Width of a pixel in units of the coordinates.
      slice_step: Distance between slices in the same units.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        depth: int,
        grid: tuple[int, int],
        slice_ratio: float,
        patient_share: float,
        correlation_length: float,
    ) -> None:
        self.rng = rng
        self.shape = (depth, *grid)
        self.z = np.linspace(-1, 1, depth, dtype=np.float32)[:, None, None]
        self.y = _centres(grid[0])[None, :, None]
        self.x = _centres(grid[1])[None, None, :]
        self.pixel = 2.0 / grid[0]
        self.slice_step = self.pixel * slice_ratio
        self._share = patient_share
        self._length = correlation_length

    def number(self, spread: float) -> float:
        """A Gaussian number of mean 0, cut at 2.5 standard deviations."""
        return float(np.clip(self.rng.standard_normal(), -2.5, 2.5)) * spread

    def line(self, spread: float) -> Float[np.ndarray, "depth 1 1"]:
        """A random number a slice, correlated along depth."""
        basis = _smoother(self.shape[0], self._length)
        varying = basis @ self.rng.standard_normal(basis.shape[1])
        constant = self.rng.standard_normal()
        mixed = self._mix(constant, varying)
        return (np.clip(mixed, -2.5, 2.5) * spread).astype(np.float32)[:, None, None]

    def field(self, length: float) -> Stack:
        """A random field of unit variance with a correlation length in plane.

        Args:
          length: Correlation length in units of the coordinates.
        """
        in_plane = length / self.pixel
        rows = _smoother(self.shape[1], in_plane)
        columns = _smoother(self.shape[2], in_plane)
        along = _smoother(self.shape[0], self._length)
        coarse = (along.shape[1], rows.shape[1], columns.shape[1])
        noise = self.rng.standard_normal((coarse[0] + 1, *coarse[1:]), np.float32)
        mixed = self._mix(noise[:1], np.tensordot(along, noise[1:], axes=1))
        return np.matmul(np.matmul(rows, mixed), columns.T)

    def along(self, spread: float) -> Float[np.ndarray, "depth 1 1"]:
        """Positions along the body: scans start and end at varying places."""
        return (self.z * (1 + self.number(spread / 2)) + self.number(spread)).astype(
            np.float32
        )

    def grain(self, spread: float, share: float = 0.5) -> Stack:
        """Noise of every voxel; `share` of it is averaged with its neighbours."""
        noise = self.rng.standard_normal(self.shape, np.float32)
        mixed = (1 - share) * noise
        for axis in (1, 2):
            mixed += share / 2 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
        scale = np.sqrt((1 - share) ** 2 + share**2)
        return mixed * np.float32(spread / scale)

    def _mix(self, constant: np.ndarray | float, varying: np.ndarray) -> np.ndarray:
        return (
            np.sqrt(self._share) * constant + np.sqrt(1 - self._share) * varying
        ).astype(np.float32)


def ellipse(
    patient: Patient,
    centre: tuple[Plane | float, Plane | float],
    radii: tuple[Plane | float, Plane | float],
    angle: float = 0.0,
) -> Stack:
    """Signed distance, roughly, to an ellipse in each slice; inside is below 0.

    Args:
      patient: Whose grid it is drawn on.
      centre: Row and column, one number or one a slice.
      radii: Half axes likewise; a slice where one is 0 or less is outside.
      angle: Rotation in radians.
    """
    down, right = patient.y - centre[0], patient.x - centre[1]
    if angle:
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        down, right = cosine * down - sine * right, sine * down + cosine * right
    high = np.maximum(radii[0], 1e-3)
    wide = np.maximum(radii[1], 1e-3)
    level = np.sqrt((down / high) ** 2 + (right / wide) ** 2) - 1
    return (level * np.minimum(high, wide)).astype(np.float32) + np.zeros(
        patient.shape, np.float32
    )


def cap(
    position: Float[np.ndarray, "*shape"], middle: float, half: float
) -> Float[np.ndarray, "*shape"]:
    """Profile of a ball along depth: 1 in the middle, 0 beyond its ends.

    >>> cap(np.array([0.0, 0.5, 1.0]), 0.0, 1.0).round(3)
    array([1.   , 0.866, 0.   ])
    """
    return np.sqrt(np.clip(1 - ((position - middle) / half) ** 2, 0, None))


def cover(level: Stack, width: float) -> Stack:
    """Share of each voxel that lies inside, with an edge of a given width."""
    return np.clip(0.5 - level / width, 0, 1)


def paint(image: Stack, share: Stack, value: Plane | float) -> None:
    """Blends a tissue into the image in place."""
    image += share * (value - image)


def _centres(size: int) -> Float[np.ndarray, " size"]:
    return ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)


def _smoother(size: int, length: float) -> Float[np.ndarray, "size coarse"]:
    """Turns white noise on a coarse line into a unit-variance smooth line.

    A Gaussian kernel of standard deviation l / sqrt(2) applied to white noise
    gives the correlation exp(-d^2 / (2 l^2)).
    """
    kernel = max(length, 1e-3) / np.sqrt(2)
    step = max(1.0, kernel)
    knots = np.arange(-3 * kernel, size - 1 + 3 * kernel + step, step)
    if kernel < 0.5:
        return np.eye(size, dtype=np.float32)
    weights = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / kernel) ** 2)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
