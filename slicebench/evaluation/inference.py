"""Running many trained networks over the held-out slices."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from slicebench import spec
from slicebench.data.prepared import PreparedCase
from slicebench.evaluation.windows import gaussian, groups_of, windows_of
from slicebench.training.engine import TRIAL_AXIS, Plan, over_trials, trial_mesh
from slicebench.training.placement import put, read_held
from slicebench.training.step import Params, make_network

CHUNK = 32
"""Slices that every 2D network of a batch sees in one call."""
GROUP = 256
"""Slices whose class scores every 3D network of a batch holds at a time."""
_STACK = 256
"""Stacks of slices are padded to this, so that folds share compiled programs."""


class Predictor(Protocol):
    """The compiled forward pass of one program over a fixed list of cases.

    Attributes:
      cases: Cases whose slices are predicted, one after another.
      hard: Whether class indices come back instead of probabilities.
      compile_seconds: Time spent compiling so far.
    """

    cases: tuple[PreparedCase, ...]
    hard: bool
    compile_seconds: float

    def use(self, cases: Sequence[PreparedCase]) -> None:
        """Replaces the cases, by another fold's for example.

        Nothing is compiled again as long as the padded shapes stay.
        """
        ...

    def predict(self, params: Params) -> np.ndarray:
        """Returns `[trial, slice, height, width]` classes or probabilities.

        Of the trials whose networks this process holds.
        Probabilities have a last axis of classes.
        """
        ...


def make_predictor(
    program: spec.Program, plan: Plan, cases: Sequence[PreparedCase], *, hard: bool
) -> Predictor:
    """Returns what predicts with a program's networks.

    Args:
      program: What the networks are.
      plan: How the trial axis lies over devices.
      cases: Cases to predict.
      hard: Take the most probable class on the grid; right where the way back
        to the native grid only picks voxels.
    """
    if not cases:
        return NothingToPredict(program, plan, hard=hard)
    kind = SlicePredictor if program.volumetric is None else WindowPredictor
    return kind(program, plan, cases, hard=hard)


def by_case(
    predictions: np.ndarray, cases: Sequence[PreparedCase]
) -> Iterator[np.ndarray]:
    """Cuts one trial's predictions into cases, in order."""
    ends = np.cumsum([case.depth for case in cases])
    yield from np.split(predictions, ends[:-1]) if cases else ()


class NothingToPredict:
    """Stands where no case is held out. See `Predictor`."""

    def __init__(self, program: spec.Program, plan: Plan, *, hard: bool):
        """Remembers the shape of nothing."""
        self.cases: tuple[PreparedCase, ...] = ()
        self.hard = hard
        self.compile_seconds = 0.0
        self._shape = (plan.trials, 0, *program.grid)

    def use(self, cases: Sequence[PreparedCase]) -> None:
        """Takes no cases, see `Predictor`.

        Raises:
          ValueError: There are some.
        """
        if cases:
            raise ValueError(f"{len(cases)} cases given, none is allowed")

    def predict(self, params: Params) -> np.ndarray:  # noqa: ARG002 - a protocol
        """Returns no slices, see `Predictor`."""
        return np.zeros(self._shape, np.uint8)


class SlicePredictor:
    """2D networks: every slice for itself. See `Predictor`."""

    def __init__(
        self,
        program: spec.Program,
        plan: Plan,
        cases: Sequence[PreparedCase],
        *,
        hard: bool,
    ):
        """Puts the slices on the devices once."""
        self.hard = hard
        self.compile_seconds = 0.0
        mesh = trial_mesh(plan.devices)
        self._shared = NamedSharding(mesh, PartitionSpec())
        forward = make_slice_forward(program, plan.layout, hard=hard)
        self._forward: Any = over_trials(forward, mesh, [False, True, True])
        self._compiled: Any = None
        self._shape: tuple[int, ...] = ()
        self.use(cases)

    def use(self, cases: Sequence[PreparedCase]) -> None:
        """Replaces the cases, see `Predictor`."""
        self.cases = tuple(cases)
        self._count = sum(case.depth for case in cases)
        self._images = put(_stack(cases, 0), self._shared)

    def predict(self, params: Params) -> np.ndarray:
        """Returns every slice's classes or probabilities, see `Predictor`."""
        if self._shape != self._images.shape:
            start = time.perf_counter()
            first = put(np.int32(0), self._shared)
            lowered = self._forward.lower(params, self._images, first)
            self._compiled, self._shape = lowered.compile(), self._images.shape
            self.compile_seconds += time.perf_counter() - start
        parts: list[Array] = []
        for offset in range(0, self._count, CHUNK):
            where = put(np.int32(offset), self._shared)
            parts.append(self._compiled(params, self._images, where))
        return np.concatenate([read_held(part) for part in parts], 1)[:, : self._count]


def make_slice_forward(program: spec.Program, layout: str, *, hard: bool) -> Any:
    """Returns one network's pass over a chunk of the slices it is given."""
    network = make_network(program, layout)

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


