"""Scores of one case on its native grid, in mm, with the truth's part shared.

`prepare_truth` does once per case all that no prediction changes; `score_case`
then costs one distance transform per class and prediction. Both are NumPy on
the host and share no state that changes, so they may run in threads beside a
device's work; among each other threads gain little, because the distance
transform holds Python's interpreter lock.

Definitions, for each foreground class (T truth, P prediction):

- `dice`: 2 |T and P| / (|T| + |P|), in voxels.
- `nsd`: normalised surface Dice at a tolerance in mm (Nikolov et al. 2018, arXiv
  1809.04430): the area of both surfaces that lies within the tolerance of the
  other surface, over the area of both.
- `hd95`: the larger of the two directed 95th percentiles of surface distance in
  mm, each over area (as in the same work): the smallest distance within which
  95 % of one surface's area lies of the other.
- `fp_ml`: predicted volume in ml on slices where the truth has none of the class.

Whether a score exists depends on the truth only. Without truth of a class there
is `fp_ml` alone, then the whole false-positive volume. Where the truth is present
and the prediction empty, `dice` and `nsd` are 0 and `hd95` is the physical
diagonal of the case, the largest value it can take.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from slicebench.errors import InputError
from slicebench.evaluation import surfaces

METRICS = ("dice", "nsd", "hd95", "fp_ml")
"""Metric names, in the order in which a class's scores are given."""

MAP_MARGIN = 8
"""Voxels by which a truth distance map reaches beyond the truth's box."""

# Distances are float32; one that equals the tolerance must still count as within.
_ROUNDING = 1e-5


class Score(NamedTuple):
    """One score of one prediction.

    Attributes:
      class_index: Value of the class in labels, from 1.
      metric: One of `METRICS`.
      score: Its value.
    """

    class_index: int
    metric: str
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PresentClass:
    """The truth of a class that a case has.

    Attributes:
      box: Bounding box in voxels.
      mask: Truth inside `box`.
      voxels: Voxels of the truth.
      surface: Its surface elements.
      distances: Squared distance to its surface, on the surface's box widened by
        `MAP_MARGIN` elements.
    """

    box: surfaces.Box
    mask: Bool[np.ndarray, "depth height width"]
    voxels: int
    surface: surfaces.Surface
    distances: surfaces.DistanceMap


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseTruth:
    """What scoring needs to know of one case; immutable, shared by trials.

    Memory: one byte a voxel of each class's box for the mask, one for the
    surface, and four a voxel of the widened box for the distances.

    Attributes:
      shape: Depth, height and width of the native grid.
      spacing: Voxel spacing in mm, slices first.
      tolerance_mm: Tolerance of `nsd`.
      diagonal: Length in mm of the diagonal of the whole volume.
      classes: Truth of classes 1, 2, ...; None where the case has no voxel of it.
      absent: Per class, whether a slice holds none of it.
    """

    shape: tuple[int, int, int]
    spacing: surfaces.Spacing
    tolerance_mm: float
    diagonal: float
    classes: tuple[PresentClass | None, ...]
    absent: Bool[np.ndarray, "class depth"]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return math.prod(self.spacing) / 1000.0

    def is_empty(self, class_index: int) -> bool:
        """Whether the case has no voxel of a class (from 1)."""
        return self.classes[class_index - 1] is None

    def volume_ml(self, class_index: int) -> float:
        """Volume of a class (from 1) in ml."""
        truth = self.classes[class_index - 1]
        return 0.0 if truth is None else truth.voxels * self.voxel_ml


def prepare_truth(
    label: UInt8[np.ndarray, "depth height width"],
    spacing: surfaces.Spacing,
    classes: int,
    tolerance_mm: float,
) -> CaseTruth:
    """Does the work on one case's truth that all its predictions share.

    Args:
      label: Class indices on the native grid, slices first; 0 is background.
      spacing: Voxel spacing in mm, slices first.
      classes: Number of foreground classes; labels are 0 to `classes`.
      tolerance_mm: Surface distance in mm that `nsd` forgives; 0 is allowed.

    Returns:
      The prepared truth.

    Raises:
      InputError: If spacing or tolerance cannot be lengths, or a label exceeds
        `classes`.
    """
    _check_lengths(spacing, tolerance_mm)
    largest = int(label.max(initial=0))
    if largest > classes:
        raise InputError(
            f"truth label: value {largest} given, 0 to {classes} are allowed"
        )
    depth, height, width = label.shape
    spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    masks = [label == value for value in range(1, classes + 1)]
    absent = [~mask.any(axis=(1, 2)) for mask in masks]
    return CaseTruth(
        shape=(depth, height, width),
        spacing=spacing,
        tolerance_mm=float(tolerance_mm),
        diagonal=math.hypot(
            *(n * s for n, s in zip(label.shape, spacing, strict=True))
        ),
        classes=tuple(_prepare_class(mask, spacing) for mask in masks),
        absent=_frozen(np.array(absent, bool).reshape(classes, depth)),
    )


