"""Methods that look along depth only, voxel by voxel."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from slicebench.interpolation._gaps import (
    Gap,
    Plane,
    fill_gaps,
    find_filled,
    find_gaps,
)


def nearest(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Copies the nearest annotated slice.

    Halfway between two, the one with more foreground is copied: a rule that
    holds from either end of the volume.
    """
    del spacing, image

    def between(gap: Gap) -> Integer[np.ndarray, "inside height width"]:
        lower, upper = label[gap.lower], label[gap.upper]
        halfway = max(lower, upper, key=_size)
        planes = [
            lower
            if 2 * step < gap.steps
            else upper
            if 2 * step > gap.steps
            else halfway
            for step in range(1, gap.steps)
        ]
        return np.stack(planes)

    return fill_gaps(label, annotated, between, outside=outside)


def _size(plane: Plane) -> tuple[int, bytes]:
    """Orders planes by foreground; the bytes tell apart those of equal size."""
    return int(np.count_nonzero(plane)), plane.tobytes()


def linear(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Float[np.ndarray, "depth height width class"], Bool[np.ndarray, " depth"]]:
    """Blends the classes of both neighbours by distance: probabilities.

    p(t) = (1 - t) onehot(lower) + t onehot(upper), t the share of the way from
    the lower to the upper annotated slice; float32, a slice's sum is 1.
    """
    del spacing, image
    filled = find_filled(annotated, outside=outside)
    marks = np.flatnonzero(annotated)
    classes = int(label[marks].max(initial=0)) + 1
    known = np.eye(classes, dtype=np.float32)
    soft = np.zeros((*label.shape, classes), np.float32)
    soft[..., 0] = 1.0
    soft[annotated] = known[label[annotated]]
    for gap in find_gaps(annotated):
        upper = np.arange(1, gap.steps) / gap.steps
        # Both weights are quotients, so that reversed depth gives equal bytes.
        lower = np.arange(gap.steps - 1, 0, -1) / gap.steps
        soft[gap.inside] = (
            lower.astype(np.float32)[:, None, None, None] * soft[gap.lower]
            + upper.astype(np.float32)[:, None, None, None] * soft[gap.upper]
        )
    if outside and marks.size:
        soft[: marks[0]] = soft[marks[0]]
        soft[marks[-1] + 1 :] = soft[marks[-1]]
    return soft, filled
