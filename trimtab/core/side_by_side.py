"""Two versions on the same labelled rows: each metric of both, and their paired difference, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from trimtab.core.bootstrap import Interval, blocks_of, difference, interval
from trimtab.core.evaluation import gives
from trimtab.core.metrics import METRICS
from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction


class SideBySide(Record):
    """
    Differences are the second minus the first, in each metric's own unit and direction.

    `learned` rows were left out because one of the two was trained on them, `unscored` because one lacks a column.
    """

    first: int
    second: int
    primary: str
    rows: int
    learned: int = 0
    unscored: int = 0
    blocks: int
    confidence: float
    start: datetime  # event time of the oldest row
    end: datetime
    of_first: dict[str, Interval]
    of_second: dict[str, Interval]
    difference: dict[str, Interval]
    agree: float | None = None  # share of rows for which both say the same class; None for numbers

    def sentence(self) -> str:
        """What the primary metric proves."""
        metric, found = METRICS[self.primary], self.difference.get(self.primary)
        if found is None or found.point is None:
            return f"{self.primary} is not defined on these rows"
        if found.low is None or found.high is None:
            return f"too few blocks of time for an interval: {self.blocks}"
        if found.low <= 0 <= found.high:
            return f"no difference in {self.primary} is proven"
        better = self.second if (found.low > 0) == metric.greater_is_better else self.first
        return f"v{better} is better in {self.primary}"


def compare(
    numbers: tuple[int, int],
    y: Floats,
    times: NDArray[np.int64],
    predictions: tuple[Prediction, Prediction],
    metrics: Sequence[str],
    *,
    block_seconds: int,
    confidence: float,
    seed: int,
    learned: int = 0,
    unscored: int = 0,
) -> SideBySide:
    """
    Args:
        numbers: Of the two versions.
        y: Truth, shape (rows,), at least one row.
        times: Event times in microseconds since 1970, shape (rows,).
        predictions: Of the same rows.
        metrics: Their names, the primary one first. One that a version gives no scores for is left out of it.
    """
    first, second = predictions
    blocks = blocks_of((times - times.min()) // 1_000_000, block_seconds, seed)

    def each(prediction: Prediction) -> dict[str, Interval]:
        names = [name for name in metrics if gives(name, prediction)]
        return {name: interval(name, y, prediction, blocks, confidence) for name in names}

    both = [name for name in metrics if gives(name, first) and gives(name, second)]
    return SideBySide(
        first=numbers[0],
        second=numbers[1],
        primary=metrics[0],
        rows=len(y),
        learned=learned,
        unscored=unscored,
        blocks=blocks.number,
        confidence=confidence,
        start=_moment(times.min()),
        end=_moment(times.max()),
        of_first=each(first),
        of_second=each(second),
        difference={name: difference(name, y, second, first, blocks, confidence) for name in both},
        agree=float(np.mean(first.values == second.values)) if first.classes else None,
    )


def _moment(micros: np.int64) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
