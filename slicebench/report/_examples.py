"""The page of example predictions: images with truth and prediction."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from slicebench.errors import InputError
from slicebench.report import _palette, _style

_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile)


class Examples(NamedTuple):
    """Slices of test cases with what several networks made of them.

    Attributes:
      image: Normalised images.
      truth: Class indices, 0 is background.
      predictions: Class indices of each column's network.
      row_titles: One title a slice.
      column_titles: One title a network.
      spacing: Row and column spacing in mm.
    """

    image: Float[np.ndarray, "row height width"]
    truth: UInt8[np.ndarray, "row height width"]
    predictions: UInt8[np.ndarray, "row column height width"]
    row_titles: tuple[str, ...]
    column_titles: tuple[str, ...]
    spacing: tuple[float, float]


def read_examples(path: Path) -> Examples:
    """Reads one task's examples.

    Raises:
      InputError: The file is damaged or lacks an array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = Examples(
                arrays["image"],
                arrays["truth"],
                arrays["predictions"],
                tuple(str(title) for title in arrays["row_titles"]),
                tuple(str(title) for title in arrays["column_titles"]),
                (float(arrays["spacing"][0]), float(arrays["spacing"][1])),
            )
        _check(found)
    except _DAMAGE as error:
        raise _not_examples(path, error) from error
    return found


def _not_examples(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: not a file of examples ({error}); delete it, or run the experiment "
        "again to have it rebuilt"
    )


def _check(examples: Examples) -> None:
    """Raises ValueError where arrays do not fit together."""
    rows, columns = len(examples.row_titles), len(examples.column_titles)
    plane = examples.image.shape[1:]
    wanted = {
        "image": (rows, *plane),
        "truth": (rows, *plane),
        "predictions": (rows, columns, *plane),
    }
    for name, shape in wanted.items():
        given = getattr(examples, name).shape
        if given != shape or 0 in shape or len(plane) != 2:
            raise ValueError(f"{name} has shape {given}, expected {shape}")


def example_figure(examples: Examples, classes: tuple[str, ...]) -> Figure:
    """Images, truth and predictions side by side.

    Args:
      examples: What is shown.
      classes: Foreground class names, in the order of class indices.

    Returns:
      The figure: classes as coloured areas, the truth also as a white outline
      over every prediction.
    """
    rows, columns = examples.predictions.shape[:2]
    height, width = examples.image.shape[1:]
    aspect = examples.spacing[0] / examples.spacing[1]
    panel = min(9.8 / (columns + 2), 1.9)
    tall = panel * height * aspect / width
    size = (panel * (columns + 2), tall * rows + 0.55 + 0.05 * rows)
    with _style.house():
        figure = Figure(figsize=size, layout="constrained")
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)  # type: ignore[call-arg]
        grid = figure.subplots(rows, columns + 2, squeeze=False)
        for row in range(rows):
            _row(grid[row], examples, row, aspect)
        titles = ("image", "truth", *examples.column_titles)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title, fontsize=8, loc="center")
        _class_legend(figure, classes)
    return figure


def _row(grid, examples: Examples, row: int, aspect: float) -> None:
    image, truth = examples.image[row], examples.truth[row]
    low, high = np.percentile(image, (1, 99.5))
    for axes in grid:
        axes.imshow(
            image,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            interpolation="bicubic",
            aspect=aspect,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    grid[0].set_ylabel(examples.row_titles[row], fontsize=7)
    _areas(grid[1], truth)
    for axes, prediction in zip(grid[2:], examples.predictions[row], strict=True):
        _areas(axes, prediction)
        for index in _present(truth):
            axes.contour(
                truth == index, [0.5], colors=_palette.FIXED_WHITE, linewidths=0.9
            )


def _present(label: UInt8[np.ndarray, "height width"]) -> list[int]:
    return [int(index) for index in np.unique(label) if index]


def _areas(axes: Axes, label: UInt8[np.ndarray, "height width"]) -> None:
    for index in _present(label):
        color = _class_color(index)
        mask = label == index
        axes.contourf(mask, [0.5, 1.5], colors=[(*to_rgb(color), 0.45)])
        axes.contour(mask, [0.5], colors=[color], linewidths=0.9)


def _class_color(index: int) -> str:
    return _palette.CLASS_COLORS[(index - 1) % len(_palette.CLASS_COLORS)]


def _class_legend(figure: Figure, classes: tuple[str, ...]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=_class_color(index), alpha=0.7, label=name)
        for index, name in enumerate(classes, start=1)
    ]
    outline = Patch(fill=False, edgecolor=_palette.FAINT, label="truth (outline)")
    figure.legend(
        handles=[*handles, outline], loc="outside lower left", ncols=6, fontsize=8
    )
