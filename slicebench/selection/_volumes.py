"""Ways to choose volumes: slice strategies over one row a volume, and others.

A volume's row is the mean over its slices' features.
"""

import numpy as np
from jaxtyping import Float, Int

from slicebench import spec
from slicebench.errors import InputError
from slicebench.selection._clusters import take_turns, ward_clusters
from slicebench.selection._k_center import k_center
from slicebench.selection._k_means import k_means
from slicebench.selection._ledger import Ledger
from slicebench.selection._pool import PoolView
from slicebench.selection._random import random_volumes
from slicebench.selection._similarity import ball_rows, total_distances
from slicebench.selection._types import SelectSlices, SelectVolumes
from slicebench.selection._typiclust import typiclust


def volume_rows(view: PoolView) -> Float[np.ndarray, "volume feature"]:
    """Returns the mean over the slice features of each volume."""
    return np.stack([rows.astype(np.float64).mean(axis=0) for rows in view.features])


def as_slices(view: PoolView) -> PoolView:
    """Returns a view of one made-up volume, whose slices are the volumes."""
    return PoolView(
        cases=("volumes",),
        depths=(len(view.cases),),
        spacing=((1.0, 1.0, 1.0),),
        features=(volume_rows(view),),
    )


def _over_volumes(select: SelectSlices) -> SelectVolumes:
    """Makes a volume strategy of a slice strategy."""

    def choose(
        view: PoolView, num_volumes: int, seed: int
    ) -> Int[np.ndarray, " num_volumes"]:
        quotas = np.array([len(view.cases)])
        own = spec.derive_seed(seed, "volumes")
        return select(as_slices(view), quotas, num_volumes, own)[0]

    return choose


k_center_volumes = _over_volumes(k_center)
"""Core-Set over volumes: see `k_center`."""

typiclust_volumes = _over_volumes(typiclust)
"""The most typical volume of each cluster: see `typiclust`."""

k_means_volumes = _over_volumes(k_means)
"""The volume nearest to each cluster's centre (ALPS): see `k_means`."""


def calr(
    view: PoolView, num_volumes: int, seed: int
) -> Int[np.ndarray, " num_volumes"]:
    """Chooses the densest volume of each of as many clusters as volumes.

    CALR (Jin et al., "Cold-start active learning for image classification",
    Information Sciences 2022), as COLosSAL carries it to volumes: bottom-up
    hierarchical clusters, then the member with the largest information density,
    the mean similarity to all members of its cluster. Ours are: Ward's linkage
    and the negative Euclidean distance as similarity. The seed has no influence.
    """
    del seed
    rows = ball_rows([volume_rows(view)])
    ledger = Ledger((len(rows),), np.array([len(rows)]))
    queues = [
        members[np.argsort(total_distances(rows[members]), kind="stable")]
        for members in ward_clusters(rows, num_volumes)
    ]
    take_turns(ledger, queues, num_volumes)
    return ledger.picks()[0]


def proxy_rank(
    view: PoolView, num_volumes: int, seed: int
) -> Int[np.ndarray, " num_volumes"]:
    """Chooses the volumes whose proxy segmentation is most uncertain.

    The ranking by uncertainty of COLosSAL (Liu et al., "COLosSAL: a benchmark
    for cold-start active learning for 3D medical image segmentation", MICCAI
    2023) and Nath et al. ("Warm start active learning with proxy labels and
    selection via semi-supervised fine-tuning", MICCAI 2022): pseudo-labels come
    from an intensity threshold. Here no network learns them: `proxy_scores` has
    the uncertainty in closed form. Ties go to the lowest volume; the seed has no
    influence.
    """
    del seed
    if view.proxy is None:
        raise InputError(
            "volume strategy proxy_rank needs a proxy score for each volume; "
            "the pool has none"
        )
    return np.argsort(-np.array(view.proxy), kind="stable")[:num_volumes]


def stratified_volumes(
    view: PoolView, num_volumes: int, seed: int
) -> Int[np.ndarray, " num_volumes"]:
    """Chooses random volumes, each group in proportion to its size.

    Stratified random sampling by a column such as scanner or site. The volumes of
    a group of m are spread over the whole order at (i + 1/2) / m, in the random
    order of `random`, and the first ones are taken: any number of volumes is
    divided nearly in proportion, and more volumes keep those of fewer. With a
    single group it is `random`.
    """
    if view.groups is None:
        raise InputError(
            "volume strategy stratified needs a group for each case, such as its "
            "scanner; the pool has none"
        )
    order = random_volumes(view, len(view.cases), seed)
    groups = np.array(view.groups)[order]
    places = np.empty(len(order))
    for group in np.unique(groups):
        of_group = np.flatnonzero(groups == group)
        places[of_group] = (np.arange(len(of_group)) + 0.5) / len(of_group)
    return order[np.argsort(places, kind="stable")][:num_volumes]
