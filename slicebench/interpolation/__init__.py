"""Filling masks between annotated slices.

An interpolation makes pseudo-labels for slices that nobody annotated. A new one
is a function that follows `FillMasks`, added to `INTERPOLATIONS`, also from an
experiment file:

    INTERPOLATIONS["mine"] = Interpolation(fill=mine, reference="this file")

`interpolate` runs an entry and checks its result.
"""

from slicebench.interpolation._apply import Pseudo, interpolate
from slicebench.interpolation._registry import INTERPOLATIONS
from slicebench.interpolation._types import FillMasks, Interpolation

__all__ = [
    "INTERPOLATIONS",
    "FillMasks",
    "Interpolation",
    "Pseudo",
    "interpolate",
]
