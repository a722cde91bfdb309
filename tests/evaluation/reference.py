"""Slow scores by explicit loops and pairwise distances, to check the fast ones.

Only the area of an element is taken from the package; it has tests of its own
against areas known in closed form.
"""

import itertools
import math

import numpy as np

from slicebench.evaluation.surfaces import element_areas


def elements(mask, spacing):
    """Positions in mm (n, 3) and areas (n,) of all surface elements of a mask."""
    positions, areas = [], []
    table = element_areas(tuple(spacing))
    for corner in itertools.product(*(range(size + 1) for size in mask.shape)):
        code = 0
        for bit, step in enumerate(itertools.product((0, 1), repeat=3)):
            voxel = tuple(c - 1 + s for c, s in zip(corner, step, strict=True))
            inside = all(0 <= v < n for v, n in zip(voxel, mask.shape, strict=True))
            if inside and mask[voxel]:
                code += 2**bit
        if 0 < code < 255:
            positions.append([c * s for c, s in zip(corner, spacing, strict=True)])
            areas.append(table[code])
    return np.array(positions), np.array(areas)


def percentile_95(distances, areas):
    """Smallest distance within which 95 % of the area lies."""
    for candidate in sorted(set(distances.tolist())):
        share = areas[distances <= candidate].sum() / areas.sum()
        if share >= 0.95 - 1e-9:
            return candidate
    raise AssertionError("some distance covers all of the area")


def scores(truth, prediction, spacing, tolerance_mm):
    """Scores of one class by metric, from two boolean masks."""
    absent = [not plane.any() for plane in truth]
    extra = sum(
        int(plane.sum()) for plane, none in zip(prediction, absent, strict=True) if none
    )
    result = {"fp_ml": extra * math.prod(spacing) / 1000}
    if not truth.any():
        return result
    if not prediction.any():
        diagonal = math.sqrt(
            sum((n * s) ** 2 for n, s in zip(truth.shape, spacing, strict=True))
        )
        return result | {"dice": 0.0, "nsd": 0.0, "hd95": diagonal}
    here, area_here = elements(truth, spacing)
    there, area_there = elements(prediction, spacing)
    distances = np.sqrt(((here[:, None] - there[None]) ** 2).sum(axis=-1))
    out, back = distances.min(axis=1), distances.min(axis=0)
    near = tolerance_mm + 1e-9
    within = area_here[out <= near].sum() + area_there[back <= near].sum()
    return result | {
        "dice": 2 * (truth & prediction).sum() / (truth.sum() + prediction.sum()),
        "nsd": within / (area_here.sum() + area_there.sum()),
        "hd95": max(percentile_95(out, area_here), percentile_95(back, area_there)),
    }
