"""Pool views of the shapes that strategies get wrong."""

import numpy as np

from slicebench.selection import PoolView


def make_view(depths, features=None, *, seed=0, columns=4):
    """A view with random features unless they are given, two groups, scores."""
    rng = np.random.default_rng(seed)
    if features is None:
        features = [rng.normal(size=(depth, columns)) for depth in depths]
    return PoolView(
        cases=tuple(f"case{number}" for number in range(len(depths))),
        depths=tuple(depths),
        spacing=((3.0, 1.0, 1.0),) * len(depths),
        features=tuple(np.asarray(rows, dtype=float) for rows in features),
        groups=tuple("ab"[number % 3 == 0] for number in range(len(depths))),
        proxy=tuple(rng.random(len(depths)).tolist()),
    )


def make_labels(depths, seed=0):
    """Two classes on about half of the slices; the second volume is empty."""
    rng = np.random.default_rng(seed)
    labels = []
    for number, depth in enumerate(depths):
        label = np.zeros((depth, 4, 4), dtype=np.uint8)
        if number != 1:
            first, last = np.sort(rng.integers(depth, size=2))
            label[first : last + 1 : 2, 1, 1:3] = [1, 1 + number % 2]
            label[first : last + 1 : 3, 2, 2] = 2
        labels.append(label)
    return labels


def constant(depths):
    return make_view(depths, [np.ones((depth, 3)) for depth in depths])


def zeros(depths):
    return make_view(depths, [np.zeros((depth, 3)) for depth in depths])


def duplicates(depths):
    """Three kinds of slice, among them zero vectors, over and over."""
    kinds = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    return make_view(depths, [kinds[np.arange(depth) % 3] for depth in depths])


VIEWS = {
    "even": make_view([8, 8, 8]),
    "uneven": make_view([5, 13, 4, 30]),
    "one volume": make_view([7]),
    "one slice each": make_view([1, 1, 1, 1]),
    "one slice in one": make_view([1, 6]),
    "constant slices": constant([6, 9, 5]),
    "zero vectors": zeros([4, 4]),
    "duplicate slices": duplicates([9, 4, 7]),
    "one feature": make_view([6, 5], columns=1),
}
