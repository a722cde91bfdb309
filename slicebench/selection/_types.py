"""Protocols of the selection families, and the entries of their registries."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from slicebench.selection._pool import PoolView

Picks = tuple[Int[np.ndarray, " _picked"], ...]
"""Slice indices of each volume of a view, ascending, from 0."""


@runtime_checkable
class SelectSlices(Protocol):
    """Chooses slices without seeing a label."""

    def __call__(
        self,
        view: PoolView,
        quotas: Int[np.ndarray, " volume"],
        budget: int,
        seed: int,
    ) -> Picks:
        """Chooses exactly `budget` distinct slices.

        Ties are broken by the lowest volume, then the lowest slice.

        Args:
          view: The chosen volumes.
          quotas: The most slices each volume may get, at most its depth.
          budget: Slices to choose, from 1 to the sum of the quotas.
          seed: Selection seed, for `volume_stream` and `joint_stream`: these
            know volume and purpose but no strategy, so strategies are paired.

        Returns:
          Picks of every volume of the view.
        """
        ...


@runtime_checkable
class SelectWithLabels(Protocol):
    """Chooses slices with the labels in view: a reference, never a contestant."""

    def __call__(
        self,
        view: PoolView,
        quotas: Int[np.ndarray, " volume"],
        budget: int,
        seed: int,
        labels: Sequence[Integer[np.ndarray, "_depth height width"]],
    ) -> Picks:
        """Chooses as `SelectSlices` does, and also sees the dense labels."""
        ...


@runtime_checkable
class SelectVolumes(Protocol):
    """Chooses volumes without seeing a label."""

    def __call__(
        self, view: PoolView, num_volumes: int, seed: int
    ) -> Int[np.ndarray, " num_volumes"]:
        """Chooses distinct volumes, in any order.

        Args:
          view: The whole pool.
          num_volumes: Volumes to choose, from 1 to the pool's number.
          seed: Selection seed.

        Returns:
          Indices into the view.
        """
        ...


@runtime_checkable
class ExtractFeatures(Protocol):
    """Describes every slice of the pool by a vector."""

    def __call__(
        self, images: Sequence[Float[np.ndarray, "_depth height width channel"]]
    ) -> tuple[Float[np.ndarray, "_depth feature"], ...]:
        """Computes features; whatever is fitted is fitted on these images.

        Args:
          images: Images of the pool, without padded slices.

        Returns:
          One row a slice, for every volume the same number of columns.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to choose slices.

    Attributes:
      select: The choice itself.
      uses_features: Whether it needs slice features.
      deterministic: Whether every seed gives the same slices.
      nested: Whether a larger quota (scope `within`) or budget (`pooled`)
        keeps every slice of a smaller one.
      reference: Publication or definition.
    """

    select: SelectSlices
    uses_features: bool
    deterministic: bool
    nested: bool
    reference: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oracle:
    """A way to choose slices that sees labels; fields as in `Strategy`.

    Attributes:
      marks_extent: Whether all it needs of the labels is the first and the last
        slice with foreground, which an annotator marks beforehand.
    """

    select: SelectWithLabels
    uses_features: bool
    deterministic: bool
    nested: bool
    reference: str
    marks_extent: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeStrategy:
    """A way to choose volumes.

    Attributes:
      select: The choice itself.
      uses_features: Whether it needs slice features.
      deterministic: Whether every seed gives the same volumes.
      nested: Whether more volumes keep those of fewer.
      reference: Publication or definition.
      uses_groups: Whether it needs the pool's groups.
      uses_proxy: Whether it needs the pool's proxy scores.
    """

    select: SelectVolumes
    uses_features: bool
    deterministic: bool
    nested: bool
    reference: str
    uses_groups: bool = False
    uses_proxy: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """A way to describe slices.

    Attributes:
      extract: The computation; where the source is not `images`, a function that
        refuses (see `handed_in`).
      reference: Publication or definition.
      source: Where rows come from: the pool's `images` alone, a `file` of the
        user's, or a network that a `training` on the pool's images makes.
    """

    extract: ExtractFeatures
    reference: str
    source: Literal["images", "file", "training"] = "images"
