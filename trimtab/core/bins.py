"""Where a column's values are counted: cells fixed once, so that counts of any two tables can be compared and added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimtab.core.spec.model import Data

if TYPE_CHECKING:
    import polars as pl

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
BINS = 32  # equal shares of the first reference; Kolmogorov-Smirnov's distance is then exact to 1/32
MAX_VALUES = 256  # of a category without declared values


@dataclass(frozen=True)
class Bins:
    """
    Where a column's counts go, fixed once for all that is to be compared.

    A numeric column has `edges` e0 < ... < en: cells below e0, [e0, e1), ..., from en on, and null. A category has
    `values`: a cell each, one for unseen values, and null.
    """

    edges: Floats | None = None
    values: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        return (len(self.values) + 1 if self.edges is None else len(self.edges) + 1) + 1

    def counts(self, column: pl.Series) -> Counts:
        """Rows by cell."""
        return np.bincount(self.place(column), minlength=self.cells)

    def place(self, column: pl.Series) -> NDArray[np.intp]:
        """The cell of each row."""
        import polars as pl  # when rows are at hand: who only reads what was measured needs none of it

        if self.edges is None:
            codes = column.cast(pl.String).replace_strict(
                list(self.values), list(range(len(self.values))), default=len(self.values), return_dtype=pl.Int64
            )
            null = column.is_null().to_numpy()
            return np.where(null, self.cells - 1, codes.fill_null(0).to_numpy()).astype(np.intp)
        numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        null = np.isnan(numbers)
        return np.where(null, self.cells - 1, np.searchsorted(self.edges, numbers, side="right")).astype(np.intp)

    def same(self, other: Bins) -> bool:
        """Whether counts in these and in the other's cells add up."""
        if self.edges is None or other.edges is None:
            return self.edges is other.edges and self.values == other.values
        return np.array_equal(self.edges, other.edges)


def bins_of(frame: pl.DataFrame, data: Data) -> dict[str, Bins]:
    """Bins for the features and the target, taken from the rows at hand and from the schema's own values."""
    return {name: bins_for(frame[name], data) for name in (*data.features, data.target) if name in frame.columns}


def bins_for(column: pl.Series, data: Data) -> Bins:
    """As `bins_of`, for one column."""
    import polars as pl

    described = data.described.get(column.name)
    if column.dtype == pl.Boolean:
        return Bins(None, ("true", "false"))
    if not column.dtype.is_numeric():
        declared = described.values if described else ()
        if described and described.type == "category" and not declared:
            counted = column.drop_nulls().value_counts(sort=True).head(MAX_VALUES)
            declared = tuple(sorted(counted[column.name].to_list()))
        # Text and instants beside the features: only how many are missing.
        return Bins(None, declared)
    return Bins(edges_of(column.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()))


def edges_of(numbers: Floats) -> Floats:
    """
    Edges that cut the numbers into about equal shares; the last lies just beyond the greatest.

    >>> edges_of(np.array([1.0, 2.0, 2.0])).round(3).tolist()
    [1.0, 2.0, 2.0]
    """
    if not len(numbers):
        return np.array([0.0, np.nextafter(0.0, 1.0)])
    inner = np.quantile(numbers, np.linspace(0, 1, BINS + 1), method="inverted_cdf")
    return np.append(np.unique(inner), np.nextafter(inner[-1], np.inf))
