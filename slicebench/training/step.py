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
from slicebench.models.unet import UNet2D
from slicebench.training.arrays import Bank, TrialArrays
from slicebench.training.loss import segmentation_loss
from slicebench.training.sampling import draw_batch, draw_slices

Params = Any
_LOSS_MEMORY = 0.95
_MOMENTUM = 0.99


class TrialState(NamedTuple):
    """A training in progress.

    Attributes:
      params: Network weights.
      moments: Optimiser state.
      step: Steps done.
      loss: Running mean of the loss, the last 20 steps weighing most.
      healthy: False from the first loss or update that is not finite.
    """

    params: Params
    moments: optax.OptState
    step: Int[Array, ""]
    loss: Float[Array, ""]
    healthy: Bool[Array, ""]


def make_network(program: spec.Program) -> nnx.GraphDef[UNet2D]:
    """Returns the network's structure without weights."""
    return nnx.graphdef(nnx.eval_shape(lambda: _build(program, jax.random.key(0))))


def _build(program: spec.Program, key: Array) -> UNet2D:
    return UNet2D(
        program.network, program.channels, program.classes, rngs=nnx.Rngs(params=key)
    )


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

    def init(words: UInt32[Array, " words"]) -> TrialState:
        params = nnx.state(_build(program, jax.random.wrap_key_data(words)))
        return TrialState(
            params=params,
            moments=optimizer.init(params),
            step=jnp.int32(0),
            loss=jnp.float32(0),
            healthy=jnp.bool_(True),
        )

    return init


def make_step(
    program: spec.Program,
) -> Callable[[TrialState, TrialArrays, Bank], TrialState]:
    """Returns one training step of one trial."""
    network = make_network(program)
    optimizer = make_optimizer(program.training)
    training = program.training

    def loss_of(params: Params, images: Array, labels: Array) -> Array:
        return segmentation_loss(nnx.merge(network, params)(images), labels)

    def step(state: TrialState, trial: TrialArrays, bank: Bank) -> TrialState:
        key = jax.random.fold_in(jax.random.wrap_key_data(trial.key), state.step)
        which, change = jax.random.split(key)
        slices = draw_slices(trial, which, training.batch, training.sampling)
        # Without the barrier the compiler draws the batch again in every place
        # that reads it, which costs more than the network itself on a CPU.
        images, labels = jax.lax.optimization_barrier(
            draw_batch(bank, slices, change, training.augmentation)
        )
        loss, slopes = jax.value_and_grad(loss_of)(state.params, images, labels)
        updates, moments = optimizer.update(slopes, state.moments, state.params)
        memory = jnp.where(state.step == 0, 0.0, _LOSS_MEMORY)
        return TrialState(
            params=optax.apply_updates(state.params, updates),
            moments=moments,
            step=state.step + 1,
            loss=memory * state.loss + (1 - memory) * loss,
            healthy=state.healthy
            & jnp.isfinite(loss)
            & jnp.isfinite(optax.tree.norm(updates)),
        )

    return step
