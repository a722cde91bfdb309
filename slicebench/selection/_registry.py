"""The registries of selection."""

from collections.abc import Mapping
from typing import TypeVar

from slicebench.errors import InputError
from slicebench.selection._fixed_interval import fixed_interval
from slicebench.selection._intensity import intensity
from slicebench.selection._k_center import k_center
from slicebench.selection._random import random_slices, random_volumes
from slicebench.selection._representative import representative
from slicebench.selection._types import Features, Oracle, Strategy, VolumeStrategy

STRATEGIES: dict[str, Strategy] = {
    "random": Strategy(
        select=random_slices,
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="uniform over slices",
    ),
    "fixed_interval": Strategy(
        select=fixed_interval,
        uses_features=False,
        deterministic=False,
        nested=False,
        reference="systematic sampling with a random start (Madow and Madow 1944)",
    ),
    "k_center": Strategy(
        select=k_center,
        uses_features=True,
        deterministic=False,
        nested=False,
        reference="Core-Set, greedy k-center (Sener and Savarese, ICLR 2018)",
    ),
    "representative": Strategy(
        select=representative,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="representative annotation, RA (Zheng et al., AAAI 2019)",
    ),
}
"""Ways to choose slices without labels."""

ORACLES: dict[str, Oracle] = {}
"""Ways to choose slices that see labels: upper references, never contestants."""

VOLUME_STRATEGIES: dict[str, VolumeStrategy] = {
    "random": VolumeStrategy(
        select=random_volumes,
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="uniform over volumes",
    ),
}
"""Ways to choose volumes without labels."""

FEATURES: dict[str, Features] = {
    "intensity": Features(
        extract=intensity,
        reference="principal components (Pearson 1901) of area-averaged slices",
    ),
}
"""Ways to describe slices for strategies that use features."""

Entry = TypeVar("Entry")


def lookup(registry: Mapping[str, Entry], name: str, flag: str) -> Entry:
    """Returns the entry of a registry.

    Args:
      registry: Entries by name.
      name: Name that was asked for.
      flag: Flag that holds it, without dashes.

    Raises:
      InputError: If there is no such entry; the message lists all names.
    """
    if name not in registry:
        allowed = ", ".join(sorted(registry)) or "none so far"
        raise InputError(f"--{flag}: no such value {name!r}; allowed: {allowed}")
    return registry[name]
