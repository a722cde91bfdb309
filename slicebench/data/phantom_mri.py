"""A breast and a brain in MRI, as cartoons: branching tissue, and a stroke.

Each drawing returns the image in arbitrary units, where 1 is about the
brightest tissue, with the target's exact mask. Front is up.
"""

import numpy as np
from jaxtyping import Float

from slicebench.data.phantom_fields import (
    Mask,
    Patient,
    Plane,
    Stack,
    cap,
    cover,
    ellipse,
    paint,
)
from slicebench.data.phantom_spec import CasePlan, PhantomSpec

_GENERATIONS = 5


def vessels(patient: Patient, spec: PhantomSpec, _plan: CasePlan) -> tuple[Stack, Mask]:
    """Tubes that branch from the nipple backwards in each of two breasts."""
    p, edge = patient, 1.3 * patient.pixel
    shift = (p.line(spec.pose_spread), p.line(spec.pose_spread))
    t = p.along(spec.coverage_spread)
    wall = 0.5 + shift[0] + 0.1 * (p.x - shift[1]) ** 2 + p.line(0.04)
    image = np.full(p.shape, 0.02, np.float32)
    _chest(p, image, wall, shift, t)
    fat, bright = _protocol(p, spec)
    gland = fat + (bright - fat) * (0.55 + p.number(0.25))
    tube = np.full(p.shape, 1.0, np.float32)
    reach = 0.92 * (1 + p.number(spec.shape_spread))
    for side in (-1, 1):
        column = shift[1] + side * (0.46 + p.number(0.02))
        bulge = cap(t, 0.0, 1.2) * (1 + p.line(spec.shape_spread))
        radii = (reach * bulge, 0.44 * (1 + p.number(0.05)) * np.sqrt(bulge))
        breast = np.maximum(ellipse(p, (wall, column), radii), p.y - wall)
        paint(image, cover(breast, edge), fat + 0.03 * p.field(0.2))
        skin = np.abs(breast + 0.5 * p.pixel) - 0.6 * p.pixel
        paint(image, cover(skin, edge) * (p.y < wall), 0.5)
        inner = breast + 0.08
        blobs = np.maximum(0.12 * (0.9 + p.number(0.3) - p.field(0.18)), inner)
        paint(image, cover(blobs, 2 * edge), gland + 0.05 * p.field(0.1))
        root = (float(wall.mean()) - 0.85 * reach, float(column.mean()))
        tree = _tree(p, root, reach, 0.9 * spec.shape_spread)
        tube = np.minimum(tube, np.maximum(tree, inner))
    paint(image, cover(tube, edge), bright + 0.04 * p.field(0.15))
    return _mri(p, spec, image, coil=0.35), tube < 0


def _protocol(p: Patient, spec: PhantomSpec) -> tuple[float, float]:
    """Returns intensities of fat and vessels, with or without suppressed fat."""
    varied = spec.contrast_spread
    if p.rng.random() < spec.second_protocol:
        return 0.85 + p.number(0.06 * varied), 0.38 + p.number(0.08 * varied)
    return 0.34 + p.number(0.09 * varied), 0.88 + p.number(0.13 * varied)


def _chest(
    p: Patient, image: Stack, wall: Plane, shift: tuple[Plane, Plane], t: Plane
) -> None:
    edge = 1.3 * p.pixel
    body = (wall - p.y) + np.zeros(p.shape, np.float32)
    side = np.abs(p.x - shift[1]) - 0.93
    paint(image, cover(np.maximum(body, side), edge), 0.45 + p.number(0.08))
    ribs = 0.05 * np.cos(p.x * 16 + 3 * p.z + p.number(2.0))
    paint(image, cover(np.maximum(body + 0.1 + ribs, side + 0.1), edge), 0.1)
    heart = ellipse(
        p, (0.95 + shift[0], 0.2 + shift[1]), (0.3, 0.38 * cap(t, -0.4, 1.1))
    )
    beating = np.maximum(heart, body + 0.18)
    paint(image, cover(beating, edge), 0.6 + p.number(0.2))


def _tree(p: Patient, root: tuple[float, float], reach: float, wander: float) -> Stack:
    """Distance to the surface of a branching tube; negative inside it."""
    distance = np.full(p.shape, 1.0, np.float32)
    start = np.array([p.number(1.0) * p.slice_step, *root])
    tips = [(start, np.array([0.0, 1.0, 0.0]), 0.072 * (1 + p.number(0.2)))]
    for generation in range(_GENERATIONS):
        grown = []
        for tip, heading, radius in tips:
            for turn in (-1, 1) if generation else (0,):
                bend = np.array([p.number(0.5), 0.0, turn * 0.55 + p.number(wander)])
                bend[0] += 0.55 * (turn if generation % 2 else 0)
                direction = heading + bend
                direction /= np.linalg.norm(direction)
                length = reach * (0.3 + p.number(0.05)) * 0.86**generation
                end = tip + length * direction
                _segment(p, distance, tip, end, radius)
                grown.append((end, direction, radius * 0.86))
        tips = grown
    return distance


def _segment(
    p: Patient,
    distance: Stack,
    start: Float[np.ndarray, " 3"],
    end: Float[np.ndarray, " 3"],
    radius: float,
) -> None:
    """Lowers `distance` to that of a capsule, within the capsule's box only."""
    along = p.z * ((p.shape[0] - 1) / 2 * p.slice_step)
    axes = (along, p.y, p.x)
    margin = radius + 3 * p.pixel
    box = []
    for axis, values in enumerate(axes):
        line = values.ravel()
        low, high = sorted((start[axis], end[axis]))
        inside = np.nonzero((line >= low - margin) & (line <= high + margin))[0]
        if len(inside) == 0:
            return
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    near = [
        axes[0][box[0]] - start[0],
        axes[1][:, box[1]] - start[1],
        axes[2][:, :, box[2]] - start[2],
    ]
    heading = end - start
    length = float(heading @ heading)
    share = sum(part * h for part, h in zip(near, heading, strict=True)) / length
    share = np.clip(share, 0, 1)
    square = sum((part - share * h) ** 2 for part, h in zip(near, heading, strict=True))
    view = distance[tuple(box)]
    np.minimum(view, np.sqrt(square) - radius, out=view)


