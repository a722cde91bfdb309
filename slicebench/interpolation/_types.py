"""Protocol of an interpolation and the entry of its registry."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Integer

HardLabel = Integer[np.ndarray, "depth height width"]
SoftLabel = Float[np.ndarray, "depth height width class"]
Filled = tuple[HardLabel | SoftLabel, Bool[np.ndarray, " depth"]]


@runtime_checkable
class FillMasks(Protocol):
    """Makes pseudo-labels from the annotated slices of one volume."""

    def __call__(
        self,
        label: Integer[np.ndarray, "depth height width"],
        annotated: Bool[np.ndarray, " depth"],
        spacing: tuple[float, float, float],
        *,
        image: Float[np.ndarray, "depth height width channel"] | None = None,
        outside: bool = False,
    ) -> Filled:
        """Fills slices between annotated ones.

        Slices that are not annotated must not be read: their labels are
        unknown to an annotator, and their values here are arbitrary.

        Args:
          label: Class indices, 0 is background.
          annotated: Which slices an expert annotated.
          spacing: Distance between voxel centres in mm, slices first.
          image: The volume's image, for methods that use it; others take it
            and ignore it.
          outside: Whether slices before the first and behind the last
            annotated one are filled too, from that one alone.

        Returns:
          A pseudo-label: class indices of the dtype of `label`, or class
          probabilities over 0 to the highest class on the annotated slices. It
          equals `label` on annotated slices and is background on slices
          neither annotated nor filled. Beside it, which slices are filled;
          never an annotated one.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolation:
    """A way to fill masks.

    Attributes:
      fill: The computation.
      soft: Whether it returns class probabilities.
      uses_image: Whether it needs the image.
      reference: Publication or definition.
    """

    fill: FillMasks
    soft: bool = False
    uses_image: bool = False
    reference: str
