"""Labels carried from slice to slice by image registration."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer

from slicebench.errors import InputError
from slicebench.interpolation._gaps import Gap, Plane, fill_gaps
from slicebench.interpolation._morph import Planes, between
from slicebench.interpolation._registration import Motion, find_motion, sample
from slicebench.interpolation._signed_distance import blend

Offsets = Float32[np.ndarray, "slice 2 height width"]


def image_guided(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Carries both annotated neighbours to a slice, then blends them.

    Neighbouring slices are registered (`_registration`), and the displacements
    composed, so that each label is warped once: from the annotated slice below
    and from the one above. What comes out differs little, and
    is blended by `signed_distance` at the slice's share of the way. Where the
    image says nothing (displacement 0) the method is `signed_distance`.

    With `outside`, the only neighbour's label is carried on.

    Source: J.-P. Thirion, Medical Image Analysis 2(3), 1998 (demons); the
    two-sided propagation is common practice in interactive segmentation.

    Raises:
      InputError: No image is given.
    """
    if image is None:
        raise InputError("interpolation image_guided: no image given, it needs one")
    pixel = spacing[1], spacing[2]
    motion = find_motion(image)

    def fill(gap: Gap) -> Planes:
        from_lower = _carry(label[gap.lower], _rising(motion, gap.lower, gap.upper - 1))
        falling = _falling(motion, gap.upper, gap.lower + 1)
        from_upper = _carry(label[gap.upper], falling)[::-1]
        planes = [
            between(blend, below, above, [step], gap.steps, pixel)[0]
            for step, (below, above) in enumerate(
                zip(from_lower, from_upper, strict=True), 1
            )
        ]
        return np.stack(planes)

    pseudo, filled = fill_gaps(label, annotated, fill, outside=False)
    marks = np.flatnonzero(annotated)
    if outside and marks.size:
        first, last, end = int(marks[0]), int(marks[-1]), len(label) - 1
        pseudo[:first] = _carry(label[first], _falling(motion, first, 0))[::-1]
        pseudo[last + 1 :] = _carry(label[last], _rising(motion, last, end))
        filled |= ~annotated
    return pseudo, filled


def _rising(motion: Motion, start: int, end: int) -> Offsets:
    """Returns where voxels of slices above `start`, up to `end`, lie on it."""
    return _compose(motion.up[start:end])


def _falling(motion: Motion, start: int, end: int) -> Offsets:
    """Returns where voxels of slices below `start`, down to `end`, lie on it.

    The nearest slice comes first.
    """
    return _compose(motion.down[end:start][::-1])


def _compose(steps: Offsets) -> Offsets:
    """Chains displacements, each from a slice to the one before it."""
    total = np.zeros_like(steps)
    for index, step in enumerate(steps):
        total[index] = step
        if index:
            before = total[index - 1][:, None]
            total[index] += sample(before, step[None])[:, 0]
    return total


def _carry(plane: Plane, offsets: Offsets) -> Planes:
    """Warps one label to several slices: class by class, then the largest."""
    values = np.unique(plane)
    masks = (plane == values[:, None, None]).astype(np.float32)
    carried = [
        values[sample(masks[:, None], offset[None])[:, 0].argmax(axis=0)]
        for offset in offsets
    ]
    return np.array(carried, plane.dtype).reshape(-1, *plane.shape)
