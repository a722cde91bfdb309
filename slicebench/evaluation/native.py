"""Predictions carried from a task's grid back to a case's native grid.

Class probabilities, not labels, are interpolated: at each native voxel the class
with the largest interpolated probability wins, background on a tie and outside
the grid. Where the way back only picks grid voxels (crops and padding, without
resampling) the same labels are gathered instead.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

from slicebench.data.prepared import PreparedCase

Matrix = Float[np.ndarray, "native grid"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NativeMap:
    """The way from a task's grid to one case's native grid, prepared once.

    Attributes:
      rows: Matrix M such that `M @ plane` has native rows.
      columns: The same for columns, applied as `plane @ M.T`.
      gather: Where both only pick: the grid row of each native row and the grid
        column of each native column, -1 outside the grid; otherwise None.
    """

    rows: Float[np.ndarray, "native_height height"]
    columns: Float[np.ndarray, "native_width width"]
    gather: (
        tuple[Int[np.ndarray, " native_height"], Int[np.ndarray, " native_width"]]
        | None
    )

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the task's grid."""
        return self.rows.shape[1], self.columns.shape[1]


def is_selection(matrix: Matrix) -> bool:
    """Whether each row of a matrix picks one entry, or none.

    >>> is_selection(np.eye(3)), is_selection(np.full((1, 2), 0.5))
    (True, False)
    """
    binary = (matrix == 0) | (matrix == 1)
    return bool(binary.all() and (matrix.sum(axis=1) <= 1).all())


def prepare_native_map(case: PreparedCase) -> NativeMap:
    """Returns the way back of one case, to be shared by all its predictions."""
    rows, columns = case.to_native
    picks = is_selection(rows) and is_selection(columns)
    return NativeMap(
        rows=rows.astype(np.float32),
        columns=columns.astype(np.float32),
        gather=(_picked(rows), _picked(columns)) if picks else None,
    )


def to_native_labels(
    prediction: Float[np.ndarray, "depth height width class"]
    | UInt8[np.ndarray, "depth height width"],
    way: NativeMap,
    *,
    logits: bool = False,
) -> UInt8[np.ndarray, "depth native_height native_width"]:
    """Returns the predicted class at each native voxel.

    Args:
      prediction: On the task's grid, class probabilities or, with `logits`, their
        logits; or class indices, which are interpolated as one-hot vectors.
        Classes that are not a number lose to background.
      way: What `prepare_native_map` made of the case.
      logits: Whether to take the softmax over classes before interpolating.

    Raises:
      ValueError: If the prediction is not on the task's grid.
    """
    hard = prediction.ndim == 3
    if prediction.shape[1:3] != way.grid:
        raise ValueError(
            f"prediction: height and width {prediction.shape[1:3]} given, the grid "
            f"of the task has {way.grid}"
        )
    if way.gather is not None:
        labels = prediction if hard else _winner(np.moveaxis(prediction, -1, 0))
        return _pick(labels, *way.gather)
    planes = _one_hot(prediction) if hard else _probabilities(prediction, logits)
    native = np.empty(
        (len(prediction), len(way.rows), len(way.columns)), dtype=np.uint8
    )
    # A diverged network's values reach here; they must not warn. One slice at a
    # time bounds the memory of large native planes.
    with np.errstate(invalid="ignore"):
        for index, plane in enumerate(planes):
            native[index] = _winner(way.rows @ plane @ way.columns.T)
    return native


def _picked(matrix: Matrix) -> Int[np.ndarray, " native"]:
    return np.where(matrix.any(axis=1), matrix.argmax(axis=1), -1)


def _pick(
    labels: UInt8[np.ndarray, "depth height width"],
    rows: Int[np.ndarray, " native_height"],
    columns: Int[np.ndarray, " native_width"],
) -> UInt8[np.ndarray, "depth native_height native_width"]:
    picked = labels.take(rows, axis=1, mode="clip").take(columns, axis=2, mode="clip")
    picked[:, rows < 0] = 0
    picked[:, :, columns < 0] = 0
    return picked


def _winner(
    scores: Float[np.ndarray, "class *grid"],
) -> UInt8[np.ndarray, " *grid"]:
    """Returns the first class with the largest score along the leading axis.

    Branch-free comparisons instead of `argmax`: several times as fast over few
    classes, and a score that is not a number never wins.
    """
    best = np.fmax(scores[0], -np.inf)
    winner = np.zeros(best.shape, np.uint8)
    for index in range(1, len(scores)):
        better = scores[index] > best
        np.maximum(winner, better * np.uint8(index), out=winner)
        np.fmax(best, scores[index], out=best)
    return winner


def _one_hot(
    labels: UInt8[np.ndarray, "depth height width"],
) -> Iterator[Float[np.ndarray, "class height width"]]:
    values = np.arange(int(labels.max(initial=0)) + 1, dtype=np.uint8)
    for plane in labels:
        yield (plane == values[:, None, None]).astype(np.float32)


def _probabilities(
    prediction: Float[np.ndarray, "depth height width class"], logits: bool
) -> Iterator[Float[np.ndarray, "class height width"]]:
    for plane in prediction:
        scores = np.moveaxis(plane, -1, 0)
        if logits:
            scores = np.exp(scores - scores.max(axis=0))
            scores = scores / scores.sum(axis=0)
        yield scores
