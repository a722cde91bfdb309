"""Running many trained networks over the held-out slices."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from slicebench import spec
from slicebench.data.prepared import PreparedCase
from slicebench.training.engine import Plan, over_trials, trial_mesh
from slicebench.training.step import Params, make_network

CHUNK = 32
"""Slices that every network of a batch sees in one call."""


class Predictor:
    """The compiled forward pass of one program over a fixed list of cases.

    Attributes:
      cases: Cases whose slices are predicted, one after another.
      hard: Whether class indices come back instead of probabilities.
      compile_seconds: Time spent compiling so far.
    """

    def __init__(
        self,
        program: spec.Program,
        plan: Plan,
        cases: Sequence[PreparedCase],
        *,
        hard: bool,
    ):
        """Puts the slices on the devices once.

        Args:
          program: What the networks are.
          plan: How the trial axis lies over devices.
          cases: Cases to predict.
          hard: Take the most probable class on the grid; right where the way
            back to the native grid only picks voxels.
        """
        self.cases = tuple(cases)
        self.hard = hard
        self.compile_seconds = 0.0
        mesh = trial_mesh(plan.devices)
        images = np.concatenate([case.image for case in cases]).astype(np.float32)
        self._count = len(images)
        spare = -len(images) % CHUNK
        images = np.pad(images, ((0, spare), (0, 0), (0, 0), (0, 0)))
        self._shared = NamedSharding(mesh, PartitionSpec())
        self._images = jax.device_put(images, self._shared)
        self._forward: Any = over_trials(
            _make_forward(program, hard=hard), mesh, [False, True, True]
        )
        self._compiled = False

    def predict(self, params: Params) -> np.ndarray:
        """Returns `[trial, slice, height, width]` classes or probabilities.

        Probabilities have a last axis of classes.
        """
        start = time.perf_counter()
        if not self._compiled:
            first = jax.device_put(np.int32(0), self._shared)
            self._forward = self._forward.lower(params, self._images, first).compile()
            self.compile_seconds = time.perf_counter() - start
            self._compiled = True
        parts: list[Array] = []
        for offset in range(0, self._images.shape[0], CHUNK):
            where = jax.device_put(np.int32(offset), self._shared)
            parts.append(self._forward(params, self._images, where))
        return np.concatenate([np.asarray(part) for part in parts], 1)[:, : self._count]

    def by_case(self, predictions: np.ndarray) -> Iterator[np.ndarray]:
        """Cuts one trial's predictions into cases, in the order of `cases`."""
        ends = np.cumsum([case.depth for case in self.cases])
        yield from np.split(predictions, ends[:-1])


def _make_forward(program: spec.Program, *, hard: bool) -> Any:
    network = make_network(program)

    def forward(
        params: Params,
        images: Float[Array, "slice height width channel"],
        offset: Array,
    ) -> Array:
        chunk = jax.lax.dynamic_slice_in_dim(images, offset, CHUNK)
        logits = nnx.merge(network, params)(chunk)
        if hard:
            return logits.argmax(-1).astype(jnp.uint8)
        return jax.nn.softmax(logits)

    return forward
