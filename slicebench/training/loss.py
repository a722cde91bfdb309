"""Cross-entropy plus soft Dice, as in nnU-Net (Isensee et al. 2021)."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

_SMOOTH = 1.0
"""Voxels added to both parts of the Dice quotient: absent classes stay calm."""


def segmentation_loss(
    logits: Float[Array, "batch *space class"],
    labels: UInt8[Array, " batch *space"] | Float[Array, "batch *space class"],
    weight: Float[Array, " batch *depth"] | None = None,
    classes: Literal["all", "present"] = "all",
) -> Float[Array, ""]:
    """Mean cross-entropy over voxels plus 1 - mean soft Dice over classes.

    Dice sums run over the whole batch (Milletari et al. 2016 in the batch form
    of nnU-Net), foreground classes only. In 2D every slice given here has a
    label. In 3D both parts are weighted sums over slices, so that labels of
    weight 0 change nothing.

    Args:
      logits: Class scores.
      labels: Class indices, or shares of the classes.
      weight: Weight of each image, or of each slice of each patch, not all 0;
        None weighs all voxels alike.
      classes: Which foreground classes the Dice part is the mean over: `all`, where
        a class that the batch lacks pulls its predicted share towards nothing, or
        those that are `present` in the batch. Without any, that part is 0.
    """
    truth = labels
    if labels.ndim < logits.ndim:
        truth = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    log_share = jax.nn.log_softmax(logits)
    entropy = -(truth * log_share).sum(-1)
    share = jnp.exp(log_share)
    overlap, total = truth * share, truth + share
    seen = truth
    if weight is None:
        mean = entropy.mean()
    else:
        voxel = weight.reshape(*weight.shape, *(1,) * (entropy.ndim - weight.ndim))
        mean = (voxel * entropy).sum() / jnp.broadcast_to(voxel, entropy.shape).sum()
        overlap, total, seen = (voxel[..., None] * of for of in (overlap, total, truth))
    axes = tuple(range(logits.ndim - 1))
    overlap, total = overlap.sum(axes)[1:], total.sum(axes)[1:]
    missed = 1 - (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    if classes == "all":
        return mean + missed.mean()
    present = seen.sum(axes)[1:] > 0
    return mean + (present * missed).sum() / jnp.maximum(present.sum(), 1)
