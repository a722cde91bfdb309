"""One look for every figure: colours, markers, names and how files are written.

Colours are those of Okabe and Ito ("Color universal design", 2008), with their
yellow left out and tones of Tol (2021) added, so that they stay apart
for the common kinds of colour blindness; markers and dashes say the same again.
"""

import contextlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

TIMES = "\u00d7"
MINUS = "\u2212"
ABSENT = "\u2013"

INK = "#1f2933"
FAINT = "#6b7785"
GRID = "#dfe3e8"
CEILING = "#3d4852"
MARGIN = "#e9ecef"

VERDICT_COLORS = {
    "superior": "#0b6e4f",
    "equivalent": "#1f5fa8",
    "noninferior": "#3b7ea1",
    "inferior": "#a8321f",
    "inconclusive": "#7a6000",
    "exploratory": "#5f6b7a",
}
"""Verdict to colour; each is at least 4.5 : 1 against white."""

CLASS_COLORS = ("#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#f0e442", "#d55e00")
"""Colours of classes on grey images, in the order of the class list."""

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
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "slicebench",
    "path.simplify": True,
}


class Look(NamedTuple):
    """How one strategy is drawn everywhere."""

    color: str
    marker: str


_KNOWN = {
    "random": Look("#0072b2", "o"),
    "fixed_interval": Look("#d55e00", "s"),
    "k_center": Look("#009e73", "^"),
    "representative": Look("#b5548f", "D"),
    "all": Look(CEILING, "X"),
}
_SPARE = (
    Look("#56b4e9", "v"),
    Look("#e69f00", "P"),
    Look("#332288", "<"),
    Look("#882255", ">"),
    Look("#117733", "p"),
    Look("#8c6d1f", "h"),
    Look("#4d4d4d", "*"),
    Look("#cc6677", "d"),
    Look("#44aa99", "H"),
    Look("#999933", "8"),
    Look("#aa4499", "X"),
)


def looks(strategies: Iterable[str]) -> dict[str, Look]:
    """Returns one look per strategy, the same for the suite's own ones always.

    >>> looks(["random", "mine"])["random"].color
    '#0072b2'
    """
    names = sorted(set(strategies))
    spare = itertools.cycle(_SPARE)
    return {name: _KNOWN.get(name) or next(spare) for name in names}


def rank(strategy: str) -> tuple[int, str]:
    """Returns a sort key: the suite's own strategies first, simplest first.

    >>> sorted(["mine", "k_center", "random"], key=rank)
    ['random', 'k_center', 'mine']
    """
    known = list(_KNOWN)
    place = known.index(strategy) if strategy in known else len(known)
    return place, strategy


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
