"""
Logged predictions as a table: one row of one request as one variant answered it.

Columns of our own stand first (`OWN`), the features behind them; a feature that is called like one of ours stands as
`feature_NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from trimtab.core import cells
from trimtab.core.errors import Invalid
from trimtab.core.labels import key_text
from trimtab.core.predictions import PredictionLine
from trimtab.core.rows import INSTANT
from trimtab.core.spec.model import Column, Data

# What a row is known by, whatever its features are.
LOGGED: dict[str, pl.DataType | type[pl.DataType]] = {
    "number": pl.Int64,  # rises with each row that was read
    "request_id": pl.String,
    "row": pl.Int64,
    "at": INSTANT,  # wall clock: when the request came
    "event_time": INSTANT,  # null where the request did not pass it
    "version": pl.Int64,
    "shadow": pl.Boolean,
    "seconds": pl.Float64,  # of its whole request in the model server
    "key": pl.String,  # of the key columns; null where the request did not pass them
    "signature": pl.Int64,  # which columns the request named, see `Signatures`
}
OWN = (*LOGGED, "prediction", "label", "label_at", "label_received", "mature")
LATEST = 1e11  # wall seconds since 1970; a line that says more is damaged, and would fit into no column
ROW_KEY = ("request_id", "row", "version", "shadow")


class Signatures:
    """Numbers for sets of columns: rows of an older schema lack columns that a newer version needs."""

    def __init__(self) -> None:
        self._numbers: dict[frozenset[str], int] = {}

    def number(self, columns: Iterable[str]) -> int:
        return self._numbers.setdefault(frozenset(columns), len(self._numbers))

    def holding(self, columns: Iterable[str]) -> list[int]:
        """The signatures that have all of these columns."""
        wanted = frozenset(columns)
        return [number for names, number in self._numbers.items() if wanted <= names]


def column_name(feature: str) -> str:
    """
    How a feature stands in the table.

    >>> column_name("distance"), column_name("version")
    ('distance', 'feature_version')
    """
    ours = feature in OWN or feature.startswith(("score_", "feature_"))
    return f"feature_{feature}" if ours else feature


def features(table: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """These features under their own names; what no row has is left out."""
    return table.select(pl.col(column_name(name)).alias(name) for name in names if column_name(name) in table.columns)


def target_type(data: Data) -> pl.DataType | type[pl.DataType]:
    """How labels and predictions stand in the table: numbers, booleans, or the class's own word."""
    return {"boolean": pl.Boolean, "category": pl.String}.get(data.described[data.target].type, pl.Float64)


def prediction_table(
    lines: Sequence[PredictionLine], data: Data, signatures: Signatures, first: int = 0
) -> pl.DataFrame:
    """
    The rows of logged predictions, in the log's order; failures have none.

    Args:
        data: The spec's data section: values are read by its schema, those of unknown columns as they are.
        first: `number` of the first row.
    """
    answered = [line for line in lines if line.kind == "prediction" and line.rows and _whole(line)]
    own: dict[str, list[Any]] = {name: [] for name in LOGGED}
    for line in answered:
        own["request_id"] += [line.id] * line.rows
        own["row"] += range(line.rows)
        own["at"] += [int(line.at * 1e6)] * line.rows
        own["event_time"] += line.passed.get(data.timestamp) or [None] * line.rows
        own["version"] += [line.version] * line.rows
        own["shadow"] += [line.shadow] * line.rows
        own["seconds"] += [line.seconds] * line.rows
        own["key"] += _keys(line, data)
        own["signature"] += [signatures.number((*line.features, *line.passed))] * line.rows
    own["number"] = list(range(first, first + len(own["row"])))
    own["event_time"] = _read(own["event_time"], Column(type="timestamp"), "event_time").to_list()
    columns = [
        pl.Series(name, values, dtype=pl.Int64).cast(INSTANT) if name == "at" else pl.Series(name, values, LOGGED[name])
        for name, values in own.items()
    ]
    target = data.described[data.target].model_copy(update={"on_new": "missing"})
    said = _read([value for line in answered for value in line.predictions], target, "prediction")
    columns.append(said.cast(target_type(data)))
    columns += _scores(answered)
    for name in dict.fromkeys(name for line in answered for name in line.features):
        values: list[Any] = []
        for line in answered:
            values += line.features.get(name) or [None] * line.rows
        columns.append(_feature(name, values, data.described.get(name)))
    return pl.DataFrame(columns).unique(ROW_KEY, keep="first", maintain_order=True)


def _whole(line: PredictionLine) -> bool:
    """Whether every column has a value a row; a line that was damaged and is JSON all the same may not."""
    if not 0 <= line.at < LATEST:
        return False
    listed = (line.predictions, *line.features.values(), *line.passed.values())
    return all(len(values) == line.rows for values in listed) and (line.scores is None or len(line.scores) == line.rows)


def _keys(line: PredictionLine, data: Data) -> list[str | None]:
    if not data.key:
        return [None] * line.rows
    columns = [line.passed.get(name) or line.features.get(name) for name in data.key]
    if not all(columns):
        return [None] * line.rows
    return [_key_or_none(values, data) for values in zip(*columns, strict=True)]


def _key_or_none(values: Sequence[Any], data: Data) -> str | None:
    try:
        return None if any(value is None for value in values) else key_text(values, data)
    except Invalid:
        return None


def _scores(lines: Sequence[PredictionLine]) -> list[pl.Series]:
    """`score_0`, `score_1`, …: by class in the schema's order; null where an answer has none."""
    width = max((len(row) for line in lines for row in line.scores or ()), default=0)
    columns: list[list[float | None]] = [[] for _ in range(width)]
    for line in lines:
        for place, column in enumerate(columns):
            if line.scores is None:
                column += [None] * line.rows
            else:
                column += [row[place] if place < len(row) else None for row in line.scores]
    return [pl.Series(f"score_{place}", column, dtype=pl.Float64) for place, column in enumerate(columns)]


def _feature(name: str, values: list[Any], column: Column | None) -> pl.Series:
    if column is not None:
        return _read(values, column.model_copy(update={"on_new": "missing"}), column_name(name))
    there = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in there):
        return pl.Series(column_name(name), values, dtype=pl.Boolean)
    if all(isinstance(value, (int, float)) for value in there):
        return pl.Series(column_name(name), values, dtype=pl.Float64, strict=False)
    return pl.Series(column_name(name), [None if value is None else str(value) for value in values], dtype=pl.String)


def _read(values: list[Any], column: Column, name: str) -> pl.Series:
    """As uploads are read; what cannot be read is null."""
    try:
        series = pl.Series(name, values)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):  # several types in one column
        series = pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)
    return cells.read(series, column, nullable=True).values.alias(name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
