"""How alike slices and patients are: measures for real tasks and phantoms.

Every measure takes the volumes of a task as images and foreground masks with
the slice axis first. A phantom is set so that these numbers lie near those of
real tasks (docs/phantoms.md); tests hold it there.

Slice features are block means of the slice on a coarse grid. They are taken
from images as given: normalise first, and say how, because per-volume
z-scoring removes most of what sets patients apart in raw intensities.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from slicebench.data.prepared import PreparedTask
from slicebench.errors import InputError

_POSITIONS = 12
_RING = 2

Images = Sequence[Float[np.ndarray, "_ _ _"]]
Masks = Sequence[Bool[np.ndarray, "_ _ _"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskMeasures:
    """What makes slices and patients of a task alike or different.

    Attributes:
      cases: Number of volumes measured.
      slices: Median number of slices.
      neighbour_correlation: Correlation of slice features one slice apart.
      near_correlation: The same a sixteenth of the stack apart (at least one
        slice), which compares stacks of thin and of thick slices.
      quarter_correlation: The same a quarter of the stack apart.
      patient_share: Intraclass correlation of slice features: the share of
        their variance that lies between patients.
      foreground_slices: Mean share of slices with foreground.
      empty_cases: Share of cases without foreground.
      volume_cv: Coefficient of variation of the foreground volume between
        patients that have any.
      centroid_spread: Standard deviation of the in-plane foreground centroid
        between patients, as a share of the grid's side.
      neighbour_overlap: Mean Dice of the masks of neighbouring foreground
        slices.
      contrast: Mean over patients of foreground minus surroundings, in
        standard deviations of the image.
      contrast_spread: Standard deviation of that contrast between patients.
    """

    cases: int
    slices: float
    neighbour_correlation: float
    near_correlation: float
    quarter_correlation: float
    patient_share: float
    foreground_slices: float
    empty_cases: float
    volume_cv: float
    centroid_spread: float
    neighbour_overlap: float
    contrast: float
    contrast_spread: float


def z_score(image: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Returns the image with mean 0 and standard deviation 1 over all voxels."""
    scale = float(image.std())
    centred = image - float(image.mean())
    return (centred / scale if scale > 0 else centred).astype(np.float32)


def slice_features(
    image: Float[np.ndarray, "depth height width"], blocks: int = 8
) -> Float[np.ndarray, "depth feature"]:
    """Returns the block means of each slice, `blocks` by `blocks` a slice."""
    rows = _block_matrix(image.shape[1], blocks)
    columns = _block_matrix(image.shape[2], blocks)
    means = np.einsum("ih,dhw,jw->dij", rows, image, columns, optimize=True)
    return means.reshape(len(image), -1)


def without_position(
    features: Sequence[Float[np.ndarray, "_ feature"]],
) -> list[Float[np.ndarray, "_ feature"]]:
    """Subtracts what all volumes share at a relative position along depth.

    The mean over volumes is taken at equally spaced relative positions and
    read between them by linear interpolation.
    """
    common = np.linspace(0.0, 1.0, _POSITIONS)
    mean = np.mean([_at(volume, common) for volume in features], axis=0)
    return [
        volume - _at(mean, np.linspace(0.0, 1.0, len(volume))) for volume in features
    ]


def slice_correlation(
    features: Sequence[Float[np.ndarray, "_ feature"]], lag: int | float
) -> float:
    """Correlation of slice features some slices apart within a volume.

    The mean product of features `lag` slices apart over their mean square,
    pooled over features and volumes, after removing the position mean.

    Args:
      features: One array a volume, slices along the first axis.
      lag: Distance in slices (int), or as a share of each stack (float).

    Raises:
      InputError: No volume has two slices that far apart.
    """
    products, squares, pairs, slices = 0.0, 0.0, 0, 0
    for volume in without_position(features):
        step = lag if isinstance(lag, int) else max(1, round(lag * len(volume)))
        squares += float(np.sum(volume**2))
        slices += len(volume)
        if step < len(volume):
            products += float(np.sum(volume[step:] * volume[:-step]))
            pairs += len(volume) - step
    if pairs == 0:
        raise InputError(f"lag {lag}: no volume has slices that far apart")
    return (products / pairs) / (squares / slices) if squares > 0 else 0.0


