"""Makes the planner's table of evidence from finished work folders.

    python -m benchmarks.evidence --workdirs=runs/a,runs/b

writes `slicebench/planning/evidence.json`, which comes with the package; each entry
holds the command of its run. Phantoms are refused: they are no evidence.
"""

from pathlib import Path

from absl import app, flags

from benchmarks._flags import parser
from slicebench.planning import evidence

_FLAGS = flags.FlagValues()
_WORKDIRS = flags.DEFINE_list(
    "workdirs", None, "Finished work folders.", required=True, flag_values=_FLAGS
)
_OUT = flags.DEFINE_string(
    "out",
    str(Path(evidence.__file__).with_name("evidence.json")),
    "Table to be written.",
    flag_values=_FLAGS,
)


def gather(folders: list[str]) -> list[evidence.Evidence]:
    """Returns the evidence of several work folders.

    Raises:
      ValueError: A task is a phantom.
    """
    found = [one for folder in folders for one in evidence.read_evidence(Path(folder))]
    for one in found:
        if one.provenance["synthetic"]:
            raise ValueError(f"{one.name}: a phantom is no evidence")
    return found


def main(_: list[str]) -> None:
    """Writes the table and says what is in it."""
    table = gather(_WORKDIRS.value)
    evidence.write_table(Path(_OUT.value), table)
    for one in table:
        print(f"{one.name}: budgets {one.budgets}, {len(one.cells)} allocations")


if __name__ == "__main__":
    app.run(main, flags_parser=parser(_FLAGS))