class WindowPredictor:
    """3D networks: half-overlapping windows, averaged. See `Predictor`.

    Windows of as many volumes as fit into `GROUP` slices are run before their
    sums are read back, so that memory does not grow with the number of cases.
    """

    def __init__(
        self,
        program: spec.Program,
        plan: Plan,
        cases: Sequence[PreparedCase],
        *,
        hard: bool,
    ):
        """Puts the slices on the devices once."""
        self.hard = hard
        self.compile_seconds = 0.0
        self._program = program
        self._plan = plan
        mesh = trial_mesh(plan.devices)
        self._shared = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(TRIAL_AXIS))
        forward = make_window_forward(program, plan.layout)
        self._add: Any = over_trials(
            forward, mesh, [False, True, False, True], donate_argnums=2
        )
        self._read: Any = over_trials(_most_probable if hard else _share, mesh, [False])
        self._compiled: Any = None
        self._shapes: tuple[Any, ...] = ()
        self.use(cases)

    def use(self, cases: Sequence[PreparedCase]) -> None:
        """Replaces the cases, see `Predictor`."""
        self.cases = tuple(cases)
        depths = [case.depth for case in cases]
        batch, spare = self._program.training.batch, self._program.patch[0]
        groups = groups_of(depths, GROUP)
        self._groups = [
            (
                sum(depths[case] for case in group),
                _places(depths, group, self._program, batch),
            )
            for group in groups
        ]
        self._length = max(GROUP, *depths) + spare
        self._images = put(_stack(cases, spare), self._shared)

    def predict(self, params: Params) -> np.ndarray:
        """Returns every slice's classes or probabilities, see `Predictor`."""
        zeros, add, read = self._programs(params)
        parts: list[np.ndarray] = []
        waiting: list[tuple[Array, int]] = []
        for depth, calls in self._groups:
            total = zeros()
            for places in calls:
                total = add(params, self._images, total, put(places, self._shared))
            # The next group runs while the last one is read.
            parts += [read_held(found)[:, :count] for found, count in waiting]
            waiting = [(read(total), depth)]
        parts += [read_held(found)[:, :count] for found, count in waiting]
        return np.concatenate(parts, axis=1)

    def _programs(self, params: Params) -> Any:
        """Compiles making, adding to and reading the sums, where shapes changed."""
        grid, classes = self._program.grid, self._program.classes
        shape = (self._plan.trials, self._length, *grid, classes)
        if self._shapes == (shape, self._images.shape):
            return self._compiled
        start = time.perf_counter()
        zeros: Any = jax.jit(
            lambda: jnp.zeros(shape, jnp.float32), out_shardings=self._split
        )
        total = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=self._split)
        places = put(self._groups[0][1][0], self._shared)
        self._compiled = (
            zeros.lower().compile(),
            self._add.lower(params, self._images, total, places).compile(),
            self._read.lower(total).compile(),
        )
        self._shapes = shape, self._images.shape
        self.compile_seconds += time.perf_counter() - start
        return self._compiled


def _stack(
    cases: Sequence[PreparedCase], spare: int
) -> Float[np.ndarray, "slice height width channel"]:
    """Stacks the slices of all cases, with at least `spare` empty ones behind."""
    images = np.concatenate([case.image for case in cases]).astype(np.float32)
    length = -(-(len(images) + spare) // _STACK) * _STACK
    return np.pad(images, ((0, length - len(images)), (0, 0), (0, 0), (0, 0)))


def _places(
    depths: Sequence[int], group: range, program: spec.Program, batch: int
) -> Int[np.ndarray, "call window 5"]:
    """Returns the windows of a group of cases, in calls of equal size.

    Columns: slice in the stack of all cases, slice in the sums of the group,
    row, column, slices that exist; 0 of them in windows that fill up a call.
    """
    ends = np.cumsum(depths)
    offset = int(ends[group[0]]) - depths[group[0]]
    rows = []
    for window in windows_of([depths[c] for c in group], program.grid, program.patch):
        case = group[window.case]
        begin = int(ends[case]) - depths[case] + window.start
        rows.append([begin, begin - offset, window.top, window.left, window.slices])
    rows += [[0] * 5] * (-len(rows) % batch)
    return np.array(rows, np.int32).reshape(-1, batch, 5)


def make_window_forward(program: spec.Program, layout: str) -> Any:
    """Returns one network's pass over some windows, added to its sums."""
    network = make_network(program, layout)
    patch, weights = program.patch, gaussian(program.patch)

    def forward(
        params: Params,
        images: Float[Array, "slice height width channel"],
        total: Float[Array, "slice height width class"],
        places: Int[Array, "window 5"],
    ) -> Float[Array, "slice height width class"]:
        def cut(place: Int[Array, " 5"]) -> Array:
            corner = (place[0], place[2], place[3], 0)
            return jax.lax.dynamic_slice(images, corner, (*patch, images.shape[-1]))

        windows = jnp.stack([cut(place) for place in places])
        valid = jnp.arange(patch[0]) < places[:, 4, None]
        scores = nnx.merge(network, params)(windows, valid)
        mass = weights[..., None] * jax.nn.softmax(scores)
        mass = jnp.where(valid[:, :, None, None, None], mass, 0.0)
        for place, part in zip(places, mass, strict=True):
            corner = (place[1], place[2], place[3], 0)
            before = jax.lax.dynamic_slice(total, corner, part.shape)
            total = jax.lax.dynamic_update_slice(total, before + part, corner)
        return total

    return forward


def _most_probable(total: Float[Array, "slice height width class"]) -> Array:
    return total.argmax(-1).astype(jnp.uint8)


def _share(total: Float[Array, "slice height width class"]) -> Array:
    return total / jnp.maximum(total.sum(-1, keepdims=True), 1e-30)
