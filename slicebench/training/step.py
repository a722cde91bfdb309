"""One trial's initial state and one of its training steps, as pure functions.

Both are written for a single trial and mapped over trials by the engine.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt32

from slicebench import spec
from slicebench.models.unet import UNet
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.loss import segmentation_loss
from slicebench.training.patches import Patches, draw_patches
from slicebench.training.pseudo import draw_mixed
from slicebench.training.sampling import draw_batch, draw_slices

Params = Any
_LOSS_MEMORY = 0.95
_MOMENTUM = 0.99
CURVE_POINTS = 50
"""Points of a learning curve, evenly over the steps."""


class TrialState(NamedTuple):
    """A training in progress.

    Attributes:
      params: Network weights.
      moments: Optimiser state.
      step: Steps done.
      loss: Running mean of the loss, the last 20 steps weighing most.
      curve: That mean at the end of each of `CURVE_POINTS` even parts of the
        training (each step, where there are fewer); 0 in parts to come.
      healthy: False from the first loss or update that is not finite.
      supervised: Annotated and interpolated slices that entered a loss so far,
        parts of slices counted whole.
    """

    params: Params
    moments: optax.OptState
    step: Int[Array, ""]
    loss: Float[Array, ""]
    curve: Float[Array, " point"]
    healthy: Bool[Array, ""]
    supervised: Int[Array, " kind"]


def make_network(program: spec.Program, layout: str = "single") -> nnx.GraphDef[UNet]:
    """Returns the network's structure without weights.

    Args:
      program: What the network is.
      layout: Layout of the trial axis in convolutions; the weights' names and
        shapes do not depend on it.
    """
    key = jax.random.key(0)
    return nnx.graphdef(nnx.eval_shape(lambda: _build(program, key, layout)))


def _build(program: spec.Program, key: Array, layout: str = "single") -> UNet:
    return UNet(program, rngs=nnx.Rngs(params=key), layout=layout)


def make_optimizer(training: spec.Training) -> optax.GradientTransformation:
    """Returns the optimiser with its learning-rate schedule."""
    warm = round(training.warmup * training.steps)
    rest = max(training.steps - warm, 1)
    if training.decay == "cosine":
        decay = optax.cosine_decay_schedule(training.learning_rate, rest)
    else:
        decay = optax.polynomial_schedule(training.learning_rate, 0.0, 0.9, rest)
    rate = optax.join_schedules(
        [optax.linear_schedule(0.0, training.learning_rate, max(warm, 1)), decay],
        [warm],
    )
    if training.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=training.weight_decay)
    return optax.chain(
        optax.add_decayed_weights(training.weight_decay),
        optax.sgd(rate, momentum=_MOMENTUM, nesterov=True),
    )


def make_init(
    program: spec.Program,
) -> Callable[[UInt32[Array, " words"]], TrialState]:
    """Returns the function from a weight seed to a trial's first state."""
    optimizer = make_optimizer(program.training)
    points = min(CURVE_POINTS, program.training.steps)

    def init(words: UInt32[Array, " words"]) -> TrialState:
        params = nnx.state(_build(program, jax.random.wrap_key_data(words)))
        return TrialState(
            params=params,
            moments=optimizer.init(params),
            step=jnp.int32(0),
            loss=jnp.float32(0),
            curve=jnp.zeros(points, jnp.float32),
            healthy=jnp.bool_(True),
            supervised=jnp.zeros(2, jnp.int32),
        )

    return init


def make_step(
    program: spec.Program, layout: str = "single"
) -> Callable[[TrialState, TrialArrays, Bank], TrialState]:
    """Returns one training step of one trial.

    Args:
      program: What is trained.
      layout: Layout of the trial axis in convolutions.
    """
    network = make_network(program, layout)
    optimizer = make_optimizer(program.training)
    draw = _make_draw(program)
    classes = program.training.dice_classes

    def loss_of(params: Params, batch: Patches) -> Array:
        scores = nnx.merge(network, params)(batch.images, batch.valid)
        return segmentation_loss(scores, batch.labels, batch.weight, classes)

    def step(state: TrialState, trial: TrialArrays, bank: Bank) -> TrialState:
        key = jax.random.fold_in(jax.random.wrap_key_data(trial.key), state.step)
        which, change = jax.random.split(key)
        # Without the barrier the compiler draws the batch again in every place
        # that reads it, which costs more than the network itself on a CPU.
        batch = jax.lax.optimization_barrier(draw(trial, bank, which, change))
        loss, slopes = jax.value_and_grad(loss_of)(state.params, batch)
        updates, moments = optimizer.update(slopes, state.moments, state.params)
        memory = jnp.where(state.step == 0, 0.0, _LOSS_MEMORY)
        running = memory * state.loss + (1 - memory) * loss
        return TrialState(
            params=optax.apply_updates(state.params, updates),
            moments=moments,
            step=state.step + 1,
            loss=running,
            curve=_marked(state.curve, state.step, program.training.steps, running),
            healthy=state.healthy
            & jnp.isfinite(loss)
            & jnp.isfinite(optax.tree.norm(updates)),
            supervised=state.supervised + _labelled(batch),
        )

    return step


def _marked(
    curve: Float[Array, " point"],
    step: Int[Array, ""],
    steps: int,
    loss: Float[Array, ""],
) -> Float[Array, " point"]:
    """Writes the loss into the part of the curve that a step belongs to."""
    parts = jnp.arange(len(curve))
    return jnp.where(parts == step * len(curve) // steps, loss, curve)


def _make_draw(program: spec.Program) -> Callable[..., Patches]:
    """Returns what draws one batch: whole slices in 2D, patches in 3D."""
    training = program.training

    def slices(trial: TrialArrays, bank: Bank, which: Array, change: Array) -> Patches:
        drawn = draw_slices(trial, which, training.batch, training.sampling)
        images, labels = draw_batch(bank, drawn, change, training.augmentation)
        return Patches(images, labels, weight=None, valid=None, filled=None)

    def mixed(trial: TrialArrays, bank: Bank, which: Array, change: Array) -> Patches:
        drawn = draw_mixed(trial, bank, which, change, program)
        images, truth, weight, filled = drawn
        return Patches(images, truth, weight=weight, valid=None, filled=filled)

    def patches(trial: TrialArrays, bank: Bank, which: Array, change: Array) -> Patches:
        return draw_patches(trial, bank, which, change, program)

    if program.volumetric is not None:
        return patches
    return mixed if program.pseudo_slots else slices


def _labelled(batch: Patches) -> Int[Array, " kind"]:
    """Annotated and interpolated slices of a batch."""
    if batch.weight is None:
        return jnp.array([len(batch.labels), 0], jnp.int32)
    known = batch.weight > 0
    filled = jnp.zeros_like(known) if batch.filled is None else batch.filled
    counts = [(known & ~filled).sum(), (known & filled).sum()]
    return jnp.stack(counts).astype(jnp.int32)
