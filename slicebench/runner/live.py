"""A running sweep as TensorBoard scalars: one run a trial, one for the sweep."""

import importlib.util
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from slicebench.errors import InputError

FOLDER = "tensorboard"
"""Folder of event files in the work folder."""

_SWEEP = "sweep"


class Watcher(Protocol):
    """Is told of every finished trial."""

    def add(self, trials: Iterable[Mapping[str, Any]]) -> None:
        """Takes finished trials, rows as in the results store."""
        ...


class Scalars:
    """Writes event files; each finished trial once, however often a run is begun.

    Args:
      workdir: Work folder.

    Raises:
      InputError: tensorboardX is not installed.
    """

    def __init__(self, workdir: Path):
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError(
                "--tensorboard: needs tensorboardX; pip install "
                "'slicebench[tensorboard]'"
            )
        self.folder = workdir / FOLDER
        self._count = 0

    def add(self, trials: Iterable[Mapping[str, Any]]) -> None:
        """Writes finished trials: loss over steps, scores of development cases.

        Args:
          trials: Rows as in the results store.
        """
        # Imported late: its protocol buffers take seconds.
        from tensorboardX import SummaryWriter

        fresh: list[tuple[int, Mapping[str, Any]]] = []
        for trial in trials:
            self._count += 1
            if not (self.folder / run_name(trial)).exists():
                fresh.append((self._count, trial))
        if not fresh:
            return
        # Files are named by the second: two of one second must not be one file.
        suffix = f".{fresh[0][1]['trial_id']}"
        with SummaryWriter(str(self.folder / _SWEEP), filename_suffix=suffix) as sweep:
            for count, trial in fresh:
                with SummaryWriter(str(self.folder / run_name(trial))) as writer:
                    _write(writer, trial)
                sweep.add_scalar("finished_trials", count, count)
                if _is_number(trial.get("development_dice")):
                    sweep.add_scalar(
                        "development/dice", trial["development_dice"], count
                    )


def run_name(trial: Mapping[str, Any]) -> str:
    """Returns the name of a trial's run: task, cell, seeds and identity."""
    density = trial["slices_per_volume"]
    slices = f"x{int(density)}" if _is_number(density) else "-all"
    names = [
        f"{trial['num_volumes']}{slices}",
        trial["volume_strategy"],
        trial["strategy"],
        trial["interpolation"],
        f"seed{trial['selection_seed']}",
        trial["trial_id"],
    ]
    return f"{trial['task']}-{trial['dims']}/{'-'.join(map(str, names))}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _write(writer: Any, trial: Mapping[str, Any]) -> None:
    stored = trial.get("loss_curve")
    curve = [] if stored is None else list(stored)
    for place, loss in enumerate(curve, start=1):
        step = round(place * trial["steps"] / len(curve))
        writer.add_scalar("loss", float(loss), step)
    for metric in ("dice", "nsd", "hd95"):
        value = trial.get(f"development_{metric}")
        if _is_number(value):
            writer.add_scalar(f"development/{metric}", value, trial["steps"])
