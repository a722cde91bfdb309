"""What is trained in the throughput race: networks, grids and random slices."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8

from slicebench import spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One training set-up that every way of training runs alike.

    Attributes:
      name: Row name in tables and JSON.
      network: Architecture.
      grid: Height and width of a slice.
      batch: Slices in a batch.
      classes: Segmentation classes, background included.
      slices: Slices that batches are made of.
    """

    name: str
    network: spec.Network
    grid: tuple[int, int]
    batch: int
    classes: int = 2
    slices: int = 64

    @property
    def program(self) -> spec.Program:
        """The same set-up in slicebench's terms."""
        return spec.Program(
            dims="2d",
            network=self.network,
            training=spec.Training(batch=self.batch),
            grid=self.grid,
            channels=1,
            classes=self.classes,
            slices=self.slices,
        )

    def draw(
        self,
    ) -> tuple[
        Float[np.ndarray, "slice height width 1"],
        UInt8[np.ndarray, "slice height width"],
    ]:
        """Returns random slices and labels, the same at every call."""
        rng = np.random.default_rng(0)
        shape = (self.slices, *self.grid)
        images = rng.standard_normal((*shape, 1), dtype=np.float32)
        return images, rng.integers(self.classes, size=shape, dtype=np.uint8)


DEMO_CASE = "w8-d3-48x48-b8"
"""The network, grid and batch of the demo's phantom tasks."""

CASES = {
    case.name: case
    for case in (
        Case(
            name="w16-d4-64x64-b8",
            network=spec.Network(width=16, depth=4),
            grid=(64, 64),
            batch=8,
        ),
        Case(
            name=DEMO_CASE,
            network=spec.Network(width=8, depth=3),
            grid=(48, 48),
            batch=8,
        ),
        # The network, grid and batch of the hippocampus task.
        Case(
            name="w16-d4-48x64-b16",
            network=spec.Network(width=16, depth=4),
            grid=(48, 64),
            batch=16,
            classes=3,
        ),
    )
}
