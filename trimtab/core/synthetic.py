"""Rows drawn from a schema alone, for trying a recipe out before there is data: valid, and with something to learn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from trimtab.core.rows import DTYPES, declared
from trimtab.core.scoring import Floats
from trimtab.core.spec.model import Column, Data

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=10)
MISSING = 0.05  # share of a nullable feature's cells


def draw(data: Data, rows: int, seed: int = 0) -> pl.DataFrame:
    """
    Valid rows of a schema, in order of event time, each labelled; equal arguments give equal rows.

    Numbers lie within min and max, categories among their values, every class occurs, and the target follows the
    features, so that an estimator has something to fit.

    Args:
        data: The spec's data section.
        rows: How many.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    score = random.normal(scale=0.1, size=rows)
    for name, column in declared(data).items():
        if name == data.timestamp:
            columns[name] = pl.Series([BEGIN + place * STEP for place in range(rows)])
        elif name in data.key:
            columns[name] = _identity(column, rows)
        elif name != data.target:
            drawn, part = _feature(column, rows, random)
            score += part
            columns[name] = pl.Series(drawn, strict=False)
    target = data.described[data.target]
    columns[data.target] = pl.Series(_target(target, score))
    return pl.DataFrame({name: columns[name].cast(DTYPES[one.type]) for name, one in declared(data).items()})


def _identity(column: Column, rows: int) -> pl.Series:
    """Different in every row, as far as the type allows."""
    places = range(rows)
    if column.type == "timestamp":
        return pl.Series([BEGIN + place * STEP for place in places])
    if column.type == "category":
        return pl.Series([column.values[place % len(column.values)] for place in places])
    if column.type == "boolean":
        return pl.Series([bool(place % 2) for place in places])
    if column.type == "string":
        return pl.Series([f"row-{place}" for place in places])
    low, high = _range(column)
    return pl.Series([low + place % max(1, int(high - low)) for place in places])


def _feature(column: Column, rows: int, random: np.random.Generator) -> tuple[list[object], Floats]:
    """One feature's cells, and what they add to the score that the target follows."""
    part = random.uniform(-1, 1, rows)
    low, high = _range(column)
    if column.type in ("float", "int"):
        numbers = low + (part + 1) / 2 * (high - low)
        cells = [float(np.floor(value)) for value in numbers] if column.type == "int" else numbers.tolist()
        cells = [min(max(cell, low), high) for cell in cells]
    elif column.type == "boolean":
        cells = (part > 0).tolist()
    elif column.type == "timestamp":
        cells = [BEGIN + timedelta(days=float(value)) for value in part]
    else:
        values = column.values or tuple(f"text {number}" for number in range(10))
        cells = [values[int(value)] for value in (part + 1) / 2 * len(values)]
    if column.nullable:
        gone = random.random(rows) < MISSING
        cells = [None if hole else cell for cell, hole in zip(cells, gone, strict=True)]
        part = np.where(gone, 0.0, part)
    return cells, part


def _target(column: Column, score: Floats) -> list[object]:
    """By rank, so that the values fill the whole range and every class has its share."""
    rank = (np.argsort(np.argsort(score)) + 0.5) / len(score)
    if column.type == "boolean":
        return [bool(value > 0.5) for value in rank]
    if column.type == "category":
        return [column.values[int(value * len(column.values))] for value in rank]
    low, high = _range(column)
    numbers = low + rank * (high - low)
    return [float(np.floor(value)) for value in numbers] if column.type == "int" else numbers.tolist()


def _range(column: Column) -> tuple[float, float]:
    """The declared range; where an end is open, a hundred wide."""
    if column.min is None and column.max is None:
        return -50.0, 50.0
    low = column.min if column.min is not None else float(column.max or 0) - 100
    high = column.max if column.max is not None else low + 100
    return low, high
