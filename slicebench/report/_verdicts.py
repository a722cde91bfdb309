"""Verdicts as the page shows them."""

from collections.abc import Collection
from typing import Any

from slicebench import statistics
from slicebench.report import _choices, _reading, _words


def groups(
    run: _reading.Run, summary: dict[str, Any], identical: Collection[_choices.Key] = ()
) -> list[dict[str, Any]]:
    """Returns verdicts by task and dims, those without verdict apart.

    Args:
      run: The run.
      summary: Content of summary.json.
      identical: Contrasts whose sides chose the same slices.
    """
    found: dict[str, dict[str, Any]] = {}
    for contrast in summary["contrasts"]:
        task = run.task(str(contrast["task"]))
        title = _words.title(contrast)
        group = found.setdefault(
            title,
            {
                "title": title,
                "synthetic": task["synthetic"],
                "expected": task.get("expected") if task["synthetic"] else None,
                "rows": [],
                "exploratory": [],
            },
        )
        explored = contrast["verdict"] == "exploratory"
        item = {
            "verdict": contrast["verdict"],
            "where": ", ".join(_words.factors(contrast.get("where") or {})),
            "sentence": _words.sentence(contrast),
            "notes": "; ".join(_notes(run, contrast, identical)),
        }
        group["exploratory" if explored else "rows"].append(item)
    return list(found.values())


def _notes(
    run: _reading.Run, contrast: _words.Row, identical: Collection[_choices.Key]
) -> list[str]:
    """Returns what qualifies a verdict and is not said of the whole page."""
    notes = _words.notes(contrast)
    if _choices.key(contrast) in identical:
        notes.append(statistics.IDENTICAL)
    few = int(run.experiment.get("num_seeds", 0)) < _words.FEW_SEEDS
    return [note for note in notes if not (few and note.startswith("few seeds"))]
