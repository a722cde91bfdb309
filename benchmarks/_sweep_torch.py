"""The peer of the sweep benchmark: a loop over trials in plain PyTorch.

What a careful researcher would write: all slices in memory as one tensor,
batches gathered and augmented in one go with `affine_grid` and `grid_sample`,
AdamW with a cosine schedule in one fused kernel, prediction in batches under
`inference_mode`, MONAI's metrics case by case. Trials, selections, cases and
the network are slicebench's own.
"""

# pyright: reportMissingImports=false

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from benchmarks._throughput_workers import Ready
from benchmarks._torch_unet import TorchUNet, make_torch_optimizer, network_loss
from slicebench import spec
from slicebench.data.prepared import PreparedCase, PreparedTask
from slicebench.evaluation import (
    prepare_native_map,
    prepare_truth,
    score_case,
    to_native_labels,
)
from slicebench.evaluation.scoring import tolerance_mm
from slicebench.runner import Options, make_study
from slicebench.selection import PoolView, select

_CHUNK = 32
_FOREGROUND_SHARE = 1 / 3


@dataclasses.dataclass
class Parts:
    """Where the seconds of one trial went, and its mean Dice."""

    selection: float = 0.0
    training: float = 0.0
    prediction: float = 0.0
    monai: float = 0.0
    ours: float = 0.0
    dice: float = 0.0


class SweepBench:
    """Trains and scores every `processes`-th trial of a study in this process.

    Args:
      threads: Threads of every operation.
      rank: Which of the processes this is.
      processes: How many share the trials.
    """

    def __init__(self, threads: int, rank: int, processes: int):
        torch.set_num_threads(threads)
        # MONAI warns of every empty prediction.
        warnings.filterwarnings("ignore", module="monai")
        self._share = slice(rank, None, processes)
        self._parts: list[Parts] = []

    def prepare(self, method: str, options: Options, trials: int) -> Ready:
        """Loads the data, prepares the truth, takes a few steps.

        Args:
          method: Unused; there is one way.
          options: What the sweep's command line asked for.
          trials: Most trials over all processes; 0 for all.
        """
        del method
        study = make_study(options)
        ((_, task),) = study.tasks.items()
        ((_, program),) = study.programs.items()
        self._program = program
        self._trials = study.trials[: trials or None][self._share]
        self._view = PoolView.of(task.pool)
        self._bank = Bank(task)
        self._judge = Judge(task)
        network = TorchUNet(program)
        train(network, program, self._bank, np.arange(64), seed=0, steps=3)
        self._judge.predict(network)
        weights = sum(leaf.numel() for leaf in network.parameters())
        return Ready(0.0, weights, len(self._trials))

    def run(self, method: str, steps: int) -> int:
        """Trains and scores this process's trials; returns the trial-steps."""
        del method, steps
        self._parts = [self._one(trial) for trial in self._trials]
        return len(self._trials) * self._program.training.steps

    def parts(self) -> list[Parts]:
        """Returns the seconds of the trials of the last run."""
        return self._parts

    def drop(self) -> None:
        """Forgets the last run."""
        self._parts = []

    def _one(self, trial: spec.Trial) -> Parts:
        parts = Parts()
        clock = Clock()
        selection = select(
            self._view,
            volume_strategy=trial.volume_strategy,
            strategy=trial.strategy,
            num_volumes=trial.num_volumes,
            slices_per_volume=trial.slices_per_volume,
            budget=trial.budget,
            scope=trial.scope,
            seed=trial.selection_seed,
        )
        mask = np.concatenate(selection.mask(list(self._view.depths)))
        parts.selection = clock.lap()
        torch.manual_seed(trial.training_seed)
        network = TorchUNet(self._program)
        steps = self._program.training.steps
        annotated = np.flatnonzero(mask)
        train(network, self._program, self._bank, annotated, trial.training_seed, steps)
        parts.training = clock.lap()
        predictions = self._judge.predict(network)
        parts.prediction = clock.lap()
        parts.dice = self._judge.by_monai(predictions)
        parts.monai = clock.lap()
        self._judge.by_ours(predictions)
        parts.ours = clock.lap()
        return parts


class Clock:
    """Seconds since the last lap."""

    def __init__(self):
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap, and begins the next."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


class Bank:
    """The pool's slices as tensors, with the classes that each holds."""

    def __init__(self, task: PreparedTask):
        images = np.concatenate([case.image for case in task.pool])
        labels = np.concatenate([case.label for case in task.pool])
        self.images = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).float()
        self.labels = torch.from_numpy(labels)
        self.holds = np.stack(
            [(labels == c).any((1, 2)) for c in range(1, len(task.classes) + 1)], 1
        )


def train(
    network: TorchUNet,
    program: spec.Program,
    bank: Bank,
    annotated: Int[np.ndarray, " slice"],
    seed: int,
    steps: int,
) -> None:
    """Trains a network on annotated slices."""
    optimizer = make_torch_optimizer(network, program.training)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    draw = _sampler(annotated, bank.holds, program.training.batch, rng)
    network.train()
    for _ in range(steps):
        which = torch.from_numpy(draw())
        images, labels = augment(
            bank.images[which],
            bank.labels[which],
            program.training.augmentation,
            generator,
        )
        optimizer.zero_grad(set_to_none=True)
        network_loss(network, images, labels).backward()
        optimizer.step()
        schedule.step()


