"""Which volumes and slices are annotated.

`select` chooses volumes by an entry of `VOLUME_STRATEGIES`, then slices in them
by an entry of `STRATEGIES`. A strategy is a pure function from a `PoolView`,
which holds no labels, to slice indices; a new one is a function that follows
`SelectSlices`, added to the registry, also from an experiment file:

    STRATEGIES["mine"] = Strategy(select=mine, uses_features=False,
                                  deterministic=True, nested=False,
                                  reference="this file")
"""

from slicebench.selection._pool import PoolView
from slicebench.selection._registry import (
    FEATURES,
    ORACLES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    lookup,
)
from slicebench.selection._selection import (
    Selection,
    coverage,
    mean_jaccard,
    select,
)
from slicebench.selection._streams import draw_phase, joint_stream, volume_stream
from slicebench.selection._types import (
    ExtractFeatures,
    Features,
    Oracle,
    Picks,
    SelectSlices,
    SelectVolumes,
    SelectWithLabels,
    Strategy,
    VolumeStrategy,
)

__all__ = [
    "FEATURES",
    "ORACLES",
    "STRATEGIES",
    "VOLUME_STRATEGIES",
    "ExtractFeatures",
    "Features",
    "Oracle",
    "Picks",
    "PoolView",
    "SelectSlices",
    "SelectVolumes",
    "SelectWithLabels",
    "Selection",
    "Strategy",
    "VolumeStrategy",
    "coverage",
    "draw_phase",
    "joint_stream",
    "lookup",
    "mean_jaccard",
    "select",
    "volume_stream",
]
