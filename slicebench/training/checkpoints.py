"""Orbax checkpoints of a running batch, and of final weights.

A batch's state is saved as a flat list of arrays, so that a checkpoint does not
depend on how a library names its containers.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from slicebench.errors import InputError
from slicebench.training.step import Params, TrialState

_log = logging.getLogger(__name__)


Together = ocp.options.MultiprocessingOptions
"""Which processes read or write a checkpoint together; by default this one alone."""

_GONE = "deleted-"
"""What the name of a folder begins with while it is being deleted."""


def clean_checkpoints(folder: Path) -> None:
    """Deletes what a killed process was deleting.

    Args:
      folder: Where the folders of batches lie.
    """
    for half in folder.glob(f"{_GONE}*"):
        shutil.rmtree(half, ignore_errors=True)


def _flat(state: Any) -> dict[str, Any]:
    leaves = jax.tree.leaves(state)
    return {f"leaf_{index:04d}": leaf for index, leaf in enumerate(leaves)}


def _check_shapes(metadata: Any, target: dict[str, Any]) -> None:
    """Finds a checkpoint of another plan before its arrays are opened.

    Raises:
      ValueError: The checkpoint describes nothing or arrays of other shapes.
    """
    if metadata.item_metadata is None:
        raise ValueError("its description is missing or damaged")
    kept = [leaf.shape for leaf in jax.tree.leaves(metadata.item_metadata.tree)]
    if kept != [leaf.shape for leaf in jax.tree.leaves(target)]:
        raise ValueError("it holds another network, or another number of trials")


class BatchCheckpoints:
    """Checkpoints of one batch of trials; at most the newest two are kept.

    Args:
      folder: Folder of this batch alone.
    """

    def __init__(self, folder: Path):
        self.folder = folder.resolve()

    def save(self, state: TrialState, step: int) -> None:
        """Writes a checkpoint; it appears under its name only when complete."""
        self.write(state, step, Together())
        self.drop_old()

    def write(self, state: TrialState, step: int, writers: Together) -> None:
        """Writes a checkpoint and leaves older ones alone.

        Args:
          state: State of the batch.
          step: Steps done.
          writers: Processes that all call this; each writes what it holds.
        """
        with ocp.StandardCheckpointer(multiprocessing_options=writers) as writer:
            writer.save(self.folder / str(step), _flat(state), force=True)

    def drop_old(self) -> None:
        """Deletes all but the newest two."""
        for old in self.steps()[:-2]:
            shutil.rmtree(self.folder / str(old), ignore_errors=True)

    def restore(self, target: TrialState) -> TrialState | None:
        """Returns the newest readable checkpoint; None if there is none.

        A checkpoint that cannot be read is set aside with a warning.

        Args:
          target: Shapes, types and placement, from `Engine.abstract_state`.
        """
        for step in reversed(self.steps()):
            state = self.read(target, step, Together())
            if state is not None:
                return state
            self.set_aside(step)
        return None

    def read(
        self, target: TrialState, step: int, readers: Together
    ) -> TrialState | None:
        """Returns one checkpoint; None, with a warning, if it cannot be read.

        Args:
          target: Shapes, types and placement, from `Engine.abstract_state`.
          step: Steps that had been done.
          readers: Processes that wait for each other.
        """
        path = self.folder / str(step)
        try:
            with ocp.StandardCheckpointer(multiprocessing_options=readers) as reader:
                _check_shapes(reader.metadata(path), _flat(target))
                flat = reader.restore(path, _flat(target))
        except jax.errors.JaxRuntimeError:
            # Such as memory that runs out: not the checkpoint's fault.
            raise
        except (ValueError, OSError, KeyError, TypeError, RuntimeError) as error:
            _log.warning(
                "checkpoint %s cannot be read and is set aside (%s)",
                path,
                str(error).splitlines()[0],
            )
            return None
        leaves = [flat[name] for name in _flat(target)]
        return jax.tree.unflatten(jax.tree.structure(target), leaves)

    def set_aside(self, step: int) -> None:
        """Gives a checkpoint that cannot be read another name."""
        aside = self.folder / f"unreadable-{step}"
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / str(step)).rename(aside)

    def remove(self) -> None:
        """Deletes every checkpoint of the batch; a kill leaves none half deleted."""
        if self.folder.is_dir():
            gone = self.folder.with_name(f"{_GONE}{self.folder.name}")
            shutil.rmtree(gone, ignore_errors=True)
            self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdecimal())


def save_weights(folder: Path, params: Params) -> None:
    """Writes one network's weights as a nested dictionary of arrays."""
    plain = jax.tree.map(np.asarray, nnx.to_pure_dict(params))
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder.resolve(), plain, force=True)


def load_weights(folder: Path, like: Params) -> Params:
    """Reads what `save_weights` wrote.

    Args:
      folder: Folder of one network's weights.
      like: Shapes and types of the network's weights, as from `jax.eval_shape`.

    Raises:
      InputError: There are no readable weights, or those of another network.
    """
    target: Any = nnx.to_pure_dict(like)
    try:
        with ocp.StandardCheckpointer() as reader:
            metadata = reader.metadata(folder.resolve())
            _check_shapes(metadata, target)
            plain = reader.restore(folder.resolve(), target)
    except (ValueError, OSError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: weights cannot be read ({reason})") from error
    found = jax.tree.map(lambda leaf: leaf, like)
    nnx.replace_by_pure_dict(found, jax.tree.map(np.asarray, plain))
    return found
