"""Rows as they come out of a file, and how arrivals are put together to one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from trimtab.core.spec.model import Column, Data

INSTANT = pl.Datetime("us", "UTC")
# How each declared type stands in a partition.
DTYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "float": pl.Float64,
    "int": pl.Int64,
    "boolean": pl.Boolean,
    "category": pl.String,
    "string": pl.String,
    "timestamp": INSTANT,
}
BROKEN = {"_row": pl.Int64, "_reason": pl.String, "_raw": pl.String}


@dataclass(frozen=True)
class Table:
    """
    A file's rows before anything is judged.

    Attributes:
        frame: The rows that could be split into columns, in the file's order: text, or the types that parquet gave.
        numbers: Their numbers in the file, from 1, without the header.
        broken: `_row`, `_reason`, `_raw` of the rows that could not be split into columns.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    broken: pl.DataFrame

    @property
    def height(self) -> int:
        return self.frame.height + self.broken.height


def declared(data: Data) -> dict[str, Column]:
    """
    The columns that a partition holds, in its order: timestamp, key, then the schema's.

    Timestamp and key columns need no entry in the schema; a key without one is text.
    """
    from trimtab.core.spec.model import Column

    schema = data.described
    columns = {data.timestamp: Column(type="timestamp", nullable=False)}
    for name in data.key:
        # The same row without its key could never be found again.
        columns[name] = schema.get(name, Column(type="string")).model_copy(update={"nullable": False})
    if data.timestamp in data.key:
        columns[data.timestamp] = Column(type="timestamp", nullable=False)
    return columns | {name: column for name, column in schema.items() if name not in columns}


def empty(data: Data) -> pl.DataFrame:
    """A partition without rows."""
    return pl.DataFrame(schema={name: DTYPES[column.type] for name, column in declared(data).items()})


def combine(frames: Sequence[pl.DataFrame], data: Data) -> pl.DataFrame:
    """
    Arrivals put together: where a key repeats the last arrival wins, and rows are in order of event time.

    Args:
        frames: Partitions' rows, oldest arrival first.
        data: The spec's data section. Without `key`, no row replaces another.

    Returns:
        Rows of equal event time stay in order of arrival.

    >>> from trimtab.core.spec.model import Data
    >>> data = Data(source="s3://rows/", format="csv", timestamp="t", key=("k",), target="y", schema_ref="s3://rows/s")
    >>> first, later = pl.DataFrame({"t": [2, 1], "k": ["a", "b"]}), pl.DataFrame({"t": [0], "k": ["a"]})
    >>> combine([first, later], data).rows()
    [(0, 'a'), (1, 'b')]
    """
    if not frames:
        return empty(data)
    rows = pl.concat(frames, how="vertical")
    if data.key:
        rows = rows.unique(subset=list(data.key), keep="last", maintain_order=True)
    return rows.sort(data.timestamp, maintain_order=True)
