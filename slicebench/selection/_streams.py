"""Random streams of selection: they know volume and purpose, no strategy."""

import numpy as np

from slicebench import spec

PHASES = 2**30
"""A phase is an integer below this; integers keep slice positions exact."""


def volume_stream(seed: int, case: str) -> np.random.Generator:
    """Returns the stream of one volume, whatever other volumes are chosen."""
    return np.random.default_rng(spec.derive_seed(seed, "slices", case))


def joint_stream(seed: int) -> np.random.Generator:
    """Returns the stream of decisions that concern several volumes."""
    return np.random.default_rng(spec.derive_seed(seed, "slices"))


def draw_phase(stream: np.random.Generator) -> int:
    """Draws where a volume's sampling starts, uniformly from 0 to PHASES - 1.

    Always a volume stream's first draw: `random` and `fixed_interval` then
    choose the same slice when a volume gets one.
    """
    return int(stream.integers(PHASES))
