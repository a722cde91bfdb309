"""Times slice selection against plain loops and against libraries.

    python -m benchmarks.selection [--rounds=N] [--json=FILE]

Checks that all sides choose the same slices, then times them in turns and
prints the median times and their ratios.

The plain side is what a user would write over scikit-learn: `pairwise_distances`
once per pick for k-center, and a Python loop over the candidates of each cluster
for the maximum cover of representative annotation. The libraries are timed where
they can be imported: scikit-activeml's `CoreSet` for k-center, and apricot's
facility location (lazy greedy, compiled once before the clock runs) for the
cover of each cluster. They know no quotas of volumes, so their rows are of
choices from the whole pool. Clustering is the same scikit-learn call on all
sides; it is part of all times, and shown apart.
"""

import argparse
import functools
import importlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity

from benchmarks._machine import announce
from benchmarks._runs import write_rows
from slicebench.selection import STRATEGIES, Picks, PoolView, joint_stream

_MOST_FOR_LIBRARIES = 1000
"""Slices of a pool from which libraries would take minutes."""

Select = Callable[[PoolView, np.ndarray, int, int], Picks]


def make_view(num_volumes: int, depth: int, columns: int = 32) -> PoolView:
    """Returns volumes whose features change smoothly along depth."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(num_volumes, depth, columns))
    features = steps.cumsum(axis=1) + 3 * rng.normal(size=(num_volumes, 1, columns))
    return PoolView(
        cases=tuple(f"case{number}" for number in range(num_volumes)),
        depths=(depth,) * num_volumes,
        spacing=((1.0, 1.0, 1.0),) * num_volumes,
        features=tuple(features),
    )


def plain_k_center(view: PoolView, quotas: np.ndarray, budget: int, seed: int) -> Picks:
    """Greedy k-center, one `pairwise_distances` call a pick."""
    rows = np.concatenate(view.features)
    volumes = np.repeat(np.arange(len(view.depths)), view.depths)
    left = quotas.copy()
    chosen: list[int] = []
    nearest = np.full(len(rows), np.inf)
    for _ in range(budget):
        taken = left[volumes] == 0
        taken[chosen] = True
        if chosen:
            pick = int(np.argmax(np.where(taken, -1.0, nearest)))
        else:
            pick = int(joint_stream(seed).choice(np.flatnonzero(~taken)))
        chosen.append(pick)
        left[volumes[pick]] -= 1
        distance = pairwise_distances(rows, rows[pick : pick + 1])[:, 0]
        nearest = np.minimum(nearest, distance)
    return _by_volume(view, chosen)


def unit_rows(features: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the slices of all volumes as vectors of length 1."""
    rows = np.concatenate(features)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cluster(unit: np.ndarray, budget: int) -> np.ndarray:
    """Returns the cluster of each slice, as `representative` forms them."""
    return AgglomerativeClustering(budget // 2, linkage="ward").fit_predict(unit)


def plain_representative(
    view: PoolView, quotas: np.ndarray, budget: int, seed: int
) -> Picks:
    """Maximum cover with a Python loop over the candidates of a cluster."""
    del seed
    rows = np.concatenate(view.features)
    volumes = np.repeat(np.arange(len(view.depths)), view.depths)
    left = quotas.copy()
    unit = unit_rows(view.features)
    count = budget // 2
    names = cluster(unit, budget)
    clusters = [np.flatnonzero(names == name) for name in range(count)]
    clusters.sort(key=lambda members: (-len(members), members[0]))
    similarity = [cosine_similarity(rows[members]) for members in clusters]
    covered = [np.full(len(members), -1.0) for members in clusters]
    chosen: list[int] = []
    while len(chosen) < budget:
        for members, alike, cover in zip(clusters, similarity, covered, strict=True):
            best, highest = -1, -np.inf
            for place, row in enumerate(members):
                if row in chosen or not left[volumes[row]]:
                    continue
                value = np.maximum(cover, alike[place]).sum()
                if value > highest + 1e-9:
                    best, highest = place, value
            if best >= 0 and len(chosen) < budget:
                chosen.append(int(members[best]))
                left[volumes[members[best]]] -= 1
                cover[:] = np.maximum(cover, alike[best])
    return _by_volume(view, chosen)


def active_learning_library(package: Any) -> Select:
    """Greedy k-center by scikit-activeml's CoreSet, from the same first slice."""

    def select(view: PoolView, quotas: np.ndarray, budget: int, seed: int) -> Picks:
        del quotas
        rows = np.concatenate(view.features)
        first = int(joint_stream(seed).choice(len(rows)))
        known = np.full(len(rows), np.nan)
        known[first] = 0
        query = package.CoreSet(random_state=0).query
        rest = query(rows, known, batch_size=budget - 1)
        return _by_volume(view, [first, *map(int, rest)])

    return select


def submodular_library(package: Any) -> Select:
    """Maximum cover of each cluster by apricot's facility location.

    apricot compiles its loops anew for every fit; here they are compiled once,
    to its advantage.
    """
    inner = importlib.import_module("apricot.functions.facilityLocation")
    for maker in ("calculate_gains", "calculate_gains_sieve"):
        setattr(inner, maker, functools.cache(getattr(inner, maker)))

    def select(view: PoolView, quotas: np.ndarray, budget: int, seed: int) -> Picks:
        del quotas, seed
        unit = unit_rows(view.features)
        names = cluster(unit, budget)
        groups = [np.flatnonzero(names == name) for name in range(budget // 2)]
        groups.sort(key=lambda members: (-len(members), members[0]))
        chosen: list[int] = []
        for members, count in zip(groups, turns(groups, budget), strict=True):
            if count:
                # Shifted, because the cover starts at 0 there and at -1 here.
                alike = 1 + np.round(unit[members] @ unit[members].T, 12)
                made = package.FacilityLocationSelection(
                    count, metric="precomputed", optimizer="lazy"
                )
                chosen += [int(r) for r in members[made.fit(alike).ranking]]
        return _by_volume(view, chosen)

    return select


def turns(groups: Sequence[np.ndarray], budget: int) -> list[int]:
    """Returns how many slices each cluster gives, going round the clusters."""
    counts = [0] * len(groups)
    while sum(counts) < budget:
        for index, members in enumerate(groups):
            if counts[index] < len(members) and sum(counts) < budget:
                counts[index] += 1
    return counts


def importable() -> dict[str, dict[str, Select]]:
    """Returns, by strategy, the libraries that are there and their ways."""
    found: dict[str, dict[str, Select]] = {"k_center": {}, "representative": {}}
    for strategy, module, name, make in (
        ("k_center", "skactiveml.pool", "scikit-activeml", active_learning_library),
        ("representative", "apricot", "apricot", submodular_library),
    ):
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            # Deprecations inside the packages are not ours to show.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[strategy][name] = make(importlib.import_module(module))
    return found


def _by_volume(view: PoolView, chosen: list[int]) -> Picks:
    starts = np.concatenate([[0], np.cumsum(view.depths)])
    rows = np.sort(chosen)
    cuts = np.searchsorted(rows, starts[1:-1])
    parts = np.split(rows, cuts)
    return tuple(part - start for part, start in zip(parts, starts, strict=False))


def _milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


def check(
    name: str, view: PoolView, ours: Picks, theirs: Picks, *, by_cover: bool
) -> None:
    """Makes sure that both sides chose alike.

    Raises:
      AssertionError: Other slices were chosen; with `by_cover`, slices that
        cover less or more, because equal gains may be broken otherwise.
    """
    if not by_cover:
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        return
    covers = [cover(view, picks) for picks in (ours, theirs)]
    np.testing.assert_allclose(covers[1], covers[0], rtol=1e-9, err_msg=name)


def cover(view: PoolView, picks: Picks) -> float:
    """Returns how well picks cover their own clusters, summed over slices."""
    unit = unit_rows(view.features)
    names = cluster(unit, sum(map(len, picks)))
    starts = np.cumsum(view.depths) - view.depths
    chosen = np.concatenate(
        [part + start for part, start in zip(picks, starts, strict=True)]
    ).astype(int)
    alike = np.where(names[:, None] == names[chosen], unit @ unit[chosen].T, -1.0)
    return float(alike.max(axis=1).sum())


class Line(NamedTuple):
    """One comparison.

    Attributes:
      strategy: What chose.
      slices: Slices of the pool.
      budget: Slices chosen.
      quota: Most slices of a volume; None for any number.
      peer: The other side.
      ours: Milliseconds of slicebench, by round.
      theirs: Milliseconds of the other side, by round.
      shared: Milliseconds of clustering, part of both.
    """

    strategy: str
    slices: int
    budget: int
    quota: int | None
    peer: str
    ours: list[float]
    theirs: list[float]
    shared: float

    @property
    def ratios(self) -> list[float]:
        """Their time over ours, round by round."""
        return [b / a for a, b in zip(self.ours, self.theirs, strict=True)]

    def text(self) -> str:
        """Returns the line of the table."""
        mine, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        low, high = min(self.ratios), max(self.ratios)
        quota = "any" if self.quota is None else self.quota
        return (
            f"| {self.strategy} | {self.slices} | {self.budget} | {quota} "
            f"| {self.peer} | {mine:.1f} | {theirs:.1f} | {self.shared:.1f} "
            f"| {statistics.median(self.ratios):.1f} ({low:.1f}-{high:.1f}) |"
        )

    def row(self, device: str, load: float) -> dict[str, Any]:
        """Returns the comparison as a JSON row."""
        return {
            "name": f"{self.strategy}, {self.budget} of {self.slices} slices",
            "device": device,
            "quota": self.quota,
            "ours": statistics.median(self.ours),
            "peer": statistics.median(self.theirs),
            "peer_name": self.peer,
            "ratio": statistics.median(self.ratios),
            "spread": [min(self.ratios), max(self.ratios)],
            "unit": "ms",
            "clustering": self.shared,
            "load_average": load,
        }


def measure(
    name: str, peer: str, theirs: Select, view: PoolView, quota: int, *, free: bool
) -> Callable[[int], Line]:
    """Checks that both sides agree; returns what times them.

    Args:
      name: Strategy.
      peer: The other side's name.
      theirs: How it chooses.
      view: The pool.
      quota: Slices of a volume; the budget is that times the volumes.
      free: Leave quotas open: any volume may give any number of slices.
    """
    ours = STRATEGIES[name].select
    quotas = np.array(view.depths) if free else np.full(len(view.depths), quota)
    arguments = view, quotas, quota * len(view.depths), 0
    cover_counts = peer == "apricot"
    check(name, view, ours(*arguments), theirs(*arguments), by_cover=cover_counts)
    unit = unit_rows(view.features)

    def race(rounds: int) -> Line:
        times = [
            (
                _milliseconds(lambda: ours(*arguments)),
                _milliseconds(lambda: theirs(*arguments)),
                _milliseconds(lambda: cluster(unit, arguments[2]))
                if name == "representative"
                else 0.0,
            )
            for _ in range(rounds)
        ]
        mine, other, shared = (list(side) for side in zip(*times, strict=True))
        return Line(
            strategy=name,
            slices=sum(view.depths),
            budget=arguments[2],
            quota=None if free else quota,
            peer=peer,
            ours=mine,
            theirs=other,
            shared=statistics.median(shared),
        )

    return race


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one line a strategy, size and peer, and writes the JSON rows."""
    parser = argparse.ArgumentParser(description="Times slice selection.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the rows")
    parser.add_argument("--quick", action="store_true", help="the smallest pool only")
    arguments = parser.parse_args(argv)
    device, load = announce()
    plain: dict[str, Select] = {
        "k_center": plain_k_center,
        "representative": plain_representative,
    }
    libraries = importable()
    sizes = ((12, 35, 16), (24, 35, 4), (150, 40, 2))
    print(
        "\n| strategy | slices | budget | quota | peer | ours ms | peer ms "
        "| clustering ms | ratio: median (range) |\n" + 9 * "|---" + "|"
    )
    rows: list[dict[str, Any]] = []
    for name, loop in plain.items():
        sides = [("plain loop", loop, False)]
        sides += [(peer, way, True) for peer, way in libraries[name].items()]
        for num_volumes, depth, quota in sizes[: 1 if arguments.quick else None]:
            view = make_view(num_volumes, depth)
            for peer, way, free in sides:
                if free and sum(view.depths) > _MOST_FOR_LIBRARIES:
                    continue
                race = measure(name, peer, way, view, quota, free=free)
                line = race(arguments.rounds)
                print(line.text(), flush=True)
                rows.append(line.row(device, load))
    for name, found in libraries.items():
        if not found:
            print(f"{name}: no library for it can be imported")
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
