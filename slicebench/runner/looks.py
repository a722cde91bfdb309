"""A study that is trained look by look, until its contrasts are decided."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slicebench import spec
from slicebench.errors import InputError
from slicebench.results import Store, read_json, write_json_atomic
from slicebench.runner.study import Study
from slicebench.statistics import LOOKS_FILE, overall_state, replay_looks

_log = logging.getLogger(__name__)

_DESIGN = {
    "spending": "Lan and DeMets (1983), O'Brien-Fleming type",
    "one_sided_error": 0.025,
    "equivalence_error": 0.05,
    "adjustment": "Holm at each look over the family, each claim in its own column",
}


@dataclasses.dataclass(frozen=True)
class Unit:
    """What is looked at, and stopped, together: families never reach beyond it."""

    task: str
    dims: spec.Dims

    def holds(self, trial: spec.Trial) -> bool:
        """Whether a trial belongs to it."""
        return (trial.task, trial.dims) == (self.task, self.dims)

    def holds_contrast(self, contrast: Mapping[str, Any]) -> bool:
        """Whether an expanded contrast belongs to it."""
        return (contrast["task"], contrast["dims"]) == (self.task, self.dims)

    def __str__(self) -> str:
        return f"{self.task}, {self.dims}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What is trained next.

    Attributes:
      trials: Trials of one unit up to a look, finished ones among them; of a study
        without looks all trials.
      study: The study with the trials that are asked for so far.
    """

    trials: tuple[spec.Trial, ...]
    study: Study


def units(study: Study) -> list[Unit]:
    """Returns the units of a study, in the order in which they are trained."""
    return list(dict.fromkeys(Unit(t.task, t.dims) for t in study.trials))


def stages(study: Study, workdir: Path) -> Iterator[Stage]:
    """Returns what is to be trained, stage by stage, and takes the looks between.

    A study without looks has one stage. Otherwise each unit is trained up to its
    first look, which is taken when the next stage is asked for, and so on until its
    primary contrasts are decided or limited by cases. looks.json is written after
    each look. Finished stages are asked for as well: a resumed run takes the same
    looks at the same trials.

    Raises:
      InputError: The work folder has been looked at with other looks.
    """
    if not study.looks:
        yield Stage(trials=study.trials, study=study)
        return
    record = Record(study, workdir)
    for unit in units(study):
        for number, seeds in enumerate(study.looks[unit.task]):
            record.seeds[unit] = seeds
            yield Stage(trials=up_to(study, {unit: seeds}), study=record.asked())
            entries = take(study, unit, Store(workdir), number + 1)
            record.add(unit, entries)
            for line in look_lines(study, unit, entries):
                _log.info("%s", line)
            if unit_state(entries) != "going on":
                break


def up_to(study: Study, seeds: dict[Unit, int]) -> tuple[spec.Trial, ...]:
    """Returns the trials of some units below a number of seeds each."""
    return tuple(
        trial
        for trial in study.trials
        if trial.selection_seed < seeds.get(Unit(trial.task, trial.dims), 0)
    )


def take(study: Study, unit: Unit, store: Store, taken: int) -> list[list[dict]]:
    """Takes the first looks at a unit, from the stored results of its trials.

    Args:
      study: The study.
      unit: Its task and dims.
      store: Results.
      taken: Number of looks.

    Returns:
      Entries of each look as in looks.json.
    """
    ids = [trial.trial_id for trial in study.trials if unit.holds(trial)]
    trials: Any = store.read_trials()
    results: Any = store.read_results()
    return replay_looks(
        [contrast for contrast in study.contrasts if unit.holds_contrast(contrast)],
        results[results["trial_id"].isin(ids)],
        trials[trials["trial_id"].isin(ids)],
        seeds=study.looks[unit.task],
        taken=taken,
    )


def look_lines(study: Study, unit: Unit, looks: list[list[dict]]) -> list[str]:
    """Returns one line a contrast of the newest look, and what follows from it."""
    planned = study.looks[unit.task]
    seeds, entries = planned[len(looks) - 1], looks[-1]
    head = f"look {len(looks)} of {len(planned)}, {seeds} seeds, {unit}"
    lines = [f"{head}: {_in_words(entry)}" for entry in entries]
    if not entries:
        return [f"{head}: no primary contrast to be decided, no more seeds"]
    state = unit_state(looks)
    if state == "going on":
        return [*lines, f"{unit}: goes on to {planned[len(looks)]} seeds"]
    return [*lines, f"{unit}: {state} after {seeds} seeds"]


def unit_state(looks: list[list[dict]]) -> str:
    """Returns the state of a unit after some looks."""
    if not looks:
        return "going on"
    return overall_state([entry["state"] for entry in looks[-1]])


