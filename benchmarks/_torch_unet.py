"""The suite's 2D U-Net, loss and training step written in PyTorch.

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


class TorchUNet(nn.Module):
    """Encoder and decoder of equal depth with skip connections.

    Args:
      network: Architecture.
      channels: Image channels.
      classes: Segmentation classes, background included.
      norm: Layer that normalises.
    """

    def __init__(
        self,
        network: spec.Network,
        channels: int,
        classes: int,
        norm: Norm = "instance",
    ):
        super().__init__()
        widths = [
            min(network.width * 2**level, network.max_width)
            for level in range(network.depth)
        ]
        self.encoder = nn.ModuleList()
        for width in widths:
            self.encoder.append(_level(channels, width, norm))
            channels = width
        self.decoder = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.decoder.append(_level(channels + width, width, norm))
            channels = width
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class height width"]:
        """Returns class scores (logits); sides must divide by 2**(depth - 1)."""
        skips: list[Tensor] = []
        for number, level in enumerate(self.encoder):
            images = level(functional.max_pool2d(images, 2) if number else images)
            skips.append(images)
        skips.pop()
        for level in self.decoder:
            larger = functional.interpolate(images, scale_factor=2, mode="nearest")
            images = level(torch.cat([larger, skips.pop()], dim=1))
        return self.head(images)


def _level(channels: int, features: int, norm: Norm) -> nn.Sequential:
    """Two blocks of convolution, normalisation and activation."""
    layers: list[nn.Module] = []
    for inputs in (channels, features):
        convolution = nn.Conv2d(inputs, features, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, a=0.01)
        normalise = (
            nn.InstanceNorm2d(features, affine=True)
            if norm == "instance"
            else nn.GroupNorm(features, features)
        )
        layers += [convolution, normalise, nn.LeakyReLU(0.01, inplace=True)]
    return nn.Sequential(*layers)


def torch_loss(
    logits: Float[Tensor, "batch class height width"],
    labels: Int[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """The loss of `slicebench.training.loss`: cross-entropy plus soft Dice.

    Args:
      logits: Class scores.
      labels: Class indices.
    """
    entropy = functional.cross_entropy(logits, labels)
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    share = logits.softmax(1)
    overlap = (truth * share).sum((0, 2, 3))[1:]
    total = (truth + share).sum((0, 2, 3))[1:]
    dice = (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    return entropy + 1 - dice.mean()


def network_loss(
    network: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int[Tensor, "batch height width"],
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
