"""Times slice selection against plain loops over scikit-learn.

`python -m benchmarks.selection` checks that both sides choose the same slices,
then times them in turns and prints the median times and their ratio.

The other side is what a user would write: `pairwise_distances` once per pick
for k-center, and a Python loop over the candidates of each cluster for the
maximum cover of representative annotation. Clustering is the same scikit-learn
call on both sides; it is part of both times, and shown apart.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity

from slicebench.selection import STRATEGIES, Picks, PoolView, joint_stream

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


def measure(name: str, plain: Select, view: PoolView, quota: int, rounds: int) -> str:
    """Returns a line of the table, after checking that both sides agree."""
    quotas = np.full(len(view.depths), quota)
    budget = int(quotas.sum())
    arguments = view, quotas, budget, 0
    ours = STRATEGIES[name].select
    for a, b in zip(ours(*arguments), plain(*arguments), strict=True):
        np.testing.assert_array_equal(a, b)
    unit = unit_rows(view.features)
    times = [
        (
            _milliseconds(lambda: ours(*arguments)),
            _milliseconds(lambda: plain(*arguments)),
            _milliseconds(lambda: cluster(unit, budget)) if "rep" in name else 0.0,
        )
        for _ in range(rounds)
    ]
    mine, theirs, shared = (
        statistics.median(side) for side in zip(*times, strict=True)
    )
    return (
        f"{name:15}{sum(view.depths):7}{budget:8}{mine:9.1f}{theirs:10.1f}"
        f"{shared:11.1f}{theirs / mine:8.1f}"
    )


def main() -> None:
    """Prints one line a strategy and size."""
    parser = argparse.ArgumentParser(description="Times slice selection.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    plain: dict[str, Select] = {
        "k_center": plain_k_center,
        "representative": plain_representative,
    }
    print("strategy        slices  budget  ours ms  plain ms  cluster ms  ratio")
    for name, loop in plain.items():
        for num_volumes, depth, quota in ((12, 35, 16), (24, 35, 4), (150, 40, 2)):
            view = make_view(num_volumes, depth)
            print(measure(name, loop, view, quota, rounds))


if __name__ == "__main__":
    main()
