"""PyTorch's side of the throughput race, as it runs inside its own process."""

# pyright: reportMissingImports=false

import dataclasses
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks._throughput_cases import Case
from benchmarks._throughput_workers import WARM_UP_STEPS, Ready
from benchmarks._torch_unet import (
    Norm,
    TorchUNet,
    make_torch_optimizer,
    network_loss,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """How PyTorch is asked to run the network."""

    channels_last: bool = False
    norm: Norm = "instance"
    compiled: bool = False


METHODS = {
    "eager": Method(),
    "channels last": Method(channels_last=True),
    "group norm": Method(norm="group"),
    "group norm, channels last": Method(norm="group", channels_last=True),
    "compiled": Method(compiled=True),
}


class TorchBench:
    """Trains in this process; trials follow one another.

    Args:
      threads: Threads of every operation.
      scratch: Folder for compiled code; each process uses its own part, so
        that no compile time depends on what another has compiled.
    """

    def __init__(self, threads: int, scratch: str):
        torch.set_num_threads(threads)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/{os.getpid()}"
        self._networks: dict[str, list[TorchUNet]] = {}
        self._train: dict[str, list[Callable[[int], None]]] = {}

    def prepare(self, method: str, case: Case, trials: int) -> Ready:
        """Builds the trials' networks and takes each through its first steps."""
        how = METHODS[method]
        batches = ready_batches(case, how)
        if not how.compiled:
            loss_of, seconds = network_loss, 0.0
        else:
            loss_of, seconds = _compile(case, batches[0])
        networks = [_make(case, how) for _ in range(trials)]
        self._networks[method] = networks
        self._train[method] = [
            _training(network, loss_of, case, batches) for network in networks
        ]
        self.run(method, WARM_UP_STEPS)
        weights = sum(leaf.numel() for leaf in networks[0].parameters())
        return Ready(compile_seconds=seconds, parameters=weights)

    def run(self, method: str, steps: int) -> int:
        """Advances every trial by `steps`; returns the trial-steps done."""
        for train in self._train[method]:
            train(steps)
        return steps * len(self._train[method])

    def drop(self) -> None:
        """Forgets every network."""
        if any(METHODS[method].compiled for method in self._train):
            torch.compiler.reset()
        self._train.clear()
        self._networks.clear()

    def networks(self, method: str) -> list[TorchUNet]:
        """Returns the networks in training, one a trial."""
        return self._networks[method]


def ready_batches(case: Case, how: Method) -> list[tuple[Tensor, Tensor]]:
    """Returns the case's slices cut into batches, in the layout asked for."""
    images, labels = case.draw()
    layout = torch.channels_last if how.channels_last else torch.contiguous_format
    return [
        (
            torch.from_numpy(images[first : first + case.batch])
            .movedim(-1, 1)
            .contiguous(memory_format=layout),
            torch.from_numpy(labels[first : first + case.batch]).long(),
        )
        for first in range(0, len(images) - case.batch + 1, case.batch)
    ]


def _make(case: Case, how: Method) -> TorchUNet:
    network = TorchUNet(case.network, 1, case.classes, how.norm)
    if how.channels_last:
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network.train()


def _compile(
    case: Case, batch: tuple[Tensor, Tensor]
) -> tuple[Callable[..., Tensor], float]:
    """Returns the compiled loss, and the seconds of its first two passes."""
    start = time.perf_counter()
    compiled = torch.compile(network_loss, dynamic=False)
    for _ in range(2):
        compiled(_make(case, Method()), *batch).backward()
    return compiled, time.perf_counter() - start


def _training(
    network: TorchUNet,
    loss_of: Callable[..., Tensor],
    case: Case,
    batches: list[tuple[Tensor, Tensor]],
) -> Callable[[int], None]:
    optimizer = make_torch_optimizer(network, case.program.training)

    def train(steps: int) -> None:
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss_of(network, *batches[step % len(batches)]).backward()
            optimizer.step()

    return train
