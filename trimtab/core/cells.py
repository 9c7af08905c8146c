"""One column read as its declared type: a typed value for each cell, and which cells break which rule."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from trimtab.core.rows import DTYPES, INSTANT
from trimtab.core.spec.model import Column
from trimtab.core.words import FALSE_WORDS, NULL_WORDS, TRUE_WORDS

ZONE = r"(\d)\s*(Z|z|UTC|[+-]\d{2}:?\d{2})$"
NAIVE_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class Cells:
    """
    A column as declared.

    Attributes:
        values: Typed; null where the cell is empty or cannot be read.
        problems: By reason, which cells break it (boolean, no nulls), only reasons that occur.
    """

    values: pl.Series
    problems: dict[str, pl.Series]


def read(cells: pl.Series, column: Column, *, nullable: bool | None = None) -> Cells:
    """
    Read a column as its declared type.

    Args:
        cells: Text as csv and jsonl give it, or the type that parquet gave.
        column: The schema's entry.
        nullable: Instead of the schema's own (a row without a target is unlabelled, never invalid).
    """
    # Numbers and instants that parquet typed already need no detour by text.
    typed = cells.dtype != pl.String and column.type in ("float", "int", "timestamp")
    text = cells if typed else _text(cells, column)
    given = cells.is_not_null() & ~cells.is_nan() if cells.dtype.is_float() else text.is_not_null()
    values, problems = READERS[column.type](cells, text, column)
    if column.type in ("float", "int"):
        if column.min is not None:
            problems[f"below min {column.min:g}"] = (values < column.min).fill_null(value=False)
        if column.max is not None:
            problems[f"above max {column.max:g}"] = (values > column.max).fill_null(value=False)
    if not (column.nullable if nullable is None else nullable):
        problems["null"] = ~given
    occurring = {reason: broken for reason, broken in problems.items() if broken.any()}
    return Cells(values.cast(DTYPES[column.type]).alias(cells.name), occurring)


def as_text(cells: pl.Series) -> pl.Series:
    """Any column as text, for people and for the quarantine: instants as ISO 8601."""
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.to_string("iso:strict")
    if cells.dtype == pl.Binary or cells.dtype.is_nested():
        return pl.Series(cells.name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)
    return cells.cast(pl.String)


def _text(cells: pl.Series, column: Column) -> pl.Series:
    """Text without the blanks around it, and null for what means nothing."""
    if cells.dtype != pl.String:
        return as_text(cells)
    words = tuple(word for word in NULL_WORDS if word not in column.values) if column.type != "string" else ("",)
    stripped = cells.str.strip_chars()
    return stripped.to_frame("c").select(pl.when(~pl.col("c").is_in(words)).then(pl.col("c"))).to_series()


def _number(cells: pl.Series, text: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    if cells.dtype == pl.String:
        values = text.cast(pl.Float64, strict=False)
        unread = text.is_not_null() & values.is_null()
    elif cells.dtype.is_numeric() or cells.dtype == pl.Boolean:
        values = cells.cast(pl.Float64)
        values = values.to_frame("c").select(pl.col("c").fill_nan(None)).to_series()
        unread = pl.repeat(value=False, n=len(cells), eager=True)
    else:
        values = pl.Series([None] * len(cells), dtype=pl.Float64)
        unread = cells.is_not_null()
    infinite = values.is_infinite().fill_null(value=False) | values.is_nan().fill_null(value=False)
    finite = values.to_frame("c").with_columns(b=infinite).select(pl.when(~pl.col("b")).then(pl.col("c"))).to_series()
    return finite, {"not a number": unread, "not finite": infinite}


def _float(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    return _number(cells, text)


def _int(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    numbers, problems = _number(cells, text)
    # Read as whole numbers first: a float holds only 53 bits of an identifier.
    exact = (text if cells.dtype == pl.String else cells).cast(pl.Int64, strict=False)
    fraction = (numbers.is_not_null() & (numbers != numbers.round(0))).fill_null(value=False)
    too_long = exact.is_null() & ~fraction & (numbers.abs() >= 2.0**63).fill_null(value=False)
    frame = pl.DataFrame({"exact": exact, "number": numbers, "fraction": fraction})
    values = frame.select(
        pl.when(~pl.col("fraction")).then(
            pl.coalesce(pl.col("exact"), pl.col("number").round(0).cast(pl.Int64, strict=False))
        )
    ).to_series()
    return values, problems | {"a fraction where a whole number is declared": fraction, "beyond 64 bits": too_long}


def _boolean(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    if cells.dtype == pl.Boolean:
        return cells, {}
    word = text.str.to_lowercase().to_frame("c")
    values = word.select(
        pl.when(pl.col("c").is_in(TRUE_WORDS))
        .then(pl.lit(True))
        .when(pl.col("c").is_in(FALSE_WORDS))
        .then(pl.lit(False))
    ).to_series()
    return values, {"not true or false": text.is_not_null() & values.is_null()}


def _category(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    if not column.values:
        return text, {}
    if cells.dtype.is_float():  # a column of codes with gaps comes out of pandas as 1.0, 2.0, null
        text = text.str.replace(r"\.0$", "")
    known = text.is_in(list(column.values)).fill_null(value=False)
    values = pl.DataFrame({"c": text, "known": known}).select(pl.when("known").then("c")).to_series()
    if column.on_new == "missing":
        return values, {}
    return values, {"unseen category": text.is_not_null() & ~known}


def _string(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    return text, {}


def _timestamp(cells: pl.Series, text: pl.Series, column: Column) -> tuple[pl.Series, dict[str, pl.Series]]:
    """ISO 8601 with or without a zone (none means UTC)."""
    if isinstance(cells.dtype, pl.Datetime):
        instants = cells.dt.convert_time_zone("UTC") if cells.dtype.time_zone else cells.dt.replace_time_zone("UTC")
        return instants.dt.cast_time_unit("us"), {}
    if cells.dtype == pl.Date:
        return cells.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), {}
    if text.dtype != pl.String:
        text = as_text(text)
    zone = text.str.extract(ZONE, 2)
    naive = text.str.replace(ZONE, "${1}").str.replace("[Tt]", " ").to_frame("c")
    parsed = [pl.col("c").str.to_datetime(form, strict=False, time_unit="us") for form in NAIVE_FORMATS]
    days = pl.col("c").str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    minutes = (
        pl.col("z").str.slice(1, 2).cast(pl.Int64, strict=False) * 60
        + pl.col("z").str.slice(-2, 2).cast(pl.Int64, strict=False)
    ).fill_null(0) * pl.when(pl.col("z").str.starts_with("-")).then(-1).otherwise(1)
    frame = naive.with_columns(z=zone).select(pl.coalesce(*parsed, days) - pl.duration(minutes=minutes))
    values = frame.to_series().dt.replace_time_zone("UTC")
    unread = text.is_not_null() & values.is_null()
    epoch = unread & text.str.contains(r"^\d{9,19}(\.\d+)?$").fill_null(value=False)
    return values.cast(INSTANT), {
        "a number of seconds where ISO 8601 is needed": epoch,
        "not a timestamp": unread & ~epoch,
    }


READERS = {
    "float": _float,
    "int": _int,
    "boolean": _boolean,
    "category": _category,
    "string": _string,
    "timestamp": _timestamp,
}
