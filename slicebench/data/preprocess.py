"""From native volumes to one in-plane grid, fitted on the pool's images only."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from slicebench import errors, spec
from slicebench.data import intensity, prepared, targets
from slicebench.data.resample import Line
from slicebench.data.volumes import Scan, Volume

_SLACK = 1e-6
_PER_VOLUME = "z-score of each volume"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices of preprocessing.

    Attributes:
      max_size: Largest height and width of the grid.
      multiple: Height and width of the grid are multiples of this.
      field_of_view: Side in mm of the central square that is kept in plane; None
        keeps all. What lies outside counts as background in predictions.
      ct_window: Lowest and highest intensity of CT that are told apart, in the unit
        of the stored images; None takes percentiles of the pool's body voxels.
    """

    max_size: int = 96
    multiple: int = 16
    field_of_view: float | None = dataclasses.field(default=None, metadata=spec.ADDED)
    ct_window: tuple[float, float] | None = dataclasses.field(
        default=None, metadata=spec.ADDED
    )

    def __post_init__(self):
        if self.multiple < 1 or self.max_size < self.multiple:
            raise errors.InputError(
                f"grid: max_size {self.max_size} and multiple {self.multiple}; allowed "
                "are a multiple of 1 or more and a max_size not below it"
            )
        if self.field_of_view is not None and not 0 < self.field_of_view < math.inf:
            raise errors.InputError(
                f"--field_of_view={self.field_of_view}: a length above 0 mm is allowed"
            )
        if self.ct_window is not None and not -math.inf < self.ct_window[0] < min(
            self.ct_window[1], math.inf
        ):
            raise errors.InputError(
                f"--ct_window={self.ct_window[0]:g},{self.ct_window[1]:g}: a lower and "
                "a higher intensity are allowed"
            )

    @property
    def record(self) -> dict[str, Any]:
        """JSON-ready settings; digests of data that are kept whole stay the same."""
        made = dataclasses.asdict(self)
        added = ("field_of_view", "ct_window")
        return {k: v for k, v in made.items() if k not in added or v is not None}

    @property
    def limit(self) -> int:
        """Largest multiple within `max_size`."""
        return self.max_size // self.multiple * self.multiple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was fitted on the pool's images.

    Attributes:
      grid: Height and width of the grid.
      spacing: Height and width spacing of the grid in mm.
      windows: CT window of each channel; None where each volume is scaled by
        itself.
      field_of_view: Side in mm of the central square that is kept.
    """

    grid: tuple[int, int]
    spacing: tuple[float, float]
    windows: tuple[intensity.Window | None, ...]
    field_of_view: float = math.inf

    def extent(self, case: Scan) -> tuple[float, float]:
        """Returns height and width in mm of what is kept of a case."""
        height, width = (
            min(size * step, self.field_of_view)
            for size, step in zip(case.shape[1:], case.spacing[1:], strict=True)
        )
        return height, width


def fit(pool: Sequence[Scan], channels: Sequence[str], settings: Settings) -> Fitted:
    """Fits grid and intensity windows on images of the pool; labels are not read.

    The target spacing is the median in-plane spacing of the pool. The grid is
    the smallest multiples that hold every pool image; where that exceeds the
    limit, the spacing grows by one factor in height and width until it fits.

    Args:
      pool: Cases of the pool.
      channels: Channel names.
      settings: Grid size limits.
    """
    spacing = np.median([case.spacing[1:] for case in pool], axis=0)
    kept = Fitted(
        grid=(0, 0),
        spacing=(0.0, 0.0),
        windows=(),
        field_of_view=settings.field_of_view or math.inf,
    )
    extents = np.array([kept.extent(case) for case in pool]).max(axis=0)
    spacing = spacing * max(1.0, float((extents / spacing).max()) / settings.limit)
    sizes = [
        math.ceil(extent / step / settings.multiple - _SLACK) * settings.multiple
        for extent, step in zip(extents, spacing, strict=True)
    ]

    def read(channel: int) -> Iterator[np.ndarray]:
        return (case.load_image()[channel] for case in pool)

    windows = [
        _window(name, lambda index=index: read(index), settings)
        for index, name in enumerate(channels)
    ]
    if settings.ct_window is not None and not any(windows):
        raise errors.InputError(
            f"--ct_window needs a channel that is CT; channels: {', '.join(channels)}"
        )
    return Fitted(
        grid=(sizes[0], sizes[1]),
        spacing=(float(spacing[0]), float(spacing[1])),
        windows=tuple(windows),
        field_of_view=kept.field_of_view,
    )


def _window(
    channel: str, volumes: Callable[[], Iterator[np.ndarray]], settings: Settings
) -> intensity.Window | None:
    if not intensity.is_ct(channel):
        return None
    window = intensity.fit_window(volumes, settings.ct_window)
    if settings.ct_window is not None and window.std == 0:
        raise errors.InputError(
            f"--ct_window={settings.ct_window[0]:g},{settings.ct_window[1]:g}: nothing "
            f"within it differs in channel {channel!r}; body voxels start at "
            f"{window.body:g} in the unit of the stored images"
        )
    return window


def fitted_record(
    channels: Sequence[str], cases: Sequence[Scan], fitted: Fitted
) -> dict[str, Any]:
    """Returns what was fitted, JSON-ready; `read_fitted` is the way back.

    Args:
      channels: Channel names.
      cases: Cases that are prepared with it; those that had to shrink are named.
      fitted: What was fitted.
    """
    factors = {case.name: shrink_factor(case, fitted) for case in cases}
    return {
        "grid": list(fitted.grid),
        "spacing": list(fitted.spacing),
        "intensity": {
            channel: _PER_VOLUME if window is None else window._asdict()
            for channel, window in zip(channels, fitted.windows, strict=True)
        },
        "shrunk": {name: factor for name, factor in factors.items() if factor > 1},
    }


def read_fitted(channels: Sequence[str], record: Mapping[str, Any]) -> Fitted:
    """Returns what was fitted from the record of a run.

    Args:
      channels: Channel names.
      record: `Settings.record` and `fitted_record` in one.

    Raises:
      KeyError: Something is missing there.
    """
    windows = [record["intensity"][channel] for channel in channels]
    height, width = record["grid"]
    return Fitted(
        grid=(int(height), int(width)),
        spacing=(float(record["spacing"][0]), float(record["spacing"][1])),
        windows=tuple(
            None if window == _PER_VOLUME else intensity.Window(**window)
            for window in windows
        ),
        field_of_view=record.get("field_of_view") or math.inf,
    )


def shrink_factor(case: Scan, fitted: Fitted) -> float:
    """Returns by how much a case's grid spacing must grow for it to fit.

    Only cases outside the pool can exceed the grid; they are shrunk as a
    whole, so that no tissue is lost and their proportions stay.
    """
    sizes = [
        extent / (target * size)
        for extent, target, size in zip(
            fitted.extent(case), fitted.spacing, fitted.grid, strict=True
        )
    ]
    largest = max(sizes)
    return largest if largest > 1 + _SLACK else 1.0


def prepare_image(
    case: Scan, fitted: Fitted
) -> Float[np.ndarray, "depth height width channel"]:
    """Normalises one case's image and resamples its slices onto the grid.

    Interpolated linearly (with a triangle filter when shrinking) after
    normalisation. Outside the image the grid holds 0, the mean intensity. Depth
    is never resampled.
    """
    return _on_grid(case, fitted, *_lines(case, fitted))


def _on_grid(
    case: Scan, fitted: Fitted, rows: Line, columns: Line
) -> Float[np.ndarray, "depth height width channel"]:
    to_rows, to_columns = rows.to_grid(), columns.to_grid().T
    image = [
        to_rows @ intensity.normalise(channel, window) @ to_columns
        for channel, window in zip(case.load_image(), fitted.windows, strict=True)
    ]
    return np.stack(image, axis=-1)


def _lines(case: Scan, fitted: Fitted) -> tuple[Line, Line]:
    """Returns how rows and columns of a case lie on the grid."""
    factor = shrink_factor(case, fitted)
    rows, columns = (
        Line(size, grid, target_step * factor / step)
        for size, grid, target_step, step in zip(
            case.shape[1:], fitted.grid, fitted.spacing, case.spacing[1:], strict=True
        )
    )
    return rows, columns


def to_native(
    case: Scan, fitted: Fitted
) -> tuple[
    Float[np.ndarray, "native_height height"], Float[np.ndarray, "native_width width"]
]:
    """Returns the matrices that carry a plane of the grid back to a case's voxels."""
    rows, columns = _lines(case, fitted)
    return rows.to_native(), columns.to_native()


def prepare_case(
    case: Volume, fitted: Fitted, target: targets.Target
) -> prepared.PreparedCase:
    """Prepares the image as `prepare_image` does, and the labels with it.

    Labels take the nearest voxel; outside the image the grid holds background.
    """
    rows, columns = _lines(case, fitted)
    native_label = target.apply(case.load_label())
    row_index, column_index = rows.nearest(), columns.nearest()
    label = native_label[:, row_index[:, None], column_index[None, :]]
    label[:, (row_index[:, None] < 0) | (column_index[None, :] < 0)] = 0
    return prepared.PreparedCase(
        name=case.name,
        group=case.group,
        image=_on_grid(case, fitted, rows, columns),
        label=label,
        native_label=native_label,
        spacing=case.spacing,
        to_native=to_native(case, fitted),
    )
