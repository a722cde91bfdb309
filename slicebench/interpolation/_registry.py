"""The registry of interpolations."""

from slicebench.interpolation._along_depth import linear, nearest
from slicebench.interpolation._image_guided import image_guided
from slicebench.interpolation._itk import morphological_itk
from slicebench.interpolation._morphological import morphological
from slicebench.interpolation._none import no_filling
from slicebench.interpolation._signed_distance import signed_distance
from slicebench.interpolation._types import Interpolation

INTERPOLATIONS: dict[str, Interpolation] = {
    "none": Interpolation(
        fill=no_filling, reference="annotated slices alone supervise"
    ),
    "nearest": Interpolation(fill=nearest, reference="nearest annotated slice"),
    "linear": Interpolation(
        fill=linear, soft=True, reference="linear blend of one-hot classes"
    ),
    "signed_distance": Interpolation(
        fill=signed_distance,
        reference="shape-based interpolation (Raya and Udupa 1990)",
    ),
    "morphological": Interpolation(
        fill=morphological,
        reference="conditional dilations (Albu, Beugeling and Laurendeau 2008)",
    ),
    "morphological_itk": Interpolation(
        fill=morphological_itk,
        reference="ITK's contour interpolation (Zukic et al. 2016)",
    ),
    "image_guided": Interpolation(
        fill=image_guided,
        uses_image=True,
        reference=(
            "labels carried by slice-to-slice registration (demons, Thirion 1998), "
            "blended by signed distance"
        ),
    ),
}
"""Ways to fill masks between annotated slices."""