def _sampler(
    annotated: Int[np.ndarray, " slice"],
    holds: np.ndarray,
    batch: int,
    rng: np.random.Generator,
) -> Callable[[], Int[np.ndarray, " batch"]]:
    """Draws batches: a third by class, the rest uniform over annotated slices."""
    rows = [annotated[holds[annotated, c]] for c in range(holds.shape[1])]
    rows = [row for row in rows if len(row)]
    chosen = round(batch * _FOREGROUND_SHARE) if rows else 0

    def draw() -> Int[np.ndarray, " batch"]:
        classes = rng.integers(max(len(rows), 1), size=chosen)
        wanted = [rng.choice(rows[c]) for c in classes]
        return np.array([*wanted, *rng.choice(annotated, batch - chosen)])

    return draw


def augment(
    images: Float[Tensor, "batch channel height width"],
    labels: UInt8[Tensor, "batch height width"],
    how: spec.Augmentation,
    generator: torch.Generator,
) -> tuple[
    Float[Tensor, "batch channel height width"], Int[Tensor, "batch height width"]
]:
    """The engine's augmentation: similarity map, contrast, brightness, noise."""
    batch, channels, height, width = images.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    turn, size, down, across, mirror = draw(5, batch)
    angle = turn * np.deg2rad(how.rotation)
    scale = 1 + how.scale * size
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    # Columns first, in units where the image spans -1 to 1.
    shape = (height - 1) / (width - 1)
    flip = torch.where(mirror > 0, 1.0, -1.0) if how.flip else torch.ones(batch)
    theta = torch.stack(
        [
            torch.stack([flip * cosine, flip * sine * shape, 2 * how.shift * across]),
            torch.stack([-sine / shape, cosine, 2 * how.shift * down]),
        ]
    ).permute(2, 0, 1)
    where = functional.affine_grid(
        theta, [batch, channels, height, width], align_corners=True
    )
    read = {"padding_mode": "border", "align_corners": True}
    images = functional.grid_sample(images, where, mode="bilinear", **read)
    truth = functional.grid_sample(
        labels[:, None].float(), where, mode="nearest", **read
    )
    gain, offset = draw(2, batch, channels, 1, 1)
    images = images * (1 + how.gain * gain) + how.offset * offset
    if how.noise:
        level = torch.rand((batch, channels, 1, 1), generator=generator)
        grain = torch.randn(images.shape, generator=generator)
        images = images + how.noise * level * grain
    return images, truth[:, 0].long()


class Judge:
    """Predicts and scores the held-out cases; truth is prepared once."""

    def __init__(self, task: PreparedTask):
        from monai.metrics.hausdorff_distance import HausdorffDistanceMetric
        from monai.metrics.meandice import DiceMetric
        from monai.metrics.surface_dice import SurfaceDiceMetric

        self._cases: tuple[PreparedCase, ...] = (*task.development, *task.test)
        self._classes = len(task.classes)
        images = np.concatenate([case.image for case in self._cases])
        self._images = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).float()
        self._ways = [prepare_native_map(case) for case in self._cases]
        self._hard = all(way.gather is not None for way in self._ways)
        tolerance = tolerance_mm(task)
        self._truths = [
            prepare_truth(case.native_label, case.spacing, self._classes, tolerance)
            for case in self._cases
        ]
        self._one_hot = [self._as_one_hot(case.native_label) for case in self._cases]
        self._metrics: list[Any] = [
            DiceMetric(include_background=False),
            SurfaceDiceMetric([tolerance] * self._classes, include_background=False),
            HausdorffDistanceMetric(include_background=False, percentile=95),
        ]

    def predict(self, network: TorchUNet) -> list[UInt8[np.ndarray, "_d _h _w"]]:
        """Returns the predicted classes of every case on its native grid."""
        network.eval()
        parts: list[Tensor] = []
        with torch.inference_mode():
            for chunk in self._images.split(_CHUNK):
                logits = network(chunk)
                share = (
                    logits.argmax(1).to(torch.uint8)
                    if self._hard
                    else logits.softmax(1).movedim(1, -1)
                )
                parts.append(share)
        joined = torch.cat(parts).numpy()
        ends = np.cumsum([case.depth for case in self._cases])[:-1]
        cut = np.split(joined, ends)
        return [to_native_labels(p, w) for p, w in zip(cut, self._ways, strict=True)]

    def by_monai(self, predictions: list[UInt8[np.ndarray, "_d _h _w"]]) -> float:
        """Scores by MONAI: Dice, surface Dice, HD95; returns the mean Dice."""
        for metric in self._metrics:
            metric.reset()
        for case, truth, labels in zip(
            self._cases, self._one_hot, predictions, strict=True
        ):
            prediction = self._as_one_hot(labels)
            dice, surface, distance = self._metrics
            dice(prediction, truth)
            surface(prediction, truth, spacing=case.spacing)
            distance(prediction, truth, spacing=case.spacing)
        means = [float(metric.aggregate().mean()) for metric in self._metrics]
        return means[0]

    def by_ours(self, predictions: list[UInt8[np.ndarray, "_d _h _w"]]) -> None:
        """Scores by slicebench, against truths prepared once."""
        for truth, labels in zip(self._truths, predictions, strict=True):
            score_case(truth, labels)

    def _as_one_hot(
        self, labels: UInt8[np.ndarray, "depth height width"]
    ) -> Float[Tensor, "1 class depth height width"]:
        wide = torch.from_numpy(labels.astype(np.int64))[None]
        return functional.one_hot(wide, self._classes + 1).movedim(-1, 1).float()
