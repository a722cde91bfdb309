"""A column of lists, read row by row."""

# pyright: strict
# pyarrow and pandas ship no complete types; all else is strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool


class ListColumn:
    """Lists of a trials table, such as `chosen_slices`, however they are stored.

    Args:
      column: Lists or arrays as objects, or Arrow's own lists; missing ones count as
        empty.
    """

    def __init__(self, column: pd.Series):
        self._rows: list[Any] | None = None
        if isinstance(column.dtype, pd.ArrowDtype):
            stored: Any = column.array
            whole: Any = pa.chunked_array(stored.__arrow_array__())
            flat = whole.combine_chunks().fill_null([])
            self._ends = flat.offsets.to_numpy()
            self._values = flat.values.to_numpy()
        else:
            # A missing list is None or NaN, neither of which has a length.
            kinds = (np.ndarray, list, tuple)
            rows = [row if isinstance(row, kinds) else () for row in column.tolist()]
            self._rows = rows
            self._ends = np.cumsum([0, *map(len, rows)])

    @property
    def filled(self) -> Bool[np.ndarray, " row"]:
        """Marks the rows that hold something."""
        return np.diff(self._ends) > 0

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns one list."""
        if self._rows is not None:
            return np.asarray(self._rows[row])
        return self._values[self._ends[row] : self._ends[row + 1]]
