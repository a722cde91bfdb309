"""Verdicts as the page shows them."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from slicebench import statistics
from slicebench.report import _choices, _inline, _reading, _words

_MEANING = {
    "superior": "the side named first scores higher, beyond chance.",
    "inferior": "the side named first scores lower, beyond chance.",
    "equivalent": "whatever difference there is, it is smaller than the margin.",
    "noninferior": "the side named first is at most the margin worse; whether it is "
    "better remains open.",
    "inconclusive": "the data leave it open: neither a difference nor its absence is "
    "shown. That is not the same as no difference.",
}


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
    for number, contrast in enumerate(summary["contrasts"]):
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
            "evidence": f"{_words.ROWS}-{number}",
            "figure": _inline.slug("contrasts", contrast["metric"]),
        }
        group["exploratory" if explored else "rows"].append(item)
    for group in found.values():
        group["counts"] = _counts(group["rows"])
        group["summary"] = _counted(group["counts"])
        group["meanings"] = _meanings(group["rows"])
    return list(found.values())


_PLANNED = "planned comparisons"


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Returns how many verdicts there are, and of each kind that occurs."""
    counts = Counter(str(row["verdict"]) for row in rows)
    kinds = {name: counts[name] for name in statistics.VERDICTS if counts[name]}
    return {_PLANNED: len(rows), **kinds}


def _counted(counts: dict[str, int]) -> str:
    """Returns the same in one sentence, empty without any."""
    kinds = dict(counts)
    many = kinds.pop(_PLANNED)
    parts = [f"{count} {name}" for name, count in kinds.items()]
    noun = _PLANNED if many > 1 else _PLANNED.removesuffix("s")
    return f"{many} {noun}: {', '.join(parts)}." if many else ""


def _meanings(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Returns what the verdicts that occur mean, in plain words."""
    present = {row["verdict"] for row in rows}
    return [
        {"name": name, "text": _MEANING[name]}
        for name in statistics.VERDICTS
        if name in present and name in _MEANING
    ]


def _notes(
    run: _reading.Run, contrast: _words.Row, identical: Collection[_choices.Key]
) -> list[str]:
    """Returns what qualifies a verdict and is not said of the whole page."""
    notes = _words.notes(contrast)
    if _choices.key(contrast) in identical:
        notes.append(statistics.IDENTICAL)
    few = run.most_seeds < _words.FEW_SEEDS
    return [note for note in notes if not (few and note.startswith("few seeds"))]
