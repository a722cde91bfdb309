"""A campaign of faults: whatever happens to a run, it ends with the same rows.

    python -m benchmarks.faults [--kills=200] [--csv=FILE] [--markdown=FILE]
    python -m benchmarks.faults --join=FILE.csv,FILE.csv [--csv=FILE] [--markdown=FILE]

A small run (the smoke form of the main job with more steps) is done once without
disturbance. Then it is disturbed in many ways and begun again with the same command
until it ends; its rows (all scores and everything of a trial except times) must be
those of the undisturbed run, bit for bit, none missing and none twice. What cannot be
done on a machine, such as mounting a small file system, is listed as not run. The
second form disturbs nothing: it adds up the tables of campaigns with different
--seed, which may run side by side.
"""

import dataclasses
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
from absl import app, flags

from benchmarks._faults_kinds import KINDS, NotPossibleError
from benchmarks._faults_run import Run
from benchmarks._flags import parser
from benchmarks._markdown import markdown

_FLAGS = flags.FlagValues()
_KILLS = flags.DEFINE_integer(
    "kills", 200, "SIGKILLs at random moments.", lower_bound=0, flag_values=_FLAGS
)
_KINDS = flags.DEFINE_list(
    "kinds", list(KINDS), "Kinds of fault beside kills.", flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments.", flag_values=_FLAGS)
_CSV = flags.DEFINE_string("csv", None, "File for the table.", flag_values=_FLAGS)
_MARKDOWN = flags.DEFINE_string(
    "markdown", None, "File for the table as Markdown.", flag_values=_FLAGS
)
_JOIN = flags.DEFINE_list(
    "join", None, "Tables of earlier campaigns (CSV).", flag_values=_FLAGS
)

_WORDS = {True: "yes", False: "NO", None: "not run"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one kind of fault.

    Attributes:
      fault: What was done.
      times: How often.
      equal: Whether the rows were those of the undisturbed run every time; None where
        the fault could not be made.
      note: What the process said or how it ended.
    """

    fault: str
    times: int
    equal: bool | None
    note: str


def kill_often(
    whole: pd.DataFrame,
    seconds: float,
    kills: int,
    keep: Callable[[list[Outcome]], object],
) -> list[Outcome]:
    """Kills runs at random moments until they have been killed often enough.

    Each run is begun again after every kill, until one begin lasts to the end.

    Args:
      whole: Rows of the undisturbed run.
      seconds: How long that took.
      kills: Fewest kills.
      keep: Called with the outcomes so far after each run that has come to its end.

    Returns:
      One outcome for each phase in which kills fell.
    """
    rng = random.Random(_SEED.value)
    counts: dict[str, int] = {}
    unequal: dict[str, int] = {}
    done = 0
    while done < kills:
        with Run() as run:
            phases: list[str] = []
            while (phase := run.kill_after(rng.uniform(0, 1.1 * seconds))) is not None:
                phases.append(phase)
            same = run.same(whole)
        done += len(phases)
        for phase in phases:
            counts[phase] = counts.get(phase, 0) + 1
            unequal[phase] = unequal.get(phase, 0) + (not same)
        print(f"{done} of {kills} kills", file=sys.stderr)
        keep(_by_phase(counts, unequal))
    return _by_phase(counts, unequal)


def _by_phase(counts: dict[str, int], unequal: dict[str, int]) -> list[Outcome]:
    return [
        Outcome(
            fault=f"SIGKILL during {phase}",
            times=count,
            equal=unequal[phase] == 0,
            note="begun again until the end",
        )
        for phase, count in sorted(counts.items())
    ]


def try_kind(name: str, make: Callable[[Run], str], whole: pd.DataFrame) -> Outcome:
    """Makes one kind of fault on a fresh run and finishes the run after it."""
    with Run() as run:
        try:
            note = make(run)
        except NotPossibleError as error:
            return Outcome(fault=name, times=0, equal=None, note=f"not run: {error}")
        try:
            run.finish()
        except RuntimeError as error:
            print(run.said(), file=sys.stderr)
            return Outcome(fault=name, times=1, equal=False, note=f"{note}; {error}")
        return Outcome(fault=name, times=1, equal=run.same(whole), note=note)


def table(outcomes: list[Outcome]) -> pd.DataFrame:
    """Returns the outcomes as a table."""
    return pd.DataFrame(
        [
            {
                "fault": one.fault,
                "times": one.times,
                "rows equal": _WORDS[one.equal],
                "what happened": one.note,
            }
            for one in outcomes
        ]
    )


def join(tables: list[pd.DataFrame]) -> list[Outcome]:
    """Adds up the tables of several campaigns; kinds of fault stay in order.

    A fault whose rows differed in one campaign counts as such.
    """
    meanings = {word: equal for equal, word in _WORDS.items()}
    found: dict[str, Outcome] = {}
    for row in pd.concat(tables).to_dict("records"):
        one = Outcome(
            fault=str(row["fault"]),
            times=int(row["times"]),
            equal=meanings[str(row["rows equal"])],
            note=str(row["what happened"]),
        )
        before = found.get(one.fault)
        if before is not None:
            known = [o.equal for o in (before, one) if o.equal is not None]
            one = dataclasses.replace(
                before,
                times=before.times + one.times,
                equal=all(known) if known else None,
                note=one.note if before.equal is None else before.note,
            )
        found[one.fault] = one
    return list(found.values())


def _write(outcomes: list[Outcome]) -> pd.DataFrame:
    """Writes what is there so far: a campaign takes long, and may be cut off."""
    found = table(outcomes)
    if _CSV.value:
        found.to_csv(_CSV.value, index=False)
    if _MARKDOWN.value:
        Path(_MARKDOWN.value).write_text(markdown(found) + "\n")
    return found


def main(_: list[str]) -> None:
    """Runs the campaign; ends with status 1 where rows differ."""
    if _JOIN.value:
        outcomes = join([pd.read_csv(path) for path in _JOIN.value])
        _end(outcomes)
    with Run() as run:
        start = time.monotonic()
        run.finish()
        seconds = time.monotonic() - start
        whole = run.rows()
    print(f"undisturbed: {len(whole)} rows, {seconds:.0f} s", file=sys.stderr)
    outcomes: list[Outcome] = []
    for name in _KINDS.value:
        outcomes.append(try_kind(name, KINDS[name], whole))
        print(outcomes[-1], file=sys.stderr)
        _write(outcomes)
    outcomes += kill_often(
        whole, seconds, _KILLS.value, lambda kills: _write([*outcomes, *kills])
    )
    _end(outcomes)


def _end(outcomes: list[Outcome]) -> NoReturn:
    print(markdown(_write(outcomes)))
    sys.exit(any(one.equal is False for one in outcomes))


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
