"""An abdomen in CT, as a cartoon: the liver, and lesions inside it.

Each drawing returns the image in Hounsfield units with the target's exact
mask. Rows run from front to back, the patient's right is on the left.
"""

import dataclasses

import numpy as np

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

_FAT = -100.0
_AIR = -400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pose:
    """How a patient lies in the scanner.

    Attributes:
      t: Position of each slice along the body, -1 below to 1 above.
      row: Row of the body's centre in each slice.
      column: Column likewise.
      size: Size of the body in each slice, about 1.
      enhanced: Contrast agent in the blood, in standard deviations.
    """

    t: Plane
    row: Plane
    column: Plane
    size: Plane
    enhanced: float


def organ(patient: Patient, spec: PhantomSpec, _plan: CasePlan) -> tuple[Stack, Mask]:
    """A liver in an abdomen; the scan covers a bit more than the organ."""
    image, liver = _abdomen(patient, spec)
    return image + _ct_noise(patient, spec), liver < 0


def lesions(patient: Patient, spec: PhantomSpec, plan: CasePlan) -> tuple[Stack, Mask]:
    """Several small lesions inside the liver, seen closer; or none."""
    centre = (-0.12, -0.3)
    patient.y = patient.y * np.float32(0.62) + np.float32(centre[0])
    patient.x = patient.x * np.float32(0.62) + np.float32(centre[1])
    patient.pixel *= 0.62
    patient.slice_step *= 0.62
    image, liver = _abdomen(patient, spec)
    wobble = patient.field(0.12)
    bladder = ellipse(
        patient,
        (0.06 + patient.number(0.05), -0.12 + patient.number(0.08)),
        (0.09 * cap(patient.z, -0.35, 0.4), 0.07 * cap(patient.z, -0.35, 0.4)),
    )
    paint(image, cover(bladder, patient.pixel), 8 + patient.number(8.0))
    inside = (liver < -0.07) & (bladder > 0.06)
    contrast = -60 + patient.number(14 * spec.contrast_spread)
    target = np.zeros(patient.shape, bool)
    count = 0 if plan.empty else 1 + min(int(patient.rng.gamma(1.6, 1.5)), 8)
    for level in _lesion_levels(patient, inside, count):
        rough = level + 0.02 * wobble
        value = image + contrast * (1 + patient.number(0.2))
        paint(image, cover(rough, patient.pixel) * (liver < 0), value)
        target |= (rough < 0) & (liver < 0)
    return image + _ct_noise(patient, spec), target


def _lesion_levels(patient: Patient, inside: Mask, count: int) -> list[Stack]:
    places = np.argwhere(inside)
    if len(places) == 0:
        return []
    levels = []
    for slot in patient.rng.integers(len(places), size=count):
        place = places[slot]
        radius = 0.11 * float(np.exp(patient.number(0.35)))
        squash = 1 + patient.number(0.15)
        along = (np.arange(patient.shape[0])[:, None, None] - place[0]) * (
            patient.slice_step / radius
        )
        down = (patient.y - patient.y[0, place[1], 0]) / (radius * squash)
        right = (patient.x - patient.x[0, 0, place[2]]) / (radius / squash)
        levels.append((np.sqrt(along**2 + down**2 + right**2) - 1) * radius)
    return levels


def _abdomen(patient: Patient, spec: PhantomSpec) -> tuple[Stack, Stack]:
    """Returns HU without noise, and the liver's level (below 0 inside)."""
    p = patient
    pose = _Pose(
        t=p.along(spec.coverage_spread),
        row=p.line(spec.pose_spread),
        column=p.line(spec.pose_spread),
        size=1 + p.line(0.6 * spec.shape_spread),
        enhanced=p.number(1.0),
    )
    edge = 1.5 * p.pixel
    image, cavity = _trunk(p, pose)
    _lungs(p, image, cavity, pose)
    _bones_and_vessels(p, image, pose)
    _neighbours(p, spec, image, cavity, pose)
    liver = np.maximum(_liver_level(p, spec, pose), cavity + 0.02)
    value = 62 + 16 * pose.enhanced + p.number(14.0 * spec.contrast_spread)
    vein = 10 + 14 * max(pose.enhanced, -0.5)
    tree = cover(np.abs(p.field(0.16)) - 0.12, 0.15) * vein
    paint(image, cover(liver, edge), value + 5 * p.field(0.12) + tree)
    return image, liver


def _trunk(p: Patient, pose: _Pose) -> tuple[Stack, Stack]:
    """Draws skin fat, the wall and bowel; returns the cavity's level as well."""
    edge = 1.5 * p.pixel
    image = np.full(p.shape, _AIR, np.float32)
    radii = (0.76 * pose.size, 0.95 * pose.size)
    body = ellipse(p, (pose.row, pose.column), radii, p.number(0.08))
    paint(image, cover(body, edge), _FAT + 4 * p.field(0.3))
    wall = body + 0.08 + 0.05 * np.abs(p.number(1.0) + p.line(0.5))
    paint(image, cover(wall, edge), 52 + p.number(8.0))
    cavity = wall + 0.07
    bowel = 25 + p.number(10.0) + 45 * p.field(0.14)
    fatty = cover(p.field(0.2) - 0.2 + p.number(0.4), 1.0)
    paint(image, cover(cavity, edge), bowel + fatty * (_FAT - bowel))
    return image, cavity


