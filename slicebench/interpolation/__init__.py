"""Filling masks between annotated slices.

An interpolation makes pseudo-labels for slices that nobody annotated. A new one
is a function that follows `FillMasks`, added to `INTERPOLATIONS`, also from an
experiment file.
"""

from slicebench.interpolation._none import no_filling
from slicebench.interpolation._types import FillMasks, Interpolation

INTERPOLATIONS: dict[str, Interpolation] = {
    "none": Interpolation(
        fill=no_filling, reference="annotated slices alone supervise"
    ),
}
"""Ways to fill masks between annotated slices."""

__all__ = ["INTERPOLATIONS", "FillMasks", "Interpolation"]
