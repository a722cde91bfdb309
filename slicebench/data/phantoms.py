"""Synthetic tasks, made in memory from a seed.

Four phantoms mirror the kinds of target of the source study (Zhang, Kramer
and Mazurowski, arXiv 2412.08081); three controls have a known answer. They
test the machine and are no evidence about patients.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from slicebench import spec as core
from slicebench.data import phantom_abdomen, phantom_controls, phantom_mri
from slicebench.data.phantom_fields import Mask, Patient, Stack
from slicebench.data.phantom_measures import z_score
from slicebench.data.phantom_spec import CasePlan, PhantomSpec
from slicebench.data.prepared import PreparedCase, PreparedTask
from slicebench.errors import InputError

_VERSION = 1
"""Raised with every change that alters a drawing."""

_SIDES = ("development", "pool", "test")
_MANY_VOLUMES = (
    "patients differ and slices of a patient are alike, so many volumes with few "
    "slices each are better than few volumes with many"
)

_SPECS = (
    PhantomSpec(
        name="phantom_organ",
        scene="organ",
        target="liver",
        mirrors="a large compact organ in CT (liver in LiTS17)",
        expected=_MANY_VOLUMES,
        spacing=(10.0, 7.5, 7.5),
        contrast_spread=2.4,
        noise=16.0,
        normalisation="clip",
    ),
    PhantomSpec(
        name="phantom_lesions",
        scene="lesions",
        target="lesion",
        mirrors="small multiple lesions inside an organ in CT (tumours in LiTS17)",
        expected=_MANY_VOLUMES,
        spacing=(8.0, 4.6, 4.6),
        noise=12.0,
        empty_cases=0.12,
        normalisation="clip",
    ),
    PhantomSpec(
        name="phantom_vessels",
        scene="vessels",
        target="vessels",
        mirrors="branching tubular tissue in breast MRI (DBC)",
        expected=_MANY_VOLUMES,
        spacing=(8.0, 6.5, 6.5),
        second_protocol=0.25,
        bias_spread=0.15,
        noise=0.04,
        flip=True,
    ),
    PhantomSpec(
        name="phantom_stroke",
        scene="stroke",
        target="lesion",
        mirrors="irregular single lesions at varying places in brain MRI (ATLAS)",
        expected=_MANY_VOLUMES,
        spacing=(8.0, 4.5, 4.5),
        bias_spread=0.1,
        noise=0.05,
        flip=True,
    ),
    PhantomSpec(
        name="control_no_patient_variance",
        scene="independent",
        target="target",
        mirrors="no between-patient variance and no within-volume correlation",
        expected="every slice is an independent draw, so the allocation slope is null",
        noise=0.35,
        noise_spread=0.0,
        shape_spread=0.15,
        patient_share=0.0,
        correlation_length=0.0,
        normalisation="clip",
        window=(-6.0, 6.0),
    ),
    PhantomSpec(
        name="control_aligned",
        scene="aligned",
        target="target",
        mirrors="near-identical aligned patients with a strong position effect",
        expected=(
            "intervals at the same positions in every volume miss whole styles, so "
            "they are worse than random slices"
        ),
        depths=(16, 16),
        noise=0.2,
        noise_spread=0.0,
        shape_spread=0.03,
        pose_spread=0.02,
        normalisation="clip",
        window=(-6.0, 6.0),
    ),
    PhantomSpec(
        name="control_rare_cluster",
        scene="rare",
        target="target",
        mirrors="a rare appearance among many duplicate slices",
        expected=(
            "half of the test slices have an appearance that is rare in the pool, so "
            "unsupervised selection for diversity is better than random slices"
        ),
        noise=0.15,
        noise_spread=0.0,
        shape_spread=0.05,
        pose_spread=0.04,
        rare_volumes=0.6,
        rare_scored=0.5,
        normalisation="clip",
        window=(-6.0, 6.0),
    ),
)

PHANTOMS: dict[str, PhantomSpec] = {item.name: item for item in _SPECS}
"""Every synthetic task by name; names that begin with `control_` are controls."""

Drawing = Callable[[Patient, PhantomSpec, CasePlan], tuple[Stack, Mask]]

_SCENES: dict[str, Drawing] = {
    "organ": phantom_abdomen.organ,
    "lesions": phantom_abdomen.lesions,
    "vessels": phantom_mri.vessels,
    "stroke": phantom_mri.stroke,
    "independent": phantom_controls.independent,
    "aligned": phantom_controls.aligned,
    "rare": phantom_controls.rare,
}


def make_phantom(name: str, *, seed: int = 0, smoke: bool = False) -> PreparedTask:
    """Draws a synthetic task; equal arguments give equal bytes.

    Args:
      name: A key of `PHANTOMS`.
      seed: Every case is drawn from this seed, the task's name, its side and
        its number, so tasks of fewer cases hold the first cases of a side.
      smoke: Fewer cases on a smaller grid.

    Raises:
      InputError: The name is unknown or the seed is negative.
    """
    if name not in PHANTOMS:
        raise InputError(f"phantom {name!r} is unknown; known: {', '.join(PHANTOMS)}")
    if seed < 0:
        raise InputError(f"phantom seed {seed}: it must be 0 or more")
    return draw_phantom(PHANTOMS[name], seed=seed, smoke=smoke)


def draw_phantom(
    phantom: PhantomSpec, *, seed: int = 0, smoke: bool = False
) -> PreparedTask:
    """Draws a task from a specification of one's own; see `make_phantom`."""
    grid = phantom.smoke_grid if smoke else phantom.grid
    counts = phantom.smoke_cases if smoke else phantom.cases
    drawn = {
        side: [_draw_case(phantom, seed, side, index, grid) for index in range(count)]
        for side, count in zip(_SIDES, counts, strict=True)
    }
    fitted = _fit(phantom, [image for image, _ in drawn["pool"]])
    spacing = _spacing(phantom, grid)
    sides = {
        side: tuple(
            _prepare(phantom, f"{phantom.name}_{side}_{i:03d}", pair, spacing, fitted)
            for i, pair in enumerate(pairs)
        )
        for side, pairs in drawn.items()
    }
    return PreparedTask(
        name=phantom.name,
        target=phantom.target,
        fold=0,
        classes=(phantom.target,),
        channels=("synthetic",),
        grid=grid,
        development=sides["development"],
        pool=sides["pool"],
        test=sides["test"],
        synthetic=True,
        flip=phantom.flip,
        attribution=f"synthetic phantom {phantom.name}, drawn by slicebench",
        provenance={
            "source": "synthetic phantom",
            "version": _VERSION,
            "spec": _plain(dataclasses.asdict(phantom)),
            "seed": seed,
            "smoke": smoke,
            "expected": phantom.expected,
            "preprocessing": {"normalisation": phantom.normalisation, **fitted},
        },
    )


