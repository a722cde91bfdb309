"""PyTorch's side of the throughput race, as it runs inside its own process."""

# pyright: reportMissingImports=false

import contextlib
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
from slicebench.training.host import keep_memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """How PyTorch is asked to run the network.

    Attributes:
      channels_last: Memory layout of images and weights.
      norm: Layer of the normalisation.
      compiled: Whether loss and gradients go through `torch.compile`.
      mode: Mode of the compiler; `reduce-overhead` uses CUDA graphs.
      half: Whether convolutions run in bfloat16 under autocast.
    """

    channels_last: bool = False
    norm: Norm = "instance"
    compiled: bool = False
    mode: str = "default"
    half: bool = False


METHODS = {
    "eager": Method(),
    "channels last": Method(channels_last=True),
    "group norm": Method(norm="group"),
    "group norm, channels last": Method(norm="group", channels_last=True),
    "compiled": Method(compiled=True),
    "half": Method(half=True),
    "half, channels last": Method(half=True, channels_last=True),
    "half, graphs": Method(half=True, compiled=True, mode="reduce-overhead"),
    "half, graphs, channels last": Method(
        half=True, compiled=True, mode="reduce-overhead", channels_last=True
    ),
}


class TorchBench:
    """Trains in this process; trials follow one another.

    Args:
      threads: Threads of every operation.
      scratch: Folder for compiled code; each process uses its own part, so
        that no compile time depends on what another has compiled.
      device: `cpu` or `cuda`.
      keep: Whether freed memory stays with the process, as in slicebench's
        engine: PyTorch gains from that as well, although it does not do so.
    """

    def __init__(
        self, threads: int, scratch: str, device: str = "cpu", *, keep: bool = False
    ):
        torch.set_num_threads(threads)
        if keep:
            keep_memory()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/{os.getpid()}"
        self._device = device
        if device == "cuda":
            # Shapes never change here; the fastest kernels are searched once.
            torch.backends.cudnn.benchmark = True
        self._networks: dict[str, list[TorchUNet]] = {}
        self._train: dict[str, list[Callable[[int], None]]] = {}

    def prepare(self, method: str, case: Case, trials: int) -> Ready:
        """Builds the trials' networks and takes each through its first steps."""
        how = METHODS[method]
        batches = ready_batches(case, how, self._device)
        if not how.compiled:
            loss_of, seconds = _eager(how, self._device), 0.0
        else:
            loss_of, seconds = _compile(case, how, batches[0], self._device)
        networks = [_make(case, how, self._device) for _ in range(trials)]
        self._networks[method] = networks
        self._train[method] = [
            _training(network, loss_of, case, batches) for network in networks
        ]
        self.run(method, WARM_UP_STEPS)
        weights = sum(leaf.numel() for leaf in networks[0].parameters())
        return Ready(compile_seconds=seconds, parameters=weights, trials=trials)

    def run(self, method: str, steps: int) -> int:
        """Advances every trial by `steps`; returns the trial-steps done."""
        for train in self._train[method]:
            train(steps)
        if self._device == "cuda":
            torch.cuda.synchronize()
        return steps * len(self._train[method])

    def drop(self) -> None:
        """Forgets every network."""
        if any(METHODS[method].compiled for method in self._train):
            torch.compiler.reset()
        self._train.clear()
        self._networks.clear()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def networks(self, method: str) -> list[TorchUNet]:
        """Returns the networks in training, one a trial."""
        return self._networks[method]


def _layout(how: Method, spatial: int) -> torch.memory_format:
    if not how.channels_last:
        return torch.contiguous_format
    return torch.channels_last if spatial == 2 else torch.channels_last_3d


def ready_batches(
    case: Case, how: Method, device: str = "cpu"
) -> list[tuple[Tensor, Tensor]]:
    """Returns what the case trains on cut into batches, in the layout asked for."""
    images, labels = case.draw_patches()
    layout = _layout(how, labels.ndim - 1)
    return [
        (
            torch.from_numpy(images[first : first + case.batch])
            .movedim(-1, 1)
            .contiguous(memory_format=layout)
            .to(device),
            torch.from_numpy(labels[first : first + case.batch]).long().to(device),
        )
        for first in range(0, len(images) - case.batch + 1, case.batch)
    ]


def _make(case: Case, how: Method, device: str) -> TorchUNet:
    network = TorchUNet(case.program, how.norm)
    layout = _layout(how, len(case.program.patch))
    network = network.to(device=device, memory_format=layout)  # pyright: ignore[reportCallIssue]
    return network.train()


def _eager(how: Method, device: str) -> Callable[..., Tensor]:
    """Returns the loss, its convolutions in the precision asked for."""
    if not how.half:
        return network_loss

    def loss_of(network: TorchUNet, images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return network_loss(network, images, labels)

    return loss_of


def _compile(
    case: Case, how: Method, batch: tuple[Tensor, Tensor], device: str
) -> tuple[Callable[..., Tensor], float]:
    """Returns the compiled loss, and the seconds of its first passes.

    CUDA graphs are recorded in the second pass and replayed from the third.
    """
    start = time.perf_counter()
    mode = None if how.mode == "default" else how.mode
    compiled = torch.compile(_eager(how, device), dynamic=False, mode=mode)
    for _ in range(2 if mode is None else 3):
        compiled(_make(case, how, device), *batch).backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return compiled, time.perf_counter() - start


def _training(
    network: TorchUNet,
    loss_of: Callable[..., Tensor],
    case: Case,
    batches: list[tuple[Tensor, Tensor]],
) -> Callable[[int], None]:
    optimizer = make_torch_optimizer(network, case.program.training)
    # Tells CUDA graphs that the outputs of the last step may be overwritten.
    mark = (
        torch.compiler.cudagraph_mark_step_begin
        if batches[0][0].is_cuda
        else contextlib.nullcontext
    )

    def train(steps: int) -> None:
        for step in range(steps):
            mark()
            optimizer.zero_grad(set_to_none=True)
            loss_of(network, *batches[step % len(batches)]).backward()
            optimizer.step()

    return train
