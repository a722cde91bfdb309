"""What a strategy may see of the pool."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from slicebench.data.prepared import PreparedScan
from slicebench.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolView:
    """The volumes that may be annotated, without any label.

    The fields are parallel: one entry a volume.

    Attributes:
      cases: Case names; the random stream of a volume starts from its name.
      depths: Number of slices. Padding is no part of a view, so that no
        strategy can choose it.
      spacing: Distance between voxel centres in mm, slices first.
      features: One row a slice; without columns where a strategy uses none.
      groups: What volume strategy `stratified` balances, such as the scanner;
        None where nothing is known.
      proxy: What volume strategy `proxy_rank` ranks, the higher the sooner (see
        `proxy_scores`); None where nothing is ranked.

    Raises:
      InputError: If the fields disagree, a name is there twice, a volume is
        empty or a number is not finite.
    """

    cases: tuple[str, ...]
    depths: tuple[int, ...]
    spacing: tuple[tuple[float, float, float], ...]
    features: tuple[Float[np.ndarray, "_depth feature"], ...]
    groups: tuple[str, ...] | None = None
    proxy: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.depths), len(self.spacing), len(self.features)}
        if lengths != {len(self.cases)}:
            raise InputError(
                f"pool: {len(self.cases)} cases, but {len(self.depths)} depths, "
                f"{len(self.spacing)} spacings and {len(self.features)} feature "
                "arrays; one of each for every case is needed"
            )
        if len(set(self.cases)) < len(self.cases):
            twice = sorted({name for name in self.cases if self.cases.count(name) > 1})
            raise InputError(f"pool: case names used twice: {', '.join(twice)}")
        columns = {rows.shape[1] for rows in self.features}
        if len(columns) > 1:
            raise InputError(
                f"pool: features with {sorted(columns)} columns; "
                "every case needs the same number"
            )
        for case, depth, rows in zip(
            self.cases, self.depths, self.features, strict=True
        ):
            _check_volume(case, depth, rows)
        self._check_extras()

    def _check_extras(self) -> None:
        for name, given in (("groups", self.groups), ("proxy scores", self.proxy)):
            if given is not None and len(given) != len(self.cases):
                raise InputError(
                    f"pool: {len(self.cases)} cases, but {len(given)} {name}; "
                    "one for every case is needed"
                )
        if self.proxy is not None and not np.isfinite(self.proxy).all():
            raise InputError("pool: proxy scores hold NaN or infinity")

    @classmethod
    def of(
        cls,
        cases: Sequence[PreparedScan],
        features: Sequence[Float[np.ndarray, "_depth feature"]] | None = None,
        *,
        groups: Sequence[str] | None = None,
        proxy: Sequence[float] | None = None,
    ) -> "PoolView":
        """Makes the view of prepared cases: their labels stay behind.

        Args:
          cases: The pool.
          features: A ready feature matrix for each case; None for strategies
            that use none.
          groups: A group for each case, for volume strategy `stratified`.
          proxy: A score for each case, for volume strategy `proxy_rank`.
        """
        if features is None:
            features = [np.zeros((case.depth, 0)) for case in cases]
        return cls(
            cases=tuple(case.name for case in cases),
            depths=tuple(case.depth for case in cases),
            spacing=tuple(case.spacing for case in cases),
            features=tuple(features),
            groups=None if groups is None else tuple(groups),
            proxy=None if proxy is None else tuple(proxy),
        )

    def take(self, volumes: Sequence[int]) -> "PoolView":
        """Returns the view of some volumes, in the order given."""

        def some(given: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(given[volume] for volume in volumes)

        return PoolView(
            cases=some(self.cases),
            depths=some(self.depths),
            spacing=some(self.spacing),
            features=some(self.features),
            groups=None if self.groups is None else some(self.groups),
            proxy=None if self.proxy is None else some(self.proxy),
        )

    def without_features(self) -> "PoolView":
        """Returns the view that a strategy without features sees."""
        empty = tuple(np.zeros((depth, 0)) for depth in self.depths)
        return dataclasses.replace(self, features=empty)

    @property
    def feature_count(self) -> int:
        """Number of feature columns; 0 for a view without features."""
        return self.features[0].shape[1] if self.features else 0


def _check_volume(
    case: str, depth: int, rows: Float[np.ndarray, "_depth feature"]
) -> None:
    if depth < 1:
        raise InputError(f"pool: case {case} has {depth} slices; 1 or more are needed")
    if len(rows) != depth:
        raise InputError(
            f"pool: case {case} has {depth} slices but {len(rows)} feature rows"
        )
    if not np.isfinite(rows).all():
        raise InputError(f"pool: features of case {case} hold NaN or infinity")
