"""Tries every kind of damaged or hostile input through its command line.

    python -m benchmarks.hostile [--page=FILE]

The kinds are those of the test suite (`tests/hostile/kinds.py`). Each runs in this
process as a user's command would; files that were there before must be there after,
byte for byte. Ends with status 1 where a kind is not met as promised.
"""

import re
import sys
import tempfile
from pathlib import Path

import pandas as pd
from absl import app, flags

from benchmarks._flags import parser
from benchmarks._markdown import markdown
from benchmarks._sections import replace_section
from tests.hostile.kind import Kind, Tried, attempt
from tests.hostile.kinds import KINDS

_FLAGS = flags.FlagValues()
_PAGE = flags.DEFINE_string(
    "page", None, "Page whose part `kinds` gets the table.", flag_values=_FLAGS
)
_SHOWN = 160
_COMMANDS = {
    "check": "data.check",
    "main": "main",
    "report": "report",
    "predict": "predict",
    "planning": "planning",
}


def message(tried: Tried, folder: Path) -> str:
    """Returns what was said, without the folder's place and cut to fit a table."""
    lines = tried.message.splitlines() or [""]
    text = lines[0].replace(str(folder), "FOLDER")
    text = re.sub(r"/tmp/[^/ ]*/", "FOLDER/", text)
    text = text.replace(f"{Path(__file__).parents[1]}/", "")
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"`{text.replace('`', chr(39))}`"


def row(kind: Kind, tried: Tried, folder: Path) -> dict[str, object]:
    """Returns one row of the table."""
    return {
        "kind": kind.name,
        "what was done": kind.done,
        "command": _COMMANDS[kind.command],
        "message": message(tried, folder),
        "exit status": tried.status,
        "lost": tried.lost,
        "as promised": "NO" if tried.faults(kind) else "yes",
    }


def main(_: list[str]) -> None:
    """Tries every kind, says what came of it and writes the table."""
    rows: list[dict[str, object]] = []
    longest, memory = 0.0, 0
    with tempfile.TemporaryDirectory() as root:
        for number, kind in enumerate(KINDS.values()):
            folder = Path(root) / f"kind-{number}"
            tried = attempt(kind, folder)
            rows.append(row(kind, tried, folder))
            longest, memory = max(longest, tried.seconds), max(memory, tried.memory)
            for fault in tried.faults(kind):
                print(f"{kind.name}: {fault}: {tried.message[:300]}", file=sys.stderr)
    table = pd.DataFrame(rows)
    unmet = sum(one["as promised"] != "yes" for one in rows)
    text = (
        f"`python -m benchmarks.hostile`: {len(table)} kinds, "
        f"{(table['exit status'] == 2).sum()} refused with exit status 2 and one line, "
        f"{(table['exit status'] == 0).sum()} sound and taken, lost: "
        f"{table['lost'].sum()}, not as promised: {unmet}; the longest took "
        f"{longest:.1f} s, peak memory rose by {memory / 2**20:.0f} MiB at most.\n\n"
        f"{markdown(table)}"
    )
    print(text)
    if _PAGE.value:
        replace_section(Path(_PAGE.value), "kinds", text)
    sys.exit(int(unmet > 0))


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
