"""
Paired bootstrap over blocks of event time.

Rows that lie close in time are alike, so whole blocks are drawn; both models are scored on the same draws, so what
they share cancels in their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction, compute, resampled

RESAMPLES = 2000
MIN_BLOCKS = 5  # fewer say too little of their own spread: no interval then
MAX_BLOCKS = 2000  # beyond it neighbours are joined: longer blocks are as valid, and the draws fit into memory
MAX_UNDEFINED = 0.1  # share of resamples that may leave a metric undefined before its interval counts for nothing


class Interval(Record):
    """A point estimate with its interval; None where it is not known (undefined, or too few blocks)."""

    point: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Blocks:
    """Blocks of rows and the draws over them, the same for every metric and model of one evaluation."""

    block: NDArray[np.intp]  # number of each row's block
    counts: Floats  # (resamples, blocks): how often each draw takes each block

    @property
    def number(self) -> int:
        return int(self.counts.shape[1])

    def rows(self, keep: NDArray[np.bool_], seed: int) -> Blocks:
        """Blocks of the rows where `keep`, drawn anew: blocks without such a row are no evidence of spread."""
        return _draw(np.unique(self.block[keep], return_inverse=True)[1], seed)


def blocks_of(seconds: NDArray[np.int64], block_seconds: int, seed: int) -> Blocks:
    """
    Cut rows into blocks of event time and draw resamples.

    Args:
        seconds: Event time of each row since the start of what is judged, shape (rows,), not negative.
        block_seconds: Length of a block.
        seed: Of the draws.

    >>> blocks_of(np.array([0, 10, 86400]), 86400, seed=0).number
    2
    """
    number = seconds // block_seconds
    if len(number):
        number = number // (-(-(int(number.max()) + 1) // MAX_BLOCKS))
    return _draw(np.unique(number, return_inverse=True)[1], seed)


def _draw(block: NDArray[np.intp], seed: int) -> Blocks:
    number = int(block.max()) + 1 if len(block) else 0
    if number == 0:
        return Blocks(block, np.zeros((RESAMPLES, 0)))
    drawn = np.random.default_rng(seed).integers(number, size=(RESAMPLES, number))
    place = drawn + number * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(place.ravel(), minlength=RESAMPLES * number).reshape(RESAMPLES, number)
    return Blocks(block, counts.astype(np.float64))


def interval(name: str, y: Floats, prediction: Prediction, blocks: Blocks, confidence: float) -> Interval:
    """One model's metric with its interval."""
    return _interval(compute(name, y, prediction), blocks, confidence, lambda: _resampled(name, y, prediction, blocks))


def difference(name: str, y: Floats, a: Prediction, b: Prediction, blocks: Blocks, confidence: float) -> Interval:
    """The metric of `a` minus that of `b` on the same rows, with its paired interval."""
    return _interval(
        compute(name, y, a) - compute(name, y, b),
        blocks,
        confidence,
        lambda: _resampled(name, y, a, blocks) - _resampled(name, y, b, blocks),
    )


def _resampled(name: str, y: Floats, prediction: Prediction, blocks: Blocks) -> Floats:
    return resampled(name, y, prediction, blocks.block, blocks.counts)


def _interval(point: float, blocks: Blocks, confidence: float, draws: Callable[[], Floats]) -> Interval:
    if not np.isfinite(point):
        return Interval(point=None)
    if blocks.number < MIN_BLOCKS:
        return Interval(point=point)
    values = draws()
    values = values[np.isfinite(values)]
    if len(values) < (1 - MAX_UNDEFINED) * RESAMPLES:
        return Interval(point=point)
    tail = _tail(blocks.number, confidence)
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(point=point, low=float(low), high=float(high))


def _tail(blocks: int, confidence: float) -> float:
    """
    The percentile to read, widened for few blocks: percentiles alone are too narrow by sqrt((n - 1) / n) and by the
    normal in place of Student's t.

    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 3.3 (expanded percentiles).
    """
    from scipy.special import ndtr, stdtrit

    t = stdtrit(blocks - 1, (1 - confidence) / 2)
    return float(ndtr(np.sqrt(blocks / (blocks - 1)) * t))
