"""How the report's numbers are meant, in words."""

from collections.abc import Mapping
from typing import Any

_SCORES = (
    "Dice, NSD (normalised surface Dice) and HD95 (95th percentile of surface "
    "distances) of each test case and class, on the case's native grid and in mm; "
    "averaged over cases within a class first, then over the fixed list of classes."
)
_EMPTY = (
    "Whether a score exists depends on the truth only. Truth empty: no Dice, NSD or "
    "HD95. Truth present and prediction empty: Dice 0, NSD 0, HD95 the physical "
    "diagonal of the case. A diverged trial counts as empty predictions."
)
_INTERVALS = (
    "95 % two-way random-effects t intervals over seeds and test cases, which are "
    "crossed: mean square of seeds plus that of cases minus the residual, "
    "Satterthwaite degrees of freedom. They speak of new seeds and similar cases, "
    "given this pool. Below 10 seeds they rest on few degrees of freedom."
)
_CONTRASTS = (
    "Positive favours the side named first, for HD95 too (its sign is turned). The "
    "slope is the score gained by each halving of slices per volume at a fixed "
    "budget; positive favours many volumes with few slices each. Seeds and cases are "
    "paired: the same seed gives every strategy the same volumes, initial weights "
    "and augmentations."
)
_VERDICTS = (
    "One-sided tests at 0.025 for superior, inferior and noninferior, two one-sided "
    "tests at 0.05 for equivalent, each Holm-adjusted over its family. First match: "
    "superior, inferior (called negligible when the 90 % interval lies within the "
    "margin), equivalent, noninferior, inconclusive. Contrasts outside a primary "
    "family are exploratory: an interval, no verdict."
)
_MARGINS = (
    "The smallest difference that matters: the score that 25 % more budget gains with "
    "random slices, measured on development cases; a fixed one where that curve gives "
    "none. Values and sources stand in the table of margins. A slope is the score "
    "gained by each halving of slices per volume, and its margin is per halving too: "
    "over several halvings, differences add up."
)
_CEILING = (
    "The same network and schedule with every slice of the pool labelled (dashed "
    "line). A share of it compares mean Dice."
)
_SPLITS = (
    "By patient and before anything else: settings and margins are chosen on "
    "development cases, slices are chosen from pool cases without their labels, test "
    "cases are only scored. The last weights are scored; no checkpoint is selected."
)


def conventions(experiment: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the definitions that a reader needs, each with its name.

    Args:
      experiment: Content of experiment.json.
    """
    tolerances = experiment.get("nsd_tolerance_mm") or {}
    nsd = "; ".join(f"{task}: {value:g} mm" for task, value in tolerances.items())
    texts = {
        "Scores": _SCORES,
        "Empty masks": _EMPTY,
        "NSD tolerance": nsd or "not recorded",
        "Intervals": _INTERVALS,
        "Contrasts": _CONTRASTS,
        "Margins": _MARGINS,
        "Verdicts": _VERDICTS,
        "Ceiling": _CEILING,
        "Splits": _SPLITS,
    }
    return [{"name": name, "text": text} for name, text in texts.items()]
