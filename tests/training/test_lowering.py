"""Every compiled program lowers for accelerators, on a machine without one.

Static shapes and no call back to the host: the device never waits for it.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slicebench import spec
from slicebench.evaluation.inference import make_slice_forward, make_window_forward
from slicebench.models.convolution import LAYOUTS
from slicebench.training.arrays import Bank, Pseudo, TrialArrays
from slicebench.training.engine import over_trials, repeat, trial_mesh
from slicebench.training.step import make_init, make_step

pytestmark = pytest.mark.usefixtures("two_devices")
PLATFORMS = ("cuda", "tpu")
DEVICES, TRIALS = 2, 4
SLICES, GRID, CLASSES = 40, (16, 16), 3

# The random bits' own kernel on NVIDIA devices, and marks of the sharding.
HARMLESS = {
    "cu_threefry2x32_ffi",
    "Sharding",
    "SPMDFullToShardShape",
    "SPMDShardToFullShape",
}


def make_program(dims, **changes):
    patch = (4, 8, 8)
    volumetric = spec.Volumetric(
        patch=patch, kernels=((1, 3, 3), (3, 3, 3)), pools=((1, 2, 2),)
    )
    settings = {
        "dims": dims,
        "network": spec.Network(width=2, depth=2),
        "training": spec.Training(batch=2, patch=patch),
        "grid": GRID,
        "channels": 1,
        "classes": CLASSES,
        "slices": SLICES,
        "volumetric": volumetric if dims == "3d" else None,
    }
    return spec.Program(**settings | changes)


def shape(dtype, *sizes):
    return jax.ShapeDtypeStruct(sizes, dtype)


def state_shapes(program):
    mapped = over_trials(make_init(program), trial_mesh(DEVICES), [False])
    return jax.eval_shape(mapped, shape(np.uint32, TRIALS, 2))


def training_shapes(program):
    deep = program.volumetric is not None
    bank = Bank(
        images=shape(np.float32, SLICES, *GRID, 1),
        labels=shape(np.uint8, SLICES, *GRID),
        first=shape(np.int32, SLICES) if deep else None,
        depth=shape(np.int32, SLICES) if deep else None,
    )
    trials = TrialArrays(
        order=shape(np.int32, TRIALS, CLASSES, SLICES),
        sizes=shape(np.int32, TRIALS, CLASSES),
        present=shape(np.int32, TRIALS, CLASSES - 1),
        present_count=shape(np.int32, TRIALS),
        key=shape(np.uint32, TRIALS, 2),
        weight=shape(np.float32, TRIALS, SLICES) if deep else None,
        pseudo=pseudo_shapes(program.pseudo_slots, deep)
        if program.pseudo_slots
        else None,
    )
    return state_shapes(program), trials, bank


def pseudo_shapes(slots, deep):
    return Pseudo(
        order=shape(np.int32, TRIALS, CLASSES, slots),
        sizes=shape(np.int32, TRIALS, CLASSES),
        present=shape(np.int32, TRIALS, CLASSES - 1),
        present_count=shape(np.int32, TRIALS),
        source=shape(np.int32, TRIALS, slots),
        shares=shape(np.uint8, TRIALS, slots, *GRID, CLASSES),
        weight=shape(np.float32, TRIALS),
        slot=shape(np.int32, TRIALS, SLICES) if deep else None,
    )


def training(program, layout):
    """The step as the engine runs it on an accelerator: several in a loop."""
    steps = repeat(make_step(program, layout), 3, unroll=False)
    mesh = trial_mesh(DEVICES)
    mapped = over_trials(steps, mesh, [False, False, True], donate_argnums=0)
    return mapped, training_shapes(program)


def prediction(program, layout):
    mesh, images = trial_mesh(DEVICES), shape(np.float32, SLICES, *GRID, 1)
    params = state_shapes(program).params
    if program.volumetric is None:
        forward = make_slice_forward(program, layout, hard=True)
        mapped = over_trials(forward, mesh, [False, True, True])
        return mapped, (params, images, shape(np.int32))
    forward = make_window_forward(program, layout)
    mapped = over_trials(forward, mesh, [False, True, False, True])
    total = shape(np.float32, TRIALS, SLICES, *GRID, CLASSES)
    return mapped, (params, images, total, shape(np.int32, 2, 5))


def faults(exported):
    """What a program must not hold, as found in its StableHLO text."""
    text = exported.mlir_module()
    targets = set(re.findall(r"stablehlo\.custom_call @([\w.$]+)", text))
    found = sorted(targets - HARMLESS)
    found += re.findall(r"tensor<[^>]*\?[^>]*>", text)
    found += re.findall(r"stablehlo\.(?:infeed|outfeed|send|recv)\b", text)
    return [*found, *exported.ordered_effects, *exported.unordered_effects]


def lowered(mapped, shapes, platform):
    exported = jax.export.export(mapped, platforms=[platform])(*shapes)
    assert exported.platforms == (platform,)
    assert exported.nr_devices == DEVICES
    return exported


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        *((prediction, layout) for layout in LAYOUTS),
        # What the rules choose where there is an accelerator, then all others.
        (training, "matmul"),
        *(
            pytest.param(training, layout, marks=pytest.mark.slow)
            for layout in LAYOUTS
            if layout != "matmul"
        ),
    ],
)
@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_programs_lower_for_accelerators(make, dims, layout):
    mapped, shapes = make(make_program(dims), layout)
    for platform in PLATFORMS:
        assert faults(lowered(mapped, shapes, platform)) == []


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_training_on_pseudo_labels_lowers_for_accelerators(dims):
    mapped, shapes = training(make_program(dims, pseudo_slots=6), "matmul")
    for platform in PLATFORMS:
        assert faults(lowered(mapped, shapes, platform)) == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_first_states_lower_for_accelerators(platform):
    mapped = over_trials(make_init(make_program("3d")), trial_mesh(DEVICES), [False])
    exported = lowered(mapped, [shape(np.uint32, TRIALS, 2)], platform)
    assert faults(exported) == []


@pytest.mark.parametrize("layout", ["matmul", "shifts", "winograd"])
def test_bfloat16_is_multiplied_as_it_is(layout):
    mapped, shapes = prediction(make_program("2d", precision="bfloat16"), layout)
    text = lowered(mapped, shapes, "cuda").mlir_module()
    products = re.findall(r"dot_general .*: \((.*)\) -> tensor<(.*)>", text)
    assert products
    for operands, result in products:
        assert operands.count("xbf16>") == 2
        assert result.endswith("xf32")


def test_a_call_back_to_the_host_does_not_lower():
    told = jax.jit(lambda values: jax.pure_callback(np.sin, values, values))
    with pytest.raises(ValueError, match="lowering platform cuda"):
        jax.export.export(told, platforms=["cuda"])(shape(np.float32, TRIALS))


def test_other_custom_calls_are_found():
    exported = jax.export.export(jax.jit(jnp.linalg.qr), platforms=["cuda"])
    assert any("geqrf" in fault for fault in faults(exported(shape(np.float32, 3, 3))))


def test_a_shape_known_late_is_found():
    (rows,) = jax.export.symbolic_shape("rows")
    exported = jax.export.export(jax.jit(lambda v: v + 1), platforms=["tpu"])(
        shape(np.float32, rows)
    )
    assert "tensor<?xf32>" in faults(exported)
