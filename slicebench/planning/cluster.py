"""Slices of a volume as a cluster sample: what a further slice of it is worth.

Slices of one volume resemble each other, so k of them tell less than k slices of k
volumes. With R the correlation of slices at their distances, the mean of k slices has
the variance of `k^2 / (1' R 1)` independent ones; with one correlation for all pairs
that is Kish's design effect, `k / (1 + (k - 1) icc)` (Survey Sampling, 1965). Where
opening a volume costs time, Cochran's two-stage optimum follows (Sampling Techniques,
1977, chapter 10).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_POSITIONS = 32
"""Points of the curve that the mean over volumes is taken on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthCorrelation:
    """Correlation of slices of one volume over their distance.

    Attributes:
      distances: Distances in mm, ascending, from 0.
      values: Correlation there; 1 at 0.
      low: Lower ends of 95 % intervals, by resampling volumes.
      high: Upper ends.
      icc: Mean correlation of two different slices of a volume.
      num_volumes: Volumes that it was estimated from.
      icc_low: Lower end of its 95 % interval, by resampling volumes.
      icc_high: Upper end.
    """

    distances: Float[np.ndarray, " distance"]
    values: Float[np.ndarray, " distance"]
    low: Float[np.ndarray, " distance"]
    high: Float[np.ndarray, " distance"]
    icc: float
    num_volumes: int
    icc_low: float = math.nan
    icc_high: float = math.nan

    def at(self, distance: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Returns the correlation at distances in mm, straight between known ones.

        Beyond the largest known distance the last value stands.
        """
        return np.interp(distance, self.distances, self.values)


def residuals(
    features: Sequence[Float[np.ndarray, "_depth feature"]],
) -> list[Float[np.ndarray, "_depth feature"]]:
    """Takes from each slice what slices of its relative position have in common.

    Volumes of different depth are compared by relative position, first slice to last.

    Args:
      features: One row a slice, for each volume.
    """
    grid = np.linspace(0.0, 1.0, _POSITIONS)
    curves = np.stack([_read(grid, rows) for rows in features])
    mean = curves.mean(0)
    return [rows - _read(_places(len(rows)), mean) for rows in features]


def _places(depth: int) -> Float[np.ndarray, " depth"]:
    return np.linspace(0.0, 1.0, depth) if depth > 1 else np.array([0.5])


def _read(
    at: Float[np.ndarray, " out"], rows: Float[np.ndarray, "depth feature"]
) -> Float[np.ndarray, "out feature"]:
    places = _places(len(rows))
    return np.stack([np.interp(at, places, column) for column in rows.T], axis=1)


def depth_correlation(
    features: Sequence[Float[np.ndarray, "_depth feature"]],
    spacing: Sequence[float],
    *,
    resamples: int = 500,
    seed: int = 0,
) -> DepthCorrelation:
    """Estimates the correlation along depth from unlabelled scans.

    Args:
      features: One row a slice, for each volume, after preprocessing; the position mean
        is removed here.
      spacing: Distance between slices of each volume in mm.
      resamples: Resamples of volumes for the interval.
      seed: Seed of the resamples.

    Raises:
      ValueError: Fewer than three volumes, or no volume with two slices.
    """
    if len(features) < 3 or max(map(len, features)) < 2:
        raise ValueError(f"{len(features)} volumes: three with two slices are needed")
    step = float(np.median(spacing))
    parts = [
        _products(rows, distance / step)
        for rows, distance in zip(residuals(features), spacing, strict=True)
    ]
    size = max(len(part) for part in parts)
    sums = np.stack([np.pad(part, ((0, size - len(part)), (0, 0))) for part in parts])
    values, icc = _correlations(sums.sum(0))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(sums), (resamples, len(sums)))
    resampled = [_correlations(sums[rows].sum(0)) for rows in drawn]
    again = np.stack([curve for curve, _ in resampled])
    icc_low, icc_high = np.quantile([mean for _, mean in resampled], [0.025, 0.975])
    known = np.isfinite(values)
    low, high = np.nanquantile(again[:, known], [0.025, 0.975], axis=0)
    return DepthCorrelation(
        distances=step * np.arange(size)[known],
        values=values[known],
        low=low,
        high=high,
        icc=icc,
        num_volumes=len(features),
        icc_low=float(icc_low),
        icc_high=float(icc_high),
    )


def _products(
    rows: Float[np.ndarray, "depth feature"], step: float
) -> Float[np.ndarray, "lag 2"]:
    """Returns sums and counts of products of rows by their distance.

    Distances are rounded to the median spacing over volumes, `step` of which is this
    volume's own.
    """
    products = rows @ rows.T
    places = np.arange(len(rows))
    lags = np.rint(np.abs(places[:, None] - places[None, :]) * step).astype(int)
    lags[(lags == 0) & ~np.eye(len(rows), dtype=bool)] = 1
    totals = np.bincount(lags.ravel(), products.ravel())
    return np.stack([totals, np.bincount(lags.ravel())], axis=1)


def _correlations(
    sums: Float[np.ndarray, "lag 2"],
) -> tuple[Float[np.ndarray, " lag"], float]:
    """Returns correlation by lag, NaN where no pair is, and over all pairs."""
    totals, counts = sums.T
    variance = totals[0] / counts[0]
    if variance <= 0:
        return np.where(counts > 0, 0.0, np.nan), 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(counts > 0, totals / counts / variance, np.nan)
    pairs = counts[1:].sum()
    return values, float(totals[1:].sum() / pairs / variance) if pairs else 0.0


def effective_slices(
    places: Sequence[float] | Float[np.ndarray, " slice"],
    correlation: DepthCorrelation,
) -> float:
    """Returns how many independent slices some slices of one volume are worth.

    Args:
      places: Their places along depth in mm.
      correlation: Of the task.
    """
    at = np.asarray(places, float)
    matrix = correlation.at(np.abs(at[:, None] - at[None, :]))
    return len(at) ** 2 / float(matrix.sum())


def kish(slices: int, icc: float) -> float:
    """Returns the same with one correlation for all pairs.

    >>> kish(4, 1.0), kish(4, 0.0)
    (1.0, 4.0)
    """
    return slices / (1 + (slices - 1) * icc)


def best_slices(ratio: float, icc: float, depth: int) -> float:
    """Returns Cochran's optimal slices per volume at a price of opening a volume.

    With the variance of a slice as 1, `S_b^2 - S_w^2 / K` is the variance between
    volumes and S_w^2 the rest: `sqrt(ratio (1 - icc) / icc)`, at least 1 and at most
    all slices.

    Args:
      ratio: Cost of opening a volume over cost of a slice.
      icc: Correlation of two slices of a volume.
      depth: Slices of a volume; the answer ("dense") where icc is not above 0.

    >>> best_slices(4.0, 0.5, 30)
    2.0
    """
    if icc <= 0:
        return float(depth)
    best = math.sqrt(ratio * max(0.0, 1 - icc) / icc)
    return min(float(depth), max(1.0, best))
