"""Arrays on the devices of one process, or of several that run one program.

A process puts and reads only what its own devices hold: nothing is sent to another
process, and none waits for another.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding


def put(tree: Any, placement: NamedSharding) -> Any:
    """Puts arrays that every process has in full onto the devices.

    Args:
      tree: Arrays, equal in all processes.
      placement: How they lie over the devices.
    """
    if placement.is_fully_addressable:
        return jax.device_put(tree, placement)

    def cut(leaf: Any) -> jax.Array:
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, placement, whole.__getitem__)

    return jax.tree.map(cut, tree)


def put_held(tree: Any, placement: NamedSharding, count: int) -> Any:
    """Puts arrays of which a process has its own part of the first axis.

    Args:
      tree: Arrays over the part of the first axis that this process holds.
      placement: How the whole arrays lie over the devices of all processes.
      count: Length of the whole first axis.
    """
    if placement.is_fully_addressable:
        return jax.device_put(tree, placement)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(
            placement, leaf, (count, *leaf.shape[1:])
        ),
        tree,
    )


def read_held(array: Any) -> np.ndarray:
    """Returns the part of an array, split along its first axis, that is held here."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    parts = sorted(array.addressable_shards, key=lambda part: part.index[0].start or 0)
    return np.concatenate([np.asarray(part.data) for part in parts])


def held(mesh: Mesh, count: int) -> range:
    """Returns which places of an axis of `count`, split over a mesh, lie here.

    The devices of a process stand beside each other in the mesh.
    """
    here = jax.process_index()
    mine = [n for n, d in enumerate(mesh.devices.flat) if d.process_index == here]
    each = count // mesh.devices.size
    return range(mine[0] * each, (mine[-1] + 1) * each)
