"""What happens when a device's memory runs out: fewer trials at a time."""

import dataclasses

import jax

from slicebench import spec
from slicebench.runner.plans import bank_bytes, trial_bytes
from slicebench.training.engine import Plan

_SIGNS = ("resource_exhausted", "out of memory")


class OutOfMemoryError(RuntimeError):
    """Not even one trial fits; the message says what to reduce."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of jax means that a device's memory ran out."""
    text = str(error).lower()
    return isinstance(error, jax.errors.JaxRuntimeError) and any(
        sign in text for sign in _SIGNS
    )


def halve(program: spec.Program, plan: Plan) -> Plan:
    """Returns the plan with half as many trials on each device.

    Raises:
      OutOfMemoryError: There is only one.
    """
    if plan.trials_per_device == 1:
        need = trial_bytes(program, plan.layout) + bank_bytes(program)
        raise OutOfMemoryError(
            f"program {program.name}: one trial does not fit into the memory of a "
            f"device (about {need / 1e9:.2f} GB by estimate); reduce the batch, the "
            "width of the network or --max_size, or end other programs on the "
            "device; finished trials are kept"
        )
    return dataclasses.replace(plan, trials_per_device=plan.trials_per_device // 2)
