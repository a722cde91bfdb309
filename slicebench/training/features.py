"""Slice features from networks that are trained on the pool's images alone.

    train_features("contrastive", images, seed=0)

No label and no image outside the pool is read. The seed and the pool (its
images in their order) decide every byte of the result on one machine.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from slicebench import spec
from slicebench.errors import InputError, gather
from slicebench.training import _feature_objectives as objectives
from slicebench.training._feature_networks import SHRINK, Autoencoder, Projector
from slicebench.training._feature_objectives import (
    BLOCK,
    SmallSlices,
    Volumes,
    make_small,
)
from slicebench.training.host import keep_memory
from slicebench.training.step import make_optimizer

Features = tuple[Float[np.ndarray, "_depth feature"], ...]
Network = Autoencoder | Projector

DECIMALS = 6
"""Features are rounded: further digits hold rounding errors only, which would
tell equal slices apart."""

_QUICKLY: dict[str, str | bool | int | float] = {"xla_backend_optimization_level": 0}
"""Of programs that run once on a CPU: first weights take longer to optimise than
to draw."""

_LONGEST_GRADIENT = 1.0
"""Gradients are scaled down to this norm, so that odd pools do no harm."""

_CHANGES = spec.Augmentation(
    shift=0.08, scale=0.15, rotation=12.0, gain=0.3, offset=0.3, noise=0.1
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """How features are trained: what all kinds have in common.

    Attributes:
      steps: Optimiser steps.
      batch: Slices in a batch, drawn with replacement.
      learning_rate: Peak of AdamW's learning rate: a linear rise, then a cosine
        to zero.
      side: Most rows and columns of the area-averaged slices; rounded down to a
        multiple of 8.
      width: Channels after the first convolution; two more double them each.
      latent: Features of a slice.
    """

    reference: ClassVar[str]

    steps: int = 800
    batch: int = 64
    learning_rate: float = 1e-3
    side: int = 32
    width: int = 16
    latent: int = 32

    def __post_init__(self):
        faults = self.faults()
        if faults:
            raise gather(f"settings of {type(self).__name__}", faults)

    def faults(self) -> list[str]:
        """Returns one clause for each value that cannot be used."""
        faults = []
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 1
            if field.name == "side":
                least = SHRINK
            if field.type is int and not value >= least:
                faults.append(
                    f"{field.name} is {value}, a whole number from {least} is needed"
                )
        if not 0 < self.learning_rate <= 1:
            faults.append(
                f"learning_rate is {self.learning_rate}, above 0 up to 1 is allowed"
            )
        return faults


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(FeatureSettings):
    """How the autoencoder is trained; its bottleneck is the feature."""

    reference: ClassVar[str] = (
        "bottleneck of a convolutional autoencoder (Hinton & Salakhutdinov, "
        "Science 2006)"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveSettings(FeatureSettings):
    """How the contrastive network is trained.

    Attributes:
      temperature: Of the loss.
      projection: Length of the rows that are compared in training.
      augmentation: Changes to every view; intensities are in standard
        deviations of the pool.
    """

    reference: ClassVar[str] = (
        "SimCLR (Chen et al., ICML 2020) with adjacent slices of a volume as "
        "positives, a narrow case of positives by slice position (PCL, Zeng et "
        "al., MICCAI 2021)"
    )

    temperature: float = 0.1
    projection: int = 32
    augmentation: spec.Augmentation = _CHANGES

    def faults(self) -> list[str]:
        """Returns one clause for each value that cannot be used."""
        faults = super().faults()
        if not 0 < self.temperature < float("inf"):
            faults.append(f"temperature is {self.temperature}, above 0 is needed")
        return faults


TRAINED_FEATURES: dict[str, FeatureSettings] = {
    "autoencoder": AutoencoderSettings(),
    "contrastive": ContrastiveSettings(),
}
"""Kinds of trained features with their default settings."""


class Trained(NamedTuple):
    """A trained network.

    Attributes:
      structure: The network without weights.
      weights: Its weights.
      losses: Loss of every step.
    """

    structure: nnx.GraphDef
    weights: Any
    losses: Float[Array, " step"]


class _State(NamedTuple):
    """A training in progress, as in `slicebench.training.step`."""

    weights: Any
    moments: optax.OptState
    step: Int[Array, ""]
    losses: Float[Array, " step"]


class _Programs(NamedTuple):
    """Functions compiled once for each settings and shape of slices."""

    structure: nnx.GraphDef
    init: Callable[[Array], _State]
    step: Callable[[_State, SmallSlices, Array], _State]
    describe: Callable[[Any, Array, Any], Array]


def train_features(
    name: str,
    images: Volumes,
    *,
    seed: int,
    settings: FeatureSettings | None = None,
) -> Features:
    """Trains a network on the pool and describes each slice by it.

    Args:
      name: Key of `TRAINED_FEATURES`.
      images: Normalised images of the pool on one grid, without padding.
      seed: Of first weights, batches and augmentation.
      settings: Of the kind that the name says; its defaults if None.

    Returns:
      One row a slice, float64: of the autoencoder the bottleneck less its mean
      over the pool, of the contrastive network the representation before the
      projection head, scaled to length 1.

    Raises:
      InputError: If there is no such kind, the settings belong to another, the
        images cannot be used, or the training ran away.
    """
    settings = _find_settings(name, settings)
    pool = make_small(images, settings.side)
    rows = describe(train(pool, seed=seed, settings=settings), pool, settings)
    cuts = np.cumsum([len(image) for image in images])[:-1]
    return tuple(np.split(rows, cuts))


def _find_settings(name: str, settings: FeatureSettings | None) -> FeatureSettings:
    if name not in TRAINED_FEATURES:
        allowed = ", ".join(sorted(TRAINED_FEATURES))
        raise InputError(f"features {name!r} are not trained; allowed: {allowed}")
    default = TRAINED_FEATURES[name]
    if settings is None:
        return default
    if type(settings) is not type(default):
        raise InputError(
            f"features {name!r}: settings are {type(settings).__name__}, "
            f"{type(default).__name__} is needed"
        )
    return settings


def train(pool: SmallSlices, *, seed: int, settings: FeatureSettings) -> Trained:
    """Trains a network on a pool.

    Args:
      pool: From `make_small`.
      seed: Of first weights, batches and augmentation.
      settings: Of either kind.
    """
    keep_memory()
    programs = _programs(settings, pool.images.shape[1:])
    words = spec.derive_seed(seed, "features") & 0xFFFFFFFF
    first, steps = jax.random.split(jax.random.key(words))
    state = programs.init(first)
    # Not a loop on the device: convolutions inside one are slow on a CPU.
    for _ in range(settings.steps):
        state = programs.step(state, pool, steps)
    return Trained(programs.structure, state.weights, state.losses)


def describe(
    trained: Trained, pool: SmallSlices, settings: FeatureSettings
) -> Float[np.ndarray, "slice feature"]:
    """Returns the features of each slice of a pool, see `train_features`.

    Raises:
      InputError: If a feature is not a finite number.
    """
    encode = _programs(settings, pool.images.shape[1:]).describe
    blocks = [
        np.asarray(encode(trained.weights, pool.images, start))
        for start in range(0, len(pool.images), BLOCK)
    ]
    rows = np.concatenate(blocks)[: int(pool.total)].astype(np.float64)
    if not np.isfinite(rows).all():
        raise InputError(
            f"training of features ran away at learning_rate "
            f"{settings.learning_rate}; a smaller one is needed"
        )
    if isinstance(settings, ContrastiveSettings):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(length > 0, length, 1)
    else:
        rows -= rows.mean(axis=0)
    return np.round(rows, DECIMALS)


@functools.lru_cache(maxsize=8)
def _programs(settings: FeatureSettings, shape: tuple[int, int, int]) -> _Programs:
    build, draw, loss = _objective(settings, shape)
    structure = nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
    optimizer = _make_optimizer(settings)

    def init(key: Array) -> _State:
        weights = nnx.state(build(nnx.Rngs(params=key)))
        moments = optimizer.init(weights)
        return _State(weights, moments, jnp.int32(0), jnp.zeros(settings.steps))

    def loss_of(weights: Any, batch: Any) -> Array:
        return loss(nnx.merge(structure, weights), batch)

    def step(state: _State, pool: SmallSlices, key: Array) -> _State:
        drawn = draw(pool, jax.random.fold_in(key, state.step))
        # The barrier keeps the batch from being drawn again by every reader.
        batch = jax.lax.optimization_barrier(drawn)
        value, slopes = jax.value_and_grad(loss_of)(state.weights, batch)
        updates, moments = optimizer.update(slopes, state.moments, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        losses = state.losses.at[state.step].set(value)
        return _State(weights, moments, state.step + 1, losses)

    def encode(weights: Any, images: Array, start: Array) -> Array:
        block = jax.lax.dynamic_slice_in_dim(images, start, BLOCK)
        return nnx.merge(structure, weights).encoder(block)

    once = _QUICKLY if jax.default_backend() == "cpu" else None
    return _Programs(
        structure,
        jax.jit(init, compiler_options=once),
        jax.jit(step, donate_argnums=0),
        jax.jit(encode),
    )


def _make_optimizer(settings: FeatureSettings) -> optax.GradientTransformation:
    training = spec.Training(steps=settings.steps, learning_rate=settings.learning_rate)
    return optax.chain(
        optax.clip_by_global_norm(_LONGEST_GRADIENT), make_optimizer(training)
    )


def _objective(
    settings: FeatureSettings, shape: tuple[int, int, int]
) -> tuple[
    Callable[[nnx.Rngs], Network],
    Callable[[SmallSlices, Array], Any],
    Callable[[Any, Any], Array],
]:
    """Returns how a network is built, a batch is drawn, and the loss of both."""
    sizes = shape, settings.width, settings.latent
    if isinstance(settings, ContrastiveSettings):
        return (
            lambda rngs: Projector(*sizes, settings.projection, rngs=rngs),
            lambda pool, key: objectives.draw_pairs(
                pool, key, settings.batch, settings.augmentation
            ),
            lambda network, pairs: objectives.contrastive_loss(
                network, pairs, settings.temperature
            ),
        )
    return (
        lambda rngs: Autoencoder(*sizes, rngs=rngs),
        lambda pool, key: objectives.draw_slices(pool, key, settings.batch),
        objectives.reconstruction_loss,
    )
