"""How ambiguous a threshold segmentation of each volume is, without any label."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from slicebench.errors import InputError

BINS = 256
"""Bins of the pool's joint histogram."""

DECIMALS = 9
"""Scores are rounded: they must not depend on the order of sums."""


def proxy_scores(
    images: Sequence[Float[np.ndarray, "_depth height width channel"]],
    channel: int = 0,
) -> tuple[float, ...]:
    """Returns the mean entropy of a two-class intensity model over each volume.

    The pseudo-labels of proxy tasks come from an intensity threshold (Nath et
    al., MICCAI 2022; COLosSAL, MICCAI 2023). Where a network would learn them
    and its uncertainty be measured, this takes the model that such a threshold
    stands for: Otsu's threshold (IEEE Transactions on Systems, Man and
    Cybernetics 1979) on the joint histogram of the pool splits it into two
    normal distributions with their own weights and one variance; the score is
    the mean over voxels of the entropy of the posterior, in nats.

    Args:
      images: Normalised images of the pool, without padding.
      channel: The channel that is thresholded.

    Returns:
      One score a volume, from 0 (clear) to log 2 (ambiguous everywhere).

    Raises:
      InputError: If an image has no such channel.
    """
    fewest = min(image.shape[-1] for image in images)
    if not 0 <= channel < fewest:
        raise InputError(
            f"proxy scores: channel {channel} of images with {fewest}; "
            f"allowed: 0 to {fewest - 1}"
        )
    planes = [image[..., channel] for image in images]
    low = min(float(plane.min()) for plane in planes)
    high = max(float(plane.max()) for plane in planes)
    if low == high:
        return (0.0,) * len(images)
    counts = np.stack(
        [np.histogram(plane, bins=BINS, range=(low, high))[0] for plane in planes]
    )
    centres = (np.arange(BINS) + 0.5) / BINS
    entropy = _entropy(centres, counts.sum(axis=0).astype(np.float64))
    means = counts @ entropy / counts.sum(axis=1)
    return tuple(np.round(means, DECIMALS).tolist())


def otsu_split(
    centres: Float[np.ndarray, " bin"], counts: Float[np.ndarray, " bin"]
) -> int:
    """Returns how many bins lie below the threshold of the largest contrast.

    The contrast is w0 w1 (m1 - m0)^2; of several maxima the lowest is taken.
    """
    weight = np.cumsum(counts)[:-1] / counts.sum()
    mass = np.cumsum(counts * centres)[:-1] / counts.sum()
    total = float((counts * centres).sum() / counts.sum())
    spread = weight * (1.0 - weight)
    gap = (total * weight - mass) ** 2
    contrast = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)
    return int(np.argmax(np.round(contrast, 12))) + 1


def _entropy(
    centres: Float[np.ndarray, " bin"], counts: Float[np.ndarray, " bin"]
) -> Float[np.ndarray, " bin"]:
    """Returns the entropy of the posterior at the centre of each bin."""
    split = otsu_split(centres, counts)
    sides = (slice(0, split), slice(split, None))
    weights = np.array([counts[side].sum() for side in sides])
    sums = np.array([(counts[side] * centres[side]).sum() for side in sides])
    means = sums / weights
    within = sum(
        (counts[side] * (centres[side] - mean) ** 2).sum()
        for side, mean in zip(sides, means, strict=True)
    )
    # No variance is smaller than that of a bin.
    variance = within / counts.sum() + 1.0 / (12 * BINS**2)
    odds = (
        np.log(weights[1] / weights[0])
        + (means[1] - means[0]) * (centres - means.mean()) / variance
    )
    # With odds o >= 0: p = 1 / (1 + exp(-o)), -p log p - q log q = q o - log p.
    away = np.abs(odds)
    other = np.exp(-away) / (1.0 + np.exp(-away))
    return other * away + np.log1p(np.exp(-away))
