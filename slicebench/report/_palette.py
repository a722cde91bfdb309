"""Colours and markers: one look a strategy everywhere, in the light and in the dark.

Colours are those of Okabe and Ito ("Color universal design", 2008), with their
yellow left out and tones of Tol (2021) added, so that they stay apart for the common
kinds of colour blindness; markers and dashes say the same again.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

INK = "#1f2933"
FAINT = "#6b7785"
GRID = "#dfe3e8"
CEILING = "#3d4852"
MARGIN = "#e9ecef"
FRAME = "#e4572e"
PAPER = "#ffffff"

FIXED_WHITE = "#fefefe"
"""White on a coloured field: white in the dark, too, unlike `PAPER`."""

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

_SHADES = (
    ("#440154", "#6f63c5"),
    ("#46327e", "#5f83d0"),
    ("#365c8d", "#4ea3c9"),
    ("#277f8e", "#3fbfae"),
    ("#1fa187", "#5ad08a"),
    ("#4ac16d", "#93dd66"),
    ("#a0da39", "#d3e84f"),
)
"""Viridis in seven steps, each with what stands for it in the dark."""


class Look(NamedTuple):
    """How one strategy is drawn everywhere."""

    color: str
    marker: str


_KNOWN = {
    "random": Look("#0072b2", "o"),
    "fixed_interval": Look("#d55e00", "s"),
    "k_center": Look("#009e73", "^"),
    "representative": Look("#b5548f", "D"),
    "fixed_interval_aligned": Look("#56b4e9", "v"),
    "stratified": Look("#8c6d1f", "h"),
    "central": Look("#4d4d4d", "*"),
    "k_means": Look("#332288", "<"),
    "k_medoids": Look("#882255", ">"),
    "typiclust": Look("#e69f00", "P"),
    "probcover": Look("#117733", "p"),
    "max_herding": Look("#cc6677", "d"),
    "facility_location": Look("#44aa99", "H"),
    "rep_div": Look("#999933", "8"),
    "foreground_random_33": Look("#7f8a96", "1"),
    "foreground_random_66": Look("#7f8a96", "2"),
    "foreground_interval": Look("#7f8a96", "3"),
    "extent_random": Look("#a07d5b", "1"),
    "extent_interval": Look("#a07d5b", "2"),
    "all": Look(CEILING, "X"),
}
_SPARE = tuple(
    Look(color, marker)
    for marker in ("X", "$*$")
    for color in (
        "#aa4499",
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#e69f00",
        "#332288",
        "#882255",
        "#56b4e9",
    )
)

_INTERPOLATIONS = {
    "signed_distance": Look("#0072b2", "o"),
    "nearest": Look("#8c6d1f", "s"),
    "linear": Look("#009e73", "^"),
    "morphological": Look("#b5548f", "D"),
    "image_guided": Look("#d55e00", "v"),
}

_DARK = {
    INK: "#e4e8ec",
    FAINT: "#a3adb8",
    GRID: "#333d47",
    CEILING: "#c3ccd5",
    MARGIN: "#313b45",
    PAPER: "#1c2229",
    "#0b6e4f": "#58c79b",
    "#1f5fa8": "#7fb2f0",
    "#3b7ea1": "#7cc0d8",
    "#a8321f": "#f0907f",
    "#7a6000": "#e0c05a",
    "#5f6b7a": "#a3adb8",
    "#0072b2": "#4c9be8",
    "#d55e00": "#ff8a3d",
    "#009e73": "#2fc69b",
    "#b5548f": "#e08ac0",
    "#56b4e9": "#9bd8ff",
    "#8c6d1f": "#c9a94f",
    "#4d4d4d": "#b8b8b8",
    "#332288": "#9a8ff2",
    "#882255": "#d9679d",
    "#e69f00": "#ffc247",
    "#117733": "#63bd7f",
    "#cc6677": "#f19aa6",
    "#44aa99": "#7fdccb",
    "#999933": "#cfcf6a",
    "#aa4499": "#d783c9",
    "#7f8a96": "#9aa5b1",
    "#a07d5b": "#c9a784",
    **dict(_SHADES),
}
"""Each colour of a figure with what stands for it where dark is preferred."""


def looks(strategies: Iterable[str]) -> dict[str, Look]:
    """Returns one look a strategy: the suite's own have theirs always.

    A user's strategy has the look that its name gives it, unless another one of
    the same figure has that already.

    >>> looks(["random", "mine"])["random"].color
    '#0072b2'
    """
    return _looks(strategies, _KNOWN)


def interpolation_looks(interpolations: Iterable[str]) -> dict[str, Look]:
    """Returns one look an interpolation, by the same rule as `looks`.

    >>> interpolation_looks(["linear", "mine"])["linear"].marker
    '^'
    """
    return _looks(interpolations, _INTERPOLATIONS)


def _looks(names: Iterable[str], known: Mapping[str, Look]) -> dict[str, Look]:
    found: dict[str, Look] = {}
    for name in sorted(set(names)):
        if name in known:
            found[name] = known[name]
            continue
        start = hashlib.sha256(name.encode()).digest()[0] % len(_SPARE)
        order = (*_SPARE[start:], *_SPARE[:start])
        free = (look for look in order if look not in found.values())
        found[name] = next(free, order[0])
    return found


def rank(strategy: str) -> tuple[int, str]:
    """Returns a sort key: the suite's own strategies first, simplest first.

    >>> sorted(["mine", "k_center", "random"], key=rank)
    ['random', 'k_center', 'mine']
    """
    known = list(_KNOWN)
    place = known.index(strategy) if strategy in known else len(known)
    return place, strategy


def shades(count: int) -> list[str]:
    """Returns colours from dark to light for ordered values, such as densities.

    >>> shades(2)
    ['#440154', '#a0da39']
    """
    last = len(_SHADES) - 1
    steps = max(count - 1, 1)
    return [_SHADES[round(place * last / steps)][0] for place in range(count)]


_COLOR = re.compile(r"(?P<use>(?:fill|stroke): )(?P<color>#[0-9a-f]{6})")


def adaptive(svg: str) -> str:
    """Replaces a figure's colours by properties that the page sets.

    >>> adaptive('<path style="fill: #1f2933"/>')
    '<path style="fill: var(--c-1f2933)"/>'
    """

    def replaced(match: re.Match[str]) -> str:
        color = match["color"]
        if color not in _DARK:
            return match[0]
        return f"{match['use']}var(--c-{color[1:]})"

    return _COLOR.sub(replaced, svg)


def css() -> dict[str, str]:
    """Returns the properties of all colours, for light and for dark pages."""
    return {
        "light": " ".join(f"--c-{color[1:]}: {color};" for color in _DARK),
        "dark": " ".join(f"--c-{color[1:]}: {dark};" for color, dark in _DARK.items()),
    }