def _liver_level(p: Patient, spec: PhantomSpec, pose: _Pose) -> Stack:
    """A star-shaped outline with a lobe to the front, deformed along depth."""
    form = spec.shape_spread
    down = p.y - (pose.row - 0.02 + p.line(0.3 * form))
    right = p.x - (pose.column - 0.4 * pose.size)
    distance = np.sqrt(down**2 + right**2)
    cosine, sine = right / (distance + 1e-6), -down / (distance + 1e-6)
    lobe = np.exp(5 * (cosine * 0.9 + sine * 0.44 - 1))
    outline = 1 + (0.75 + p.number(0.25)) * cap(pose.t, 0.2, 0.8) * lobe
    double_cosine, double_sine = cosine**2 - sine**2, 2 * sine * cosine
    waves = (cosine, sine, double_cosine, double_sine, double_cosine * cosine)
    for wave in waves:
        outline = outline + p.line(0.7 * form) * wave
    extent = cap(pose.t, 0.05, 0.85 + p.number(0.07))
    radius = 0.42 * pose.size * (1 + p.number(form)) * extent
    return (distance - np.maximum(radius * outline, -1)).astype(np.float32)


def _lungs(p: Patient, image: Stack, cavity: Stack, pose: _Pose) -> None:
    start = 0.35 + p.number(0.12)
    grow = np.sqrt(np.clip((pose.t - start) / 0.7, 0, 1.2))
    for side in (-1, 1):
        place = (pose.row + 0.22, pose.column + 0.5 * side)
        lung = ellipse(p, place, (0.5 * grow, 0.4 * grow))
        paint(image, cover(np.maximum(lung, cavity), 2 * p.pixel), _AIR)
    place = (pose.row - 0.18, pose.column + 0.18)
    heart = ellipse(p, place, (0.33 * grow, 0.36 * grow))
    paint(image, cover(np.maximum(heart, cavity), 2 * p.pixel), 55 + p.number(20.0))


def _bones_and_vessels(p: Patient, image: Stack, pose: _Pose) -> None:
    edge, column = 1.5 * p.pixel, pose.column
    row = pose.row + 0.42 * pose.size
    marrow = 190 + p.number(50.0) + 40 * np.cos(p.z * 9 + p.number(2.0))
    aorta, cava = 120 + 55 * pose.enhanced, 90 + 30 * pose.enhanced
    parts = (
        # row, column, half height, half width, HU
        (row, column, 0.13, 0.16, marrow),
        (row + 0.15, column, 0.06, 0.07, 30.0),
        (row - 0.18, column + 0.09 + p.line(0.02), 0.07, 0.07, aorta),
        (row - 0.19, column - 0.12 + p.line(0.02), 0.06, 0.08, cava),
    )
    for down, right, high, wide, value in parts:
        paint(image, cover(ellipse(p, (down, right), (high, wide)), edge), value)


def _neighbours(
    p: Patient, spec: PhantomSpec, image: Stack, cavity: Stack, pose: _Pose
) -> None:
    """Spleen, stomach and kidneys: near the liver in place and intensity."""
    edge, varied = 1.5 * p.pixel, spec.contrast_spread
    spleen = 68 + 20 * pose.enhanced + p.number(14.0 * varied)
    stomach = 45 + p.number(40.0 * varied)
    kidney = 85 + 45 * pose.enhanced
    parts = (
        # row, column, half height, half width, middle and half extent, HU
        (0.16, 0.6, 0.32, 0.2, 0.25, 0.7, spleen),
        (-0.22, 0.3, 0.27, 0.32, 0.1, 0.75, stomach),
        (0.3, 0.42, 0.19, 0.15, -0.55, 0.6, kidney),
        (0.3, -0.42, 0.19, 0.15, -0.65, 0.6, kidney),
    )
    for row, column, high, wide, middle, half, value in parts:
        size = 1 + p.line(spec.shape_spread)
        extent = cap(pose.t, middle + p.number(0.12), half) * size
        place = (
            pose.row + row + p.line(spec.pose_spread),
            pose.column + column + p.line(spec.pose_spread),
        )
        level = ellipse(p, place, (high * extent, wide * extent), p.number(0.3))
        inside = cover(np.maximum(level, cavity + 0.02), edge)
        paint(image, inside, value + 5 * p.field(0.12))


def _ct_noise(patient: Patient, spec: PhantomSpec) -> Stack:
    return patient.grain(spec.noise * np.exp(patient.number(spec.noise_spread)))
