"""Which patients are kept for testing, and which slices of the others are annotated."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from slicebench import spec
from slicebench.data import PreparedScan
from slicebench.data.preprocess import Settings, fit, prepare_image
from slicebench.data.scans import ScanFolder
from slicebench.data.volumes import Scan
from slicebench.errors import InputError
from slicebench.selection import (
    FEATURES,
    VOLUME_STRATEGIES,
    PoolView,
    SelectVolumes,
    find_strategy,
    lookup,
    make_features,
    select_slices,
)

FEWEST_POOL = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Slices of one volume, in the order in which volumes are to be done.

    Attributes:
      scan: The volume.
      slices: Its slices along the slice axis, ascending, from 0.
    """

    scan: Scan
    slices: tuple[int, ...]


def reserve(
    scans: Sequence[Scan], patients: int, seed: int
) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Draws patients that are kept for a dense test set.

    Args:
      scans: All scans; those of one group stay together.
      patients: How many patients; 0 keeps none.
      seed: Seed of the draw.

    Returns:
      Test scans and the pool, each in the order given.

    Raises:
      InputError: Too few patients would be left to annotate.
    """
    groups = sorted({scan.group for scan in scans})
    most = len(groups) - FEWEST_POOL
    if not 0 <= patients <= most:
        raise InputError(
            f"--test_patients={patients}: of {len(groups)} patients, 0 to "
            f"{max(most, 0)} can be kept for testing"
        )
    order = np.random.default_rng(spec.derive_seed(seed, "test patients"))
    kept = set(order.permutation(groups)[:patients].tolist())
    test = tuple(scan for scan in scans if scan.group in kept)
    return test, tuple(scan for scan in scans if scan.group not in kept)


def quotas(
    budget: int,
    slices_per_volume: int,
    depths: Sequence[int],
    had: Sequence[int] | None = None,
) -> list[int]:
    """Shares a budget among as few volumes as the allocation allows, evenly.

    Args:
      budget: Slices in total.
      slices_per_volume: The most slices of a volume, where it has as many.
      depths: Slices that each volume has, in the order in which volumes are taken.
      had: Slices of each that earlier rounds took; they count as part of its share.

    Returns:
      Slices of each volume that is taken, first to last; they add up to the budget.

    Raises:
      InputError: The volumes do not hold that many.

    >>> quotas(10, 4, [30, 30, 30, 30])
    [4, 3, 3]
    >>> quotas(6, 4, [2, 30, 30])
    [2, 4]
    >>> quotas(4, 2, [30, 30, 30, 30], had=[2, 1, 0, 0])
    [0, 1, 2, 1]
    """
    before = np.zeros(len(depths), int) if had is None else np.array(had)
    most = np.minimum(depths, slices_per_volume)
    room = np.maximum(most - before, 0)
    enough = np.flatnonzero(np.cumsum(room) >= budget)
    if not len(enough) or budget < 1:
        raise InputError(
            f"a budget of {budget} slices, {slices_per_volume} of each volume: 1 to "
            f"{int(room.sum())} are possible with {len(depths)} volumes"
        )
    most, before = most[: enough[0] + 1], before[: enough[0] + 1]
    # The smallest even share that spends it, then one slice less from the last ones.
    shared = (
        (share, np.maximum(np.minimum(most, share) - before, 0))
        for share in range(1, slices_per_volume + 1)
    )
    share, found = next(each for each in shared if each[1].sum() >= budget)
    over = int(found.sum()) - budget
    level = np.flatnonzero((found > 0) & (found + before == share))
    found[level[len(level) - over :]] -= 1
    return [int(number) for number in found]


def prepare(folder: ScanFolder, pool: Sequence[Scan]) -> tuple[PreparedScan, ...]:
    """Brings the pool onto one in-plane grid, fitted on it alone."""
    fitted = fit(pool, folder.channels, Settings())
    return tuple(
        PreparedScan(
            name=scan.name,
            group=scan.group,
            image=prepare_image(scan, fitted),
            spacing=scan.spacing,
        )
        for scan in pool
    )


def needs_images(strategy: str, volume_strategy: str) -> bool:
    """Whether a choice looks at voxels at all."""
    entry = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategy")
    return entry.uses_features or find_strategy(strategy).uses_features


def choose(
    folder: ScanFolder,
    pool: Sequence[Scan],
    *,
    budget: int,
    slices_per_volume: int,
    strategy: str,
    volume_strategy: str,
    features: str,
    seed: int,
    had: Sequence[frozenset[int]] | None = None,
) -> tuple[Choice, ...]:
    """Chooses volumes, then slices in them; exactly `budget` slices.

    Volumes that no round has opened yet come first: opening one costs what opening an
    old one again costs, and more volumes were never measurably worse at equal slices
    (evidence.json). Old ones get further slices once all new ones have their share.

    Args:
      folder: Where the pool comes from.
      pool: Volumes that may be annotated.
      budget: Slices in total.
      slices_per_volume: Slices of a volume; some get one less where it does not divide
        the budget.
      strategy: Name in `STRATEGIES`.
      volume_strategy: Name in `VOLUME_STRATEGIES` that needs neither groups nor proxy.
      features: Name in `FEATURES` that is computed from images.
      seed: Selection seed.
      had: Slices of each volume that are not to be chosen again.

    Returns:
      Volumes in the order of a seeded draw, so that the first part of the list is an
      allocation of the same kind.

    Raises:
      InputError: Unknown or unfit names, or a budget that the pool does not hold.
    """
    entry = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategy")
    if entry.uses_groups or entry.uses_proxy:
        raise InputError(f"--volume_strategy={volume_strategy}: not for planning yet")
    taken = [frozenset[int]()] * len(pool) if had is None else list(had)
    view = _view(folder, pool, strategy, volume_strategy, features)
    work = _shares(view, taken, budget, slices_per_volume, entry.select, seed)
    left = [_left(view.depths[volume], taken[volume]) for volume, _ in work]
    part = _only(view.take([volume for volume, _ in work]), left)
    picks = select_slices(
        part, strategy=strategy, quotas=[number for _, number in work], seed=seed
    )
    return tuple(
        Choice(scan=pool[volume], slices=tuple(slices[rows].tolist()))
        for (volume, _), slices, rows in zip(work, left, picks, strict=True)
    )


def _shares(
    view: PoolView,
    taken: Sequence[frozenset[int]],
    budget: int,
    slices_per_volume: int,
    select: SelectVolumes,
    seed: int,
) -> list[tuple[int, int]]:
    """Returns volumes to work on, in the order of work, with their slices to come."""
    order = np.random.default_rng(spec.derive_seed(seed, "worklist order"))
    rank = order.permutation(len(taken)).__getitem__
    opened = sorted((v for v, slices in enumerate(taken) if slices), key=rank)
    new = [volume for volume, slices in enumerate(taken) if not slices]
    # Shallow volumes hold fewer than their share: then more than this are taken.
    count = min(math.ceil(budget / slices_per_volume), len(new))
    fresh = _new_volumes(select, view, new, count, seed)
    while count < len(new) and _room(view, fresh, slices_per_volume) < budget:
        count += 1
        fresh = _new_volumes(select, view, new, count, seed)
    volumes = sorted(fresh, key=rank) + opened
    shares = quotas(
        budget,
        slices_per_volume,
        [view.depths[volume] for volume in volumes],
        [len(taken[volume]) for volume in volumes],
    )
    work = [(v, number) for v, number in zip(volumes, shares, strict=False) if number]
    return sorted(work, key=lambda each: rank(each[0]))


def _room(view: PoolView, volumes: Sequence[int], slices_per_volume: int) -> int:
    return sum(min(view.depths[volume], slices_per_volume) for volume in volumes)


def _new_volumes(
    select: SelectVolumes, view: PoolView, new: Sequence[int], count: int, seed: int
) -> list[int]:
    """Returns volumes that no round has opened yet."""
    if not count:
        return []
    return [new[place] for place in select(view.take(new), count, seed).tolist()]


def _left(depth: int, taken: frozenset[int]) -> np.ndarray:
    return np.array([number for number in range(depth) if number not in taken])


def _only(view: PoolView, left: Sequence[np.ndarray]) -> PoolView:
    """Returns a view in which each volume has its remaining slices alone."""
    features = zip(view.features, left, strict=True)
    return dataclasses.replace(
        view,
        depths=tuple(len(slices) for slices in left),
        features=tuple(rows[slices] for rows, slices in features),
    )


def _view(
    folder: ScanFolder,
    pool: Sequence[Scan],
    strategy: str,
    volume_strategy: str,
    features: str,
) -> PoolView:
    """Returns what strategies see; images are read only where one looks at them."""
    if needs_images(strategy, volume_strategy):
        entry = lookup(FEATURES, features, "features")
        cases = prepare(folder, pool)
        return PoolView.of(cases, make_features(features, entry, cases))
    return PoolView(
        cases=tuple(scan.name for scan in pool),
        depths=tuple(scan.shape[0] for scan in pool),
        spacing=tuple(scan.spacing for scan in pool),
        features=tuple(np.zeros((scan.shape[0], 0)) for scan in pool),
    )
