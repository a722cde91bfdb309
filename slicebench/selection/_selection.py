"""Choosing volumes and slices within a budget, with every check."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Integer

from slicebench.errors import InputError
from slicebench.selection._pool import PoolView
from slicebench.selection._registry import (
    VOLUME_STRATEGIES,
    find_strategy,
    lookup,
    uses_labels,
)
from slicebench.selection._types import Oracle, Picks, Strategy

Labels = Sequence[Integer[np.ndarray, "_depth height width"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Slices to annotate.

    Attributes:
      volumes: Chosen volumes of the pool, ascending.
      slices: Chosen slices of each of them, ascending; empty where scope
        `pooled` gave a volume nothing.
      extent_marks: First and last slices of the structure that an annotator
        marked before any slice was chosen; a cost beside the budget.
    """

    volumes: tuple[int, ...]
    slices: tuple[tuple[int, ...], ...]
    extent_marks: int = 0

    @property
    def annotated_slices(self) -> int:
        """Budget that is spent."""
        return sum(map(len, self.slices))

    def mask(self, depths: Sequence[int]) -> tuple[Bool[np.ndarray, " _depth"], ...]:
        """Returns which slices are annotated, for every volume of the pool.

        Args:
          depths: Slices of all the pool's volumes.
        """
        masks = tuple(np.zeros(depth, dtype=bool) for depth in depths)
        for volume, slices in zip(self.volumes, self.slices, strict=True):
            masks[volume][list(slices)] = True
        return masks


def select(
    pool_view: PoolView,
    *,
    volume_strategy: str,
    strategy: str,
    num_volumes: int,
    slices_per_volume: int | None,
    budget: int,
    scope: str,
    seed: int,
    labels: Labels | None = None,
) -> Selection:
    """Chooses volumes, then slices in them.

    Args:
      pool_view: The pool; a strategy sees its features only if it uses them.
      volume_strategy: Name in `VOLUME_STRATEGIES`.
      strategy: Name in `STRATEGIES` or, after that, in `ORACLES`.
      num_volumes: Volumes to choose.
      slices_per_volume: Quota of each volume in scope `within`, None for all
        its slices. No quota in scope `pooled`. Where given, the budget must be
        its product with `num_volumes`.
      budget: Slices to choose in total.
      scope: `within` (every volume gets its quota) or `pooled` (volumes compete
        for the budget).
      seed: Selection seed.
      labels: Dense labels of all the pool's volumes, for an oracle. No other
        strategy gets them.

    Returns:
      A selection that spends the budget exactly.

    Raises:
      InputError: For an unknown name, a budget, quota or number of volumes that
        the pool cannot meet, missing features or labels, or a strategy that
        breaks its contract.
    """
    volume_entry = lookup(VOLUME_STRATEGIES, volume_strategy, "volume_strategies")
    entry = find_strategy(strategy)
    _check_labels(pool_view, strategy, labels)
    _check_budget(pool_view, num_volumes, slices_per_volume, budget)
    seen = _seen(pool_view, volume_strategy, volume_entry.uses_features)
    chosen = volume_entry.select(seen, num_volumes, seed)
    volumes = _check_volumes(volume_strategy, chosen, pool_view, num_volumes)
    view = pool_view.take(volumes)
    quotas = _quotas(view, slices_per_volume, budget, scope)
    shown = [labels[volume] for volume in volumes] if labels is not None else []
    picks = _pick(strategy, view, quotas, budget, seed, shown)
    return Selection(
        volumes=volumes,
        slices=tuple(tuple(rows.tolist()) for rows in picks),
        extent_marks=_extent_marks(entry, picks, shown),
    )


def select_slices(
    view: PoolView, *, strategy: str, quotas: Sequence[int], seed: int
) -> Picks:
    """Chooses as many slices of each volume as its quota says.

    Unlike in `select`, quotas may differ, as where a budget is not a multiple of
    the number of volumes.

    Args:
      view: The chosen volumes.
      strategy: Name in `STRATEGIES`.
      quotas: Slices to choose in each volume, from 1 to its depth.
      seed: Selection seed.

    Raises:
      InputError: For an oracle, an unknown name, a quota that a volume cannot meet,
        missing features, or a strategy that breaks its contract.
    """
    _check_labels(view, strategy, None)
    for case, depth, quota in zip(view.cases, view.depths, quotas, strict=True):
        if not 1 <= quota <= depth:
            raise InputError(
                f"{quota} slices of case {case} asked for; 1 to {depth} are allowed"
            )
    return _pick(strategy, view, np.array(quotas), sum(quotas), seed, ())


def _pick(
    strategy: str,
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
    seed: int,
    labels: Labels,
) -> Picks:
    """Calls a strategy without labels, an oracle with them, and checks the picks."""
    entry = find_strategy(strategy)
    seen = _seen(view, strategy, entry.uses_features)
    if isinstance(entry, Oracle):
        picks = entry.select(seen, quotas, budget, seed, labels)
    else:
        picks = entry.select(seen, quotas, budget, seed)
    _check_picks(strategy, picks, view, quotas, budget)
    return picks


