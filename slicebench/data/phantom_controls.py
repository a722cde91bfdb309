"""Controls whose answer is known: single slices drawn in given styles.

A slice shows one target and one decoy on a background. A style says where
they lie and how bright each is; the grey level of the background tells the
style, so a network can learn every style that it has seen, and none other.
"""

import numpy as np
from jaxtyping import Float

from slicebench.data.phantom_fields import (
    Mask,
    Patient,
    Stack,
    cover,
    ellipse,
    paint,
)
from slicebench.data.phantom_spec import CasePlan, PhantomSpec

_STYLES = 8


def independent(
    patient: Patient, spec: PhantomSpec, _plan: CasePlan
) -> tuple[Stack, Mask]:
    """Every slice is a fresh draw from one population, whatever its volume."""
    depth = patient.shape[0]

    def draw(spread: float) -> Float[np.ndarray, "depth 1 1"]:
        values = np.clip(patient.rng.standard_normal(depth), -2.5, 2.5) * spread
        return values.astype(np.float32)[:, None, None]

    angle = patient.rng.uniform(0, 2 * np.pi, depth)[:, None, None]
    return _scene(
        patient,
        spec,
        place=(0.35 * np.sin(angle) + draw(0.08), 0.35 * np.cos(angle) + draw(0.08)),
        size=1 + draw(spec.shape_spread),
        levels=(
            draw(0.3 * spec.contrast_spread),
            1.2 + draw(0.5 * spec.contrast_spread),
            -0.9 + draw(0.5 * spec.contrast_spread),
        ),
    )


def aligned(patient: Patient, spec: PhantomSpec, _plan: CasePlan) -> tuple[Stack, Mask]:
    """Nearly the same patient each time; the style follows relative position.

    Eight styles share the stack. In every second one target and decoy swap
    their brightness, so a network that has not seen a style marks the decoy.
    """
    depth = patient.shape[0]
    style = np.arange(depth) * _STYLES // depth
    angle = (style * 3 % _STYLES * 2 * np.pi / _STYLES)[:, None, None]
    sign = np.where(style % 2 == 0, 1.0, -1.0)[:, None, None]
    back = (style - (_STYLES - 1) / 2)[:, None, None] * 0.35
    nudge = (patient.number(spec.pose_spread), patient.number(spec.pose_spread))
    return _scene(
        patient,
        spec,
        place=(0.4 * np.sin(angle) + nudge[0], 0.4 * np.cos(angle) + nudge[1]),
        size=1 + patient.number(spec.shape_spread) + 0 * angle,
        levels=(back, back + 1.2 * sign, back - 1.2 * sign),
    )


def rare(patient: Patient, spec: PhantomSpec, plan: CasePlan) -> tuple[Stack, Mask]:
    """Near-duplicate slices, and some of a rare style at random positions."""
    depth = patient.shape[0]
    chosen = np.zeros(depth, bool)
    chosen[patient.rng.permutation(depth)[: plan.rare_slices]] = True
    odd = chosen[:, None, None]
    nudge = (patient.number(spec.pose_spread), patient.number(spec.pose_spread))
    back = np.where(odd, 1.4, -0.5)
    sign = np.where(odd, -1.0, 1.0)
    return _scene(
        patient,
        spec,
        place=(
            np.where(odd, 0.35, -0.3) + nudge[0],
            np.where(odd, 0.3, -0.3) + nudge[1],
        ),
        size=1 + patient.number(spec.shape_spread) + 0.0 * sign,
        levels=(back, back + 1.2 * sign, back - 1.2 * sign),
    )


def _scene(
    patient: Patient,
    spec: PhantomSpec,
    *,
    place: tuple[Float[np.ndarray, "depth 1 1"], Float[np.ndarray, "depth 1 1"]],
    size: Float[np.ndarray, "depth 1 1"],
    levels: tuple[
        Float[np.ndarray, "depth 1 1"],
        Float[np.ndarray, "depth 1 1"],
        Float[np.ndarray, "depth 1 1"],
    ],
) -> tuple[Stack, Mask]:
    """Draws background, decoy and target; the decoy lies opposite the target."""
    edge = 1.4 * patient.pixel
    back, value, other = levels
    image = (back + np.zeros(patient.shape)).astype(np.float32)
    decoy = ellipse(patient, (-place[0], -place[1]), (0.3 * size, 0.3 * size))
    paint(image, cover(decoy, edge), other)
    target = ellipse(patient, place, (0.34 * size, 0.27 * size))
    paint(image, cover(target, edge), value)
    return image + patient.grain(spec.noise), target < 0
