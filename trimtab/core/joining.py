"""Labels as a table, and their join to logged predictions: the last label by its own time is a row's label."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from trimtab.core.errors import Invalid
from trimtab.core.labels import MOST_ROWS, key_text, read_value
from trimtab.core.logged import LATEST, target_type
from trimtab.core.predictions import Label
from trimtab.core.spec.model import Data

LABELS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "row": pl.Int64,
    "key": pl.String,  # null where the label names a request
    "at": pl.Float64,  # wall seconds since 1970
    "received": pl.Float64,
    "first_received": pl.Float64,  # of all labels of this row so far
}


def label_table(labels: Iterable[Label], data: Data) -> tuple[pl.DataFrame, dict[str, int]]:
    """
    Labels that the schema allows, in their order; and of the others how many there are, by reason.
    """
    target, wrong = data.described[data.target], dict[str, int]()
    kept: list[tuple[Any, ...]] = []
    for label in labels:
        try:
            value = read_value(label.value, target, data.target)
            key = key_text(label.key, data) if label.key and not label.id else None
        except (Invalid, ValueError) as error:
            reason = error.message if isinstance(error, Invalid) else f"found {len(label.key)} values in the key"
            wrong[reason] = wrong.get(reason, 0) + 1
            continue
        received = label.received or label.at
        if not (0 <= label.at < LATEST and 0 <= received < LATEST and 0 <= label.row < MOST_ROWS):
            reason = "found a time or a row that no label can have"
            wrong[reason] = wrong.get(reason, 0) + 1
            continue
        kept.append((label.id, label.row, key, label.at, received, received, value))
    schema = LABELS | {"label": target_type(data)}
    return pl.DataFrame(kept, schema=schema, orient="row"), wrong


def latest(labels: pl.DataFrame) -> pl.DataFrame:
    """
    Of each row the label that counts: the last by label time, then by when it came, then by its place in the table.

    >>> early = {"id": ["a", "a"], "row": [0, 0], "key": [None, None], "at": [2.0, 1.0], "received": [5.0, 6.0]}
    >>> table = pl.DataFrame(early | {"first_received": [5.0, 6.0], "label": [True, False]}, schema_overrides=LABELS)
    >>> latest(table).select("label", "first_received").rows()
    [(True, 5.0)]
    """
    ordered = labels.sort("at", "received", maintain_order=True)
    names = [name for name in ordered.columns if name not in ("id", "row", "key", "first_received")]
    found = ordered.group_by("id", "row", "key", maintain_order=True).agg(
        pl.col("first_received").min(), *(pl.col(name).last() for name in names)
    )
    return found.select(labels.columns)


def join(rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """
    Rows with their labels: `label`, `label_at`, `label_received` (when its first label came); null where none came.

    Args:
        rows: As `logged.prediction_table` gives them.
        labels: As `latest` gives them. Those that name a key join every row of that key; where a row has a label of
            either kind, the later one counts.
    """
    values = ("label", "at", "first_received")
    by_request = labels.filter(pl.col("key").is_null()).select(
        pl.col("id").alias("request_id"), "row", *(pl.col(name).alias(f"_trimtab_r_{name}") for name in values)
    )
    by_key = labels.filter(pl.col("key").is_not_null()).select(
        "key", *(pl.col(name).alias(f"_trimtab_k_{name}") for name in values)
    )
    found = rows.join(by_request, on=["request_id", "row"], how="left", maintain_order="left")
    found = found.join(by_key, on="key", how="left", maintain_order="left")
    later = pl.col("_trimtab_r_at").is_null() | (pl.col("_trimtab_k_at") > pl.col("_trimtab_r_at")).fill_null(
        value=False
    )
    chosen = [
        pl.when(later).then(f"_trimtab_k_{name}").otherwise(f"_trimtab_r_{name}").alias(f"_trimtab_{name}")
        for name in values
    ]
    return (
        found.with_columns(chosen)
        .with_columns(
            pl.col("_trimtab_label").alias("label"),
            _as_instant("_trimtab_at").alias("label_at"),
            _as_instant("_trimtab_first_received").alias("label_received"),
        )
        .drop(pl.selectors.starts_with("_trimtab_"))
    )


def _as_instant(seconds: str) -> pl.Expr:
    return (pl.col(seconds) * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def with_maturity(table: pl.DataFrame, now: datetime, maturity: timedelta) -> pl.DataFrame:
    """
    Adds `mature`: whether the row is as old as labels need to be trusted.

    Its age counts from its event time where the request passed it, else from when it came.
    """
    born = pl.coalesce("event_time", "at")
    return table.with_columns((born + pl.lit(maturity) <= pl.lit(now)).alias("mature"))


def own_rows(table: pl.DataFrame) -> pl.DataFrame:
    """
    The rows whose answer the gateway returned: they alone carry their version's performance.

    Where a request was answered twice because the gateway asked again, the last answer was returned.
    """
    answered = table.filter(~pl.col("shadow"))
    return answered.sort("at", maintain_order=True).unique(["request_id", "row"], keep="last", maintain_order=True)
