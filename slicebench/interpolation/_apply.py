"""Running an interpolation, with every check."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Shaped

from slicebench.errors import InputError, gather
from slicebench.interpolation._registry import INTERPOLATIONS
from slicebench.interpolation._types import HardLabel, Interpolation, SoftLabel

_SUM_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pseudo:
    """Pseudo-labels of one volume.

    Attributes:
      label: Class indices, or probabilities if `soft`; the expert's label on
        annotated slices, background where nothing is known.
      annotated: Slices that an expert annotated.
      filled: Slices that were filled in.
      soft: Whether `label` holds probabilities.
    """

    label: HardLabel | SoftLabel
    annotated: Bool[np.ndarray, " depth"]
    filled: Bool[np.ndarray, " depth"]
    soft: bool

    @property
    def share(self) -> float:
        """Share of supervised slices whose label is a pseudo-label."""
        known = np.count_nonzero(self.annotated) + np.count_nonzero(self.filled)
        return float(np.count_nonzero(self.filled) / known) if known else 0.0

    def hard(self) -> HardLabel:
        """Returns the most probable class, ties to the lowest."""
        if self.soft:
            wide = self.label.shape[-1] > 256
            return self.label.argmax(axis=-1).astype(np.uint16 if wide else np.uint8)
        return self.label

    def probabilities(
        self, classes: int
    ) -> Float[np.ndarray, "depth height width class"]:
        """Returns probabilities over 0 to `classes` - 1, float32.

        Raises:
          InputError: The label has more classes.
        """
        given = self.label.shape[-1] if self.soft else int(self.label.max()) + 1
        if given > classes:
            raise InputError(f"pseudo-label: {given} classes given, {classes} allowed")
        if not self.soft:
            return np.eye(classes, dtype=np.float32)[self.label]
        return np.pad(self.label, [(0, 0)] * 3 + [(0, classes - given)])


def interpolate(
    name: str,
    label: Shaped[np.ndarray, "..."],
    annotated: Shaped[np.ndarray, "..."],
    spacing: tuple[float, float, float],
    *,
    image: Shaped[np.ndarray, "..."] | None = None,
    outside: bool = False,
) -> Pseudo:
    """Fills masks by a named interpolation.

    Args:
      name: Name in `INTERPOLATIONS`.
      label: Class indices over depth, height and width, 0 is background; slices
        without annotation are never read, a method sees zeros there.
      annotated: Which slices an expert annotated, truth values over depth.
      spacing: Distance between voxel centres in mm, slices first.
      image: The image over depth, height, width and channel, for entries with
        `uses_image`; no other entry gets it.
      outside: Whether slices beyond the first and last annotated one are filled.

    Raises:
      InputError: For an unknown name, inputs that do not fit, a missing image, or
        a method, maybe a user's own, that breaks its contract.
    """
    if name not in INTERPOLATIONS:
        raise InputError(
            f"--interpolations: no such value {name!r}; "
            f"allowed: {', '.join(sorted(INTERPOLATIONS))}"
        )
    entry = INTERPOLATIONS[name]
    _check_inputs(name, entry, label, annotated, spacing, image)
    known = np.where(annotated[:, None, None], label, np.zeros_like(label))
    marks = annotated.copy()
    filled = entry.fill(
        known,
        marks,
        spacing,
        image=image if entry.uses_image else None,
        outside=outside,
    )
    _check_result(name, entry, filled, label, annotated)
    return Pseudo(
        label=filled[0], annotated=annotated, filled=filled[1], soft=entry.soft
    )


def _check_inputs(
    name: str,
    entry: Interpolation,
    label: np.ndarray,
    annotated: np.ndarray,
    spacing: tuple[float, float, float],
    image: np.ndarray | None,
) -> None:
    faults = []
    if label.ndim != 3 or not np.issubdtype(label.dtype, np.integer):
        faults.append(
            f"label of shape {label.shape} and type {label.dtype} given, whole numbers "
            "over depth, height and width are allowed"
        )
    elif label.size and label.min() < 0:
        faults.append(f"label value {label.min()} given, 0 and above are allowed")
    if annotated.shape != label.shape[:1] or annotated.dtype != bool:
        faults.append(
            f"annotated of shape {annotated.shape} and type {annotated.dtype} given, "
            f"one truth value for each of {label.shape[0]} slices is allowed"
        )
    if len(spacing) != 3 or not all(0 < side < np.inf for side in spacing):
        faults.append(
            f"spacing {tuple(spacing)} given, three positive lengths in mm are allowed"
        )
    if entry.uses_image and image is None:
        faults.append("no image given, this method needs one")
    if image is not None and (image.ndim != 4 or image.shape[:3] != label.shape):
        faults.append(
            f"image of shape {image.shape} given, {label.shape} and an axis of "
            "channels is allowed"
        )
    elif image is not None and not np.isfinite(image).all():
        faults.append("image with voxels that are no number given, finite ones allowed")
    if faults:
        raise gather(f"interpolation {name}", faults)


def _check_result(
    name: str,
    entry: Interpolation,
    result: tuple[np.ndarray, np.ndarray],
    label: np.ndarray,
    annotated: np.ndarray,
) -> None:
    """Raises if a method, maybe a user's own, breaks its contract."""
    pseudo, filled = result
    if filled.shape != annotated.shape or filled.dtype != bool:
        raise InputError(
            f"interpolation {name} returned filled slices of shape {filled.shape} and "
            f"type {filled.dtype}; {annotated.shape} truth values are needed"
        )
    shape = (*label.shape, pseudo.shape[-1]) if entry.soft else label.shape
    if pseudo.shape != shape or np.issubdtype(pseudo.dtype, np.floating) != entry.soft:
        wanted = "probabilities" if entry.soft else "class indices"
        raise InputError(
            f"interpolation {name} returned an array of shape {pseudo.shape} and type "
            f"{pseudo.dtype}; {wanted} of shape {shape} are needed"
        )
    faults = []
    hard = pseudo.argmax(axis=-1) if entry.soft else pseudo
    if (filled & annotated).any():
        faults.append("annotated slices among the filled ones")
    if (hard[annotated] != label[annotated]).any():
        faults.append("annotated slices with changed labels")
    if hard[~(annotated | filled)].any():
        faults.append("labels on slices that are neither annotated nor filled")
    largest = int(label[annotated].max(initial=0))
    if hard.min(initial=0) < 0 or hard.max(initial=0) > largest:
        faults.append(f"classes outside 0 to {largest}")
    if entry.soft and not np.allclose(pseudo.sum(axis=-1), 1, atol=_SUM_TOLERANCE):
        faults.append("probabilities that do not add up to 1")
    if faults:
        raise InputError(f"interpolation {name} returned {'; '.join(faults)}")
