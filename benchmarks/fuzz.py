"""Fuzzing of every reader: damage drawn at random, for as long as is asked.

    python -m benchmarks.fuzz [--minutes=10] [--seed=N] [--page=FILE]

Readers take turns. Each gets sound files that were changed, cut, filled up or replaced
by noise, and JSON whose values were exchanged. Allowed is success, or the one error
whose message the command line prints; anything else, an example of more than 5
processor seconds, or a rise of peak memory above 1 GiB ends with status 1.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._markdown import markdown
from benchmarks._sections import replace_section
from tests.hostile import fuzz

_FLAGS = flags.FlagValues()
_MINUTES = flags.DEFINE_float(
    "minutes", 10.0, "Wall clock minutes.", lower_bound=0, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer(
    "seed", None, "Seed (default: another each time).", flag_values=_FLAGS
)
_PAGE = flags.DEFINE_string(
    "page", None, "Page whose part `fuzzing` gets the table.", flag_values=_FLAGS
)
_TURN = 25
_SHOWN = 10


def run(minutes: float, number: int) -> tuple[dict[str, fuzz.Campaign], int]:
    """Lets the readers take turns until the time is over.

    Args:
      minutes: Wall clock.
      number: Seed.

    Returns:
      What came of each reader's files, and the rise of peak memory in bytes.
    """
    rng = random.Random(number)
    found: dict[str, fuzz.Campaign] = {}
    with tempfile.TemporaryDirectory() as folder:
        targets = fuzz.make_targets(Path(folder))
        for name, target in targets.items():
            found[name] = fuzz.Campaign()
            # What is imported and made at the first call is not the damage's.
            found[name].add(target, target.content)
        before, end = fuzz.peak_memory(), time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            for name, target in targets.items():
                fuzz.fuzz(target, found[name], _TURN, rng.getrandbits(32))
                if time.monotonic() > end:
                    break
    return found, fuzz.peak_memory() - before


def table(found: dict[str, fuzz.Campaign]) -> pd.DataFrame:
    """Returns a row a reader."""
    return pd.DataFrame(
        [
            {
                "reader": name,
                "examples": one.examples,
                "taken": one.outcomes["taken"],
                "refused with a clear message": one.outcomes["refused"],
                "anything else": len(one.crashes),
                "longest, processor s": round(one.longest, 2),
            }
            for name, one in found.items()
        ]
    )


def main(_: list[str]) -> None:
    """Runs the campaign and says what came of it."""
    number = random.SystemRandom().getrandbits(32)
    number = number if _SEED.value is None else _SEED.value
    found, memory = run(_MINUTES.value, number)
    rows = table(found)
    crashes = [crash for one in found.values() for crash in one.crashes]
    text = (
        f"`python -m benchmarks.fuzz --minutes={_MINUTES.value:g} --seed={number}`: "
        f"{rows['examples'].sum()} examples, {len(crashes)} with another outcome than "
        f"success or a clear refusal, longest {rows.iloc[:, -1].max():g} processor "
        f"seconds, peak memory raised by {memory / 2**20:.0f} MiB.\n\n{markdown(rows)}"
    )
    print(text)
    for reason, damaged in crashes[:_SHOWN]:
        print(f"{reason}\n  {damaged[:400]!r}", file=sys.stderr)
    if _PAGE.value:
        replace_section(Path(_PAGE.value), "fuzzing", text)
    sys.exit(bool(crashes) or memory > fuzz.MOST_MEMORY)


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
