"""The registries of selection."""

from collections.abc import Mapping
from typing import TypeVar

from slicebench.errors import InputError
from slicebench.selection import _oracles, _volumes
from slicebench.selection._facility_location import facility_location
from slicebench.selection._feature_sources import handed_in
from slicebench.selection._fixed_interval import fixed_interval, fixed_interval_aligned
from slicebench.selection._intensity import intensity
from slicebench.selection._k_center import k_center
from slicebench.selection._k_means import k_means
from slicebench.selection._k_medoids import k_medoids
from slicebench.selection._max_herding import max_herding
from slicebench.selection._probcover import probcover
from slicebench.selection._random import random_slices, random_volumes
from slicebench.selection._rep_div import rep_div
from slicebench.selection._representative import representative
from slicebench.selection._segments import central, stratified
from slicebench.selection._types import Features, Oracle, Strategy, VolumeStrategy
from slicebench.selection._typiclust import typiclust

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
    "fixed_interval_aligned": Strategy(
        select=fixed_interval_aligned,
        uses_features=False,
        deterministic=False,
        nested=False,
        reference="systematic sampling, one start for all volumes",
    ),
    "stratified": Strategy(
        select=stratified,
        uses_features=False,
        deterministic=False,
        nested=False,
        reference="one random slice a segment (Cochran 1977, chapter 5)",
    ),
    "central": Strategy(
        select=central,
        uses_features=False,
        deterministic=True,
        nested=True,
        reference="the middle of the volume first",
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
    "k_means": Strategy(
        select=k_means,
        uses_features=True,
        deterministic=False,
        nested=False,
        reference="nearest to k-means centres (ALPS, Yuan et al., EMNLP 2020)",
    ),
    "k_medoids": Strategy(
        select=k_medoids,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="PAM's BUILD, then Park and Jun 2009",
    ),
    "typiclust": Strategy(
        select=typiclust,
        uses_features=True,
        deterministic=False,
        nested=False,
        reference="TypiClust (Hacohen et al., ICML 2022)",
    ),
    "probcover": Strategy(
        select=probcover,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="ProbCover (Yehuda et al., NeurIPS 2022)",
    ),
    "max_herding": Strategy(
        select=max_herding,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="MaxHerding (Bae et al., ECCV 2024)",
    ),
    "facility_location": Strategy(
        select=facility_location,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="submodular subset selection (Wei et al., ICML 2015)",
    ),
    "rep_div": Strategy(
        select=rep_div,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="representative and diverse (Shen et al., MICCAI 2020)",
    ),
}
"""Ways to choose slices without labels."""

ORACLES: dict[str, Oracle] = {
    "foreground_random_33": Oracle(
        select=_oracles.foreground_random(1, 3),
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="foreground-aware random, 33 % (nnActive, Lueth et al. 2025)",
    ),
    "foreground_random_66": Oracle(
        select=_oracles.foreground_random(2, 3),
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="foreground-aware random, 66 % (nnActive, Lueth et al. 2025)",
    ),
    "foreground_interval": Oracle(
        select=_oracles.foreground_interval,
        uses_features=False,
        deterministic=False,
        nested=False,
        reference="systematic sampling of the slices with foreground",
    ),
    "extent_random": Oracle(
        select=_oracles.extent_random,
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="uniform inside the marked extent, 1 in 4 outside",
        marks_extent=True,
    ),
    "extent_interval": Oracle(
        select=_oracles.extent_interval,
        uses_features=False,
        deterministic=False,
        nested=False,
        reference="systematic sampling inside the marked extent, 1 in 4 outside",
        marks_extent=True,
    ),
}
"""Ways to choose slices that see labels: upper references, never contestants."""

VOLUME_STRATEGIES: dict[str, VolumeStrategy] = {
    "random": VolumeStrategy(
        select=random_volumes,
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="uniform over volumes",
    ),
    "k_center": VolumeStrategy(
        select=_volumes.k_center_volumes,
        uses_features=True,
        deterministic=False,
        nested=True,
        reference="Core-Set, greedy k-center (Sener and Savarese, ICLR 2018)",
    ),
    "typiclust": VolumeStrategy(
        select=_volumes.typiclust_volumes,
        uses_features=True,
        deterministic=False,
        nested=False,
        reference="TypiClust (Hacohen et al., ICML 2022)",
    ),
    "k_means": VolumeStrategy(
        select=_volumes.k_means_volumes,
        uses_features=True,
        deterministic=False,
        nested=False,
        reference="nearest to k-means centres (ALPS, Yuan et al., EMNLP 2020)",
    ),
    "calr": VolumeStrategy(
        select=_volumes.calr,
        uses_features=True,
        deterministic=True,
        nested=False,
        reference="CALR (Jin et al., Information Sciences 2022; COLosSAL 2023)",
    ),
    "proxy_rank": VolumeStrategy(
        select=_volumes.proxy_rank,
        uses_features=False,
        deterministic=True,
        nested=True,
        reference="entropy of an intensity threshold, no network (after Nath 2022)",
        uses_proxy=True,
    ),
    "stratified": VolumeStrategy(
        select=_volumes.stratified_volumes,
        uses_features=False,
        deterministic=False,
        nested=True,
        reference="stratified random sampling (Cochran 1977, chapter 5)",
        uses_groups=True,
    ),
}
"""Ways to choose volumes without labels."""

FEATURES: dict[str, Features] = {
    "intensity": Features(
        extract=intensity,
        reference="principal components (Pearson 1901) of area-averaged slices",
    ),
    "file": Features(
        extract=handed_in, reference="the user's own embeddings", source="file"
    ),
    "autoencoder": Features(
        extract=handed_in,
        reference="bottleneck of an autoencoder (Hinton & Salakhutdinov 2006)",
        source="training",
    ),
    "contrastive": Features(
        extract=handed_in,
        reference="SimCLR (Chen et al. 2020), adjacent slices as positives",
        source="training",
    ),
}
"""Ways to describe slices for strategies that use features.

A kind that is trained gets `extract=handed_in` and `source="training"`; whoever
trains hands its function to `make_features`, so that selection needs no network.
"""

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


def strategy_names() -> tuple[str, ...]:
    """Returns the names of all slice strategies and oracles, sorted."""
    return tuple(sorted({**STRATEGIES, **ORACLES}))


def find_strategy(name: str) -> Strategy | Oracle:
    """Returns the entry of a slice strategy or, if there is none, of an oracle.

    Raises:
      InputError: If there is no such entry; the message lists all names.
    """
    return lookup({**ORACLES, **STRATEGIES}, name, "strategies")


def uses_labels(name: str) -> bool:
    """Returns whether a slice strategy is an oracle.

    Raises:
      InputError: If there is no such strategy.
    """
    return isinstance(find_strategy(name), Oracle)


def uses_features(name: str) -> bool:
    """Returns whether a slice strategy or oracle needs slice features.

    Raises:
      InputError: If there is no such strategy.
    """
    return find_strategy(name).uses_features