def score_case(
    truth: CaseTruth, prediction: UInt8[np.ndarray, "depth height width"]
) -> list[Score]:
    """Scores one prediction of one case.

    Args:
      truth: What `prepare_truth` made of the case.
      prediction: Class indices on the native grid.

    Returns:
      The scores that exist, by class and in the order of `METRICS`.

    Raises:
      ValueError: If the prediction has another shape than the truth, or a class
        that the truth does not know.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction: shape {prediction.shape} given, the native grid of the "
            f"case has {truth.shape}"
        )
    largest = int(prediction.max(initial=0))
    if largest > len(truth.classes):
        raise ValueError(
            f"prediction: class {largest} given, 0 to {len(truth.classes)} are allowed"
        )
    scores = []
    for class_index in range(1, len(truth.classes) + 1):
        values = _score_class(truth, class_index, prediction == class_index)
        scores += [Score(class_index, name, value) for name, value in values.items()]
    return scores


def _check_lengths(spacing: surfaces.Spacing, tolerance_mm: float) -> None:
    if len(spacing) != 3 or not all(0 < value < math.inf for value in spacing):
        raise InputError(
            f"spacing: {tuple(spacing)} given, three positive lengths in mm are allowed"
        )
    if not 0 <= tolerance_mm < math.inf:
        raise InputError(
            f"tolerance of the surface Dice: {tolerance_mm} given, a length in mm of "
            "at least 0 is allowed"
        )


def _prepare_class(
    mask: Bool[np.ndarray, "depth height width"], spacing: surfaces.Spacing
) -> PresentClass | None:
    box = surfaces.bounding_box(mask)
    if box is None:
        return None
    cut = mask[box.slices].copy()
    surface = surfaces.find_surface(cut, box, spacing)
    depth, height, width = mask.shape
    # Most predictions stay near the truth; one that does not pays for a map of
    # its own, so memory follows the class's size and not the volume's.
    reach = surface.box.grow(MAP_MARGIN, (depth + 1, height + 1, width + 1))
    distances = surfaces.map_distances(surface, reach, spacing)
    for array in (surface.border, surface.areas, distances.squared):
        _frozen(array)
    return PresentClass(
        box=box,
        mask=_frozen(cut),
        voxels=int(np.count_nonzero(cut)),
        surface=surface,
        distances=distances,
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _score_class(
    case: CaseTruth, class_index: int, hit: Bool[np.ndarray, "depth height width"]
) -> dict[str, float]:
    """Returns the scores of one class by metric."""
    truth = case.classes[class_index - 1]
    box = surfaces.bounding_box(hit)
    if box is None:
        miss = {"dice": 0.0, "nsd": 0.0, "hd95": case.diagonal}
        return ({} if truth is None else miss) | {"fp_ml": 0.0}
    cut = hit[box.slices]
    absent = case.absent[class_index - 1, box.start[0] : box.stop[0]]
    false_positive = {"fp_ml": int(np.count_nonzero(cut[absent])) * case.voxel_ml}
    if truth is None:
        return false_positive
    both = int(np.count_nonzero(hit[truth.box.slices] & truth.mask))
    dice = 2 * both / (truth.voxels + int(np.count_nonzero(cut)))
    surface = surfaces.find_surface(cut, box, case.spacing)
    nsd, hd95 = _surface_scores(case, truth, surface)
    return {"dice": dice, "nsd": nsd, "hd95": hd95} | false_positive


def _surface_scores(
    case: CaseTruth, truth: PresentClass, surface: surfaces.Surface
) -> tuple[float, float]:
    """Returns `nsd` and `hd95` of a predicted surface."""
    box = surface.box.union(truth.surface.box)
    to_truth = truth.distances
    if not to_truth.box.contains(surface.box):
        to_truth = surfaces.map_distances(truth.surface, box, case.spacing)
    to_prediction = surfaces.map_distances(surface, box, case.spacing)
    pairs = (
        (surfaces.look_up(to_prediction, truth.surface), truth.surface),
        (surfaces.look_up(to_truth, surface), surface),
    )
    within = case.tolerance_mm**2 * (1 + _ROUNDING)
    near = sum(float(side.areas[squared <= within].sum()) for squared, side in pairs)
    nsd = near / (truth.surface.area + surface.area)
    hd95 = max(_percentile(squared, side.areas) for squared, side in pairs)
    # Rounding of sums must not carry a perfect score past 1.
    return min(nsd, 1.0), math.sqrt(hd95)


def _percentile(
    values: Float[np.ndarray, " element"], areas: Float[np.ndarray, " element"]
) -> float:
    """Returns the smallest value that covers 95 % of the area."""
    order = np.argsort(values, kind="stable")  # the fastest kind for many ties
    covered = np.cumsum(areas[order])
    # The slack makes an exact 95 % independent of the order of summation.
    position = np.searchsorted(covered, 0.95 * (1 - 1e-9) * covered[-1])
    return float(values[order[position]])