def between_patient_share(features: Sequence[Float[np.ndarray, "_ feature"]]) -> float:
    """Intraclass correlation of slice features after removing position means.

    One-way random effects, ICC(1) of Shrout and Fleiss (1979) with unequal
    group sizes, mean squares summed over features.

    Raises:
      InputError: Fewer than two volumes, or no volume with two slices.
    """
    sizes = np.array([len(volume) for volume in features])
    groups, total = len(sizes), int(sizes.sum())
    if groups < 2 or total <= groups:
        raise InputError(
            f"{groups} volumes with {total} slices: an intraclass correlation "
            "needs two volumes and more slices than volumes"
        )
    residuals = without_position(features)
    means = np.array([volume.mean(axis=0) for volume in residuals])
    grand = np.average(means, axis=0, weights=sizes)
    between = float(np.sum(sizes[:, None] * (means - grand) ** 2)) / (groups - 1)
    inside = sum(
        float(np.sum((volume - mean) ** 2))
        for volume, mean in zip(residuals, means, strict=True)
    )
    within = inside / (total - groups)
    size = (total - float(np.sum(sizes**2)) / total) / (groups - 1)
    spread = between + (size - 1) * within
    return (between - within) / spread if spread > 0 else 0.0


def measure(images: Images, masks: Masks) -> TaskMeasures:
    """Measures a task on normalised images and their foreground masks.

    Args:
      images: One volume a patient, slices first, already normalised.
      masks: Foreground of the same shapes.

    Raises:
      InputError: The numbers of images and masks differ, or no mask has
        foreground.
    """
    if len(images) != len(masks):
        raise InputError(f"{len(images)} images and {len(masks)} masks: give pairs")
    shown = [
        (image, mask) for image, mask in zip(images, masks, strict=True) if mask.any()
    ]
    if not shown:
        raise InputError("no foreground in any mask: nothing to measure")
    features = [slice_features(image) for image in images]
    volumes = np.array([mask.mean() * len(mask) for _, mask in shown])
    centroids = np.array([_centroid(mask) for _, mask in shown])
    contrasts = np.array([_contrast(image, mask) for image, mask in shown])
    return TaskMeasures(
        cases=len(images),
        slices=float(np.median([len(image) for image in images])),
        neighbour_correlation=slice_correlation(features, 1),
        near_correlation=slice_correlation(features, 1 / 16),
        quarter_correlation=slice_correlation(features, 0.25),
        patient_share=between_patient_share(features),
        foreground_slices=float(np.mean([m.any(axis=(1, 2)).mean() for m in masks])),
        empty_cases=1 - len(shown) / len(images),
        volume_cv=float(volumes.std() / volumes.mean()),
        centroid_spread=float(np.sqrt(centroids.var(axis=0).mean())),
        neighbour_overlap=_neighbour_overlap(masks),
        contrast=float(contrasts.mean()),
        contrast_spread=float(contrasts.std()),
    )


def measure_task(task: PreparedTask) -> TaskMeasures:
    """Measures the pool of a prepared task: first channel, any foreground."""
    return measure(
        [case.image[..., 0] for case in task.pool],
        [case.label > 0 for case in task.pool],
    )


def _block_matrix(size: int, blocks: int) -> Float[np.ndarray, "blocks size"]:
    edges = np.linspace(0, size, blocks + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(size)[None]
    overlap = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


def _at(
    volume: Float[np.ndarray, "slices feature"], positions: Float[np.ndarray, " out"]
) -> Float[np.ndarray, "out feature"]:
    index = positions * (len(volume) - 1)
    low = np.minimum(index.astype(int), max(len(volume) - 2, 0))
    high = np.minimum(low + 1, len(volume) - 1)
    share = (index - low)[:, None]
    return volume[low] * (1 - share) + volume[high] * share


def _centroid(mask: Bool[np.ndarray, "depth height width"]) -> tuple[float, float]:
    plane = mask.sum(axis=0)
    rows, columns = np.nonzero(plane)
    weights = plane[rows, columns]
    return (
        float(np.average(rows, weights=weights)) / mask.shape[1],
        float(np.average(columns, weights=weights)) / mask.shape[2],
    )


def _contrast(
    image: Float[np.ndarray, "depth height width"],
    mask: Bool[np.ndarray, "depth height width"],
) -> float:
    plane = ndimage.generate_binary_structure(2, 1)[None]
    ring = ndimage.binary_dilation(mask, plane, iterations=_RING) & ~mask
    if not ring.any():
        return 0.0
    return float(image[mask].mean() - image[ring].mean())


def _neighbour_overlap(masks: Masks) -> float:
    scores: list[float] = []
    for mask in masks:
        area = mask.sum(axis=(1, 2))
        shared = (mask[1:] & mask[:-1]).sum(axis=(1, 2))
        both = (area[1:] > 0) & (area[:-1] > 0)
        scores.extend((2 * shared[both] / (area[1:] + area[:-1])[both]).tolist())
    return float(np.mean(scores)) if scores else 0.0