def stroke(patient: Patient, spec: PhantomSpec, plan: CasePlan) -> tuple[Stack, Mask]:
    """One dark lesion of irregular outline anywhere in a brain."""
    p, edge = patient, 1.4 * patient.pixel
    image, brain, ventricles = _head(p, spec)
    form = spec.shape_spread
    radius = 0.27 * float(np.exp(p.number(0.42)))
    places = np.argwhere((brain < -0.1) & (ventricles > 0.02))
    place = places[p.rng.integers(len(places))]
    along = (np.arange(p.shape[0])[:, None, None] - place[0]) * p.slice_step
    down = p.y - p.y[0, place[1], 0]
    right = p.x - p.x[0, 0, place[2]]
    stretch = np.exp(p.number(0.3))
    level = np.sqrt((0.7 * along) ** 2 + (down * stretch) ** 2 + (right / stretch) ** 2)
    level = level - radius * (
        1 + 3.2 * form * p.field(0.16) + 1.5 * form * p.field(0.4)
    )
    level = np.maximum(np.maximum(level, brain + 0.02), 0.02 - ventricles)
    level = np.full(p.shape, 1.0, np.float32) if plan.empty else level
    value = 0.3 + p.number(0.1 * spec.contrast_spread)
    core = value - 0.1 * cover(level + 0.5 * radius, radius)
    paint(image, 0.95 * cover(level, edge), core + 0.05 * p.field(0.1))
    return _mri(p, spec, image, coil=0.0), level < 0


def _head(p: Patient, spec: PhantomSpec) -> tuple[Stack, Stack, Stack]:
    """Returns the image of a head, and the levels of brain and ventricles."""
    edge, form = 1.3 * p.pixel, spec.shape_spread
    centre = (p.line(spec.pose_spread), p.line(spec.pose_spread))
    angle = p.number(0.12)
    size = 1 + p.number(0.35 * form)
    t = p.along(spec.coverage_spread)
    dome = np.sqrt(np.clip(1 - 0.62 * np.clip(t, 0, None) ** 2 - 0.2 * t**2, 0.05, 1))
    tall = 0.88 * size * dome * (1 + p.line(0.2 * form))
    wide = 0.72 * size * dome * (1 + p.number(0.3 * form) + p.line(0.2 * form))
    head = ellipse(p, centre, (tall, wide), angle)
    image = np.full(p.shape, 0.02, np.float32)
    paint(image, cover(head, edge), 0.85 + p.number(0.15))
    paint(image, cover(head + 0.07, edge), 0.08)
    shrunk = 0.14 + 0.015 * abs(p.number(1.0))
    paint(image, cover(head + shrunk - 0.03, edge), 0.16)
    brain = head + shrunk
    grey = 0.52 + p.number(0.05 * spec.contrast_spread)
    white = 0.82 + p.number(0.06 * spec.contrast_spread)
    paint(image, cover(brain, edge), grey)
    folds = 0.075 + 0.06 * p.field(0.1)
    paint(image, cover(brain + folds, edge), white + 0.03 * p.field(0.25))
    middle = np.abs(p.x - centre[1] + np.tan(angle) * (p.y - centre[0]))
    fissure = np.maximum(middle - 0.012, brain)
    paint(image, 0.6 * cover(fissure, edge), 0.2)
    for side in (-1, 1):
        nucleus = ellipse(
            p,
            (centre[0] + 0.02, centre[1] + side * 0.24 * size),
            (0.2 * cap(t, -0.1, 0.5), 0.1 * cap(t, -0.1, 0.5)),
            angle,
        )
        paint(image, cover(nucleus, edge), grey + 0.04)
    ventricles = _ventricles(p, form, centre, angle, t)
    rim = cover(ventricles - 0.05 - 0.05 * p.field(0.2), 0.1) * (brain < 0)
    paint(image, 0.5 * abs(p.number(0.6)) * rim, grey)
    paint(image, cover(ventricles, edge), 0.17)
    return image, brain, ventricles


def _ventricles(
    p: Patient, form: float, centre: tuple[Plane, Plane], angle: float, t: Plane
) -> Stack:
    widened = float(np.exp(p.number(3.0 * form)))
    levels = []
    for side in (-1, 1):
        for row, lean in ((-0.17, 0.35), (0.2, -0.45)):
            extent = cap(t, 0.15, 0.55) * (1 + p.line(form))
            place = (centre[0] + row, centre[1] + side * (0.09 + 0.04 * widened))
            radii = (0.2 * extent, 0.055 * widened * extent)
            levels.append(ellipse(p, place, radii, angle + side * lean))
    return np.minimum.reduce(levels)


def _mri(p: Patient, spec: PhantomSpec, image: Stack, coil: float) -> Stack:
    """Applies coil sensitivity, bias field and Rician noise."""
    slope = coil * (1 + p.number(0.5)) * (-p.y)
    bias = np.exp(slope + spec.bias_spread * p.field(0.6))
    spread = spec.noise * np.exp(p.number(spec.noise_spread))
    real = image * bias + p.grain(spread)
    return np.sqrt(real**2 + p.grain(spread) ** 2)
