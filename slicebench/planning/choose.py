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


def quotas(budget: int, slices_per_volume: int, depths: Sequence[int]) -> list[int]:
    """Shares a budget among as few volumes as the allocation allows, evenly.

    Args:
      budget: Slices in total.
      slices_per_volume: The most slices of a volume, where it has as many.
      depths: Slices that each volume has, in the order in which volumes are taken.

    Returns:
      Slices of each volume that is taken, first to last; they add up to the budget.

    Raises:
      InputError: The volumes do not hold that many.

    >>> quotas(10, 4, [30, 30, 30, 30])
    [4, 3, 3]
    >>> quotas(6, 4, [2, 30, 30])
    [2, 4]
    """
    room = np.minimum(depths, slices_per_volume)
    enough = np.flatnonzero(np.cumsum(room) >= budget)
    if not len(enough) or budget < 1:
        raise InputError(
            f"a budget of {budget} slices, {slices_per_volume} of each volume: 1 to "
            f"{int(room.sum())} are possible with {len(depths)} volumes"
        )
    room = room[: enough[0] + 1]
    # The smallest even share that spends it, then one slice less from the last ones.
    share = next(s for s in range(1, slices_per_volume + 1) if _held(room, s) >= budget)
    found = np.minimum(room, share)
    for at in range(len(found) - 1, -1, -1):
        over = int(found.sum()) - budget
        if over and found[at] == share:
            found[at] -= 1
    return [int(number) for number in found]


def _held(room: np.ndarray, share: int) -> int:
    return int(np.minimum(room, share).sum())


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
) -> tuple[Choice, ...]:
    """Chooses volumes, then slices in them; exactly `budget` slices.

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

    Returns:
      Volumes in the order of a seeded draw, so that the first part of the list is an
      allocation of the same kind.

    Raises:
      InputError: Unknown or unfit names, or a budget that the pool does not hold.
    """
    entry = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategy")
    if entry.uses_groups or entry.uses_proxy:
        raise InputError(f"--volume_strategy={volume_strategy}: not for planning yet")
    view = _view(folder, pool, strategy, volume_strategy, features)
    order = np.random.default_rng(spec.derive_seed(seed, "worklist order"))
    ranks = order.permutation(len(pool))
    count = math.ceil(budget / slices_per_volume)
    while True:
        # Shallow volumes hold fewer than their share: then one more is taken.
        chosen = entry.select(view, min(count, len(pool)), seed)
        volumes = sorted(chosen.tolist(), key=lambda volume: ranks[volume])
        depths = [view.depths[volume] for volume in volumes]
        if count >= len(pool) or _held(np.array(depths), slices_per_volume) >= budget:
            break
        count += 1
    shares = quotas(budget, slices_per_volume, depths)
    part = view.take(volumes[: len(shares)])
    picks = select_slices(part, strategy=strategy, quotas=shares, seed=seed)
    return tuple(
        Choice(scan=pool[volume], slices=tuple(rows.tolist()))
        for volume, rows in zip(volumes, picks, strict=False)
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
