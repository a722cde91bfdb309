"""No interpolation: the control."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from slicebench.interpolation._gaps import keep_annotated


def no_filling(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Fills nothing: only what an expert annotated supervises."""
    del spacing, image, outside
    return keep_annotated(label, annotated), np.zeros_like(annotated)
