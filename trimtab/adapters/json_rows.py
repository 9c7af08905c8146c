"""Rows of a dataset as a client of the gateway would send them: JSON objects, with what JSON can say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from trimtab.core.spec.model import Data


def to_json_rows(rows: pl.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Objects of the named columns: numbers, true, false, text; instants as ISO 8601; null where JSON has no word."""
    return [{name: _value(row[name]) for name in columns} for row in rows.select(columns).iter_rows(named=True)]


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


def telling(rows: pl.DataFrame, data: Data, number: int) -> pl.DataFrame:
    """
    At most about `number` rows that say most of how rows are read, in their order.

    Spread evenly over all; besides, of each feature a row without it, its extremes, and its categories' first rows, as
    long as those take no more than half.
    """
    if rows.height <= number:
        return rows
    odd: list[int] = []
    for name in data.features:
        odd += _odd(rows[name], data.described[name].type)
    special = list(dict.fromkeys(odd))[: number // 2]
    return rows[sorted({*special, *_spread(rows.height, number - len(special))})]


def evenly(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """At most `number` rows, spread evenly, in their order."""
    return rows if rows.height <= number else rows[list(_spread(rows.height, number))]


def _spread(height: int, number: int) -> Iterator[int]:
    return (place * height // number for place in range(number))


def _odd(column: pl.Series, kind: str) -> list[int]:
    missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
    places = missing.arg_true().head(1).to_list()
    if kind == "category":
        return places + column.is_first_distinct().arg_true().to_list()
    if column.dtype.is_numeric():
        places += [place for place in (column.arg_min(), column.arg_max()) if place is not None]
    return places