def _extent_marks(entry: Strategy | Oracle, picks: Picks, labels: Labels) -> int:
    """Counts two marks for each annotated volume that holds the structure."""
    if not (isinstance(entry, Oracle) and entry.marks_extent):
        return 0
    return 2 * sum(
        bool(len(rows)) and bool((label > 0).any())
        for rows, label in zip(picks, labels, strict=True)
    )


def _check_labels(view: PoolView, strategy: str, labels: Labels | None) -> None:
    """Raises if an oracle lacks labels, or labels do not belong to the pool."""
    if labels is None:
        if uses_labels(strategy):
            raise InputError(
                f"strategy {strategy} is an oracle: it needs dense labels of the "
                "pool, but none were given"
            )
        return
    depths = [len(label) for label in labels]
    if depths != list(view.depths):
        raise InputError(
            f"labels of {len(depths)} volumes with {depths} slices for a pool of "
            f"{len(view.depths)} with {list(view.depths)}"
        )


def _seen(view: PoolView, name: str, uses_features: bool) -> PoolView:
    """Returns the part of a view that a strategy declares to use."""
    if uses_features and not view.feature_count:
        raise InputError(
            f"strategy {name} needs slice features, but the pool has none; "
            "choose some with --features"
        )
    return view if uses_features else view.without_features()


def _check_budget(
    view: PoolView, num_volumes: int, slices_per_volume: int | None, budget: int
) -> None:
    if not 1 <= num_volumes <= len(view.cases):
        raise InputError(
            f"{num_volumes} volumes asked for; the pool allows 1 to {len(view.cases)}"
        )
    if slices_per_volume is None:
        return
    if slices_per_volume < 1:
        raise InputError(
            f"{slices_per_volume} slices per volume asked for; 1 or more are allowed"
        )
    if budget != num_volumes * slices_per_volume:
        raise InputError(
            f"a budget of {budget} slices is not {num_volumes} volumes x "
            f"{slices_per_volume} slices; allowed: {num_volumes * slices_per_volume}"
        )


def _quotas(
    view: PoolView, slices_per_volume: int | None, budget: int, scope: str
) -> Int[np.ndarray, " volume"]:
    depths = np.array(view.depths)
    total = int(depths.sum())
    if scope not in ("within", "pooled"):
        raise InputError(f"--scope: no such value {scope!r}; allowed: pooled, within")
    if scope == "within" and slices_per_volume is not None:
        thin = int(np.argmin(depths))
        if depths[thin] < slices_per_volume:
            raise InputError(
                f"{slices_per_volume} slices per volume asked for, but case "
                f"{view.cases[thin]} has {depths[thin]}; "
                f"at most {depths[thin]} are allowed"
            )
        return np.full(len(depths), slices_per_volume)
    fewest = total if scope == "within" else 1
    if not fewest <= budget <= total:
        raise InputError(
            f"a budget of {budget} slices in scope {scope} over {len(depths)} volumes "
            f"with {total} slices; allowed: {fewest} to {total}"
        )
    return depths


def _check_volumes(
    strategy: str,
    chosen: Int[np.ndarray, " _chosen"],
    view: PoolView,
    num_volumes: int,
) -> tuple[int, ...]:
    """Returns the chosen volumes in order, or raises if they break the contract."""
    volumes = sorted(set(chosen.tolist()))
    allowed = range(len(view.cases))
    if len(volumes) != num_volumes or not set(volumes) <= set(allowed):
        raise InputError(
            f"volume strategy {strategy} returned {chosen.tolist()}; {num_volumes} "
            f"distinct volumes from 0 to {len(allowed) - 1} are needed"
        )
    return tuple(volumes)


def _check_picks(
    strategy: str,
    picks: Picks,
    view: PoolView,
    quotas: Int[np.ndarray, " volume"],
    budget: int,
) -> None:
    """Raises if a strategy, maybe a user's own, breaks its contract."""
    faults = []
    if len(picks) != len(view.cases):
        faults.append(f"{len(picks)} arrays for {len(view.cases)} volumes")
    spent = sum(len(rows) for rows in picks)
    if spent != budget:
        faults.append(f"{spent} slices for a budget of {budget}")
    for case, depth, quota, rows in zip(
        view.cases, view.depths, quotas, picks, strict=False
    ):
        if len(rows) > quota:
            faults.append(f"{len(rows)} slices of {case}, whose quota is {quota}")
        if (np.diff(rows) <= 0).any():
            faults.append(f"slices of {case} that are not ascending and distinct")
        if len(rows) and not 0 <= rows.min() <= rows.max() < depth:
            faults.append(f"slices outside {case}, which has {depth}")
    if faults:
        raise InputError(f"strategy {strategy} returned {'; '.join(faults)}")


def coverage(selection: Selection, depths: Sequence[int]) -> float:
    """Returns the annotated share of a chosen volume, averaged over them.

    Args:
      selection: Slices to annotate.
      depths: Slices of all the pool's volumes.

    >>> coverage(Selection(volumes=(1,), slices=((0, 4),)), [5, 8])
    0.25
    """
    shares = [
        len(slices) / depths[volume]
        for volume, slices in zip(selection.volumes, selection.slices, strict=True)
    ]
    return float(np.mean(shares))
