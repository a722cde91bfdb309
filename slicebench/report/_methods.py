"""A paragraph for the methods section of a paper, with its references."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from slicebench.report import _reading, _references, _style, _words

_SIDES = {"development": "development", "pool": "pool", "test": "test"}


class Methods(NamedTuple):
    """The text and what it cites.

    Attributes:
      paragraphs: Text with numbers of references in brackets.
      references: In the order of their numbers.
    """

    paragraphs: list[str]
    references: list[str]


def methods(run: _reading.Run, summary: Mapping[str, Any]) -> Methods:
    """Describes what was done, from what the run has recorded alone.

    Args:
      run: The run.
      summary: Content of summary.json.
    """
    experiment = run.experiment
    texts = [
        " ".join(_data(task, experiment) for task in _tasks(experiment)),
        _choosing(run),
        " ".join(_network(program) for program in _distinct(experiment)),
        _scoring(experiment),
        _statistics(run, summary),
        _software(run),
    ]
    return _numbered([text for text in texts if text])


_CITE = re.compile(r"\{(?P<key>\w+)\}")


def _numbered(texts: list[str]) -> Methods:
    """Replaces {keys} by numbers, in the order in which they come."""
    order: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"[{order.setdefault(match['key'], len(order) + 1)}]"

    paragraphs = [_CITE.sub(number, text) for text in texts]
    return Methods(paragraphs, [_references.REFERENCES[key] for key in order])


def _plain(value: object) -> str:
    """Returns a name from outside, which must not be taken for a citation."""
    return str(value).replace("{", "(").replace("}", ")")


def _tasks(experiment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one record a task, its folds together."""
    return list({task["name"]: task for task in reversed(experiment["tasks"])}.values())


def _data(task: Mapping[str, Any], experiment: Mapping[str, Any]) -> str:
    split = task.get("split", {})
    counts = ", ".join(
        f"{len(split[side])} {name}" for side, name in _SIDES.items() if side in split
    )
    folds = sum(1 for other in experiment["tasks"] if other["name"] == task["name"])
    many = f" in each of {folds} outer folds" if folds > 1 else ""
    classes = " and ".join(_plain(name) for name in task["classes"])
    kind = "a synthetic phantom" if task["synthetic"] else "real volumes"
    return (
        f"Task {_plain(task['name'])} ({kind}; {classes}) was split by patient into "
        f"{counts} cases{many}; settings and margins were fixed on development cases, "
        "slices were chosen from pool cases without their labels, and test cases were "
        "scored once."
    )


def _choosing(run: _reading.Run) -> str:
    names = sorted(set(run.trials["strategy"]) - {"all"}) if len(run.trials) else []
    if not names:
        return ""
    said = [
        f"{_plain(_style.words(name))}{_references.of_strategy(name)}" for name in names
    ]
    filled = sorted(set(run.trials["interpolation"]) - {"none"})
    masks = ""
    if filled:
        cited = [
            f"{_plain(_style.words(name))}{_references.of_interpolation(name)}"
            for name in filled
        ]
        masks = f" Masks between annotated slices were filled by {_list(cited)}."
    swept = run.trials.loc[run.trials["strategy"] != "all", "budget"]
    budgets = sorted({int(value) for value in swept})
    return (
        f"Budgets of {_list(budgets)} annotated slices were spread over volumes in "
        f"several allocations where the experiment asks for it {{source}}. Slices were "
        f"chosen by {_list(said)}. Under one seed all strategies had the same volumes, "
        f"first weights and augmentations.{masks}"
    )