def _in_words(entry: dict[str, Any]) -> str:
    if entry["estimate"] is None:
        return f"{entry['name']}: {entry['state']} ({entry['reason']})"
    ends = [entry[end] for end in ("low", "high")]
    interval = "no interval yet"
    if None not in ends:
        interval = f"[{ends[0]:.4f}, {ends[1]:.4f}]"
    return (
        f"{entry['name']}: {entry['metric']} {entry['estimate']:+.4f} {interval}, "
        f"{entry['verdict']}, {entry['state']}"
    )


class Record:
    """looks.json of a work folder, and how many seeds each unit is asked for.

    Attributes:
      seeds: Seeds that are asked for by unit; at first those of the first look.
    """

    def __init__(self, study: Study, workdir: Path):
        """Reads what is there.

        Args:
          study: With looks.
          workdir: Work folder.

        Raises:
          InputError: The folder has been looked at with other looks.
        """
        self._study, self._path = study, workdir / LOOKS_FILE
        self.seeds = {unit: study.looks[unit.task][0] for unit in units(study)}
        self._looks: dict[Unit, list[list[dict]]] = {unit: [] for unit in self.seeds}
        self._planned = {unit: study.looks[unit.task] for unit in self.seeds}
        old = read_json(self._path) if self._path.exists() else {}
        for known in old.get("units", []):
            unit = Unit(known["task"], known["dims"])
            self._refuse_other_looks(unit, tuple(known["seeds"]))
            found = [
                [e for e in look["contrasts"] if Unit(e["task"], e["dims"]) == unit]
                for look in old["looks"]
            ]
            self._looks[unit] = found[: known["looks_taken"]]

    def _refuse_other_looks(self, unit: Unit, planned: tuple[int, ...]) -> None:
        if planned != self._planned.setdefault(unit, planned):
            before, now = map(in_sequence, (planned, self._planned[unit]))
            raise InputError(
                f"{self._path}: {unit} was looked at with looks after {before} seeds, "
                f"now {now}: looks that are added once results are seen make errors "
                "more likely than stated; give the same --num_seeds, run without "
                "--stop_when_decided, or use another --workdir"
            )

    def asked(self) -> Study:
        """Returns the study with the trials that are asked for so far."""
        seeds = min(self.seeds.values())
        return dataclasses.replace(
            self._study,
            experiment=dataclasses.replace(self._study.experiment, num_seeds=seeds),
            trials=up_to(self._study, self.seeds),
        )

    def add(self, unit: Unit, looks: list[list[dict]]) -> None:
        """Notes the looks taken at a unit and writes the file."""
        # A resumed run takes its first looks again: later ones stay meanwhile.
        if self._looks[unit][: len(looks)] != looks:
            self._looks[unit] = looks
        write_json_atomic(self._path, self._content())

    def _content(self) -> dict[str, Any]:
        most = max(map(len, self._looks.values()))
        states = {unit: unit_state(looks) for unit, looks in self._looks.items()}
        return {
            "schema_version": 1,
            "design": _DESIGN,
            "units": [
                {
                    "task": unit.task,
                    "dims": unit.dims,
                    "seeds": list(self._planned[unit]),
                    "looks_taken": len(looks),
                    "state": states[unit],
                }
                for unit, looks in self._looks.items()
            ],
            "looks": [self._look(number) for number in range(most)],
            "state": overall_state(list(states.values())),
        }

    def _look(self, number: int) -> dict[str, Any]:
        taken = {u: looks for u, looks in self._looks.items() if len(looks) > number}
        return {
            "look": number + 1,
            "seeds": max(self._planned[unit][number] for unit in taken),
            "contrasts": [entry for looks in taken.values() for entry in looks[number]],
        }


def looks_status(study: Study, workdir: Path) -> list[str]:
    """Returns how far each unit is, one line each."""
    store = Store(workdir)
    done, lines = store.done(), []
    for unit in units(study):
        planned = study.looks[unit.task]
        for number, seeds in enumerate(planned):
            ids = {trial.trial_id for trial in up_to(study, {unit: seeds})}
            if ids - done:
                lines.append(
                    f"{unit}: {len(ids & done)} of {len(ids)} trials of look "
                    f"{number + 1} of {len(planned)} ({seeds} seeds)"
                )
                break
            state = unit_state(take(study, unit, store, number + 1))
            if state != "going on":
                lines.append(f"{unit}: {state} after {seeds} seeds")
                break
    return lines


def in_sequence(numbers: tuple[int, ...]) -> str:
    """Joins numbers as in a sentence.

    >>> in_sequence((8, 16, 32)), in_sequence((8,))
    ('8, 16 and 32', '8')
    """
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
