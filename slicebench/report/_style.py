"""One look for every figure: sizes, names and how files are written."""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from slicebench.report._palette import FAINT, INK, PAPER

TIMES = "\u00d7"
MINUS = "\u2212"
ABSENT = "\u2013"

WIDE = 9.8
NARROW = 4.2
"""Width of a page's figures in inches, and of those for a phone."""

_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.2, 1.2, 1.2)),
)

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "figure.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "slicebench",
    "path.simplify": True,
}


def dash(index: int) -> Any:
    """Returns the dash pattern of the n-th arm that shares a strategy."""
    return _DASHES[index % len(_DASHES)]


_METRICS = {
    "dice": ("Dice", ""),
    "nsd": ("NSD", ""),
    "hd95": ("HD95", "mm"),
    "fp_ml": ("False-positive volume, class absent", "ml"),
    "fp_rate": ("False-positive cases, class absent", "share"),
    "fp_ml_slices": ("False-positive volume on empty slices", "ml"),
}


def metric_name(metric: str) -> str:
    """Returns a metric's name in prose.

    >>> metric_name("hd95")
    'HD95'
    """
    return _METRICS.get(metric, (metric, ""))[0]


def metric_unit(metric: str) -> str:
    """Returns a metric's unit, empty where it has none."""
    return _METRICS.get(metric, (metric, ""))[1]


def metric_label(metric: str) -> str:
    """Returns an axis label: name and unit."""
    unit = metric_unit(metric)
    return f"{metric_name(metric)} ({unit})" if unit else metric_name(metric)


def words(name: object) -> str:
    """Returns an identifier as words.

    >>> words("k_center"), words("fixed_interval")
    ('k-center', 'fixed interval')
    """
    text = str(name)
    return "k-center" if text == "k_center" else text.replace("_", " ")


def decimals(metric: str, value: float) -> str:
    """Returns a score as text: shares with 3 decimals, lengths with 2.

    >>> decimals("dice", 0.0121), decimals("dice", -0.0001), decimals("hd95", 3)
    ('0.012', '0.000', '3.00')
    """
    places = 2 if metric_unit(metric) else 3
    # Adding zero turns a rounded minus zero into zero.
    return f"{round(float(value), places) + 0.0:.{places}f}".replace("-", MINUS)


@contextlib.contextmanager
def house() -> Iterator[None]:
    """The suite's matplotlib settings, for as long as the block lasts."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def svg_text(figure: Figure) -> str:
    """Returns a figure as SVG, equal bytes for equal figures.

    Images go in with their own pixels and are smoothed by the viewer: smaller,
    and sharp at any size.

    Args:
      figure: A figure drawn under `house`; write its PNG first.
    """
    buffer = io.StringIO()
    for image in (image for axes in figure.axes for image in axes.images):
        image.set_interpolation("none")
    with house():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _share_images(buffer.getvalue())


_IMAGE = re.compile(
    r'<image xlink:href="data:[^"]*" id="(?P<id>\w+)" width="\d+" height="\d+" '
    r'transform="matrix\((?P<matrix>[^)]*)\)"[^>]*/>'
)


def _share_images(svg: str) -> str:
    """Replaces an image's later copies by references to the first one."""
    first: dict[str, list[float]] = {}

    def shared(match: re.Match[str]) -> str:
        matrix = [float(number) for number in match["matrix"].split()]
        known = first.setdefault(match["id"], matrix)
        if known is matrix:
            return re.sub(r' style="[^"]*"', "", match[0])
        wide, tall = matrix[0] / known[0], matrix[3] / known[3]
        right, down = matrix[4] - wide * known[4], matrix[5] - tall * known[5]
        place = f"matrix({wide:.6f} 0 0 {tall:.6f} {right:.4f} {down:.4f})"
        return f'<use xlink:href="#{match["id"]}" transform="{place}"/>'

    return _IMAGE.sub(shared, svg)


def png_bytes(figure: Figure, dpi: int = 150) -> bytes:
    """Returns a figure as PNG, equal bytes for equal figures."""
    buffer = io.BytesIO()
    with house():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
