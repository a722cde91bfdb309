"""ITK's morphological contour interpolation, where it is installed."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from slicebench.errors import InputError
from slicebench.interpolation._gaps import Gap, fill_gaps
from slicebench.interpolation._morph import Planes


def morphological_itk(
    label: Integer[np.ndarray, "depth height width"],
    annotated: Bool[np.ndarray, " depth"],
    spacing: tuple[float, float, float],
    *,
    image: Float[np.ndarray, "depth height width channel"] | None = None,
    outside: bool = False,
) -> tuple[Integer[np.ndarray, "depth height width"], Bool[np.ndarray, " depth"]]:
    """Fills by `itk.MorphologicalContourInterpolator`, gap by gap.

    The filter finds annotated slices by itself and takes neighbouring ones for
    a filled volume, so it sees one gap at a time. Its classes are interpolated
    one after another; where two claim a voxel, the filter decides.

    Source: D. Zukic, J. Vicory, M. McCormick et al., "ND morphological contour
    interpolation", The Insight Journal, 2016.

    Raises:
      InputError: ITK or its module is not installed, or a class exceeds 255.
    """
    del spacing, image
    itk = _import()
    largest = int(label[annotated].max(initial=0))
    if largest > np.iinfo(np.uint8).max:
        raise InputError(
            f"interpolation morphological_itk: class {largest} given, 0 to 255 are "
            "allowed"
        )

    def fill(gap: Gap) -> Planes:
        block = np.zeros((gap.steps + 1, *label.shape[1:]), np.uint8)
        block[0], block[-1] = label[gap.lower], label[gap.upper]
        # Without a class on either end the filter has no slices to find.
        if block[0].any() or block[-1].any():
            with _loading():
                found = itk.morphological_contour_interpolator(
                    itk.image_from_array(block), axis=2
                )
                block = itk.array_from_image(found)
        return block[1:-1].astype(label.dtype)

    return fill_gaps(label, annotated, fill, outside=outside)


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Lets ITK load its compiled modules, which it does at first use.

    They warn while they load; where warnings are errors, that ends the process with
    a segmentation fault.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _import() -> Any:
    with _loading(), contextlib.suppress(ImportError):
        itk = importlib.import_module("itk")
        if hasattr(itk, "MorphologicalContourInterpolator"):
            return itk
    raise InputError(
        "interpolation morphological_itk: needs ITK with its module for contour "
        "interpolation, which cannot be imported; install "
        "itk-morphologicalcontourinterpolation, or use morphological, which needs "
        "neither"
    )
