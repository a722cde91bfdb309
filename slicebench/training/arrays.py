"""What a training reads: the pool's slices once, and a trial's share of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from slicebench import spec
from slicebench.data.prepared import PreparedCase


class Bank(NamedTuple):
    """All slices of the pool, on the device once for every trial.

    Attributes:
      images: Normalised slices.
      labels: Class indices.
      first: For 3D, where the volume of each slice starts in the bank.
      depth: For 3D, how many slices that volume has.
    """

    images: Float[Array, "slice height width channel"]
    labels: UInt8[Array, "slice height width"]
    first: Int[Array, " slice"] | None = None
    depth: Int[Array, " slice"] | None = None


class Pseudo(NamedTuple):
    """Labels that an interpolation made, and how they are drawn.

    `order`, `sizes`, `present` and `present_count` are a sampling table as in
    `TrialArrays`, over slots instead of slices.

    Attributes:
      order: Slots, allowed ones first.
      sizes: How many of each row are allowed.
      present: Classes found in the slots, first ones valid.
      present_count: How many classes that are.
      source: Slice of the bank that each slot labels.
      shares: Share of each class in units of 1/255; background first.
      weight: Loss weight of these labels.
      slot: For 3D, slot of every slice of the bank, -1 where there is none.
    """

    order: Int[Array, "row slot"]
    sizes: Int[Array, " row"]
    present: Int[Array, " foreground"]
    present_count: Int[Array, ""]
    source: Int[Array, " slot"]
    shares: UInt8[Array, "slot height width class"]
    weight: Float[Array, ""]
    slot: Int[Array, " slice"] | None = None


class TrialArrays(NamedTuple):
    """What one trial may draw from the bank: a mask's shape, not its size.

    Row 0 of `order` lists the annotated slices, row c those that hold class c;
    only the first `sizes` entries of a row mean anything.

    Attributes:
      order: Slice indices, allowed ones first.
      sizes: How many of each row are allowed.
      present: Classes found among the annotated slices, first ones valid.
      present_count: How many classes that are.
      key: Seed words of batches and augmentation.
      weight: For 3D, loss weight of every slice of the bank; 0 where nobody
        annotated.
      pseudo: Labels made by interpolation, where the program uses them.
    """

    order: Int[Array, "row slice"]
    sizes: Int[Array, " row"]
    present: Int[Array, " class"]
    present_count: Int[Array, ""]
    key: UInt32[Array, " words"]
    weight: Float[Array, " slice"] | None = None
    pseudo: Pseudo | None = None


def make_bank(
    pool: Sequence[PreparedCase], slices: int, *, dims: spec.Dims = "2d"
) -> Bank:
    """Stacks the pool's slices, volume after volume, on the host.

    Args:
      pool: Cases.
      slices: Length of the bank; empty slices fill the rest and are never drawn.
      dims: `3d` adds where each slice's volume lies.
    """
    images = np.concatenate([case.image for case in pool]).astype(np.float32)
    labels = np.concatenate([case.label for case in pool]).astype(np.uint8)
    spare = slices - len(images)
    bank = Bank(
        images=np.pad(images, ((0, spare), (0, 0), (0, 0), (0, 0))),  # pyright: ignore[reportArgumentType]
        labels=np.pad(labels, ((0, spare), (0, 0), (0, 0))),  # pyright: ignore[reportArgumentType]
    )
    if dims == "2d":
        return bank
    depths = np.array([case.depth for case in pool], np.int32)
    starts = np.cumsum(depths, dtype=np.int32) - depths
    return bank._replace(
        first=np.pad(np.repeat(starts, depths), (0, spare)),
        # One slice long where there is none: nothing divides by zero.
        depth=np.pad(np.repeat(depths, depths), (0, spare), constant_values=1),
    )


def slice_classes(
    labels: UInt8[np.ndarray, "slice height width"], classes: int
) -> Bool[np.ndarray, "slice class"]:
    """Returns which foreground classes each slice holds (column 0: class 1)."""
    return np.stack([(labels == c).any((1, 2)) for c in range(1, classes)], axis=1)


def trial_arrays(
    annotated: Bool[np.ndarray, " slice"],
    holds: Bool[np.ndarray, "slice class"],
    training_seed: int,
    *,
    dims: spec.Dims = "2d",
) -> TrialArrays:
    """Builds a trial's sampling table from its annotated slices.

    Labels of slices that are not annotated change nothing in the result.

    Args:
      annotated: Slices whose labels the oracle revealed.
      holds: Foreground classes of every slice.
      training_seed: Seed of batches and augmentation.
      dims: `3d` adds the loss weight of every slice.
    """
    seed = spec.derive_seed(training_seed, "batches") & 0xFFFFFFFF
    return TrialArrays(
        **_sampling_table(annotated, holds),
        key=jax.random.key_data(jax.random.key(seed)),
        weight=annotated.astype(np.float32) if dims == "3d" else None,  # pyright: ignore[reportArgumentType]
    )


def _sampling_table(
    allowed: Bool[np.ndarray, " place"], holds: Bool[np.ndarray, "place class"]
) -> dict[str, Any]:
    """Lists allowed places, and those of each class among them."""
    rows = [allowed, *(allowed & holds[:, c] for c in range(holds.shape[1]))]
    count = np.array([row.sum() for row in rows], np.int32)
    order = np.zeros((len(rows), len(allowed)), np.int32)
    for row, places in enumerate(rows):
        order[row, : count[row]] = np.flatnonzero(places)
    found = np.flatnonzero(count[1:]) + 1
    present = np.zeros(holds.shape[1], np.int32)
    present[: len(found)] = found
    return {
        "order": order,
        "sizes": count,
        "present": present,
        "present_count": np.int32(len(found)),
    }


def add_pseudo(
    arrays: TrialArrays,
    source: Int[np.ndarray, " filled"],
    shares: UInt8[np.ndarray, "filled height width class"],
    *,
    slots: int,
    weight: float,
) -> TrialArrays:
    """Adds the labels that an interpolation made between annotated slices.

    Args:
      arrays: The trial's own table.
      source: Slices of the bank that were filled, none of them annotated.
      shares: Share of each class in units of 1/255.
      slots: Labels that the program has room for.
      weight: Loss weight of these labels.

    Raises:
      ValueError: More labels than slots.
    """
    count = len(source)
    if count > slots:
        raise ValueError(f"{count} interpolated slices, the program has {slots} slots")
    kept = np.zeros((slots, *shares.shape[1:]), np.uint8)
    kept[:count] = shares
    where = np.zeros(slots, np.int32)
    where[:count] = source
    # A class is held where it is at least as likely as not.
    holds = np.any(kept[..., 1:] > 127, axis=(1, 2))
    pseudo = Pseudo(
        **_sampling_table(np.arange(slots) < count, holds),
        source=where,  # pyright: ignore[reportArgumentType]
        shares=kept,  # pyright: ignore[reportArgumentType]
        weight=np.float32(weight),  # pyright: ignore[reportArgumentType]
    )
    if arrays.weight is None:
        return arrays._replace(pseudo=pseudo)
    weights = np.array(arrays.weight)
    weights[source] = weight
    slot = np.full(len(weights), -1, np.int32)
    slot[source] = np.arange(count)
    return arrays._replace(pseudo=pseudo._replace(slot=slot), weight=weights)  # pyright: ignore[reportArgumentType]
