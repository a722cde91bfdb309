"""Trials, experiments and planned contrasts, on the standard library alone."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

RESULTS_SCHEMA = 1
"""Number of the results layout; part of every trial's identity."""

Claim = Literal["superior", "noninferior", "equivalent"]
Dims = Literal["2d", "3d"]
Precision = Literal["float32", "bfloat16"]
DiceClasses = Literal["all", "present"]

ADDED: Mapping[str, bool] = {"added": True}
"""Marks a field younger than published results: left out of JSON at its default."""


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal values, equal bytes.

    Fields marked as added later appear only where they differ from their default.

    >>> canonical_json({"b": 1, "a": (1, 2)})
    '{"a":[1,2],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if not field.metadata.get("added")
            or getattr(value, field.name) != field.default
        }
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def digest(value: Any, length: int = 16) -> str:
    """Returns the first hexadecimal digits of the SHA-256 of canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Returns a 63-bit seed for one purpose, independent between purposes.

    Every random stream of the suite starts here: from a trial's seed and what
    the stream is for, never from its strategy, so that strategies are paired.

    >>> derive_seed(0, "volumes") == derive_seed(0, "weights")
    False
    """
    text = canonical_json([seed, *purpose]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A plain U-Net in the manner of nnU-Net (Isensee et al. 2021).

    Attributes:
      width: Channels at full resolution, doubled at every level down.
      depth: Number of resolution levels.
      max_width: Largest number of channels at any level.
    """

    width: int = 16
    depth: int = 4
    max_width: int = 320


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to training slices, drawn at each step.

    Attributes:
      shift: Largest shift, as a share of the grid's height and width.
      scale: Largest change of scale (0.1: from 0.9 to 1.1).
      rotation: Largest rotation in degrees.
      gain: Largest relative change of contrast.
      offset: Largest shift of intensity, in standard deviations.
      noise: Largest standard deviation of added Gaussian noise.
      flip: Mirror left to right, where the task has no side-dependent class.
      flip_axis: Axis of the slice that runs left to right: 1 height, 2 width.
    """

    shift: float = 0.08
    scale: float = 0.1
    rotation: float = 12.0
    gain: float = 0.15
    offset: float = 0.1
    noise: float = 0.05
    flip: bool = False
    flip_axis: Literal[1, 2] = dataclasses.field(default=2, metadata=ADDED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How one network is trained.

    Attributes:
      steps: Optimiser steps.
      batch: Slices in a batch.
      optimizer: `adamw` or `sgd` (Nesterov momentum 0.99).
      learning_rate: Peak learning rate.
      decay: `cosine` or `polynomial` (power 0.9), both to zero.
      warmup: Share of the steps with linearly rising learning rate.
      weight_decay: Decoupled for `adamw`, added to the gradient for `sgd`.
      sampling: `balanced` (a third of each batch from slices that hold a
        uniformly drawn class) or `uniform` over annotated slices.
      augmentation: Random changes to training slices.
      patch: Largest depth, height and width of a 3D patch, in voxels.
      dice_classes: Classes of the Dice loss: `all`, or those `present` in a batch.
    """

    steps: int = 400
    batch: int = 16
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    decay: Literal["cosine", "polynomial"] = "cosine"
    warmup: float = 0.0
    weight_decay: float = 1e-2
    sampling: Literal["balanced", "uniform"] = "balanced"
    augmentation: Augmentation = Augmentation()
    patch: tuple[int, int, int] = dataclasses.field(
        default=(32, 64, 64), metadata=ADDED
    )
    dice_classes: DiceClasses = dataclasses.field(default="all", metadata=ADDED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volumetric:
    """What a 3D program fixes beyond a 2D one.

    Attributes:
      patch: Depth, height and width of a training patch.
      kernels: Kernel size of each resolution level.
      pools: Pooling from each level to the next one down.
    """

    patch: tuple[int, int, int]
    kernels: tuple[tuple[int, int, int], ...]
    pools: tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What fixes compilation: trials of one program share compiled code.

    Attributes:
      dims: `2d` or `3d`.
      network: Architecture.
      training: Schedule; its loop and optimiser are compiled in.
      grid: Height and width of the training grid.
      channels: Image channels.
      classes: Segmentation classes, background included.
      slices: Slices of the pool that the training arrays hold.
      precision: Of the network's arithmetic; weights, sums, optimiser are float32.
      volumetric: Patch, kernels and pooling of a 3D program; None in 2D.
      pseudo_slots: Most interpolated slices of a trial; 0 where none are used.
    """

    dims: Dims
    network: Network
    training: Training
    grid: tuple[int, int]
    channels: int
    classes: int
    slices: int
    precision: Precision = "float32"
    volumetric: Volumetric | None = dataclasses.field(default=None, metadata=ADDED)
    pseudo_slots: int = dataclasses.field(default=0, metadata=ADDED)

    @property
    def name(self) -> str:
        """Short digest that names the program in tables and logs."""
        return digest(self, 10)

    @property
    def patch(self) -> tuple[int, ...]:
        """Spatial shape of what the network is trained on."""
        return self.volumetric.patch if self.volumetric else self.grid

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """Kernel size of each resolution level, full resolution first."""
        flat = ((3, 3),) * self.network.depth
        return self.volumetric.kernels if self.volumetric else flat

    @property
    def pools(self) -> tuple[tuple[int, ...], ...]:
        """Pooling from each resolution level to the next one down."""
        flat = ((2, 2),) * (self.network.depth - 1)
        return self.volumetric.pools if self.volumetric else flat


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One network to be trained: everything that can change its score.

    Attributes:
      task: Dataset name.
      target: What is segmented, such as `all` or a list of class names.
      fold: Outer fold of the split; 0 where one split is used.
      dims: `2d` or `3d`.
      budget: Planned number of annotated slices.
      num_volumes: Volumes that annotated slices are drawn from.
      slices_per_volume: Slices of each; None where all are taken or quotas are uneven.
      volume_strategy: How the volumes are chosen.
      strategy: How slices are chosen in them.
      features: Slice features that the strategy sees, `none` if it sees none.
      scope: `within` (equal quota a volume) or `pooled`.
      interpolation: How masks between annotated slices are filled.
      pseudo_weight: Loss weight of interpolated slices; 0 without any.
      selection_seed: Seed of volumes and slices.
      training_seed: Seed of weights, batches and augmentation.
      network: Architecture.
      training: Schedule.
      program: Name of the compiled program.
      context: Digest of dataset, split and preprocessing.
      inputs_digest: Of files and trainings that its selection reads; empty without.
    """

    task: str
    target: str
    fold: int
    dims: Dims
    budget: int
    num_volumes: int
    slices_per_volume: int | None
    volume_strategy: str
    strategy: str
    features: str
    scope: Literal["within", "pooled"]
    interpolation: str
    pseudo_weight: float
    selection_seed: int
    training_seed: int
    network: Network
    training: Training
    program: str
    context: str
    inputs_digest: str = dataclasses.field(default="", metadata=ADDED)

    @property
    def trial_id(self) -> str:
        """Digest of canonical JSON of every field and the results schema."""
        return digest([RESULTS_SCHEMA, self])

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.training.steps

    def cell(self) -> tuple[Any, ...]:
        """Returns what repeated trials share: every factor except the seeds."""
        return tuple(getattr(self, name) for name in CELL_FIELDS)


CELL_FIELDS = (
    "task",
    "target",
    "dims",
    "budget",
    "num_volumes",
    "slices_per_volume",
    "volume_strategy",
    "strategy",
    "features",
    "scope",
    "interpolation",
    "pseudo_weight",
    "steps",
)
"""Columns of a trial that name a cell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison planned before any result is seen.

    A template: the runner makes one for each task, dims and value of the axes in
    `each`, and drops those without cells, by name.

    Attributes:
      name: What is compared, in words.
      family: Contrasts of a family are adjusted together (Holm).
      claim: What a positive outcome would be.
      primary: False for exploration: interval, no verdict.
      kind: `difference` of the mean scores of `a` and `b`, or `slope` (score gained
        by each halving of slices per volume; positive favours many volumes).
      metric: Score that is compared.
      where: Factor values that both sides share; `steps_factor` is 1 unless named.
      a: Factor values of the side that a positive estimate favours.
      b: Factor values of the other side.
      each: Axes over which one contrast a value is made.
      min_volumes: Of a slope, cells with fewer volumes are left out.
    """

    name: str
    family: str
    claim: Claim = "superior"
    primary: bool = True
    kind: Literal["difference", "slope"] = "difference"
    metric: str = "dice"
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    a: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    b: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    each: tuple[str, ...] = ("budget",)
    min_volumes: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What an experiment may know of a task before it plans (no labels).

    Attributes:
      name: Task name.
      pool_volumes: Volumes that may be annotated.
      min_slices: Slices of the pool's thinnest volume.
      median_slices: Slices of its median volume.
      max_slices: Slices of its thickest volume; 0 where that is not known.
      grid: Height and width of the training grid.
      synthetic: Whether the task is a phantom.
      spacing: Distance between grid points in mm, slices first: median of the pool.
      dims: Network asked for; budgets and densities are asked in `2d`.
    """

    name: str
    pool_volumes: int
    min_slices: int
    median_slices: int
    grid: tuple[int, int]
    synthetic: bool
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dims: Dims = "2d"
    max_slices: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A set of trials and the contrasts planned beforehand.

    An axis is a tuple of values. `budgets`, `slices_per_volume`, `network` and
    `training` may instead be functions of the task's `TaskInfo`.

    Attributes:
      name: Experiment name.
      question: What it asks, one sentence.
      tasks: Names of embedded tasks, used when no dataset folder is given.
      budgets: Annotated slices in total.
      slices_per_volume: Density; the number of volumes follows.
      strategies: Slice strategies.
      volume_strategies: Volume strategies.
      features: Slice features for strategies that use them.
      scope: `within` or `pooled`.
      pooled_from: Where `pooled` draws: from `chosen` volumes or the whole `pool`.
      interpolations: Mask interpolations.
      pseudo_weights: Loss weights of interpolated slices.
      steps_factors: Multiples of the steps; contrasts that name none are primary at 1.
      keep: Whether factors, `steps_factor` among them, are trained; None: all.
      dims: `2d` or `3d` values.
      num_seeds: Seeds of every cell.
      training_seeds: Trainings of each, as its selection; None: one seed both.
      network: Architecture.
      training: Schedule.
      ceiling_seeds: Seeds of the network on all slices of the pool.
      contrasts: Templates of the planned comparisons.
      precision: Floating type of the networks' arithmetic.
    """

    name: str
    question: str
    tasks: tuple[str, ...]
    budgets: tuple[int, ...] | Callable[[TaskInfo], tuple[int, ...]]
    slices_per_volume: tuple[int, ...] | Callable[[TaskInfo], tuple[int, ...]]
    strategies: tuple[str, ...] = ("random",)
    volume_strategies: tuple[str, ...] = ("random",)
    features: tuple[str, ...] = ("intensity",)
    scope: tuple[Literal["within", "pooled"], ...] = ("within",)
    pooled_from: Literal["chosen", "pool"] = "chosen"
    interpolations: tuple[str, ...] = ("none",)
    pseudo_weights: tuple[float, ...] = (0.5,)
    steps_factors: tuple[float, ...] = (1.0,)
    keep: Callable[[Mapping[str, Any]], bool] | None = None
    dims: tuple[Dims, ...] = ("2d",)
    num_seeds: int = 20
    training_seeds: int | None = None
    network: Network | Callable[[TaskInfo], Network] = Network()
    training: Training | Callable[[TaskInfo], Training] = Training()
    ceiling_seeds: int = 2
    contrasts: tuple[Contrast, ...] = ()
    precision: Precision = "float32"