def _list(values: list[Any]) -> str:
    """Joins values as prose does.

    >>> _list([1, 2, 3])
    '1, 2 and 3'
    """
    parts = [str(value) for value in values]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _distinct(experiment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns programs that differ in more than the size of their inputs."""
    found: dict[str, dict[str, Any]] = {}
    for program in experiment.get("programs", ()):
        key = str([program.get(name) for name in ("dims", "network", "training")])
        found.setdefault(key, program)
    return list(found.values())


def _network(program: Mapping[str, Any]) -> str:
    network, training = program.get("network", {}), program.get("training", {})
    cite = "{adamw}" if training.get("optimizer") == "adamw" else "{nesterov}"
    dims = str(program.get("dims", ""))
    rate = f"{training.get('learning_rate', float('nan')):g}"
    return (
        f"The {dims.upper()} network was a plain U-Net {{unet}} "
        f"with instance normalisation and leaky ReLU, {network.get('width')} channels "
        f"at full resolution, {network.get('depth')} levels and "
        f"{program.get('parameters')} parameters. It was trained for "
        f"{training.get('steps')} steps of {training.get('batch')} "
        f"{'slices' if dims == '2d' else 'patches'} with "
        f"{training.get('optimizer')} {cite} (learning rate {rate}, "
        f"{training.get('decay')} decay, weight decay "
        f"{training.get('weight_decay')}), on cross-entropy plus soft Dice {{nnunet}}"
        f"{_present(training)}; "
        "the last weights were scored."
    )


def _present(training: Mapping[str, Any]) -> str:
    if training.get("dice_classes") != "present":
        return ""
    return " over the classes present in a batch"


def _scoring(experiment: Mapping[str, Any]) -> str:
    tolerances = sorted({float(v) for v in experiment["nsd_tolerance_mm"].values()})
    said = _list([f"{value:g} mm" for value in tolerances]) if tolerances else "none"
    return (
        "Scores were Dice, normalised surface Dice {nsd} (tolerance "
        f"{said}) and the 95th percentile of surface distances, on each test case's "
        "native grid, averaged over cases within a class, then over classes. Whether a "
        "score exists depended on the truth alone; an empty prediction of a present "
        "class scored 0, or the case's diagonal."
    )


def _statistics(run: _reading.Run, summary: Mapping[str, Any]) -> str:
    seeds = run.most_seeds
    upto = "up to " if run.experiment.get("looks") else ""
    few = f" (few: below {_words.FEW_SEEDS})" if seeds < _words.FEW_SEEDS else ""
    over = (
        " Findings over tasks are random-effects means {paule} with Hartung and "
        "Knapp's interval {hartung} and a prediction interval."
        if any(e.get("estimate") is not None for e in summary.get("pooled") or ())
        else ""
    )
    ranks = (
        " Allocations were compared with the best {hsu}."
        if any(entry["allocations"] for entry in summary["best_allocations"])
        else ""
    )
    return (
        f"Every cell was repeated under {upto}{seeds} seeds{few}. Differences were "
        "paired by seed and case; intervals are two-way random-effects t intervals "
        "over seeds and cases with Satterthwaite's degrees of freedom {satterthwaite}. "
        "Superiority and noninferiority were tested one-sided at 0.025, equivalence by "
        "two one-sided tests at 0.05 {tost}, adjusted within each planned family "
        f"{{holm}}{_margin(summary)}.{ranks}{over}{_looked(run)}"
    )


def _margin(summary: Mapping[str, Any]) -> str:
    """Returns where the margins of Dice are from, measured and fixed ones apart."""
    found: dict[bool, set[str]] = {}
    for entry in summary["margins"]:
        if entry["metric"] == "dice" and entry["value"] is not None:
            fixed = str(entry["source"]).startswith("fixed")
            value = _style.decimals("dice", entry["value"])
            found.setdefault(fixed, set()).add(value)
    words = {
        False: "what 25 % more budget gains on development cases, ",
        True: "fixed beforehand, ",
    }
    said = [f"{words[fixed]}Dice {_list(sorted(v))}" for fixed, v in found.items()]
    return f"; the margin was {_list(said)}" if said else ""


def _looked(run: _reading.Run) -> str:
    """Returns after how many seeds results were looked at, empty without looks."""
    planned = [tuple(seeds) for seeds in (run.experiment.get("looks") or {}).values()]
    if not planned:
        return ""
    said = "; ".join(_list(list(seeds)) for seeds in dict.fromkeys(planned))
    return (
        f" Results were looked at after {said} seeds; training stopped where every "
        "planned contrast was decided, or where more seeds could not decide it. Levels "
        "of each look were those of the O'Brien-Fleming type spending function "
        "{lan_demets}, so that errors hold over all looks."
    )


def _software(run: _reading.Run) -> str:
    versions = run.experiment.get("versions", {})
    device = run.experiment.get("device", {})
    used = ", ".join(
        f"{name} {_plain(versions[name])}"
        for name in ("slicebench", "jax", "flax", "optax", "numpy", "scipy")
        if name in versions
    )
    where = device.get("cpu") or device.get("kind") or device.get("platform")
    hours = float(run.compute.get("wall_seconds") or 0) / 3600
    took = f", {hours:.1f} h of wall time" if hours else ""
    return f"Computed with {used} {{jax}} on {_plain(where)}{took}."
