import dataclasses

import jax
import pytest

from slicebench import spec
from slicebench.errors import InputError
from slicebench.runner import plans
from slicebench.runner.plans import (
    bank_bytes,
    choose_plan,
    estimate_seconds,
    forward_flop,
    step_flop,
    trial_bytes,
    use_all_cores,
)
from tests.models.test_unet import make_program
from tests.runner import small


@pytest.fixture
def gpu(monkeypatch):
    """What a plan would be on an accelerator of a stated size."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def resize(memory):
        monkeypatch.setattr(plans, "_device_memory", lambda: memory)

    return resize


def test_estimates_of_the_smoke_program_are_positive():
    program = small.program()
    assert bank_bytes(program) == 256 * 32 * 32 * 5
    assert trial_bytes(program) > 0
    assert 0 < estimate_seconds(program, 3, 40) < 60
    assert estimate_seconds(program, 6, 40) == 2 * estimate_seconds(program, 3, 40)


def test_operations_of_a_network_of_one_level_by_hand():
    program = make_program(spec.Network(width=4, depth=1), channels=2, classes=3)
    assert forward_flop(program) == 2 * 16 * 16 * (9 * (2 * 4 + 4 * 4) + 4 * 3)
    assert step_flop(program) == 3 * program.training.batch * forward_flop(program)


def make_volumetric(depth=1):
    program = make_program(spec.Network(width=4, depth=depth), grid=(32, 32))
    kernels = ((1, 3, 3), (3, 3, 3))[-depth:]
    return dataclasses.replace(
        program,
        dims="3d",
        volumetric=spec.Volumetric(
            patch=(8, 16, 16), kernels=kernels, pools=((1, 2, 2),) * (depth - 1)
        ),
    )


def test_operations_of_a_3d_network_by_hand():
    program = make_volumetric()
    one = 8 * 16 * 16 * (27 * (4 + 4 * 4) + 4 * program.classes)
    assert forward_flop(program) == 2 * one
    program = make_volumetric(depth=2)
    full, low = 8 * 16 * 16, 8 * 8 * 8
    layers = full * 9 * (4 + 4 * 4 + (8 + 4) * 4 + 4 * 4)
    layers += low * 27 * (4 * 8 + 8 * 8) + full * 4 * program.classes
    assert forward_flop(program) == 2 * layers


def test_a_3d_network_sees_every_voxel_of_a_case_several_times():
    """128 slices of 32 x 32 are 64 patches of 8 x 16 x 16, each seen four times."""
    program = make_volumetric()
    scoring = estimate_seconds(program, 1, 128) - estimate_seconds(program, 1, 0)
    alone = estimate_seconds(program, 1, 0) / program.training.steps
    assert scoring / alone == pytest.approx(
        64 * 4 * forward_flop(program) / step_flop(program)
    )


def test_half_as_precise_needs_less_memory():
    program = make_program(spec.Network(width=16, depth=4), grid=(64, 64))
    half = dataclasses.replace(program, precision="bfloat16")
    assert 0.5 < trial_bytes(half) / trial_bytes(program) < 0.6


def test_operations_follow_the_convolutions_of_the_network():
    """7.7 GFLOP a step of 8 slices of 64 x 64; the first layer needs less."""
    program = make_program(spec.Network(width=16, depth=4), grid=(64, 64))
    program = dataclasses.replace(program, training=spec.Training(batch=8))
    assert step_flop(program) == pytest.approx(7.7e9, rel=0.04)


def test_wider_networks_and_larger_grids_need_more():
    narrow = make_program(spec.Network(width=4, depth=3), grid=(32, 32))
    wide = make_program(spec.Network(width=8, depth=3), grid=(32, 32))
    large = make_program(spec.Network(width=4, depth=3), grid=(64, 64))
    for measure in (trial_bytes, step_flop):
        assert measure(narrow) < measure(wide)
        assert measure(narrow) < measure(large)


def test_on_a_cpu_every_device_trains_one_trial():
    plan = choose_plan(small.program())
    assert plan.trials_per_device == 1
    assert plan.devices == jax.local_device_count()


def test_elsewhere_memory_decides_how_many_trials_fit(gpu):
    program = make_program(spec.Network(width=16, depth=4), grid=(64, 64))
    need = trial_bytes(program, "matmul")
    assert need > trial_bytes(program)
    gpu((bank_bytes(program) + 5.5 * need) / 0.6)
    assert choose_plan(program).trials_per_device == 5
    gpu(1e15)
    assert choose_plan(program).trials_per_device == 64


def test_a_trial_that_does_not_fit_is_refused_with_a_remedy(gpu):
    gpu(1e3)
    with pytest.raises(InputError, match=r"one trial needs about .*--max_size"):
        choose_plan(small.program())


def test_the_number_of_devices_is_the_users_where_it_is_set(monkeypatch):
    before = jax.config.values["jax_num_cpu_devices"]
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=7")
    use_all_cores()
    assert jax.config.values["jax_num_cpu_devices"] == before
    monkeypatch.delenv("XLA_FLAGS")
    use_all_cores()
    assert jax.config.values["jax_num_cpu_devices"] == before
