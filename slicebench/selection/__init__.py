"""Which volumes and slices are annotated.

`select` chooses volumes by an entry of `VOLUME_STRATEGIES`, then slices in them
by an entry of `STRATEGIES`. A strategy is a pure function from a `PoolView`,
which holds no labels, to slice indices. Oracles see labels; they stand in a
registry of their own, `ORACLES`, as references. A new strategy is a function that
follows `SelectSlices`, added to the registry, also from an experiment file
(`docs/extending.md`):

    STRATEGIES["mine"] = Strategy(select=mine, uses_features=False,
                                  deterministic=True, nested=False,
                                  reference="this file")
"""

from slicebench.selection._feature_file import load_feature_file
from slicebench.selection._feature_sources import handed_in, make_features
from slicebench.selection._pool import PoolView
from slicebench.selection._proxy import proxy_scores
from slicebench.selection._registry import (
    FEATURES,
    ORACLES,
    STRATEGIES,
    VOLUME_STRATEGIES,
    find_strategy,
    lookup,
    strategy_names,
    uses_features,
    uses_labels,
)
from slicebench.selection._selection import (
    Selection,
    coverage,
    select,
    select_slices,
)
from slicebench.selection._strata_file import load_strata_file
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
    "find_strategy",
    "handed_in",
    "joint_stream",
    "load_feature_file",
    "load_strata_file",
    "lookup",
    "make_features",
    "proxy_scores",
    "select",
    "select_slices",
    "strategy_names",
    "uses_features",
    "uses_labels",
    "volume_stream",
]