def _draw_case(
    phantom: PhantomSpec, seed: int, side: str, index: int, grid: tuple[int, int]
) -> tuple[Stack, Mask]:
    rng = np.random.default_rng(core.derive_seed(seed, phantom.name, side, index))
    low, high = phantom.depths
    depth = int(rng.integers(low, high + 1))
    patient = Patient(
        rng,
        depth=depth,
        grid=grid,
        slice_ratio=phantom.spacing[0] / _spacing(phantom, grid)[1],
        patient_share=phantom.patient_share,
        correlation_length=phantom.correlation_length,
    )
    if side == "pool":
        rare = int(_every(phantom.rare_volumes, index))
    else:
        rare = round(phantom.rare_scored * depth)
    plan = CasePlan(empty=_every(phantom.empty_cases, index), rare_slices=rare)
    return _SCENES[phantom.scene](patient, phantom, plan)


def _every(share: float, index: int) -> bool:
    """Spreads a share evenly over case numbers, so small sides keep to it too."""
    return int((index + 1) * share) > int(index * share)


def _spacing(phantom: PhantomSpec, grid: tuple[int, int]) -> tuple[float, float, float]:
    """Spacing on a grid of another size: the field of view stays the same."""
    along, down, right = phantom.spacing
    return (
        along,
        down * phantom.grid[0] / grid[0],
        right * phantom.grid[1] / grid[1],
    )


def _fit(
    phantom: PhantomSpec, images: Sequence[Float[np.ndarray, "_ height width"]]
) -> dict[str, float]:
    """Mean and standard deviation over the clipped pool; nothing for z-scores."""
    if phantom.normalisation == "z_score":
        return {}
    low, high = phantom.window
    voxels = np.concatenate([np.clip(i, low, high).ravel() for i in images])
    mean = float(voxels.mean(dtype=np.float64))
    deviation = float(voxels.std(dtype=np.float64))
    return {"low": low, "high": high, "mean": mean, "deviation": deviation}


def _prepare(
    phantom: PhantomSpec,
    name: str,
    drawn: tuple[Stack, Mask],
    spacing: tuple[float, float, float],
    fitted: dict[str, float],
) -> PreparedCase:
    image, mask = drawn
    if phantom.normalisation == "clip":
        clipped = np.clip(image, fitted["low"], fitted["high"])
        scaled = (clipped - fitted["mean"]) / fitted["deviation"]
    else:
        scaled = z_score(image)
    label = mask.astype(np.uint8)
    return PreparedCase(
        name=name,
        group=name,
        image=scaled.astype(np.float32)[..., None],
        label=label,
        native_label=label,
        spacing=spacing,
        to_native=(np.eye(mask.shape[1]), np.eye(mask.shape[2])),
    )


def _plain(record: dict[str, object]) -> dict[str, object]:
    """Tuples become lists, as in a record read back from JSON."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in record.items()
    }
