"""Cross-entropy plus soft Dice, as in nnU-Net (Isensee et al. 2021)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

_SMOOTH = 1.0
"""Voxels added to both parts of the Dice quotient: absent classes stay calm."""


def segmentation_loss(
    logits: Float[Array, "batch height width class"],
    labels: UInt8[Array, "batch height width"],
) -> Float[Array, ""]:
    """Mean cross-entropy over voxels plus 1 - mean soft Dice over classes.

    Dice sums run over the whole batch (Milletari et al. 2016 in the batch form
    of nnU-Net), foreground classes only. Every voxel given here is annotated:
    slices without labels never enter a batch.

    Args:
      logits: Class scores.
      labels: Class indices.
    """
    truth = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    log_share = jax.nn.log_softmax(logits)
    entropy = -(truth * log_share).sum(-1).mean()
    share = jnp.exp(log_share)
    overlap = (truth * share).sum((0, 1, 2))[1:]
    total = (truth + share).sum((0, 1, 2))[1:]
    dice = (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    return entropy + 1 - dice.mean()
