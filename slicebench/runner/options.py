"""What the command line asked for, checked."""

import dataclasses
import math
from pathlib import Path

from slicebench.errors import InputError
from slicebench.remote import shown_url


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of several shares of a study.

    Attributes:
      index: Number of the share, from 0.
      count: Shares.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """Name of its folder inside the work folder."""
        return f"shard-{self.index}-of-{self.count}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overrides:
    """Axis values given by flags; None leaves the experiment's own.

    Attributes:
      tasks: Embedded tasks.
      budgets: Annotated slices in total.
      slices_per_volume: Densities.
      strategies: Slice strategies.
      volume_strategies: Volume strategies.
      features: Slice features.
      scope: `within` or `pooled`.
      pooled_from: `chosen` or `pool`: where scope `pooled` draws slices.
      interpolations: Mask interpolations.
      pseudo_weights: Loss weights of interpolated slices.
      dims: `2d` or `3d`.
      steps: Optimiser steps.
      steps_factors: Multiples of the steps that are trained.
      batch: Slices (2D) or patches (3D) in a batch.
      learning_rate: Peak learning rate.
      dice_classes: `all`, or those `present` in a batch.
      width: Channels of the network at full resolution.
      depth: Resolution levels of the network.
      precision: `float32` or `bfloat16`.
      num_seeds: Seeds of every cell.
      ceiling_seeds: Seeds of the ceiling.
    """

    tasks: tuple[str, ...] | None = None
    budgets: tuple[int, ...] | None = None
    slices_per_volume: tuple[int, ...] | None = None
    strategies: tuple[str, ...] | None = None
    volume_strategies: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    scope: tuple[str, ...] | None = None
    pooled_from: str | None = None
    interpolations: tuple[str, ...] | None = None
    pseudo_weights: tuple[float, ...] | None = None
    dims: tuple[str, ...] | None = None
    steps: tuple[int, ...] | None = None
    steps_factors: tuple[float, ...] | None = None
    batch: int | None = None
    learning_rate: float | None = None
    dice_classes: str | None = None
    width: int | None = None
    depth: int | None = None
    precision: str | None = None
    num_seeds: int | None = None
    ceiling_seeds: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """One call of the command line.

    Attributes:
      experiment: Name or path of an experiment file.
      data: Dataset folders that replace the embedded tasks.
      workdir: Work folder.
      overrides: Axis values given by flags.
      target_labels: Classes that are segmented, see the data readers.
      slice_axis: Declared slice axis of the stored arrays.
      splits_file: A user's splits_final.json.
      split_seed: Seed of the split.
      max_size: Largest height and width of the training grid.
      field_of_view: Side in mm of the central square that is kept in plane; None
        keeps all.
      ct_window: Lowest and highest intensity of CT that are told apart; None takes
        percentiles of the pool.
      feature_file: The user's own slice features, for features `file`.
      strata_file: `FILE` or `FILE:COLUMN` with a stratum of each case, for volume
        strategy `stratified`.
      smoke: Tiny form of the same path.
      dry_run: Print the plan and stop.
      status: Print how far the work folder is and stop.
      keep_weights: Keep every network's last weights.
      plan: `fixed`: chosen by rule. `timed`: a kept plan, or the fastest of a few
        that are timed where the run is long enough for that to pay.
      checkpoint_seconds: Time between checkpoints of a running batch.
      stop_when_decided: Train look by look, and stop where every primary contrast is
        decided or limited by cases.
      tensorboard: Write TensorBoard scalars of every finished trial.
      shard: Share of the trials that is trained; None: all.
      retry_failed: Train failed trials of the work folder again.
      executor: `local`: this process trains. `ray`: workers of a Ray cluster do.
      ray_address: HOST:PORT of the cluster's head, or `auto`; None starts a local one.
      ray_workers: Workers; None: as many as the cluster has place for.
      num_processes: Processes that are one program; None: this one alone.
      process_id: Number of this process, from 0.
      coordinator: HOST:PORT of process 0, or `auto`: as the scheduler says.
      command: The command as typed, for the record.
      url: Where the work folder is mirrored, with what it needs to be opened; None for
        a folder of this machine.
    """

    experiment: str
    workdir: Path
    data: tuple[Path, ...] = ()
    overrides: Overrides = Overrides()
    target_labels: str = "all"
    slice_axis: int | None = None
    splits_file: Path | None = None
    split_seed: int = 0
    max_size: int = 96
    field_of_view: float | None = None
    ct_window: tuple[float, float] | None = None
    feature_file: Path | None = None
    strata_file: str | None = None
    smoke: bool = False
    dry_run: bool = False
    status: bool = False
    keep_weights: bool = False
    plan: str = "fixed"
    checkpoint_seconds: float = 60.0
    stop_when_decided: bool = False
    tensorboard: bool = False
    shard: Shard | None = None
    retry_failed: bool = False
    executor: str = "local"
    ray_address: str | None = None
    ray_workers: int | None = None
    num_processes: int | None = None
    process_id: int | None = None
    coordinator: str | None = None
    command: str = ""
    url: str | None = dataclasses.field(default=None, repr=False)

    @property
    def place(self) -> str:
        """The work folder as it was given, without passwords."""
        return str(self.workdir) if self.url is None else shown_url(self.url)


def parse_names(flag: str, values: list[str] | None) -> tuple[str, ...] | None:
    """Returns a comma list of names; None where the flag was not given."""
    if values is None:
        return None
    names = tuple(value.strip() for value in values)
    if not names or not all(names) or len(set(names)) < len(names):
        given = ",".join(values)
        raise InputError(f"--{flag}={given}: distinct names between commas are allowed")
    return names


def parse_window(flag: str, values: list[str] | None) -> tuple[float, float] | None:
    """Returns two intensities between a comma; None where the flag was not given."""
    if values is None:
        return None
    try:
        low, high = map(float, values)
    except ValueError:
        raise InputError(
            f"--{flag}={','.join(values)}: LOW,HIGH are allowed, two numbers"
        ) from None
    return low, high


def parse_numbers(flag: str, values: list[str] | None) -> tuple[int, ...] | None:
    """Returns a comma list of whole numbers of at least 1."""
    names = parse_names(flag, values)
    if names is None:
        return None
    if not all(name.isdecimal() and int(name) > 0 for name in names):
        given = ",".join(names)
        raise InputError(f"--{flag}={given}: whole numbers from 1 are allowed")
    return tuple(int(name) for name in names)


def parse_fractions(
    flag: str, values: list[str] | None, highest: float = 1
) -> tuple[float, ...] | None:
    """Returns a comma list of numbers above 0, up to `highest`."""
    names = parse_names(flag, values)
    if names is None:
        return None
    found = tuple(_number(name) for name in names)
    if not all(0 < value <= highest for value in found):
        raise InputError(
            f"--{flag}={','.join(names)}: numbers above 0 up to {highest:g} are allowed"
        )
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_shard(text: str | None) -> Shard | None:
    """Reads `I/N`, share I of N; None where the flag was not given.

    Raises:
      InputError: Not of that form, or no such share.

    >>> parse_shard("2/8")
    Shard(index=2, count=8)
    """
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()) or not (
        int(index) < int(count)
    ):
        raise InputError(
            f"--shard={text}: I/N is allowed, share I of N, from 0/N to (N - 1)/N"
        )
    return Shard(int(index), int(count))
