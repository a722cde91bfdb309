"""The suite's U-Net, loss and training step written in PyTorch, 2D and 3D.

The other side of the throughput race: layer for layer the network of
`slicebench.models.unet`, so that equal weights give equal outputs. PyTorch
belongs to the extra `bench`; without it this module cannot be imported.
"""

# pyright: reportMissingImports=false

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from slicebench import spec

Norm = Literal["instance", "group"]
"""PyTorch layer of the instance normalisation.

`GroupNorm` with one channel a group computes the same function by another
kernel, which also reads the channels-last layout.
"""

_SMOOTH = 1.0
_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


class TorchUNet(nn.Module):
    """Encoder and decoder of equal depth with skip connections.

    Args:
      program: Architecture, channels and classes.
      norm: Layer that normalises.
    """

    def __init__(self, program: spec.Program, norm: Norm = "instance"):
        super().__init__()
        network, kernels = program.network, program.kernels
        self.pools = program.pools
        widths = [
            min(network.width * 2**level, network.max_width)
            for level in range(network.depth)
        ]
        channels = program.channels
        self.encoder = nn.ModuleList()
        for width, size in zip(widths, kernels, strict=True):
            self.encoder.append(_level(channels, width, size, norm))
            channels = width
        self.decoder = nn.ModuleList()
        for level in reversed(range(network.depth - 1)):
            width = widths[level]
            self.decoder.append(_level(channels + width, width, kernels[level], norm))
            channels = width
        self.head = _CONVOLUTION[len(kernels[0])](channels, program.classes, 1)

    def forward(
        self, images: Float[Tensor, "batch channel *space"]
    ) -> Float[Tensor, "batch class *space"]:
        """Returns class scores (logits); sides must divide by all poolings."""
        skips: list[Tensor] = []
        pool = _POOL[images.ndim - 2]
        for number, level in enumerate(self.encoder):
            images = level(pool(images, self.pools[number - 1]) if number else images)
            skips.append(images)
        skips.pop()
        for size, level in zip(reversed(self.pools), self.decoder, strict=True):
            larger = functional.interpolate(
                images, scale_factor=tuple(map(float, size)), mode="nearest"
            )
            images = level(torch.cat([larger, skips.pop()], dim=1))
        return self.head(images)


def _level(
    channels: int, features: int, size: tuple[int, ...], norm: Norm
) -> nn.Sequential:
    """Two blocks of convolution, normalisation and activation."""
    layers: list[nn.Module] = []
    padding = tuple(side // 2 for side in size)
    for inputs in (channels, features):
        convolution = _CONVOLUTION[len(size)](
            inputs, features, size, padding=padding, bias=False
        )
        nn.init.kaiming_normal_(convolution.weight, a=0.01)
        normalise = (
            _INSTANCE_NORM[len(size)](features, affine=True)
            if norm == "instance"
            else nn.GroupNorm(features, features)
        )
        layers += [convolution, normalise, nn.LeakyReLU(0.01, inplace=True)]
    return nn.Sequential(*layers)


def torch_loss(
    logits: Float[Tensor, "batch class *space"],
    labels: Int[Tensor, " batch *space"],
) -> Float[Tensor, ""]:
    """The loss of `slicebench.training.loss`: cross-entropy plus soft Dice.

    Args:
      logits: Class scores.
      labels: Class indices.
    """
    entropy = functional.cross_entropy(logits, labels)
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    share = logits.softmax(1)
    space = (0, *range(2, logits.ndim))
    overlap = (truth * share).sum(space)[1:]
    total = (truth + share).sum(space)[1:]
    dice = (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    return entropy + 1 - dice.mean()


def network_loss(
    network: nn.Module,
    images: Float[Tensor, "batch channel *space"],
    labels: Int[Tensor, " batch *space"],
) -> Float[Tensor, ""]:
    """Loss of a network on a batch, in one function for `torch.compile`."""
    return torch_loss(network(images), labels)


def make_torch_optimizer(
    network: nn.Module, training: spec.Training
) -> torch.optim.Optimizer:
    """Returns AdamW in one fused kernel, at the schedule's first rate."""
    return torch.optim.AdamW(
        network.parameters(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )
