"""What is trained in the benchmarks: networks, grids and random slices."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8

from slicebench import spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One training set-up that every way of training runs alike.

    Attributes:
      name: Row name in tables and JSON.
      program: Network, grid, batch and number of slices, in slicebench's terms.
      depth: Slices of a volume.
    """

    name: str
    program: spec.Program
    depth: int = 1

    @property
    def batch(self) -> int:
        """Slices, or in 3D patches, of a batch."""
        return self.program.training.batch

    @property
    def title(self) -> str:
        """Network and batch in words."""
        network, patch = self.program.network, self.program.patch
        return (
            f"{len(patch)}D U-Net, width {network.width}, depth {network.depth}, "
            f"batch {self.batch} of {'x'.join(map(str, patch))}"
        )

    def draw(
        self,
    ) -> tuple[
        Float[np.ndarray, "slice height width channel"],
        UInt8[np.ndarray, "slice height width"],
    ]:
        """Returns random slices and labels, the same at every call."""
        rng = np.random.default_rng(0)
        shape = (self.program.slices, *self.program.grid)
        channels, classes = self.program.channels, self.program.classes
        images = rng.standard_normal((*shape, channels), dtype=np.float32)
        return images, rng.integers(classes, size=shape, dtype=np.uint8)

    def draw_patches(
        self,
    ) -> tuple[
        Float[np.ndarray, "patch *space channel"], UInt8[np.ndarray, " patch *space"]
    ]:
        """Returns what a batch is cut from: the slices, in 3D a patch a volume."""
        images, labels = self.draw()
        if self.program.volumetric is None:
            return images, labels
        parts = []
        for array in (images, labels):
            volumes = array.reshape(-1, self.depth, *array.shape[1:])
            where = tuple(slice(side) for side in self.program.patch)
            parts.append(np.ascontiguousarray(volumes[:, *where]))
        return parts[0], parts[1]


def flat_case(
    width: int,
    depth: int,
    grid: tuple[int, int],
    batch: int,
    *,
    classes: int = 2,
    slices: int = 64,
) -> Case:
    """Returns a 2D case, named after its numbers."""
    program = spec.Program(
        dims="2d",
        network=spec.Network(width=width, depth=depth),
        training=spec.Training(batch=batch),
        grid=grid,
        channels=1,
        classes=classes,
        slices=slices,
    )
    name = f"w{width}-d{depth}-{grid[0]}x{grid[1]}-b{batch}"
    return Case(name=name, program=program)


def volume_case(
    width: int,
    depth: int,
    patch: tuple[int, int, int],
    batch: int,
    *,
    volume: tuple[int, int, int],
    volumes: int = 8,
    classes: int = 2,
) -> Case:
    """Returns a 3D case, named after its numbers.

    Args:
      width: Channels at full resolution.
      depth: Resolution levels; each halves all three axes.
      patch: Depth, height and width of a patch.
      batch: Patches in a batch.
      volume: Depth, height and width of a volume.
      volumes: How many volumes patches are cut from.
      classes: Segmentation classes, background included.
    """
    program = spec.Program(
        dims="3d",
        network=spec.Network(width=width, depth=depth),
        training=spec.Training(batch=batch, patch=patch),
        grid=volume[1:],
        channels=1,
        classes=classes,
        slices=volumes * volume[0],
        volumetric=spec.Volumetric(
            patch=patch,
            kernels=((3, 3, 3),) * depth,
            pools=((2, 2, 2),) * (depth - 1),
        ),
    )
    name = f"w{width}-d{depth}-{'x'.join(map(str, patch))}-b{batch}"
    return Case(name=name, program=program, depth=volume[0])


WIDE_CASE = "w16-d4-64x64-b8"
DEMO_CASE = "w8-d3-48x48-b8"
"""The network, grid and batch of the demo's phantom tasks."""
REAL_CASE = "w16-d4-48x64-b16"
"""The network, grid and batch of the hippocampus task."""
VOLUME_CASE = "w16-d3-32x32x32-b2"

CASES = {
    case.name: case
    for case in (
        flat_case(16, 4, (64, 64), 8),
        flat_case(8, 3, (48, 48), 8),
        flat_case(16, 4, (48, 64), 16, classes=3),
        volume_case(16, 3, (32, 32, 32), 2, volume=(40, 48, 48)),
    )
}
