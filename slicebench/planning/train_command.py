"""`python -m slicebench.planning train`: its flags, and what they ask for."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from slicebench.errors import InputError
from slicebench.planning.importing import Imported

if TYPE_CHECKING:
    from slicebench.planning.training import TrainingRequest

_COUNTS = {
    "steps": "Optimiser steps (default: 1000).",
    "batch": "Slices (2D) or patches (3D) in a batch.",
    "width": "Channels of the network at full resolution.",
    "depth": "Resolution levels of the network.",
}


def define_flags(values: flags.FlagValues) -> None:
    """Adds the flags of training to those of the planner."""

    def own(define: Any, name: str, default: Any, text: str) -> None:
        define(name, default, f"train: {text}", flag_values=values)

    own(flags.DEFINE_integer, "seeds", 3, "networks, each from a start of its own.")
    for name, text in _COUNTS.items():
        own(flags.DEFINE_integer, name, None, text)
    own(flags.DEFINE_float, "learning_rate", None, "Peak learning rate.")
    own(flags.DEFINE_integer, "max_size", 96, "Largest side of the training grid.")
    own(flags.DEFINE_float, "field_of_view", None, "Central square that is kept, mm.")
    own(flags.DEFINE_list, "ct_window", None, "LOW,HIGH of CT.")
    own(flags.DEFINE_float, "checkpoint_seconds", 60.0, "Time between checkpoints.")


def run_training(imported: Imported, out: Path, given: Mapping[str, Any]) -> list[str]:
    """Trains on what was imported.

    Args:
      imported: Checked annotations.
      out: Work folder.
      given: Values of the flags, and the `module` that has them if it is not the
        planner.

    Raises:
      InputError: A value that cannot be used.
    """
    # Whoever only plans does not wait for jax.
    from slicebench import runner
    from slicebench.planning.training import train

    runner.show_logs()
    runner.use_all_cores()
    try:
        return train(imported, read_request(out, given))
    except runner.OutOfMemoryError as error:
        raise InputError(
            f"{error}; --width, --batch and --max_size make it smaller"
        ) from error


def read_request(out: Path, given: Mapping[str, Any]) -> "TrainingRequest":
    """Returns what the flags ask for, checked.

    Raises:
      InputError: A value that cannot be used.
    """
    from slicebench.data.preprocess import Settings
    from slicebench.planning.training import TrainingRequest, default_schedule
    from slicebench.runner import parse_window

    for name in (*_COUNTS, "learning_rate", "checkpoint_seconds"):
        value = given[name]
        if value is not None and value <= 0:
            raise InputError(f"--{name}={value}: a number above 0 is allowed")
    network, training = default_schedule(given["dims"])
    return TrainingRequest(
        out=out,
        dims=given["dims"],
        seeds=given["seeds"],
        network=dataclasses.replace(network, **_set(given, "width", "depth")),
        training=dataclasses.replace(
            training, **_set(given, "steps", "batch", "learning_rate")
        ),
        settings=Settings(
            max_size=given["max_size"],
            field_of_view=given["field_of_view"],
            ct_window=parse_window("ct_window", given["ct_window"]),
        ),
        checkpoint_seconds=given["checkpoint_seconds"],
        command=shlex.join(
            ["python", "-m", given.get("module", "slicebench.planning"), *sys.argv[1:]]
        ),
    )


def _set(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if given[name] is not None}
