"""
What a table looks like, as counts that add up exactly over partitions and machines.

A profile is cut into slices of event time (hours, days, weeks), so that a reference can be put together again into
batches as long as the one that is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.core.bins import Bins, Counts, Floats, bins_for, bins_of
from trimtab.core.errors import Invalid
from trimtab.core.spec.model import Data

if TYPE_CHECKING:
    import polars as pl

HOUR = 3600
SLICES = (HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR)  # seconds; each divides the next
MAX_SLICES = 400  # a year of days
PREDICTION = "(prediction)"


@dataclass(frozen=True)
class Profile:
    """
    Counts by slice of event time.

    Attributes:
        bins: By column.
        seconds: Length of a slice; slices begin at whole multiples of it since 1970.
        starts: Begin of each slice that has rows, ascending, seconds since 1970.
        rows: Rows by slice.
        cells: By column, shape (slices, cells).
        low: By numeric column, the least value by slice (NaN where there is none); `high` the greatest.
        first: Event time of the oldest row, `last` of the newest.
    """

    bins: Mapping[str, Bins]
    seconds: int
    starts: Counts
    rows: Counts
    cells: Mapping[str, Counts]
    low: Mapping[str, Floats]
    high: Mapping[str, Floats]
    first: datetime | None
    last: datetime | None

    @property
    def total(self) -> int:
        return int(self.rows.sum())

    @property
    def span_seconds(self) -> float:
        return (self.last - self.first).total_seconds() if self.first and self.last else 0.0

    def counts(self, column: str) -> Counts:
        """Cells over all slices."""
        summed: Counts = self.cells[column].sum(axis=0)
        return summed

    def counts_as(self, bins: Mapping[str, Bins]) -> bool:
        """Whether it was counted into these bins, so that it adds up with others of them."""
        return self.bins.keys() == bins.keys() and all(self.bins[name].same(bins[name]) for name in bins)

    def cut(self, chosen: slice) -> Profile:
        """Only the chosen slices, not copied; the event times are then those of the slices."""
        starts = self.starts[chosen]
        return replace(
            self,
            starts=starts,
            rows=self.rows[chosen],
            cells={name: cells[chosen] for name, cells in self.cells.items()},
            low={name: values[chosen] for name, values in self.low.items()},
            high={name: values[chosen] for name, values in self.high.items()},
            first=_instant(starts[0]) if len(starts) else None,
            last=_instant(starts[-1] + self.seconds) if len(starts) else None,
        )

    def batches(self, span_seconds: float) -> list[Profile]:
        """
        Consecutive batches of about `span_seconds`, counted back from the newest slice.

        The oldest, where it is cut short, and those with less than half of the median's rows are left out.
        """
        if not len(self.starts):
            return []
        slices = max(1, round(span_seconds / self.seconds))
        end = self.starts[-1] // self.seconds
        place = (end - self.starts // self.seconds) // slices
        whole = (end - self.starts[0] // self.seconds + 1) // slices
        if not whole:
            return []
        # Only what is kept is cut out: where files are few and far between, most batches are empty.
        inside = place < whole
        totals = np.bincount(place[inside], weights=self.rows[inside], minlength=whole)
        kept = np.flatnonzero((totals > 0) & (totals >= np.median(totals) / 2))[::-1]
        # Slices ascend, so places descend, and the slices of a batch stand side by side.
        begins = len(place) - np.searchsorted(place[::-1], kept, side="right")
        ends = len(place) - np.searchsorted(place[::-1], kept, side="left")
        return [self.cut(slice(begin, end)) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; exact."""
        return {
            "seconds": self.seconds,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "starts": self.starts.tolist(),
            "rows": self.rows.tolist(),
            "columns": {
                name: {
                    **({"values": list(bins.values)} if bins.edges is None else {"edges": bins.edges.tolist()}),
                    "cells": self.cells[name].tolist(),
                    **({"low": _nulls(self.low[name]), "high": _nulls(self.high[name])} if name in self.low else {}),
                }
                for name, bins in self.bins.items()
            },
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Profile:
        columns, slices = value["columns"], len(value["starts"])
        bins = {
            name: Bins(np.array(column["edges"], dtype=float))
            if "edges" in column
            else Bins(None, tuple(column["values"]))
            for name, column in columns.items()
        }
        return cls(
            bins=bins,
            seconds=value["seconds"],
            starts=np.array(value["starts"], dtype=np.int64),
            rows=np.array(value["rows"], dtype=np.int64),
            cells={
                name: np.array(column["cells"], dtype=np.int64).reshape(slices, bins[name].cells)
                for name, column in columns.items()
            },
            low={name: np.array(c["low"], dtype=float) for name, c in columns.items() if "low" in c},
            high={name: np.array(c["high"], dtype=float) for name, c in columns.items() if "high" in c},
            first=datetime.fromisoformat(value["first"]) if value["first"] else None,
            last=datetime.fromisoformat(value["last"]) if value["last"] else None,
        )


def profile(
    frame: pl.DataFrame,
    data: Data,
    bins: Mapping[str, Bins] | None = None,
    predictions: Floats | None = None,
) -> Profile:
    """
    Count a table.

    Args:
        frame: Typed rows; those without an event time are not counted.
        bins: Of the reference; columns it lacks get bins from these rows.
        predictions: What the model says of each row (numbers, or codes of classes): one more column, `PREDICTION`.
    """
    import polars as pl  # when rows are at hand: who only reads what was measured needs none of it

    if predictions is not None:
        frame = frame.with_columns(pl.Series(PREDICTION, predictions))
    frame = frame.filter(pl.col(data.timestamp).is_not_null())
    times = frame[data.timestamp].dt.epoch("s").to_numpy().astype(np.int64)
    own = bins_of(frame, data)
    if predictions is not None:
        own[PREDICTION] = bins_for(frame[PREDICTION], data)
    used = {name: (bins or {}).get(name, default) for name, default in own.items()}
    seconds = _slice_seconds(times)
    starts, place = np.unique(times // seconds * seconds, return_inverse=True)
    cells, low, high = {}, {}, {}
    for name, column_bins in used.items():
        flat = place * column_bins.cells + column_bins.place(frame[name])
        cells[name] = np.bincount(flat, minlength=len(starts) * column_bins.cells).reshape(-1, column_bins.cells)
        if column_bins.edges is not None:
            low[name], high[name] = _range(frame[name].cast(pl.Float64).to_numpy(), place, len(starts))
    return Profile(
        bins=used,
        seconds=seconds,
        starts=starts,
        rows=np.bincount(place, minlength=len(starts)),
        cells=cells,
        low=low,
        high=high,
        first=frame[data.timestamp].min() if len(times) else None,  # type: ignore[arg-type]
        last=frame[data.timestamp].max() if len(times) else None,  # type: ignore[arg-type]
    )


def _range(numbers: Floats, place: NDArray[np.intp], slices: int) -> tuple[Floats, Floats]:
    low, high = np.full(slices, np.inf), np.full(slices, -np.inf)
    there = ~np.isnan(numbers)
    np.minimum.at(low, place[there], numbers[there])
    np.maximum.at(high, place[there], numbers[there])
    return np.where(np.isinf(low), np.nan, low), np.where(np.isinf(high), np.nan, high)


def _slice_seconds(times: Counts) -> int:
    span = int(times.max() - times.min()) if len(times) else 0
    return next((seconds for seconds in SLICES if span / seconds <= MAX_SLICES - 2), SLICES[-1])


def merge(profiles: Iterable[Profile]) -> Profile:
    """
    The profile of all the rows together: exactly the sums.

    Raises:
        Invalid: If they were counted into different bins.
    """
    parts = list(profiles)
    seconds = max(part.seconds for part in parts)
    starts = np.unique(np.concatenate([part.starts // seconds * seconds for part in parts]))
    bins = parts[0].bins
    for part in parts[1:]:
        if not part.counts_as(bins):
            raise Invalid("found profiles with different bins; only profiles of the same bins add up")
    rows = np.zeros(len(starts), dtype=np.int64)
    cells = {name: np.zeros((len(starts), b.cells), dtype=np.int64) for name, b in bins.items()}
    low = {name: np.full(len(starts), np.nan) for name, b in bins.items() if b.edges is not None}
    high = {name: values.copy() for name, values in low.items()}
    for part in parts:
        place = np.searchsorted(starts, part.starts // seconds * seconds)
        np.add.at(rows, place, part.rows)
        for name in bins:
            np.add.at(cells[name], place, part.cells[name])
        for name in low:
            np.fmin.at(low[name], place, part.low[name])
            np.fmax.at(high[name], place, part.high[name])
    return Profile(
        bins=bins,
        seconds=seconds,
        starts=starts,
        rows=rows,
        cells=cells,
        low=low,
        high=high,
        first=min((part.first for part in parts if part.first), default=None),
        last=max((part.last for part in parts if part.last), default=None),
    )


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _nulls(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
