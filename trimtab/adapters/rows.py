"""The rows of a dataset version, read from its partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from trimtab.core.rows import combine

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.records import DatasetVersion, Partition
    from trimtab.core.spec.model import Data


def load_rows(
    state: State,
    dataset: DatasetVersion,
    data: Data,
    start: datetime | None = None,
    end: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """
    Rows with an event time in [start, end), in order of event time; where a key repeats, the last arrival's.

    Args:
        columns: Only these; without it all that partitions hold.

    Raises:
        NotFound: If a partition is missing in the state.
    """
    needed = None if columns is None else list(dict.fromkeys([data.timestamp, *data.key, *columns]))
    # A later arrival may move a row to another time: only when that cannot be are partitions left out unread.
    fixed = not data.key or data.timestamp in data.key
    chosen = [part for part in dataset.partitions if part.rows and not (fixed and _outside(part, start, end))]
    frames = [pl.read_parquet(state.data.partition(part.id), columns=needed, glob=False) for part in chosen]
    rows = combine(frames, data)
    if start is not None:
        rows = rows.filter(pl.col(data.timestamp) >= start)
    if end is not None:
        rows = rows.filter(pl.col(data.timestamp) < end)
    return rows if columns is None else rows.select(columns)


def _outside(part: Partition, start: datetime | None, end: datetime | None) -> bool:
    before = start is not None and part.last is not None and part.last < start
    after = end is not None and part.first is not None and part.first >= end
    return before or after
