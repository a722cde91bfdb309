"""What training has cost so far: compute.json."""

import time
from pathlib import Path

from slicebench.results import read_json, write_json_atomic

_TIMES = ("planning", "compile", "training", "evaluation")


class Accounts:
    """Times and steps of one call of the command line, and of those before it.

    Args:
      workdir: Work folder; what its compute.json tells is the start.
    """

    def __init__(self, workdir: Path):
        self._path = workdir / "compute.json"
        self._before = read_json(self._path) if self._path.exists() else {}
        self._started = time.monotonic()
        self.clear()

    def clear(self) -> None:
        """Counts anew."""
        self.seconds: dict[str, float] = dict.fromkeys(_TIMES, 0.0)
        self.steps = 0

    @property
    def minutes(self) -> float:
        """Minutes since the call began."""
        return (time.monotonic() - self._started) / 60

    def write(self, programs_read: int) -> None:
        """Writes this call's costs, those of earlier ones added.

        Args:
          programs_read: Programs that were read from the cache of compiled ones.
        """
        new = {
            "sessions": 1,
            "wall_seconds": time.monotonic() - self._started,
            "trial_steps": self.steps,
            **{f"{name}_seconds": spent for name, spent in self.seconds.items()},
            "programs_read_from_cache": programs_read,
        }
        write_json_atomic(
            self._path,
            {name: self._before.get(name, 0) + value for name, value in new.items()},
        )
