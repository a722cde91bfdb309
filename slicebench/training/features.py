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
from slicebench.training._feature_objectives import Volumes, make_bank
from slicebench.training.arrays import Bank
from slicebench.training.host import keep_memory
from slicebench.training.step import make_optimizer

Features = tuple[Float[np.ndarray, "_depth feature"], ...]
Network = Autoencoder | Projector

DECIMALS = 6
"""Features are rounded: further digits hold rounding errors only, which would
tell equal slices apart."""

_CHUNK = 256
"""Slices described in one call."""

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
        counts = [
            field.name
            for field in dataclasses.fields(self)
            if field.type is int and field.name != "side"
        ]
        faults = [
            f"{name} is {getattr(self, name)}, 1 or more is needed"
            for name in counts
            if not getattr(self, name) >= 1
        ]
        if not self.side >= SHRINK:
            faults.append(f"side is {self.side}, {SHRINK} or more is needed")
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
    weights: Any
    moments: optax.OptState
    step: Int[Array, ""]
    losses: Float[Array, " step"]


class _Programs(NamedTuple):
    """Functions compiled once for each settings and shape of slices."""

    structure: nnx.GraphDef
    init: Callable[[Array], _State]
    step: Callable[[_State, Bank, Array], _State]
    describe: Callable[[Any, Array], Array]


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
    bank = make_bank(images, settings.side)
    rows = describe(train(bank, seed=seed, settings=settings), bank, settings)
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


def train(bank: Bank, *, seed: int, settings: FeatureSettings) -> Trained:
    """Trains a network on a pool.

    Args:
      bank: The pool's small slices, from `make_bank`.
      seed: Of first weights, batches and augmentation.
      settings: Of either kind.
    """
    keep_memory()
    programs = _programs(settings, bank.images.shape[1:])
    words = spec.derive_seed(seed, "features") & 0xFFFFFFFF
    first, steps = jax.random.split(jax.random.key(words))
    state = programs.init(first)
    # Not a loop on the device: convolutions inside one are slow on a CPU.
    for _ in range(settings.steps):
        state = programs.step(state, bank, steps)
    return Trained(programs.structure, state.weights, state.losses)


def describe(
    trained: Trained, bank: Bank, settings: FeatureSettings
) -> Float[np.ndarray, "slice feature"]:
    """Returns the features of each slice of a bank, see `train_features`.

    Raises:
      InputError: If a feature is not a finite number.
    """
    encode = _programs(settings, bank.images.shape[1:]).describe
    parts = []
    for start in range(0, len(bank.images), _CHUNK):
        part = bank.images[start : start + _CHUNK]
        spare = _CHUNK - len(part)
        full = jnp.pad(part, ((0, spare), (0, 0), (0, 0), (0, 0)))
        parts.append(np.asarray(encode(trained.weights, full))[: len(part)])
    rows = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(rows).all():
        raise InputError(
            f"training of features ran away at learning_rate "
            f"{settings.learning_rate}; a smaller one is needed"
        )
    if isinstance(settings, ContrastiveSettings):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    else:
        rows -= rows.mean(axis=0)
    return np.round(rows, DECIMALS)


@functools.lru_cache(maxsize=8)
def _programs(settings: FeatureSettings, shape: tuple[int, int, int]) -> _Programs:
    build, draw, loss = _objective(settings, shape)
    structure = nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
    optimizer = optax.chain(
        optax.clip_by_global_norm(_LONGEST_GRADIENT),
        make_optimizer(
            spec.Training(steps=settings.steps, learning_rate=settings.learning_rate)
        ),
    )

    def init(key: Array) -> _State:
        weights = nnx.state(build(nnx.Rngs(params=key)))
        return _State(
            weights=weights,
            moments=optimizer.init(weights),
            step=jnp.int32(0),
            losses=jnp.zeros(settings.steps),
        )

    def loss_of(weights: Any, batch: Any) -> Array:
        return loss(nnx.merge(structure, weights), batch)

    def step(state: _State, bank: Bank, key: Array) -> _State:
        # The barrier keeps the batch from being drawn again by every reader.
        batch = jax.lax.optimization_barrier(
            draw(bank, jax.random.fold_in(key, state.step))
        )
        value, slopes = jax.value_and_grad(loss_of)(state.weights, batch)
        updates, moments = optimizer.update(slopes, state.moments, state.weights)
        return _State(
            weights=optax.apply_updates(state.weights, updates),
            moments=moments,
            step=state.step + 1,
            losses=state.losses.at[state.step].set(value),
        )

    def encode(weights: Any, images: Array) -> Array:
        return nnx.merge(structure, weights).encoder(images)

    on_cpu = jax.default_backend() == "cpu"
    return _Programs(
        structure,
        jax.jit(init, compiler_options=_QUICKLY if on_cpu else None),
        jax.jit(step, donate_argnums=0),
        jax.jit(encode),
    )


def _objective(
    settings: FeatureSettings, shape: tuple[int, int, int]
) -> tuple[
    Callable[[nnx.Rngs], Network],
    Callable[[Bank, Array], Any],
    Callable[[Any, Any], Array],
]:
    """Returns how a network is built, a batch is drawn, and the loss of both."""
    sizes = shape, settings.width, settings.latent
    if isinstance(settings, ContrastiveSettings):
        return (
            lambda rngs: Projector(*sizes, settings.projection, rngs=rngs),
            lambda bank, key: objectives.draw_pairs(
                bank, key, settings.batch, settings.augmentation
            ),
            lambda network, pairs: objectives.contrastive_loss(
                network, pairs, settings.temperature
            ),
        )
    return (
        lambda rngs: Autoencoder(*sizes, rngs=rngs),
        lambda bank, key: objectives.draw_slices(bank, key, settings.batch),
        objectives.reconstruction_loss,
    )
