"""Intensity normalisation: CT by the pool's images, all else by the volume.

Only images are read, never labels.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

_CT = re.compile(r"\b(?:CB|LD|HR|CE|NC)?CTA?\b", re.IGNORECASE)
_BINS = 1 << 16
_BODY_CONTRAST = 500.0
_PERCENTILES = (0.5, 99.5)


class Window(NamedTuple):
    """Fitted normalisation of a CT channel: clip, subtract, divide.

    Attributes:
      low: 0.5th percentile of the pool's body voxels, or as given.
      high: 99.5th percentile, or as given.
      mean: Mean of the clipped body voxels.
      std: Their standard deviation.
      body: Intensity above which a voxel counts as body.
    """

    low: float
    high: float
    mean: float
    std: float
    body: float


def is_ct(channel: str) -> bool:
    """Returns whether a channel's name says that it is computed tomography.

    >>> is_ct("CT"), is_ct("low-dose CT"), is_ct("SPECT"), is_ct("T1w MRI")
    (True, True, False, False)
    """
    return _CT.search(channel) is not None


def fit_window(
    volumes: Callable[[], Iterable[np.ndarray]],
    given: tuple[float, float] | None = None,
) -> Window:
    """Fits a CT channel's window on the pool's images.

    Body voxels are those above Otsu's threshold (1979) of the pool's joint
    histogram, so that air around the patient does not set the percentiles; the
    rule works with and without the offset of 1024. Where the two sides differ
    by less than 500 units (air and soft tissue are 1000 apart), the images
    hold no air and every voxel counts.

    Args:
      volumes: Called twice; each time gives the channel of every pool image.
      given: Lowest and highest intensity that are told apart, in the unit of the
        stored images; None takes the percentiles.
    """
    bounds = [(float(v.min()), float(v.max())) for v in volumes()]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if low == high:
        return Window(low, high, low, 0.0, low)
    counts = np.zeros(_BINS)
    for volume in volumes():
        counts += np.histogram(volume, _BINS, (low, high))[0]
    edges = np.linspace(low, high, _BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    first = _otsu(counts, centres)
    body, values = counts[first:], centres[first:]
    share = np.cumsum(body) / body.sum()
    bottom, top = given or (
        float(values[np.searchsorted(share, percent / 100)]) for percent in _PERCENTILES
    )
    clipped = np.clip(values, bottom, top)
    mean = float(np.average(clipped, weights=body))
    std = float(np.sqrt(np.average((clipped - mean) ** 2, weights=body)))
    return Window(bottom, top, mean, std, float(edges[first]))


def _otsu(
    counts: Float64[np.ndarray, " bin"], centres: Float64[np.ndarray, " bin"]
) -> int:
    """Returns the first bin of the body: 0 where there is no air."""
    below = np.cumsum(counts)
    total = np.cumsum(counts * centres)
    above = below[-1] - below
    split = (below > 0) & (above > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = (total[-1] - total) / above - total / below
    between = np.where(split, below * above * gap**2, 0.0)
    best = int(np.argmax(between))
    return best + 1 if split[best] and gap[best] >= _BODY_CONTRAST else 0


def normalise(
    channel: Float32[np.ndarray, "depth height width"], window: Window | None
) -> Float32[np.ndarray, "depth height width"]:
    """Clips and scales by a CT window, or scales a volume by itself.

    Without a window the result has mean 0 and standard deviation 1 over the
    volume; a constant image becomes zeros.
    """
    if window is None:
        mean, std = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
    else:
        mean, std = window.mean, window.std
        channel = np.clip(channel, window.low, window.high)
    # Rounding leaves a constant image a tiny deviation, not exactly 0.
    if std <= 1e-6 * max(abs(mean), 1e-30):
        return np.zeros_like(channel)
    return ((channel - np.float32(mean)) / np.float32(std)).astype(np.float32)
