"""Verdicts and estimates in plain words."""

import math
from collections.abc import Mapping
from typing import Any

from slicebench.report import _style

Row = Mapping[str, Any]

_FACTORS = {
    "budget": "{} slices",
    "num_volumes": "{} volumes",
    "slices_per_volume": "{} per volume",
    "volume_strategy": "volumes by {}",
    "strategy": "{}",
    "features": "{} features",
    "scope": "{} volumes",
    "interpolation": "{} interpolation",
    "pseudo_weight": "pseudo-label weight {}",
    "steps": "{} steps",
}

FEW_SEEDS = 10

ROWS = "contrast"
"""What the anchors of the table of contrasts start with."""


def verdict_lines(summary: Row, experiment: Row | None = None) -> list[str]:
    """Returns one line a contrast: where, what was gained, and the verdict.

    Args:
      summary: Content of `summary.json`.
      experiment: Content of `experiment.json`; with it, lines about phantoms say
        that their outcome is expected by construction.

    Returns:
      Primary contrasts first, in the order of the summary.
    """
    contrasts = sorted(summary["contrasts"], key=lambda c: c["verdict"] == _NONE)
    lines = []
    for contrast in contrasts:
        line = f"{place(contrast)}: {sentence(contrast)}: {verdict(contrast)}"
        lines.append(line + _synthetic(str(contrast["task"]), experiment))
    return lines


_NONE = "exploratory"


def _synthetic(task: str, experiment: Row | None) -> str:
    for known in (experiment or {}).get("tasks", ()):
        if known["name"] == task and known["synthetic"]:
            return " (synthetic: expected by construction)"
    return ""


def place(contrast: Row) -> str:
    """Returns where a contrast holds: task, dims and shared factors."""
    parts = [title(contrast), *factors(contrast.get("where") or {})]
    return ", ".join(parts)


def title(row: Row) -> str:
    """Returns task and dims, with the target where it is not everything.

    >>> title({"task": "liver", "target": "all", "dims": "2d"})
    'liver, 2D'
    """
    target = str(row.get("target", "all"))
    named = f" ({target})" if target not in ("all", "") else ""
    return f"{row['task']}{named}, {str(row['dims']).upper()}"


def factors(values: Row) -> list[str]:
    """Returns factor values in words.

    >>> factors({"budget": 48, "strategy": "k_center"})
    ['48 slices', 'k-center']
    >>> factors({"interpolation": "linear"}), factors({"interpolation": "none"})
    (['linear interpolation'], ['no interpolation'])
    """
    skip = ("task", "target", "dims", "metric", "fold")
    return [_factor(n, value) for n, value in values.items() if n not in skip]


def _factor(name: str, value: object) -> str:
    if (name, value) == ("interpolation", "none"):
        return "no interpolation"
    pattern = _FACTORS.get(name, name.replace("_", " ") + " {}")
    return pattern.format(_value(value))


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " or ".join(_style.words(entry) for entry in value)
    return _style.words(value)


def subject(contrast: Row) -> str:
    """Returns what is compared: one side against the other, or the halving."""
    if contrast.get("kind") == "slope":
        return "each halving of slices per volume"
    sides = (contrast.get("a") or {}, contrast.get("b") or {})
    if not any(sides):
        return str(contrast["name"])
    first, second = (_side(side, contrast.get("where") or {}) for side in sides)
    return f"{first} instead of {second}"


def _side(side: Row, where: Row) -> str:
    """Returns one side in words; an allocation as volumes x slices."""
    budget, slices = where.get("budget"), side.get("slices_per_volume")
    alone = set(side) == {"slices_per_volume"}
    if not (alone and isinstance(budget, int) and isinstance(slices, int) and slices):
        return " with ".join(factors(side)) or "the rest"
    plural = "" if slices == 1 else "s"
    return f"{budget // slices} volumes {_style.TIMES} {slices} slice{plural}"


def label(contrast: Row) -> str:
    """Returns shared factors and sides, short enough for an axis."""
    shared = ", ".join(factors(contrast.get("where") or {}))
    if contrast.get("kind") == "slope":
        text = "halving slices per volume"
    else:
        text = subject(contrast).replace(" instead of ", f" {_style.MINUS} ")
    return f"{shared}: {text}" if shared else text


def sentence(contrast: Row) -> str:
    """Returns what was gained or lost, with its interval.

    Positive estimates favour side `a`; for distances in mm that is a smaller
    distance.
    """
    metric, value = str(contrast["metric"]), contrast["estimate"]
    if value is None or not math.isfinite(value):
        return f"{subject(contrast)}: no estimate ({contrast.get('reason')})"
    unit, name = _style.metric_unit(metric), _style.metric_name(metric)
    signed, size = (_style.decimals(metric, v) for v in (value, abs(value)))
    edges = ", ".join(edge(metric, contrast[end]) for end in ("low", "high"))
    if unit and value >= 0:
        gain = f"lowers {name} by {size} {unit} [{edges}]"
    elif unit:
        gain = f"raises {name} by {size} {unit} (as a gain: {signed} [{edges}])"
    elif value >= 0:
        gain = f"gains {size} {name} [{edges}]"
    else:
        gain = f"changes {name} by {signed} [{edges}]"
    return f"{subject(contrast)} {gain}"


def edge(metric: str, value: float | None) -> str:
    """Returns one end of an interval, a dash where it is not known."""
    if value is None or not math.isfinite(value):
        return _style.ABSENT
    return _style.decimals(metric, value)


def verdict(contrast: Row) -> str:
    """Returns the verdict with what qualifies it."""
    name = str(contrast["verdict"])
    text = "exploratory, no verdict" if name == _NONE else name
    remarks = notes(contrast)
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def notes(contrast: Row) -> list[str]:
    """Returns what qualifies a verdict: margin, worth in slices, few seeds."""
    name, margin = str(contrast["verdict"]), contrast.get("margin")
    found: list[str] = []
    if contrast.get("negligible") and name in ("superior", "inferior"):
        found.append("negligible: within the margin")
    if name in ("equivalent", "noninferior") and margin:
        found.append(f"margin {_style.decimals(str(contrast['metric']), margin)}")
    saved = (contrast.get("slices_saved") or {}).get("estimate")
    # What could be nothing is worth no number of slices; the table has it still.
    if saved is not None and name != "inconclusive":
        found.append(_like(saved))
    if contrast.get("reason") and contrast["estimate"] is not None:
        found.append(str(contrast["reason"]))
    if contrast.get("state") in _UNSETTLED:
        found.append(_UNSETTLED[contrast["state"]])
    if contrast["estimate"] is not None and contrast["num_seeds"] < FEW_SEEDS:
        found.append(f"few seeds: {contrast['num_seeds']}")
    return found


_UNSETTLED = {
    "case-limited": "limited by the test cases: more seeds would not settle it",
    "cap reached": "not settled at the last look",
    "going on": "more seeds are to come",
}
"""Of a run made look by look: what an open state means for a contrast."""

_MOST_TIMES = 3.0


def _like(saved: float) -> str:
    """Says what a difference is worth in budget; far ones are not spelled out.

    >>> _like(0.25), _like(-0.1), _like(400.0)
    ('like 25 % more slices', 'like 10 % fewer slices', 'like over 4 times the slices')
    """
    if saved > _MOST_TIMES:
        return f"like over {_MOST_TIMES + 1:.0f} times the slices"
    more = "more" if saved >= 0 else "fewer"
    return f"like {100 * abs(saved):.0f} % {more} slices"
