"""What goes wrong with uploads in real life, done to good csv files on purpose."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Mishap:
    """
    A bad twin of the upload that holds `day`, put just before it.

    `kind` is the class of finding that intake must come to.
    """

    name: str  # ends the bad object's key
    day: date
    what: str
    did: str
    kind: str
    spoil: Callable[[bytes], bytes]


def rename_column(body: bytes) -> bytes:
    """`temp` under another name, as after an innocent clean-up of the source."""
    header, rest = body.split(b"\n", 1)
    names = [b"temperature" if name == b"temp" else name for name in header.split(b",")]
    return b",".join(names) + b"\n" + rest


def to_fahrenheit(body: bytes) -> bytes:
    """Both temperatures in degrees Fahrenheit, under their old names."""
    import polars as pl

    rows = _read(body)
    hot = [(pl.col(name).cast(pl.Float64) * 1.8 + 32).round(2).cast(pl.String) for name in ("temp", "atemp")]
    return rows.with_columns(hot).write_csv().encode()


def corrupt(body: bytes) -> bytes:
    """A stretch in the middle overwritten with what a broken disk gives, and the end lost."""
    middle, end = len(body) // 2, len(body) * 3 // 4
    return body[:middle] + bytes(range(256)) * 8 + body[middle + 2048 : end]


def to_parquet(body: bytes) -> bytes:
    """The same rows as a parquet file: right data, wrong type."""
    buffer = io.BytesIO()
    _read(body).write_parquet(buffer)
    return buffer.getvalue()


def _read(body: bytes) -> pl.DataFrame:
    import polars as pl

    return pl.read_csv(io.BytesIO(body), infer_schema=False)


MISHAPS = (
    Mishap(
        "renamed",
        date(2012, 3, 30),
        "renamed column",
        "The column temp came as temperature.",
        "renamed_column",
        rename_column,
    ),
    Mishap(
        "corrupt",
        date(2012, 5, 25),
        "corrupt file",
        "A stretch of the file was overwritten with rubbish, and its end was lost.",
        "unreadable",
        corrupt,
    ),
    Mishap(
        "fahrenheit",
        date(2012, 7, 20),
        "Fahrenheit",
        "July's temperatures came in degrees Fahrenheit, under their old names.",
        "unit_change",
        to_fahrenheit,
    ),
    Mishap(
        "parquet",
        date(2012, 9, 14),
        "wrong type",
        "The rows came as parquet, where csv is agreed.",
        "wrong_type",
        to_parquet,
    ),
)
REPEATED_DAY = date(2012, 2, 3)  # the upload that holds it is notified again and again, and put under a second key
